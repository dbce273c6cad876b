"""Keys and times as Spark expressions over carriers: what ``codes`` and ``times`` do with arrays, said once more for
Spark, so that both engines find the same things equal and the same instants in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.types as pt

from yummy_feast.offline.times import MAX, MIN, PER_SECOND
from yummy_feast.spark.columns import in_unit

if TYPE_CHECKING:
    from pyspark.sql import Column

KEY_TYPES = {
    "uint": "bigint",
    "int": "bigint",
    "float": "double",
    "string": "string",
    "bytes": "binary",
    "bool": "bigint",
    "time": "bigint",
    "fine time": "bigint",
    "decimal": "string",
    "null": "bigint",
}
"""The type in which Spark compares keys of a family; unsigned ones by their bits, decimals by their digits."""


def canonical_key(column: Column, kind: pa.DataType, family: str) -> Column:
    """A key in the carrier of ``kind``, as its family is compared; null (matches nothing) where it does not fit, and
    for NaN.
    """
    from pyspark.sql import functions as F  # noqa: N812

    if isinstance(kind, pa.BaseExtensionType):
        return canonical_key(column, kind.storage_type, family)
    if pt.is_dictionary(kind):
        return canonical_key(column, kind.value_type, family)
    if pt.is_null(kind):
        return F.lit(None).cast(KEY_TYPES[family])
    if pt.is_floating(kind):
        return _of_floats(column.cast("double"), family)
    if pt.is_uint64(kind):
        return column if family == "uint" else F.when(column >= 0, column)
    if family in ("time", "fine time"):
        # What the finer unit cannot hold equals nothing there.
        return in_unit(instant(column, kind), own_unit(kind), "us" if family == "time" else "ns")
    if family == "decimal":
        digits = F.regexp_replace(column.cast("string"), r"(\.\d*?)0+$", "$1")
        return F.regexp_replace(digits, r"\.$", "")
    return column.cast(KEY_TYPES[family])


def _of_floats(column: Column, family: str) -> Column:
    from pyspark.sql import functions as F  # noqa: N812

    if family == "float":
        # Adding zero turns -0.0 into the 0.0 that equals it.
        return F.when(~F.isnan(column), column + F.lit(0.0))
    half = float(2**63)
    whole = ~F.isnan(column) & (F.rint(column) == column)
    small = F.when(whole & (column >= -half) & (column < half), column).try_cast("bigint")
    if family == "int":
        return small
    big = F.when(whole & (column >= half) & (column < 2 * half), column - F.lit(half)).try_cast("bigint")
    return F.coalesce(F.when(column >= 0, small), big + F.lit(MIN))


def instant(column: Column, kind: pa.DataType) -> Column:
    """A time in the carrier of ``kind`` as a long in ``own_unit(kind)``."""
    return column.cast("bigint") * 86_400 if pt.is_date32(kind) else column


def own_unit(kind: pa.DataType) -> str:
    """As ``times.unit_of``, for a type that was checked."""
    if pt.is_date(kind):
        return "s" if pt.is_date32(kind) else "ms"
    return str(kind.unit)


def within(column: Column, unit: str, to: str, *, up: bool = False) -> Column:
    """Instants in another unit, clipped to 64 bits as ``times.scale_up`` clips."""
    from pyspark.sql import functions as F  # noqa: N812

    if PER_SECOND[to] <= PER_SECOND[unit]:
        return in_unit(column, unit, to, up=up)
    end = F.when(column > 0, F.lit(MAX)).when(column < 0, F.lit(MIN + 1))
    return F.coalesce(in_unit(column, unit, to), end)


def ttl_unit(entity_unit: str) -> str:
    """Where entity times and ttl, which is in microseconds, are both exact."""
    return "ns" if entity_unit == "ns" else "us"


def oldest_allowed(times: Column, entity_unit: str, ttl_us: int) -> Column | None:
    """The oldest instant an entity row sees, in ``ttl_unit``; None where every one is seen."""
    from pyspark.sql import functions as F  # noqa: N812

    unit = ttl_unit(entity_unit)
    ttl = ttl_us * (PER_SECOND[unit] // PER_SECOND["us"])
    if not ttl_us or ttl > MAX // 2:
        return None
    exact = within(times, entity_unit, unit)
    return F.when(exact < F.lit(MIN + 1 + ttl), F.lit(MIN + 1)).otherwise(exact - F.lit(ttl))
