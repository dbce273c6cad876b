"""Columns as declared, inside Spark: what ``conform`` does with Arrow, for answers that never leave Spark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.types as pt

from yummy_feast.offline.conform import conform
from yummy_feast.spark.columns import natural

if TYPE_CHECKING:
    from pyspark.sql import Column

    from yummy_feast.offline.plan import FeatureColumn


def as_declared(column: Column, kind: pa.DataType, feature: FeatureColumn, location: str) -> Column:
    """A carrier of ``kind`` in the declared type, or as close as Spark has it. A value that does not fit fails the job.

    Raises:
        ColumnTypeError: no value of ``kind`` fits the declared type.
    """
    from pyspark.sql import functions as F  # noqa: N812
    from pyspark.sql.pandas.types import from_arrow_type

    nothing = pa.chunked_array([pa.nulls(0, kind)])
    answered = conform(nothing, feature.declared, name=feature.source, location=location).type
    plain = natural(column, kind)
    if answered == kind or not _is_number(answered):
        return plain
    target = from_arrow_type(answered) if not pt.is_unsigned_integer(answered) else "decimal(20,0)"
    if pt.is_floating(kind) and pt.is_integer(answered):
        # NaN is how pandas spells a missing integer.
        wrong = F.raise_error(
            F.lit(f"column '{feature.source}' of {location} holds fractions, but is declared {answered}")
        )
        return F.when(F.isnan(column), None).when(F.rint(column) != column, wrong).otherwise(column).cast(target)
    return plain.cast(target)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pt.is_integer(kind) or pt.is_floating(kind))
