"""What pyiceberg's planning may use of a Prune: a file is left out only if its partition or bounds contradict it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
from pyiceberg import expressions
from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression
from pyiceberg.expressions.literals import DateLiteral, TimestampLiteral
from pyiceberg.schema import Schema
from pyiceberg.types import DateType, IcebergType, IntegerType, LongType, StringType, TimestampType, TimestamptzType

from yummy_feast.sources.base import Prune
from yummy_feast.sources.pruning import DAY

_FEW = 200
"""pyiceberg gives up comparing longer lists of values with a file's bounds."""

# As values: their pydantic signatures are not the ones they are called with.
_at_least: Any = expressions.GreaterThanOrEqual
_at_most: Any = expressions.LessThanOrEqual
_one_of: Any = expressions.In


def plan_filter(prune: Prune | None, fields: Schema, today: Schema) -> BooleanExpression:
    """The filter for planning.

    fields: the columns as the scan sees them; today: the table's current columns, by which pyiceberg plans. A column
    that has another name today is filtered by that name; one that has another type, or is gone, is not filtered.
    """
    found: BooleanExpression = AlwaysTrue()
    if prune is None:
        return found
    for name in (prune.time_field, *prune.keys):
        if name not in fields.column_names:
            continue
        field = fields.find_field(name)
        column = today.find_column_name(field.field_id)
        if column is None or today.find_type(field.field_id) != field.field_type:
            continue
        if name == prune.time_field:
            found = _and(found, _time_filter(column, field.field_type, prune.start, prune.end))
        if name in prune.keys:
            found = _and(found, _key_filter(column, field.field_type, prune.keys[name]))
    return found


def _and(left: BooleanExpression, right: BooleanExpression | None) -> BooleanExpression:
    return left if right is None else And(left, right)


def _time_filter(column: str, kind: IcebergType, start: int | None, end: int | None) -> BooleanExpression | None:
    found: BooleanExpression = AlwaysTrue()
    if isinstance(kind, TimestampType | TimestamptzType):
        found = found if start is None else _at_least(column, TimestampLiteral(start))
        return found if end is None else And(found, _at_most(column, TimestampLiteral(end)))
    if isinstance(kind, DateType):
        found = found if start is None else _at_least(column, DateLiteral(-(-start // DAY)))
        return found if end is None else And(found, _at_most(column, DateLiteral(end // DAY)))
    return None


def _key_filter(column: str, kind: IcebergType, wanted: pa.Array) -> BooleanExpression | None:
    keys = pc.unique(wanted).drop_null()
    if isinstance(kind, IntegerType | LongType) and pt.is_integer(keys.type):
        bits = 31 if isinstance(kind, IntegerType) else 63
        # What the column cannot hold is not in it.
        keys = pa.array([key for key in keys.to_pylist() if -(2**bits) <= key < 2**bits], pa.int64())
    elif not (isinstance(kind, StringType) and (pt.is_string(keys.type) or pt.is_large_string(keys.type))):
        return None
    if len(keys) == 0:
        return None
    if len(keys) <= _FEW:
        return _one_of(column, keys.to_pylist())
    edges = pc.min_max(keys).as_py()
    return And(_at_least(column, edges["min"]), _at_most(column, edges["max"]))
