"""A feature column on its way into rows: numbers of one width, or one piece of bytes per row.

``convert`` takes what a source gave (any Arrow type that can stand for the declared Feast type) and ``of_stored`` what
Feast's protobuf values held. Casting follows Feast's own conversion, with four differences, each because the other way
loses data silently: a float with a fraction is no integer, NaN in a float column stays NaN, a null inside a list of
integers or bools is refused, and timestamps before 1970 round down like those after.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from yummy_feast.errors import ValueTypeError
from yummy_feast.values import BY_NAME, NULL_TIMESTAMP, Encoding, Kind, is_list, kind_of

Mask = npt.NDArray[np.bool_] | None
"""True where the column is null; None when no row is."""

# Spelled-out numpy types: '=' would do on every machine we know, but a row is little-endian by definition.
_NUMPY = {"i": "<i4", "q": "<i8", "d": "<f8", "f": "<f4", "?": "?"}

# What uuid.UUID and decimal.Decimal accept without thinking; other texts are asked of Python one by one.
_PLAIN_UUID = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
_PLAIN_DECIMAL = r"^[+-]?[0-9]+(\.[0-9]+)?$"


@dataclass(frozen=True)
class FixedColumn:
    """Numbers of one width. ``values`` has one entry per row (0 where null)."""

    name: str
    number: int
    values: npt.NDArray[Any]
    nulls: Mask

    @cached_property
    def bounds(self) -> tuple[int, int]:
        """Smallest and largest value of an integer column; (0, 0) when empty."""
        return (int(self.values.min()), int(self.values.max())) if len(self.values) else (0, 0)


@dataclass(frozen=True)
class HeapColumn:
    """Pieces of bytes. ``data`` is a large_binary array without nulls (empty where null), ``lengths`` its lengths."""

    name: str
    number: int
    data: pa.Array
    lengths: npt.NDArray[np.int64]
    nulls: Mask


Column = FixedColumn | HeapColumn


def convert(name: str, number: int, array: pa.Array | pa.ChunkedArray) -> Column:
    """The column ``name`` of Feast type ``number`` from Arrow.

    Raises ValueTypeError naming the column when a value does not fit the declared type.
    """
    kind = kind_of(number)
    try:
        array = _plain(array)
        if pa.types.is_null(array.type):
            return _all_null(name, kind, len(array))
        if kind.encoding is Encoding.FIXED:
            return _fixed(name, kind, array)
        return _heap(name, kind, array)
    except (pa.ArrowException, TypeError, ValueError, AssertionError, KeyError) as error:
        if isinstance(error, ValueTypeError) and error.message.startswith("column "):
            raise
        raise ValueTypeError(
            f"column {name!r} is declared {kind.name} and holds {array.type}: {str(error).splitlines()[0]}",
            hint="change the feature's dtype, or the column in the source",
        ) from error


def of_stored(name: str, number: int, values: Sequence[Any]) -> Column:
    """The column from stored values (``values.stored_value``), None for nulls. Raises as ``convert`` does."""
    kind = kind_of(number)
    try:
        if kind.encoding is not Encoding.PROTO:
            return convert(name, number, pa.array(values, _stored_type(kind)))
        return _pieces(name, kind, pa.array(values, pa.large_binary()))
    except (pa.ArrowException, TypeError, OverflowError) as error:
        if isinstance(error, ValueTypeError):
            raise
        raise ValueTypeError(f"column {name!r} is declared {kind.name}: {str(error).splitlines()[0]}") from error


def _stored_type(kind: Kind) -> pa.DataType:
    if kind.code:
        element = {"i": pa.int32(), "q": pa.int64(), "d": pa.float64(), "f": pa.float32(), "?": pa.bool_()}[kind.code]
        return element if kind.encoding is Encoding.FIXED else pa.large_list(element)
    is_bytes = kind.name in ("BYTES", "BYTES_LIST", "BYTES_SET", "PDF_BYTES", "IMAGE_BYTES")
    text = pa.large_binary() if is_bytes else pa.large_string()
    return pa.large_list(text) if kind.encoding is Encoding.PACKED else text


# ------------------------------------------------------------------------------------------ shapes of Arrow


def _plain(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One chunk, without dictionary, run-end or extension around the values."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks() if array.num_chunks != 1 else array.chunk(0)
    if isinstance(array, pa.ChunkedArray):  # pyarrow answers a ChunkedArray when the chunks do not fit into one
        array = pa.concat_arrays(array.chunks)
    if isinstance(array.type, pa.BaseExtensionType):
        if array.type.extension_name == "arrow.uuid":
            return pa.array([None if item is None else str(item) for item in array.to_pylist()], pa.string())
        return _plain(array.storage)
    if pa.types.is_dictionary(array.type):
        return _plain(array.dictionary_decode())
    if pa.types.is_run_end_encoded(array.type):
        return _plain(pc.run_end_decode(array))
    return array


def _mask(array: pa.Array) -> Mask:
    return pc.is_null(array).to_numpy(zero_copy_only=False) if array.null_count else None


def _all_null(name: str, kind: Kind, rows: int) -> Column:
    nulls = np.ones(rows, bool) if rows else None
    if kind.encoding is Encoding.FIXED:
        return FixedColumn(name, kind.number, np.zeros(rows, _NUMPY[kind.code]), nulls)
    empty = pa.array([b""] * rows, pa.large_binary())
    return HeapColumn(name, kind.number, empty, np.zeros(rows, np.int64), nulls)


def _is_text(arrow_type: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_string(arrow_type) or types.is_large_string(arrow_type) or types.is_string_view(arrow_type))


def _is_bytes(arrow_type: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_binary(arrow_type)
        or types.is_large_binary(arrow_type)
        or types.is_fixed_size_binary(arrow_type)
        or types.is_binary_view(arrow_type)
    )


# ---------------------------------------------------------------------------------------------- numbers


def _fixed(name: str, kind: Kind, array: pa.Array) -> FixedColumn:
    numbers = _seconds(array) if kind.name == "UNIX_TIMESTAMP" else _cast_numbers(kind, array)
    nulls = _mask(numbers)
    filled = numbers.fill_null(False if kind.code == "?" else 0) if nulls is not None else numbers
    values = filled.to_numpy(zero_copy_only=False)
    return FixedColumn(name, kind.number, values.astype(_NUMPY[kind.code], copy=False), nulls)


def _cast_numbers(kind: Kind, array: pa.Array) -> pa.Array:
    source = array.type
    if pa.types.is_floating(source) and kind.code in "iq":
        # pandas turns integers with nulls into floats with NaN; there is no integer NaN.
        array = pc.if_else(pc.is_nan(array), None, array)
    # An integer beyond a float's precision is rounded, as Feast does; everything else must arrive unchanged.
    safe = not (kind.code in "df" and not _is_text(source))
    return array.cast(kind.arrow, safe=safe)


def _seconds(array: pa.Array) -> pa.Array:
    """Whole seconds since 1970, rounded down; integers are seconds already."""
    types = pa.types
    if types.is_date32(array.type):
        return pc.multiply(array.cast(pa.int32()).cast(pa.int64()), 86_400)
    if types.is_date64(array.type):
        return _floor_divide(array.cast(pa.int64()), 1_000)
    if types.is_timestamp(array.type):
        return _floor_divide(array.cast(pa.int64()), {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[array.type.unit])
    if types.is_integer(array.type):
        return array.cast(pa.int64())
    raise ValueTypeError("these are no timestamps")


def _floor_divide(ticks: pa.Array, unit: int) -> pa.Array:
    if unit == 1:
        return ticks
    nulls = _mask(ticks)
    whole = (ticks.fill_null(0) if nulls is not None else ticks).to_numpy() // unit
    return pa.array(whole, pa.int64(), mask=nulls)


# ------------------------------------------------------------------------------------------ pieces of bytes


def _heap(name: str, kind: Kind, array: pa.Array) -> HeapColumn:
    if kind.encoding is Encoding.VECTOR:
        return _vectors(name, kind, array)
    if kind.encoding is Encoding.PROTO:
        return _pieces(name, kind, pa.array(_serialized(kind, array), pa.large_binary()))
    if kind.encoding is Encoding.PACKED:
        return _pieces(name, kind, pa.array(_packed(kind, array), pa.large_binary()))
    if kind.encoding is Encoding.BYTES:
        if not (_is_bytes(array.type) or _is_text(array.type)):
            raise ValueTypeError("these are no bytes")
        return _pieces(name, kind, array)
    return _pieces(name, kind, _texts(kind.name, array))


def _pieces(name: str, kind: Kind, array: pa.Array) -> HeapColumn:
    if pa.types.is_fixed_size_binary(array.type):
        array = array.cast(pa.binary())
    array = array.cast(pa.large_binary())
    nulls = _mask(array)
    if nulls is not None:
        array = array.fill_null(b"")
    lengths = pc.binary_length(array).to_numpy().astype(np.int64, copy=False)
    return HeapColumn(name, kind.number, array, lengths, nulls)


def _texts(type_name: str, array: pa.Array) -> pa.Array:
    """Text of a STRING, JSON, UUID or DECIMAL column, checked to be one."""
    source = array.type
    if type_name == "JSON":
        return _checked_json(array)
    if _is_text(source) or pa.types.is_integer(source) or pa.types.is_decimal(source):
        texts = array.cast(pa.large_string())
    elif _is_bytes(source):
        texts = _texts_of_bytes(type_name, array)
    else:
        # Feast's str(): "True" and "1.5", where Arrow would write "true".
        texts = pa.array([None if item is None else str(item) for item in _python_values(array)], pa.large_string())
    if type_name in ("UUID", "TIME_UUID"):
        from uuid import UUID

        _check(texts, _PLAIN_UUID, UUID)
    elif type_name == "DECIMAL":
        from decimal import Decimal

        _check(texts, _PLAIN_DECIMAL, Decimal)
    return texts


def _texts_of_bytes(type_name: str, array: pa.Array) -> pa.Array:
    if type_name in ("UUID", "TIME_UUID"):
        from uuid import UUID

        values = [None if item is None else str(UUID(bytes=item)) for item in array.to_pylist()]
        return pa.array(values, pa.large_string())
    return array.cast(pa.binary()).cast(pa.large_binary()).cast(pa.large_string())


def _check(texts: pa.Array, pattern: str, parse: Callable[[str], object]) -> None:
    for text in texts.filter(pc.invert(pc.match_substring_regex(texts, pattern))).to_pylist():
        if text is not None:
            try:
                parse(text)
            except (ValueError, ArithmeticError):
                raise ValueTypeError(f"{text[:60]!r} is no {parse.__name__}") from None


def _checked_json(array: pa.Array) -> pa.Array:
    values = array.to_pylist() if _is_text(array.type) else _python_values(array)
    return pa.array([None if item is None else _json_text(item) for item in values], pa.large_string())


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
            raise ValueTypeError(f"{value[:60]!r} is no JSON") from None
    return value


# ------------------------------------------------------------------------------------------ lists and more


def _vectors(name: str, kind: Kind, array: pa.Array) -> HeapColumn:
    if not is_list(array.type):
        raise ValueTypeError("these are no lists")
    element = BY_NAME[kind.name.removesuffix("_LIST").removesuffix("_SET")]
    nulls = _mask(array)
    counts = pc.fill_null(pc.list_value_length(array), 0).to_numpy().astype(np.int64, copy=False)
    flat = _fixed(name, element, _plain(pc.list_flatten(array)))
    values = _without_nulls(flat)
    if kind.is_set:
        values, counts = _distinct(values, counts)
    lengths = counts * values.itemsize
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    data = pa.Array.from_buffers(
        pa.large_binary(), len(lengths), [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(values))]
    )
    return HeapColumn(name, kind.number, data, lengths, nulls)


def _without_nulls(flat: FixedColumn) -> npt.NDArray[Any]:
    if flat.nulls is None:
        return flat.values
    values = flat.values.copy()
    if values.dtype.kind == "f":
        values[flat.nulls] = np.nan
    elif kind_of(flat.number).name == "UNIX_TIMESTAMP":
        values[flat.nulls] = NULL_TIMESTAMP
    else:
        raise ValueTypeError("a null inside a list, which Feast cannot hold for this type")
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
    element = kind.name.removesuffix("_LIST").removesuffix("_SET")
    flat = _plain(pc.list_flatten(array))
    if pa.types.is_null(flat.type):
        flat = flat.cast(pa.large_string())
    if element == "BYTES":
        items = flat.cast(pa.binary() if pa.types.is_fixed_size_binary(flat.type) else pa.large_binary())
    else:
        items = _texts(element, flat)
    if items.null_count:
        if element not in ("STRING", "BYTES"):
            raise ValueTypeError("a null inside a list, which Feast cannot hold for this type")
        items = items.fill_null(b"" if element == "BYTES" else "")
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


def _serialized(kind: Kind, array: pa.Array) -> list[bytes | None]:
    """Feast's own protobuf values, serialized the same way every time, so that equal values are equal bytes."""
    from feast.type_map import python_values_to_proto_values
    from feast.value_type import ValueType

    values = _python_values(array)
    present = [value for value in values if value is not None]
    messages = iter(python_values_to_proto_values(present, ValueType(kind.number)) if present else [])
    return [None if value is None else next(messages).SerializeToString(deterministic=True) for value in values]


def _python_values(array: pa.Array) -> list[Any]:
    """Python values as Feast's converters like them: maps as dicts, times as datetimes of at most microseconds."""
    from datetime import UTC, date, datetime

    def tidy(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: tidy(item) for key, item in value.items()}
        if isinstance(value, list):
            return [tidy(item) for item in value]
        if isinstance(value, date) and not isinstance(value, datetime):
            return datetime(value.year, value.month, value.day, tzinfo=UTC)
        return value

    if pa.types.is_timestamp(array.type) and array.type.unit == "ns":
        array = array.cast(pa.timestamp("us", tz=array.type.tz), safe=False)
    return [tidy(value) for value in array.to_pylist(maps_as_pydicts="strict")]
