"""The two sides of a feature view: a sample of its entities, their offline rows, their online rows.

The offline side is whatever the offline store answers, the online side whatever ``online.retrieval`` reads: how a row
is matched or decoded is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from yummy_feast.errors import RetrievalError, ValueTypeError
from yummy_feast.offline.entity_rows import drop_null_rows
from yummy_feast.offline.plan import EVENT_TIMESTAMP, source_names, ttl_micros
from yummy_feast.offline.store import YummyOfflineStore
from yummy_feast.offline.times import MISSING, instants, to_micros
from yummy_feast.online.keys import NO_JOIN_KEY
from yummy_feast.values import kind_of
from yummy_feast.verification.sampling import KeySample
from yummy_feast.verification.values import stored_rows

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView
    from feast.data_source import DataSource

    from yummy_feast.errors import RowDecodeError
    from yummy_feast.online.store import YummyOnlineStore

Progress = Callable[[str, str, int], Any]
"""Called with the view, what is done for it, and how many more rows that was done to."""
Row = tuple[int, tuple[Any, ...]]
"""Event timestamp (microseconds since 1970) and stored values."""

# Features of so many entities are held at a time; each such chunk reads the source's keys once more.
_CHUNK = 50_000
_BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Sides:
    """One feature view in both stores, as of ``as_of``."""

    store: FeatureStore
    online_store: YummyOnlineStore
    view: FeatureView
    as_of: datetime
    progress: Progress

    @property
    def features(self) -> tuple[tuple[str, int], ...]:
        """(name, Feast type number) of each feature, in the view's order."""
        return tuple((field.name, kind_of(field.dtype.to_value_type()).number) for field in self.view.features)

    @property
    def join_keys(self) -> list[str]:
        """Feast's names; none for a view without entities."""
        return [name for name in self.view.join_keys if name != NO_JOIN_KEY]

    @property
    def source(self) -> DataSource:
        """Where the offline rows lie."""
        source = self.view.batch_source
        if source is None:
            raise RetrievalError(f"feature view '{self.view.name}' has no batch source")
        return source

    def sample(self, size: int, seed: int) -> pa.Table | None:
        """Join keys of the sample, under Feast's names; None when no entity is visible."""
        if not self.join_keys:
            return pa.table({NO_JOIN_KEY: [""]})
        stored = source_names(self.view)
        columns = {name: stored.get(name, name) for name in self.join_keys}
        time = stored.get(self.source.timestamp_field, self.source.timestamp_field)
        ttl = ttl_micros(self.view.ttl)
        try:
            oldest = self.as_of - timedelta(microseconds=ttl) if ttl else None
        except OverflowError:
            oldest = None
        # Every row and not the newest per key: a stream needs no memory for the keys that it has seen.
        job = YummyOfflineStore.pull_all_from_table_or_query(
            self.store.config, self.source, list(columns.values()), [time], time, None, oldest, self.as_of
        )
        sample = KeySample(size, seed)
        for batch in job.to_record_batch_reader():
            keys = pa.table({name: batch.column(column) for name, column in columns.items()})
            sample.add(drop_null_rows(keys))
            self.progress(self.view.name, "drawing entities", len(keys))
        return sample.keys()

    def offline(self, sample: pa.Table | None) -> Iterator[tuple[pa.Table, list[Row | None]]]:
        """Batches of the sample, with the point-in-time answer to each entity; None where nothing is visible.

        Raises ValueTypeError for a value that its declared type cannot hold.
        """
        if sample is None:
            return
        for start in range(0, len(sample), _CHUNK):
            keys = sample.slice(start, _CHUNK)
            answer = self._point_in_time(keys)
            for first in range(0, len(keys), _BATCH):
                yield keys.slice(first, _BATCH), self._rows(answer.slice(first, _BATCH))

    def _point_in_time(self, keys: pa.Table) -> pa.Table:
        """Event time, then features, of each entity."""
        probe, time = self._with_event_time()
        names = [time, *(name for name, _ in self.features)]
        given = {name: keys.column(name) for name in self.join_keys}
        moments = pa.array([self.as_of] * len(keys), pa.timestamp("us", "UTC"))
        answer = YummyOfflineStore.get_historical_features(
            self.store.config,
            [probe],
            [f"{probe.name}:{name}" for name in dict.fromkeys(names)],
            pa.table({**given, EVENT_TIMESTAMP: moments}),
            self.store.registry,
            self.store.project,
            full_feature_names=True,
        ).to_arrow()
        columns = [answer.column(f"{probe.name}__{name}") for name in names]
        return pa.Table.from_arrays(columns, names=[str(position) for position in range(len(names))])

    def _rows(self, answer: pa.Table) -> list[Row | None]:
        event, *columns = answer.columns
        times = to_micros(instants(event), event.type.unit).tolist()
        try:
            rows = stored_rows(self.features, columns)
        except ValueTypeError as error:
            raise ValueTypeError(f"feature view '{self.view.name}': {error.message}", hint=error.hint) from error
        return [None if at == MISSING else (at, row) for at, row in zip(times, rows, strict=True)]

    def online(self, keys: pa.Table) -> list[Row | RowDecodeError | None]:
        """The online rows; an error where a row cannot be read."""
        columns = {name: keys.column(name) for name in keys.column_names}
        return self.online_store.read_stored(self.store.config, self.view, columns)

    def _with_event_time(self) -> tuple[FeatureView, str]:
        """The view with its event timestamp as one more feature, so that an answer tells which row won, and the name
        of that feature.
        """
        from feast import Field
        from feast.types import UnixTimestamp

        view, time = self.view, self.source.timestamp_field
        if time in {field.name for field in view.features}:
            return view, time
        # Not Feast's copy: that one constructs a view, and stream views warn each time.
        probe = object.__new__(type(view))
        probe.__dict__.update(view.__dict__)
        probe.projection = copy(view.projection)
        probe.projection.features = [*view.features, Field(name=time, dtype=UnixTimestamp)]
        return probe, time
