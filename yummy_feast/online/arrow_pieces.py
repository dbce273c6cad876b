"""Everything that is not a number, out of Arrow: one piece of bytes per row.

Casting follows Feast's own conversion, with two differences, each because the other way loses data silently: a null
inside a list of integers, bools, UUIDs or decimals is refused, and what is declared JSON, UUID or DECIMAL is checked to
be one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from yummy_feast.errors import ValueTypeError
from yummy_feast.online.arrow_numbers import fixed, is_text, mask, plain
from yummy_feast.online.nested import NULL_INSIDE, value_maker
from yummy_feast.values import BY_NAME, NULL_TIMESTAMP, Encoding, Kind, is_list

# What uuid.UUID and decimal.Decimal accept without thinking; other texts are asked of Python one by one.
_PLAIN_UUID = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
_PLAIN_DECIMAL = r"^[+-]?[0-9]+(\.[0-9]+)?$"


def pieces(kind: Kind, array: pa.Array) -> pa.Array:
    """The column as large_binary, null where it is null. ValueTypeError or an Arrow error for what does not fit."""
    if kind.encoding is Encoding.VECTOR:
        return _vectors(kind, array)
    if kind.encoding is Encoding.PROTO:
        return pa.array(_serialized(kind, array), pa.large_binary())
    if kind.encoding is Encoding.PACKED:
        return pa.array(_packed(kind, array), pa.large_binary())
    if kind.encoding is Encoding.BYTES:
        if not (_is_bytes(array.type) or is_text(array.type)):
            raise ValueTypeError("these are no bytes")
        return _as_large_binary(array)
    return _as_large_binary(_texts(kind.name, array))


def _is_bytes(arrow_type: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_binary(arrow_type)
        or types.is_large_binary(arrow_type)
        or types.is_fixed_size_binary(arrow_type)
        or types.is_binary_view(arrow_type)
    )


def _as_large_binary(array: pa.Array) -> pa.Array:
    if pa.types.is_fixed_size_binary(array.type):
        array = array.cast(pa.binary())
    return array.cast(pa.large_binary())


# ------------------------------------------------------------------------------------------------- texts


def _texts(type_name: str, array: pa.Array) -> pa.Array:
    """Text of a STRING, JSON, UUID or DECIMAL column as large_string, checked to be one."""
    source = array.type
    if type_name == "JSON":
        values = array.to_pylist() if is_text(source) else _python_values(array)
        return pa.array([None if item is None else _json_text(item) for item in values], pa.large_string())
    is_uuid = type_name in ("UUID", "TIME_UUID")
    if is_text(source) or pa.types.is_integer(source) or pa.types.is_decimal(source):
        texts = array.cast(pa.large_string())
    elif _is_bytes(source):
        texts = _uuid_texts(array) if is_uuid else _as_large_binary(array).cast(pa.large_string())
    else:
        # Feast's str(): "True" and "1.5", where Arrow would write "true".
        texts = pa.array([None if item is None else str(item) for item in _python_values(array)], pa.large_string())
    if is_uuid:
        _check(texts, _PLAIN_UUID, UUID)
    elif type_name == "DECIMAL":
        _check(texts, _PLAIN_DECIMAL, Decimal)
    return texts


def _uuid_texts(array: pa.Array) -> pa.Array:
    return pa.array([None if item is None else str(UUID(bytes=item)) for item in array.to_pylist()], pa.large_string())


def _check(texts: pa.Array, pattern: str, parse: Callable[[str], object]) -> None:
    for text in texts.filter(pc.invert(pc.match_substring_regex(texts, pattern))).to_pylist():
        try:
            parse(text)
        except (ValueError, ArithmeticError):
            raise ValueTypeError(f"{text[:60]!r} is none") from None


def _json_text(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        msgspec.json.decode(value)
    except msgspec.DecodeError:
        # Python's JSON also knows NaN and Infinity, and Feast reads with Python's.
        try:
            json.loads(value)
        except ValueError:
            raise ValueTypeError(f"{value[:60]!r} is none") from None
    return value


# ------------------------------------------------------------------------------------------------- lists


def _vectors(kind: Kind, array: pa.Array) -> pa.Array:
    """Lists of numbers: their values one after the other, cut where each list ends. No value is touched in Python."""
    if not is_list(array.type):
        raise ValueTypeError("these are no lists")
    counts = pc.fill_null(pc.list_value_length(array), 0).to_numpy().astype(np.int64, copy=False)
    values = _without_nulls(_element(kind), plain(pc.list_flatten(array)))
    if kind.is_set:
        values, counts = _distinct(values, counts)
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts * values.itemsize, out=offsets[1:])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(values))]
    cut = pa.Array.from_buffers(pa.large_binary(), len(counts), buffers)
    nulls = mask(array)
    return cut if nulls is None else pc.if_else(pa.array(nulls), None, cut)


def _element(kind: Kind) -> Kind:
    return BY_NAME[kind.name.removesuffix("_LIST").removesuffix("_SET")]


def _without_nulls(element: Kind, flat: pa.Array) -> npt.NDArray[Any]:
    values, nulls = fixed(element, flat.cast(element.arrow) if pa.types.is_null(flat.type) else flat)
    if nulls is None:
        return values
    values = values.copy()
    if values.dtype.kind == "f":
        values[nulls] = np.nan
    elif element.name == "UNIX_TIMESTAMP":
        values[nulls] = NULL_TIMESTAMP
    else:
        raise ValueTypeError(NULL_INSIDE)
    return values


def _distinct(
    values: npt.NDArray[Any], counts: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    parts = np.split(values, np.cumsum(counts)[:-1]) if len(counts) else []
    kept = [list(dict.fromkeys(part.tolist())) for part in parts]
    flat = np.array([item for part in kept for item in part], values.dtype)
    return flat, np.array([len(part) for part in kept], np.int64)


def _packed(kind: Kind, array: pa.Array) -> list[bytes | None]:
    """Lists of texts or bytes as msgpack. A null inside is empty text, as in Feast; a UUID or Decimal cannot be."""
    if not is_list(array.type):
        raise ValueTypeError("these are no lists")
    element = _element(kind)
    flat = plain(pc.list_flatten(array))
    if pa.types.is_null(flat.type):
        flat = flat.cast(element.arrow)
    items = pieces(element, flat) if element.name == "BYTES" else _texts(element.name, flat)
    if items.null_count:
        if element.name not in ("STRING", "BYTES"):
            raise ValueTypeError(NULL_INSIDE)
        items = items.fill_null(b"" if element.name == "BYTES" else "")
    values = items.to_pylist()
    encode = msgspec.msgpack.Encoder().encode
    packed: list[bytes | None] = []
    start = 0
    for count in pc.list_value_length(array).to_pylist():
        if count is None:
            packed.append(None)
            continue
        part = values[start : start + count]
        packed.append(encode(list(dict.fromkeys(part)) if kind.is_set else part))
        start += count
    return packed


# ------------------------------------------------------------------------------------------------ the rest


def _serialized(kind: Kind, array: pa.Array) -> list[bytes | None]:
    """Feast's own protobuf values, serialized the same way every time, so that equal values are equal bytes."""
    from feast.type_map import python_values_to_proto_values
    from feast.value_type import ValueType

    values = _python_values(array)
    present = [value for value in values if value is not None]
    make = value_maker(kind, array.type)
    if make is not None:
        messages = iter([make(value) for value in present])
    else:
        messages = iter(python_values_to_proto_values(present, ValueType(kind.number)) if present else [])
    return [None if value is None else next(messages).SerializeToString(deterministic=True) for value in values]


def _python_values(array: pa.Array) -> list[Any]:
    """Python values as Feast's converters like them: maps as dicts, times as datetimes of at most microseconds."""
    if pa.types.is_timestamp(array.type) and array.type.unit == "ns":
        array = array.cast(pa.timestamp("us", tz=array.type.tz), safe=False)
    return [_tidy(value) for value in array.to_pylist(maps_as_pydicts="strict")]


def _tidy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tidy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value
