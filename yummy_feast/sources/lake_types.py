"""Arrow tables in the types that table formats share, for tables we create or overwrite."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.types as pt

from yummy_feast.errors import ColumnTypeError
from yummy_feast.sources.schemas import plain_schema
from yummy_feast.sources.writing import conformed


def lake_table(table: pa.Table, place: str) -> pa.Table:
    """``table`` in types that Delta and Iceberg hold: microseconds, UTC or no zone, signed integers.

    Raises ColumnTypeError for a type that has no counterpart (times of day, durations, 256-bit decimals).
    """
    fields = []
    for column in plain_schema(table.schema):
        kind = lake_type(column.type)
        if kind is None:
            raise ColumnTypeError(
                f"{place}: column '{column.name}' is {column.type}, which the table cannot hold", hint="cast it before"
            )
        fields.append(pa.field(column.name, kind))
    return conformed(table, pa.schema(fields), place)


def lake_type(kind: pa.DataType) -> pa.DataType | None:
    """The type that holds a plain Arrow type; None if there is none. A column of nulls becomes text."""
    if pt.is_nested(kind):
        return _nested(kind)
    if pt.is_timestamp(kind):
        return pa.timestamp("us", tz="UTC" if kind.tz is not None else None)
    if pt.is_unsigned_integer(kind):
        return {8: pa.int16(), 16: pa.int32()}.get(kind.bit_width, pa.int64())
    if pt.is_time(kind) or pt.is_duration(kind) or pt.is_decimal256(kind):
        return None
    if pt.is_decimal(kind):
        return pa.decimal128(kind.precision, kind.scale)
    replacements = {
        pa.float16(): pa.float32(),
        pa.null(): pa.string(),
        pa.date64(): pa.date32(),
        pa.large_string(): pa.string(),
        pa.large_binary(): pa.binary(),
    }
    return pa.binary() if pt.is_fixed_size_binary(kind) else replacements.get(kind, kind)


def _nested(kind: pa.DataType) -> pa.DataType | None:
    if pt.is_struct(kind):
        children = [(child.name, lake_type(child.type)) for child in kind]
        return None if any(child is None for _, child in children) else pa.struct(children)
    if pt.is_map(kind):
        key, value = lake_type(kind.key_type), lake_type(kind.item_type)
        return None if key is None or value is None else pa.map_(key, value)
    item = lake_type(kind.value_type)
    return None if item is None else pa.list_(item)
