"""Columns as declared, inside Spark: what ``conform`` does with Arrow, for answers that never leave Spark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.types as pt

from yummy_feast.offline.conform import conform
from yummy_feast.offline.engines.spark_values import instant, own_unit
from yummy_feast.spark.carriers import carrier
from yummy_feast.spark.columns import in_unit, natural, spark_type

if TYPE_CHECKING:
    from pyspark.sql import Column

    from yummy_feast.offline.plan import FeatureColumn

_WHOLE = {16: 2**11, 32: 2**24, 64: 2**53}
"""Bits of a float: up to here it holds every whole number."""


def as_declared(column: Column, kind: pa.DataType, feature: FeatureColumn, location: str) -> Column:
    """A carrier of ``kind`` in the declared type, or as close as Spark has it. A value that does not fit fails the job.

    Raises:
        ColumnTypeError: no value of ``kind`` fits the declared type.
    """
    from pyspark.sql import functions as F  # noqa: N812

    if pt.is_dictionary(kind):
        return as_declared(column, kind.value_type, feature, location)
    nothing = pa.chunked_array([pa.nulls(0, kind)])
    answered = conform(nothing, feature.declared, name=feature.source, location=location).type
    if pt.is_null(kind) and not pt.is_null(answered):
        return natural(F.lit(None).cast(spark_type(carrier(answered))), answered)
    plain = natural(column, kind)
    if pt.is_date32(kind) and pt.is_timestamp(answered):
        time = in_unit(instant(column, kind), own_unit(kind), "us")
        fits, found = column.isNull() | time.isNotNull(), F.timestamp_micros(time)
    elif answered == kind or not _is_number(answered):
        return plain
    else:
        if pt.is_floating(kind) and pt.is_integer(answered):
            # NaN is how pandas spells a missing integer.
            plain = F.when(~F.isnan(plain), plain)
        fits = plain.isNull() | _fits(plain, kind, answered)
        found = (_number(plain, kind) if pt.is_integer(answered) else plain).cast(spark_type(answered))
    told = F.concat(
        F.lit(f"column '{feature.source}' of {location} holds "),
        plain.cast("string"),
        F.lit(f", but is declared {answered}"),
    )
    return F.when(fits, found).otherwise(F.raise_error(told))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pt.is_integer(kind) or pt.is_floating(kind))


def _fits(column: Column, kind: pa.DataType, to: pa.DataType) -> Column:
    """Whether a number (not null, not NaN) is the same in ``to``, a signed integer or a float, as Arrow sees it."""
    from pyspark.sql import functions as F  # noqa: N812

    if pt.is_floating(to):
        if pt.is_decimal(kind):
            # The nearest one, as everywhere: hardly any decimal is a float.
            return F.lit(True)
        limit = _WHOLE[to.bit_width]
        return column.between(F.lit(-limit), F.lit(limit))
    target = spark_type(to)
    if pt.is_floating(kind):
        end = 2.0 ** (to.bit_width - 1)
        whole: Column = (F.rint(column) == column) & (column >= -end) & (column < end)
        return whole
    whole = _number(column, kind) % F.lit(1).cast("decimal(1,0)") == 0
    return F.coalesce(whole, F.lit(False)) & _number(column, kind).try_cast(target).isNotNull()


def _number(column: Column, kind: pa.DataType) -> Column:
    """Decimals that Spark has no type for are texts."""
    if not pt.is_decimal(kind) or not pt.is_string(carrier(kind)):
        return column
    return column.try_cast("decimal(38,18)")
