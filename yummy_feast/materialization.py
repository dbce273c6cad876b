"""The newest row of each key from the offline store into the online store, streamed.

Rows travel as Arrow batches and become packed bytes in bulk; nothing holds a whole view. Reading, packing and writing
overlap: the engine reads ahead on its threads, the writer sends on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from yummy_feast.errors import RetrievalError
from yummy_feast.offline.conform import conform
from yummy_feast.offline.plan import source_names
from yummy_feast.values import arrow_type_of

if TYPE_CHECKING:
    from feast import FeatureView
    from feast.repo_config import RepoConfig
    from tqdm import tqdm

    from yummy_feast.offline.store import YummyOfflineStore
    from yummy_feast.online.store import YummyOnlineStore
    from yummy_feast.online.writer import Written

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def is_plain(view: FeatureView) -> bool:
    """Whether a view's rows are its source's rows: no transformation, aggregation, other view or validation in
    between.
    """
    return view.batch_source is not None and not any(
        getattr(view, name, None)
        for name in ("feature_transformation", "aggregations", "source_views", "enable_validation")
    )


def materialize(
    config: RepoConfig,
    view: FeatureView,
    start: datetime,
    end: datetime,
    offline: YummyOfflineStore,
    online: YummyOnlineStore,
    bar: Callable[[int | None], tqdm[Any]],
) -> Written:
    """Copy the newest row per key of ``[start, end]`` (both included). Returns what became of the rows.

    Raises:
        SourceError and its children, ValueTypeError naming the column, OnlineStoreError and its children.
    """
    source = view.batch_source
    if source is None:
        raise RetrievalError(f"feature view '{view.name}' has no batch source", hint="give it one to materialize from")
    columns = source_names(view)
    # An entityless view has the join key ``__dummy_id``, which no source has: the offline store adds it.
    keys = list(view.join_keys)
    features = [field.name for field in view.features]
    created = source.created_timestamp_column or None
    wanted = {name: columns.get(name, name) for name in (*keys, *features, source.timestamp_field, created) if name}
    job = offline.pull_latest_from_table_or_query(
        config=config,
        data_source=source,
        join_key_columns=[wanted[name] for name in keys],
        feature_name_columns=[wanted[name] for name in features],
        timestamp_field=wanted[source.timestamp_field],
        created_timestamp_column=wanted[created] if created else None,
        start_date=start,
        end_date=end,
    )
    reader = job.to_record_batch_reader()
    types = {field.name: arrow_type_of(field.dtype) for field in view.features}
    with bar(None) as progress:
        batches = _as_declared(reader, wanted, types, source.name)
        return online.write_arrow(config, view, batches, source.timestamp_field, created, progress.update)


def _as_declared(
    reader: pa.RecordBatchReader, wanted: dict[str, str], types: dict[str, pa.DataType], location: str
) -> Iterator[pa.RecordBatch]:
    """The source's batches under Feast's names, features in their declared types."""
    for batch in reader:
        columns = {name: pa.chunked_array([batch.column(stored)]) for name, stored in wanted.items()}
        for name, declared in types.items():
            columns[name] = conform(columns[name], declared, name=wanted[name], location=location)
        yield from pa.table(columns).to_batches()
