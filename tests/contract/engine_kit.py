"""What the suites for engines share: sources in memory and in Parquet, plans in one line, and answers as lists.

An engine that joins ``ENGINES`` is run by all of them; it needs no fixture of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from yummy_feast.offline.engines.base import Engine, EngineSettings, FeatureAnswer
from yummy_feast.offline.engines.table import engine_of
from yummy_feast.offline.entity_rows import EntityRows
from yummy_feast.offline.plan import FeatureColumn, ReadPlan, RetrievalPlan, ViewPlan
from yummy_feast.sources.base import Piece, Prune, Scan, SourceContext, YummySource
from yummy_feast.sources.parquet import ParquetSource

HOUR = 3_600_000_000
"""Microseconds."""


@dataclass(frozen=True)
class MemoryPiece:
    """Batches as they are: with offsets, dictionaries, and whatever else Parquet would not bring back."""

    batches: tuple[pa.RecordBatch, ...]
    error: Exception | None = None

    @property
    def rows(self) -> int:
        return sum(batch.num_rows for batch in self.batches)

    def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for batch in self.batches:
            yield batch.select(columns)
        if self.error:
            raise self.error


class MemoryScan(Scan):
    format = "memory"
    snapshot = "now"
    location = "memory"

    def __init__(self, schema: pa.Schema, pieces: Sequence[MemoryPiece]) -> None:
        self.schema = schema
        self._pieces = pieces

    def pieces(self, prune: Prune | None = None) -> list[Piece]:
        return list(self._pieces)


class MemorySource(YummySource):
    """A table cut into pieces, each cut into batches of ``batch`` rows that begin somewhere inside their buffers."""

    format: ClassVar[str] = "memory"
    location = "memory"

    def __init__(self, pieces: Sequence[pa.Table], batch: int = 3, error: Exception | None = None) -> None:
        super().__init__("memory", timestamp_field="t")
        self.schema = pieces[0].schema
        self.scans = 0
        parts = [tuple(piece.combine_chunks().to_batches(max_chunksize=batch)) for piece in pieces]
        last = len(parts) - 1
        self.parts = [MemoryPiece(part, error if number == last else None) for number, part in enumerate(parts)]

    def scan(self, context: SourceContext) -> MemoryScan:
        self.scans += 1
        return MemoryScan(self.schema, self.parts)

    def append(self, table: pa.Table, context: SourceContext, *, create: bool = False) -> None:
        raise NotImplementedError

    def replace(self, table: pa.Table, context: SourceContext, *, allow_overwrite: bool) -> None:
        raise NotImplementedError


@dataclass
class Kit:
    """One engine over one way to store rows. ``threads`` and the other settings may be changed before asking."""

    engine_name: str
    stored_in: str
    folder: Path
    settings: dict[str, Any] = field(default_factory=lambda: {"threads": 2})
    sources: int = 0

    @property
    def engine(self) -> Engine:
        return engine_of(self.engine_name, EngineSettings(context=SourceContext(self.folder), **self.settings))

    def source(self, table: pa.Table, *cuts: int) -> YummySource:
        """The table as a source; ``cuts`` are rows at which a new file (or piece) begins."""
        ends = (*cuts, table.num_rows)
        parts = [table.slice(start, end - start) for start, end in zip((0, *cuts), ends, strict=True)]
        if self.stored_in == "memory":
            # Each batch travels to executors with the buffers of the whole piece: not too many of them.
            return MemorySource(parts, batch=max(3, table.num_rows // 20))
        self.sources += 1
        paths = [self.folder / f"source{self.sources}_{number}.parquet" for number in range(len(parts))]
        for path, part in zip(paths, parts, strict=True):
            pq.write_table(part, path, row_group_size=4)
        return ParquetSource(path=paths, name=f"source{self.sources}", timestamp_field="t")

    def answer(self, entity_rows: pa.Table, *views: ViewPlan) -> FeatureAnswer:
        outputs = tuple(column.output for view in views for column in view.features)
        plan = RetrievalPlan(views, outputs, (), (), full_feature_names=False)
        return self.engine.point_in_time(plan, EntityRows.of_arrow(entity_rows))

    def ask(self, entity_rows: pa.Table, *views: ViewPlan) -> pa.Table:
        """The features, checked for the shape that every answer must have."""
        table = self.answer(entity_rows, *views).table()
        assert table.column_names == [column.output for view in views for column in view.features]
        assert len(table) == len(entity_rows)
        table.validate(full=True)
        return table


def embedded_only(kit: Kit, why: str) -> None:
    """Skip what is a promise of engines in this process alone."""
    if kit.engine_name == "spark":
        pytest.skip(f"spark: {why}")


def view(
    source: YummySource,
    features: Mapping[str, pa.DataType] | str = "v",
    *,
    keys: Sequence[str] | Mapping[str, str] = ("k",),
    created: str | None = None,
    ttl: int = 0,
    cutoff: bool = False,
    name: str = "a_view",
) -> ViewPlan:
    """A view whose time is ``t``. features: a name (an int64 is declared), or names with declared types. ttl:
    microseconds.
    """
    declared = {features: pa.int64()} if isinstance(features, str) else features
    pairs = tuple(keys.items()) if isinstance(keys, Mapping) else tuple((key, key) for key in keys)
    columns = tuple(FeatureColumn(column, column, kind) for column, kind in declared.items())
    return ViewPlan(name, source, pairs, columns, "t", created, ttl, cutoff)


def read(
    source: YummySource,
    *features: str,
    keys: Sequence[str] = ("k",),
    created: str | None = None,
    start: int | None = None,
    end: int | None = None,
) -> ReadPlan:
    return ReadPlan(source, tuple(keys), features, "t", created, start, end)


def micros(*values: int | None) -> pa.Array:
    """Instants in microseconds, UTC."""
    return pa.array(values, pa.timestamp("us", "UTC"))


def rows_of(**columns: Any) -> pa.Table:
    """A table; lists of ints under ``t``, ``made`` and ``event_timestamp`` are microseconds."""
    times = ("t", "made", "event_timestamp")
    return pa.table(
        {
            name: micros(*column) if name in times and isinstance(column, list) else column
            for name, column in columns.items()
        }
    )


def asked(keys: Sequence[Any] | pa.Array, times: Sequence[int | None]) -> pa.Table:
    """Entity rows with the join key ``k``."""
    return pa.table({"k": keys, "event_timestamp": micros(*times)})
