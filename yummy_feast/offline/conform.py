"""Columns as declared: a feature is the same kind of thing offline and online.

A source may hold a feature as something else than its Field declares (pandas writes integers with gaps as floats).
Where the values fit, they are cast; where they do not, that is an error that names the column. A wider or narrower
number of the same kind stays as the source has it, and so do the types that Feast describes only loosely (lists, maps,
structs, decimals, JSON): so do Feast's own stores.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from yummy_feast.errors import ColumnTypeError
from yummy_feast.offline.times import utc


def conform(column: pa.ChunkedArray, declared: pa.DataType, *, name: str, location: str) -> pa.ChunkedArray:
    """``column`` in its declared type; times in UTC.

    Raises:
        ColumnTypeError: the source holds something the declared type cannot.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_timestamp(kind) and pa.types.is_timestamp(declared):
        return utc(column)
    if kind == declared or _stays(kind, declared):
        return column
    if pa.types.is_null(kind):
        return pa.chunked_array([pa.nulls(len(column), declared)])
    try:
        return _cast(column, declared)
    except pa.ArrowInvalid as error:
        reason = str(error).splitlines()[0]
    except (pa.ArrowNotImplementedError, pa.ArrowTypeError):
        reason = "no such conversion"
    raise ColumnTypeError(
        f"column '{name}' of {location} holds {kind}, but is declared {declared}: {reason}",
        hint="change the Field's dtype or the source's column type",
    )


def _cast(column: pa.ChunkedArray, declared: pa.DataType) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_string_view(kind) and _text(declared):
        return column.cast(declared)
    if any(same(kind) and same(declared) for same in _SAME):
        return column
    if pa.types.is_timestamp(declared) and pa.types.is_date(kind):
        return column.cast(pa.timestamp("us")).cast(declared)
    if pa.types.is_timestamp(declared) and pa.types.is_integer(kind):
        # Feast reads whole numbers as seconds (type_map.py, _python_datetime_to_int_timestamp).
        return column
    if pa.types.is_floating(kind) and pa.types.is_integer(declared):
        # NaN is how pandas spells a missing integer.
        return pc.if_else(pc.is_nan(column), None, column).cast(declared)
    if _number(kind) and _number(declared):
        return column.cast(declared)
    raise pa.ArrowTypeError("another kind of value")


def _number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _stays(kind: pa.DataType, declared: pa.DataType) -> bool:
    """Whether a type that Feast describes only loosely stays as it is in the source."""
    if pa.types.is_nested(declared):
        return pa.types.is_nested(kind) or _text(kind)
    if pa.types.is_nested(kind):
        # Feast.types.Json; a plain String is pa.string().
        return bool(pa.types.is_large_string(declared))
    return bool(pa.types.is_decimal(kind) and _text(declared))


_SAME = (pa.types.is_integer, pa.types.is_floating, _text, _binary)
