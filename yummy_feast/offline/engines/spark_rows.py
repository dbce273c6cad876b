"""Entity rows on their way into Spark: row number, time and join keys, and no more than that unless it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from yummy_feast.offline.engines.codes import canonical
from yummy_feast.offline.entity_rows import EntityRows
from yummy_feast.offline.frame_rows import FrameRows
from yummy_feast.offline.times import MISSING
from yummy_feast.spark.carriers import carry

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ROW = "__row"
TIME = "__t"

_BATCH = 100_000
"""Entity rows per partition."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Entity rows as the join wants them.

    frame: ``ROW`` (long, in order), ``TIME`` (long in ``unit``), ``r0, r1, …`` (the join keys in ``keys``' order, in
    carriers), and ``u0, u1, …`` (all entity columns) if they come along. kinds: Arrow types of the keys. low, high: of
    the times, None without any. has_nulls: whether a time or key may be null (or a NaN).
    """

    frame: DataFrame
    keys: tuple[str, ...]
    kinds: Mapping[str, pa.DataType]
    unit: str
    count: int
    low: int | None
    high: int | None
    has_nulls: bool
    names: tuple[str, ...] = ()

    def key(self, name: str) -> str:
        """The column of a join key."""
        return f"r{self.keys.index(name)}"


def asked_of_frame(rows: FrameRows, keys: Sequence[str], *, whole: bool) -> Asked:
    """Entity rows that live in Spark as ``Asked``."""
    count, low, high = rows.measured()
    kinds = {name: rows.kind(name) for name in keys}
    own = [rows.key_column(name).alias(f"r{number}") for number, name in enumerate(keys)]
    names = tuple(rows.names) if whole else ()
    users = [rows.user_column(name).alias(f"u{number}") for number, name in enumerate(names)]
    frame = rows.rows.select(rows.row_number().alias(ROW), rows.instants().alias(TIME), *own, *users)
    return Asked(frame, tuple(keys), kinds, rows.time_unit, count, low, high, True, names)


def asked_of(session: SparkSession, rows: EntityRows, keys: Sequence[str], *, whole: bool) -> Asked:
    """Entity rows in Arrow as ``Asked``."""
    real = rows.times[rows.times != MISSING]
    columns: dict[str, pa.Array] = {
        ROW: pa.array(range(len(rows)), pa.int64()),
        TIME: pa.array(rows.times, mask=rows.times == MISSING),
    }
    has_nulls = len(real) < len(rows)
    for number, name in enumerate(keys):
        column = carry(_flat(rows.column(name)))
        columns[f"r{number}"] = column
        has_nulls = has_nulls or column.null_count > 0 or pa.types.is_floating(column.type)
    names: tuple[str, ...] = ()
    if whole:
        names = tuple(rows.names)
        columns |= {f"u{number}": carry(_flat(rows.column(name))) for number, name in enumerate(names)}
    frame = session.createDataFrame(pa.table(columns)).coalesce(1 + len(rows) // _BATCH)
    low, high = (int(real.min()), int(real.max())) if len(real) else (None, None)
    kinds = {name: rows.column(name).type for name in keys}
    return Asked(frame, tuple(keys), kinds, rows.time_unit, len(rows), low, high, has_nulls, names)


def wanted_keys(rows: EntityRows, pairs: Sequence[tuple[str, str]], families: Sequence[str]) -> dict[str, pa.Array]:
    """Distinct key values per source column, for partitions and statistics."""
    return {
        source: pc.drop_null(pc.unique(canonical(rows.column(entity), kind, entity)))
        for (entity, source), kind in zip(pairs, families, strict=True)
    }


def _flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
