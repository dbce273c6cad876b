"""Expressions of Spark that go from the types Spark reads a column in to the carriers that we compute with, and back to
types that people expect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.types as pt

from yummy_feast.errors import ColumnTypeError
from yummy_feast.spark.carriers import carrier, is_list
from yummy_feast.values.kinds import PER_SECOND

if TYPE_CHECKING:
    from pyspark.sql import Column
    from pyspark.sql.types import DataType

_DAY = 86_400_000_000
"""Microseconds."""


def column_of(name: str) -> Column:
    """A column by its very name, dots and all."""
    from pyspark.sql import functions as F  # noqa: N812

    return F.col("`" + name.replace("`", "``") + "`")


def spark_type(kind: pa.DataType) -> DataType:
    """Spark's type for a carrier."""
    from pyspark.sql.pandas.types import from_arrow_type

    return from_arrow_type(kind)


def carried(column: Column, found: DataType, kind: pa.DataType) -> Column:
    """``column``, which Spark reads as ``found``, in the carrier of the Arrow type ``kind`` that the scan says it has.

    Raises:
        ColumnTypeError: the two do not go together.
    """
    from pyspark.sql import functions as F  # noqa: N812
    from pyspark.sql import types as T  # noqa: N812

    if isinstance(kind, pa.BaseExtensionType):
        return carried(column, found, kind.storage_type)
    if pt.is_dictionary(kind):
        return carried(column, found, kind.value_type)
    target = spark_type(carrier(kind))
    if found == target:
        return column
    if isinstance(found, T.NullType):
        return column.cast(target)
    if isinstance(found, T.TimestampType | T.TimestampNTZType) and pt.is_timestamp(kind):
        return in_unit(_micros(column, found), "us", kind.unit)
    if isinstance(found, T.DateType) and pt.is_date32(kind):
        return F.unix_date(column)
    if isinstance(found, T.ArrayType) and is_list(kind):
        inner = found.elementType
        return (
            column
            if _alike(inner, kind.value_type)
            else F.transform(column, lambda x: carried(x, inner, kind.value_type))
        )
    if isinstance(found, T.MapType) and pt.is_map(kind):
        keys, values = found.keyType, found.valueType
        pairs = F.map_entries(column)
        return F.transform(
            pairs,
            lambda x: F.struct(
                carried(x["key"], keys, kind.key_type).alias("key"),
                carried(x["value"], values, kind.item_type).alias("value"),
            ),
        )
    if isinstance(found, T.StructType) and pt.is_struct(kind):
        children = [
            carried(column.getField(child.name), child.dataType, kind.field(number).type).alias(f"f{number}")
            for number, child in enumerate(found.fields)
        ]
        return F.when(column.isNotNull(), F.struct(*children))
    if isinstance(found, T.NumericType) and isinstance(target, T.NumericType):
        return column.cast(target)
    if isinstance(found, T.DecimalType) and isinstance(target, T.StringType):
        return column.cast(target)
    raise ColumnTypeError(
        f"Spark reads {found.simpleString()} where the source holds {kind}", hint="please report this"
    )


def natural(column: Column, kind: pa.DataType) -> Column:
    """A carrier of ``kind`` as the type Spark's users expect: timestamps for times (to the microsecond), dates for
    days, decimals for what a signed integer cannot hold.
    """
    from pyspark.sql import functions as F  # noqa: N812

    if isinstance(kind, pa.BaseExtensionType):
        return natural(column, kind.storage_type)
    if pt.is_dictionary(kind):
        return natural(column, kind.value_type)
    if pt.is_timestamp(kind) or pt.is_date64(kind):
        return F.timestamp_micros(in_unit(column, "ms" if pt.is_date64(kind) else kind.unit, "us"))
    if pt.is_date32(kind):
        return F.date_from_unix_date(column)
    if pt.is_uint64(kind):
        wide = column.cast("decimal(20,0)")
        # By its text: neither py4j nor Connect takes a number of more than 64 bits.
        return F.when(column < 0, wide + F.lit(str(2**64)).cast("decimal(20,0)")).otherwise(wide).cast("decimal(20,0)")
    if is_list(kind) and _needs_natural(kind):
        return F.transform(column, lambda x: natural(x, kind.value_type))
    if pt.is_map(kind):
        pairs = F.transform(
            column,
            lambda x: F.struct(
                natural(x["key"], kind.key_type).alias("key"), natural(x["value"], kind.item_type).alias("value")
            ),
        )
        return F.map_from_entries(pairs)
    if pt.is_struct(kind):
        children = [
            natural(column.getField(f"f{number}"), kind.field(number).type).alias(kind.field(number).name)
            for number in range(kind.num_fields)
        ]
        return F.when(column.isNotNull(), F.struct(*children))
    return column


def in_unit(column: Column, unit: str, to: str, *, up: bool = False) -> Column:
    """Instants (long) of ``unit`` in another one: rounded down, or ``up``; null where 64 bits do not hold them."""
    from pyspark.sql import functions as F  # noqa: N812

    have, want = PER_SECOND[unit], PER_SECOND[to]
    if want >= have:
        return column if want == have else F.try_multiply(column, F.lit(want // have).cast("bigint"))
    step = F.lit(have // want).cast("bigint")
    whole = F.call_function("div", column, step)
    rest = column % step != 0
    return whole + (rest & (column > 0)).cast("bigint") if up else whole - (rest & (column < 0)).cast("bigint")


def _needs_natural(kind: pa.DataType) -> bool:
    inner = kind.value_type
    if is_list(inner):
        return _needs_natural(inner)
    return bool(pt.is_map(inner) or pt.is_struct(inner) or pt.is_temporal(inner) or pt.is_uint64(inner))


def _micros(column: Column, found: DataType) -> Column:
    from pyspark.sql import functions as F  # noqa: N812
    from pyspark.sql import types as T  # noqa: N812

    if isinstance(found, T.TimestampType):
        return F.unix_micros(column)
    # No zone: it is UTC, whatever the session's zone, in which Spark's own functions for differences would read it.
    days = F.unix_date(column.cast("date")).cast("bigint")
    seconds = (F.hour(column) * 60 + F.minute(column)).cast("bigint") * 60
    of_day = seconds * 1_000_000 + (F.extract(F.lit("SECOND"), column) * 1_000_000).cast("bigint")
    # From the next midnight back: 64 bits do not hold the midnight before their own beginning.
    before = (days < 0).cast("bigint")
    return (days + before) * _DAY + (of_day - before * _DAY)


def _alike(found: DataType, kind: pa.DataType) -> bool:
    return bool(found == spark_type(carrier(kind)))
