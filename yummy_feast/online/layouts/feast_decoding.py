"""From Feast's serialized ``Value`` and ``Timestamp`` messages to stored values and microseconds.

The usual cell, a tag and the payload of the declared type, is read without making a message. Whatever else is a
``Value`` goes through protobuf, and its type through the same conversions as rows of ours. Damaged bytes are a
RowDecodeError; a cell without bytes is Feast's null.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from yummy_feast.errors import RowDecodeError, ValueTypeError
from yummy_feast.online.layouts.feast_values import tag
from yummy_feast.online.widening import conversion
from yummy_feast.values import BY_NAME, Encoding, Kind, kind_of, stored_value

CellDecoder = Callable[[bytes], Any]
"""From a cell that is not empty to its stored value; None for a null that was written as a value."""

_UNSIGNED, _SIGN = 1 << 64, 1 << 63
_TYPE_OF_FIELD = {
    kind.proto_field: kind.number for kind in BY_NAME.values() if kind.name not in ("PDF_BYTES", "IMAGE_BYTES")
}


def cell_decoder(name: str, number: int) -> CellDecoder:
    """The function that reads cells of feature ``name``, declared with Feast type ``number``.

    It raises RowDecodeError, naming the feature, for bytes that are no ``Value`` and for a ``Value`` of a type that
    does not stand for the declared one.
    """
    kind = kind_of(number)

    def through_protobuf(cell: bytes) -> Any:
        return _read_message(name, kind, cell)

    if kind.encoding is Encoding.FIXED:
        return {"d": _float_decoder, "f": _float_decoder, "?": _bool_decoder}.get(kind.code, _integer_decoder)(
            kind, through_protobuf
        )
    if kind.encoding is Encoding.VECTOR and kind.code in "df":
        return _vector_decoder(kind, through_protobuf)
    if kind.encoding in (Encoding.TEXT, Encoding.BYTES):
        return _piece_decoder(kind, through_protobuf)
    return through_protobuf


def _float_decoder(kind: Kind, otherwise: CellDecoder) -> CellDecoder:
    [first] = tag(kind)
    whole = struct.Struct("<B" + kind.code)
    size, unpack = whole.size, whole.unpack

    def decode_float(cell: bytes) -> Any:
        if len(cell) == size:
            found, value = unpack(cell)
            if found == first:
                return value
        return otherwise(cell)

    return decode_float


def _bool_decoder(kind: Kind, otherwise: CellDecoder) -> CellDecoder:
    known = {tag(kind) + b"\0": False, tag(kind) + b"\1": True}

    def decode_bool(cell: bytes) -> Any:
        value = known.get(cell)
        return otherwise(cell) if value is None else value

    return decode_bool


def _integer_decoder(kind: Kind, otherwise: CellDecoder) -> CellDecoder:
    [first] = tag(kind)
    # Five bytes hold 32 bits, nine hold 63: longer ones are negative, and rare.
    longest, limit = (6, 1 << 31) if kind.code == "i" else (10, 1 << 63)

    def decode_integer(cell: bytes) -> Any:
        size = len(cell)
        if size == 2:
            found, value = cell
            return value if found == first and value < 128 else otherwise(cell)
        if size == 3:
            found, low, value = cell
            return value << 7 | low & 127 if found == first and low > 127 > value else otherwise(cell)
        if 3 < size <= longest and cell[0] == first and cell[-1] < 128:
            value = cell[-1]
            for byte in cell[-2:0:-1]:
                value = value << 7 | byte & 127
                if byte < 128:
                    return otherwise(cell)
            if value < limit:
                return value
        return otherwise(cell)

    return decode_integer


def _piece_decoder(kind: Kind, otherwise: CellDecoder) -> CellDecoder:
    opening = tag(kind)
    start, is_text = len(opening) + 1, kind.encoding is Encoding.TEXT

    def decode_piece(cell: bytes) -> Any:
        size = len(cell) - start
        # One byte is enough for the length of nearly every text.
        if 0 <= size < 128 and cell[start - 1] == size and cell.startswith(opening):
            piece = cell[start:]
            if not is_text:
                return piece
            try:
                return piece.decode()
            except UnicodeDecodeError:
                pass
        return otherwise(cell)

    return decode_piece


def _vector_decoder(kind: Kind, otherwise: CellDecoder) -> CellDecoder:
    """Lists of floats: embeddings are long, and their elements lie as they are wanted."""
    opening = tag(kind)
    start, width = len(opening), struct.calcsize("<" + kind.code)

    def decode_vector(cell: bytes) -> Any:
        if cell.startswith(opening):
            size, inner = _length(cell, start)
            if size == len(cell) - inner and cell[inner : inner + 1] == b"\n":
                size, at = _length(cell, inner + 1)
                if size == len(cell) - at and not size % width:
                    return list(struct.unpack_from(f"<{size // width}{kind.code}", cell, at))
        return otherwise(cell)

    return decode_vector


def _length(cell: bytes, position: int) -> tuple[int, int]:
    """A varint of at most four bytes, and where it ends; -1 for anything else."""
    value = 0
    for shift, byte in enumerate(cell[position : position + 4]):
        value |= (byte & 127) << 7 * shift
        if byte < 128:
            return value, position + shift + 1
    return -1, position


def _read_message(name: str, kind: Kind, cell: bytes) -> Any:
    from feast.protos.feast.types.Value_pb2 import Value
    from google.protobuf.message import DecodeError

    try:
        message = Value.FromString(cell)
    except DecodeError:
        raise _damaged(f"feature {name!r} holds {len(cell)} bytes that are no Feast value") from None
    held = message.WhichOneof("val")
    if held is None:
        raise _damaged(f"feature {name!r} holds a value of no type that Feast 0.67 knows")
    if held == "null_val":
        return None
    stored = kind.number if held == kind.proto_field else _TYPE_OF_FIELD[held]
    if kind.encoding is kind_of(stored).encoding is Encoding.PROTO:
        # As everywhere, nested values say themselves what they are.
        return stored_value(message, kind.number)
    convert = conversion(name, stored, kind.number)
    try:
        value = stored_value(message, stored)
    except ValueTypeError as error:
        raise _damaged(f"feature {name!r}: {error.message}") from None
    return value if convert is None or value is None else convert(value)


# --------------------------------------------------------------------------------------------- timestamps


@lru_cache(maxsize=4096)
def timestamp_us(cell: bytes) -> int:
    """Microseconds since 1970, rounded down, of a serialized ``Timestamp``; without bytes it is 1970 itself.

    Cached: rows that were materialized together often share their moment. Raises RowDecodeError for other bytes.
    """
    seconds = nanoseconds = position = 0
    while position < len(cell):
        field, value, position = cell[position], *_signed(cell, position + 1)
        if field == 0x08:
            seconds = value
        elif field == 0x10:
            nanoseconds = value
        else:
            raise _damaged(f"{cell[:20]!r} is no event timestamp")
    return seconds * 1_000_000 + nanoseconds // 1_000


def _signed(cell: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift, byte in enumerate(cell[position : position + 10]):
        value |= (byte & 127) << 7 * shift
        if byte < 128:
            value %= _UNSIGNED
            return (value - _UNSIGNED if value >= _SIGN else value), position + shift + 1
    raise _damaged(f"{cell[:20]!r} is no event timestamp")


def _damaged(why: str) -> RowDecodeError:
    return RowDecodeError(f"a row in Redis is damaged: {why}", hint="materialize the feature view again")
