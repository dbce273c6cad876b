"""Both stores in memory, for tests of what is copied, noted and sent; sources change and runs end when told to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
from feast import Entity, FeatureView, Field
from feast.types import Int64
from feast.value_type import ValueType

from yummy_feast.errors import YummyError
from yummy_feast.materialization.copying import Stores
from yummy_feast.offline.plan import ReadPlan
from yummy_feast.online.progress import Copy
from yummy_feast.online.writer import Written
from yummy_feast.sources.parquet import ParquetSource

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DRIVER = Entity(name="driver", join_keys=["id"], value_type=ValueType.INT64)
REGION = Entity(name="region", join_keys=["region"], value_type=ValueType.INT64)


class StoppedError(Exception):
    """The run is cut off here."""


def moment(micros: int) -> datetime:
    return EPOCH + timedelta(microseconds=micros)


def view(name: str = "stats", **options: Any) -> FeatureView:
    """A view of ``features`` by driver; what `feast apply` adds to it, the columns of its join keys, is there."""
    given = {
        "entities": [DRIVER],
        "source": ParquetSource("rows.parquet", name="rows", timestamp_field="at"),
        "features": [Field(name="n", dtype=Int64)],
        **options,
    }
    keys = [Field(name=entity.join_key, dtype=Int64) for entity in given["entities"]]
    return FeatureView(name=name, schema=[*keys, *given.pop("features")], **given)


@dataclass
class Source:
    """Parts of rows (id, event time in microseconds): an id is a join key, and the value of every feature."""

    parts: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    opened: list[ReadPlan] = field(default_factory=list)
    broken: dict[str, YummyError] = field(default_factory=dict)
    """What reading a column raises."""
    before_open: Callable[[], object] = lambda: None

    @property
    def state(self) -> str:
        return json.dumps(sorted(self.parts))

    def add(self, rows: Iterable[tuple[int, int]]) -> None:
        self.parts[max(self.parts, default=0) + 1] = list(rows)

    def compact(self) -> None:
        """All rows in one new part."""
        rows = [row for part in self.parts.values() for row in part]
        number = max(self.parts, default=0) + 1
        self.parts = {number: rows}

    def wanted(self, read: ReadPlan) -> list[tuple[int, int]]:
        seen = set(json.loads(read.seen)) if read.seen and read.seen_start is not None else set()
        found = []
        for number, rows in sorted(self.parts.items()):
            start = read.seen_start if number in seen else read.start
            found += [row for row in rows if (start is None or row[1] >= start) and row[1] <= (read.end or 0)]
        return found

    # ------------------------------------------------------------------------------------------ as an offline store

    def newest(self, config: Any, reads: Sequence[ReadPlan]) -> Found:
        self.before_open()
        self.opened += reads
        for read in reads:
            for name in read.columns:
                if name in self.broken:
                    raise self.broken[name]
        return Found(self.state, reads, [self.wanted(read) for read in reads])


class Found:
    """The rows of each read, three at a time."""

    def __init__(self, state: str, reads: Sequence[ReadPlan], found: list[list[tuple[int, int]]]) -> None:
        self.state = state
        self.rows = tuple(map(len, found))
        self._reads, self._found = reads, found

    def __enter__(self) -> Found:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def batches(self, skip: Sequence[int]) -> Iterator[tuple[int, pa.RecordBatch]]:
        for number, (read, rows) in enumerate(zip(self._reads, self._found, strict=True)):
            left = rows[skip[number] :]
            for start in range(0, len(left), 3):
                part = left[start : start + 3]
                times = pa.array([time for _, time in part], pa.timestamp("us", "UTC"))
                values = pa.array([key for key, _ in part], pa.int64())
                yield (
                    number,
                    pa.record_batch({name: times if name == read.time else values for name in read.columns}),
                )


class Book:
    """Notes, as a server keeps them."""

    def __init__(self) -> None:
        self.copies: dict[bytes, Copy] = {}
        self.rows: dict[bytes, tuple[str, int]] = {}
        self.keeps: Callable[[], bool] = lambda: True
        """Whether the next count is noted before a run is cut off."""

    def last(self, view: bytes) -> tuple[Copy | None, int]:
        copy = self.copies.get(view)
        run, count = self.rows.get(view, ("", 0))
        return copy, count if copy is not None and run == copy.run else 0

    def lasts(self, views: Sequence[bytes]) -> list[tuple[Copy | None, int]]:
        return [self.last(view) for view in views]

    def begin(self, copies: Iterable[tuple[bytes, Copy, int]]) -> None:
        for view, copy, rows in copies:
            self.copies[view] = copy
            self.rows[view] = (copy.run, rows)

    def advance(self, run: str, rows: Mapping[bytes, int]) -> None:
        if self.keeps():
            self.rows.update({view: (run, count) for view, count in rows.items()})

    def finish(self, copies: Iterable[tuple[bytes, Copy]]) -> None:
        self.copies.update(copies)


class Online:
    """Takes rows one by one. ``left``: so many are taken before the run is stopped by ``ends_with``."""

    def __init__(self) -> None:
        self.book = Book()
        self.rows: dict[str, set[int]] = {}
        self.sent: list[tuple[str, int]] = []
        self.sizes: list[int] = []
        self.left: int | None = None
        self.ends_with: Exception = StoppedError()
        self.asked = 0
        self.away: YummyError | None = None

    def settings(self, config: Any) -> Any:
        return SimpleNamespace()

    def stored_as(self, config: Any, table: FeatureView) -> bytes:
        return table.name.encode()

    def progress(self, config: Any) -> Book:
        self.asked += 1
        if self.away is not None:
            raise self.away
        return self.book

    def write_streams(
        self,
        config: Any,
        tables: Sequence[Any],
        batches: Iterable[tuple[Sequence[int], Sequence[pa.RecordBatch]]],
        acknowledged: Callable[[int, Written], object],
    ) -> None:
        for index, batch in (pair for indices, parts in batches for pair in zip(indices, parts, strict=True)):
            self.sizes.append(batch.num_rows)
            name = tables[index][0].name
            for key in batch.column(0).to_pylist():
                if self.left == 0:
                    raise self.ends_with
                self.left = None if self.left is None else self.left - 1
                self.rows.setdefault(name, set()).add(key)
                self.sent.append((name, key))
                acknowledged(index, Written(written=1))


class Bar:
    """A progress bar of Feast's kind."""

    def __init__(self, total: int) -> None:
        self.total, self.rows, self.unit, self.title = total, 0, "", ""

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def set_description(self, title: str) -> None:
        self.title = title

    def update(self, count: int) -> None:
        self.rows += count


class Lab:
    """A source, an online store, and what connects them."""

    def __init__(self, lateness: float = 0.0, batch_size: int | None = None) -> None:
        self.source, self.online = Source(), Online()
        self.bars: list[Bar] = []
        config: Any = SimpleNamespace(
            online_store=SimpleNamespace(layout="rows"),
            offline_store=SimpleNamespace(lateness=lateness),
            materialization_config=SimpleNamespace(online_write_batch_size=batch_size),
        )
        offline: Any = SimpleNamespace(
            newest=self.source.newest, newest_parts=lambda *_: None, state=lambda *_: self.source.state
        )
        online: Any = self.online
        self.stores = Stores(config, offline, online, self._bar)

    def _bar(self, total: Any) -> Any:
        self.bars.append(Bar(total))
        return self.bars[-1]
