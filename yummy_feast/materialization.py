"""The newest row of each key from the offline store into the online store, streamed.

Rows travel as Arrow batches and become packed bytes in bulk; nothing holds a whole view. Reading, packing and writing
overlap: the engine reads ahead on its threads, the writer sends on its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from yummy_feast.errors import RetrievalError, ValueTypeError
from yummy_feast.offline.conform import conform
from yummy_feast.offline.plan import source_names
from yummy_feast.sources.adapt import as_yummy_source
from yummy_feast.values import arrow_type_of

if TYPE_CHECKING:
    from feast import FeatureView
    from feast.data_source import DataSource
    from feast.repo_config import RepoConfig
    from tqdm import tqdm

    from yummy_feast.offline.store import YummyOfflineStore
    from yummy_feast.online.store import YummyOnlineStore
    from yummy_feast.online.writer import Written

logger = logging.getLogger(__name__)

BEGINNING = datetime.min.replace(tzinfo=UTC)
"""Before every row there can be."""

# Packing has a price per batch, and an incremental run picks a few rows from each of many pieces: they are gathered
# to this many rows, or bytes where rows are wide.
_ROWS = 16 * 1024
_BYTES = 16 * 1024 * 1024


def materialize(
    config: RepoConfig,
    view: FeatureView,
    start: datetime,
    end: datetime,
    offline: YummyOfflineStore,
    online: YummyOnlineStore,
    bar: Callable[[Any], tqdm[Any]],
) -> Written:
    """Copy the newest row per key of ``[start, end]`` (both included). Returns what became of the rows.

    Rows go in batches of at most ``materialization.online_write_batch_size``, where that is set.

    Raises:
        SourceError and its children, OnlineStoreError and its children; ValueTypeError, which names view, source and
        column. What was acknowledged before the error stays, and running again mends the rest.
    """
    columns = _Columns.of(view)
    job = offline.pull_latest_from_table_or_query(
        config=config,
        data_source=columns.source,
        join_key_columns=[columns.stored[name] for name in view.join_keys],
        feature_name_columns=[columns.stored[field.name] for field in view.features],
        timestamp_field=columns.stored[columns.time],
        created_timestamp_column=columns.stored[columns.created] if columns.created else None,
        start_date=start,
        end_date=end,
    )
    batches = columns.batches(job.to_record_batch_reader(), config.materialization_config.online_write_batch_size)
    try:
        with bar(None) as progress:
            written = online.write_arrow(config, view, batches, columns.time, columns.created, progress.update)
    except ValueTypeError as error:
        raise ValueTypeError(
            f"feature view '{view.name}' from {columns.location}: {error.message}", hint=error.hint
        ) from error
    logger.info(
        "feature view %s: %d rows written, %d already there, %d older than what is there, %d without a join key",
        view.name,
        written.written,
        written.equal,
        written.older,
        written.keyless,
    )
    return written


@dataclass(frozen=True, slots=True)
class _Columns:
    """What is read for a view. stored: from Feast's name to the source's column, each once; time, created: Feast's
    names of the timestamps.
    """

    view: FeatureView
    source: DataSource
    stored: dict[str, str]
    time: str
    created: str | None

    @property
    def location(self) -> str:
        """Path or table, for errors."""
        return as_yummy_source(self.source).location

    @classmethod
    def of(cls, view: FeatureView) -> _Columns:
        source = view.batch_source
        if source is None:
            raise RetrievalError(
                f"feature view '{view.name}' has no batch source", hint="give it one to materialize from"
            )
        created = source.created_timestamp_column or None
        # An entityless view has the join key ``__dummy_id``, which no source has: the offline store adds it.
        names = (*view.join_keys, *(field.name for field in view.features), source.timestamp_field, created)
        mapped = source_names(view)
        stored = {name: mapped.get(name, name) for name in names if name}
        return cls(view, source, stored, source.timestamp_field, created)

    def batches(self, reader: Iterable[pa.RecordBatch], limit: int | None) -> Iterator[pa.RecordBatch]:
        """The source's rows under Feast's names, features in their declared types, at most ``limit`` rows at a time."""
        from feast.types import ZonedTimestamp

        declared = {field.name: arrow_type_of(field.dtype) for field in self.view.features}
        zoned = {field.name for field in self.view.features if field.dtype == ZonedTimestamp}
        for table in _gathered(reader):
            columns = {name: table.column(stored) for name, stored in self.stored.items()}
            for name, kind in declared.items():
                # Its zone is part of the value, and only there: everything else is in UTC.
                if name not in zoned or getattr(columns[name].type, "tz", None) is None:
                    columns[name] = conform(columns[name], kind, name=self.stored[name], location=self.location)
            rows = pa.table(columns)
            self._check_vectors(rows)
            yield from rows.combine_chunks().to_batches(max_chunksize=limit)

    def _check_vectors(self, rows: pa.Table) -> None:
        """Feast refuses vectors of another length than declared on every way into an online store."""
        if any(field.vector_index for field in self.view.features):
            from feast.utils import _validate_vector_field_lengths

            _validate_vector_field_lengths(rows, self.view)


def _gathered(reader: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in reader:
        waiting.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if rows >= _ROWS or size >= _BYTES:
            yield pa.Table.from_batches(waiting)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield pa.Table.from_batches(waiting)
