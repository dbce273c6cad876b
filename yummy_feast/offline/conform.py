"""Columns as declared: the same feature has the same type offline and online.

A source may hold a feature in another type than its Field declares (pandas writes integers with gaps as floats, CSV
knows no 32-bit numbers). Where the values fit, they are cast; where they do not, that is an error that names the
column. Types that Feast describes only loosely (lists, maps, structs, decimals, JSON) stay as the source has them.
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
    if pa.types.is_timestamp(kind):
        return utc(column)
    if kind == declared or _loose(declared) or (_loose(kind) and not _number(declared)):
        return column
    if pa.types.is_null(kind):
        return column.cast(declared)
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
    if _text(kind) and _text(declared):
        return column if not pa.types.is_string_view(kind) else column.cast(declared)
    if _binary(kind) and _binary(declared):
        return column
    if pa.types.is_floating(kind) and pa.types.is_integer(declared):
        # NaN is how pandas spells a missing integer.
        return pc.if_else(pc.is_nan(column), None, column).cast(declared)
    if pa.types.is_floating(kind) and pa.types.is_floating(declared):
        return column.cast(declared, safe=False)
    if _number(kind) and _number(declared):
        return column.cast(declared)
    if pa.types.is_date(kind) and pa.types.is_timestamp(declared):
        return column.cast(pa.timestamp("us")).cast(declared)
    if pa.types.is_integer(kind) and pa.types.is_timestamp(declared):
        # Feast reads whole numbers as seconds (type_map.py, _python_datetime_to_int_timestamp).
        return column.cast(pa.int64()).cast(pa.timestamp("s", "UTC")).cast(declared)
    raise pa.ArrowTypeError("another kind of value")


def _number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _loose(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(kind) or pa.types.is_decimal(kind))
