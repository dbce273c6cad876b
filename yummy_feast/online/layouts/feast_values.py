"""Columns as Feast's serialized ``Value`` messages, without making any message.

A ``Value`` is the number of its field, which is that of the Feast type, and a payload: a varint, four or eight bytes,
or a length and so many bytes. Columns become matrices of bytes, one row per row, of which only the bytes that count are
kept. Rows leave as msgpack arrays of byte strings, which Lua takes apart in C: an event ``Timestamp``, then a ``Value``
per column, empty for null.

Pure: nothing here touches a socket or a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from yummy_feast.errors import ValueTypeError
from yummy_feast.online.arrow_numbers import NUMPY, Mask
from yummy_feast.online.columns import Column, FixedColumn, HeapColumn
from yummy_feast.online.keys import cut
from yummy_feast.values import Encoding, Kind, kind_of

_VARINT, _EIGHT_BYTES, _PIECE, _FOUR_BYTES = 0, 1, 2, 5
_WIRE_TYPES = {"i": _VARINT, "q": _VARINT, "?": _VARINT, "d": _EIGHT_BYTES, "f": _FOUR_BYTES}
"""Protobuf's wire type of a number, by its struct letter; everything else is a piece of bytes."""

# The only field of each list message, a piece in which the elements follow one another.
_ELEMENTS = b"\n"
_CHUNK_ROWS = 1024
_CHUNK_BYTES = 8 * 1024 * 1024
_MAX_ROW = 512 * 1024 * 1024

_Bytes = npt.NDArray[np.uint8]
_Lengths = npt.NDArray[np.int64]


class _Part(NamedTuple):
    """Bytes of many rows: of ``data[row]`` those where ``kept[row]``; all of them where that is None."""

    data: _Bytes
    kept: npt.NDArray[np.bool_] | None = None


def tag(kind: Kind) -> bytes:
    """The bytes that open a ``Value`` of this type."""
    # PDF_BYTES and IMAGE_BYTES are bytes to Feast; every other type's field has the type's own number.
    number = 1 if kind.proto_field == "bytes_val" else kind.number
    wire = _WIRE_TYPES[kind.code] if kind.encoding is Encoding.FIXED else _PIECE
    return varint(number << 3 | wire)


def varint(value: int) -> bytes:
    """A number below 2**64 as protobuf's varint."""
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def pack_rows(columns: Sequence[Column], event_us: npt.NDArray[np.int64]) -> list[bytes]:
    """One msgpack array per row: its event timestamp (from microseconds since 1970), then its values.

    Raises ValueTypeError for a row larger than the 512 MB that Redis can hold.
    """
    prepared = [column if isinstance(column, FixedColumn) else _prepared(column) for column in columns]
    opening = _array_head(1 + len(columns))
    rows: list[bytes] = []
    for part in _chunks(len(event_us), prepared):
        groups: list[list[_Part]] = [[_same(opening, event_us[part]), _timestamps(event_us[part])]]
        pieces: list[pa.Array] = []
        for column in prepared:
            if isinstance(column, FixedColumn):
                groups[-1].append(_numbers(column, part))
                continue
            groups[-1].append(_openings(column, part))
            pieces += [_joined(groups[-1]), column.data[part]]
            groups.append([])
        if groups[-1]:
            pieces.append(_joined(groups[-1]))
        rows += cut(pc.binary_join_element_wise(*pieces, pa.scalar(b"", pa.large_binary())))
    return rows


def pack_strings(strings: Sequence[bytes]) -> bytes:
    """A msgpack array of byte strings, headed as texts are: Lua's msgpack knows no others, and does not mind."""
    packed = bytearray(_array_head(len(strings)))
    for string in strings:
        size = len(string)
        if size < 32:
            packed.append(0xA0 | size)
        else:
            packed += b"\xdb" + size.to_bytes(4)
        packed += string
    return bytes(packed)


def _array_head(length: int) -> bytes:
    return b"\xdc" + length.to_bytes(2) if length < 1 << 16 else b"\xdd" + length.to_bytes(4)


def _chunks(rows: int, columns: Sequence[FixedColumn | _Pieces]) -> Iterator[slice]:
    """Ranges of rows that fit a processor's cache, and whose pieces stay small enough to be copied once more."""
    heap = [column.lengths for column in columns if not isinstance(column, FixedColumn)]
    sizes = np.sum(heap, axis=0) if heap else None
    if sizes is not None and rows and int(sizes.max()) > _MAX_ROW:
        worst = int(sizes.argmax())
        raise ValueTypeError(f"row {worst} takes {int(sizes[worst])} bytes and Redis holds at most {_MAX_ROW}")
    total = None if sizes is None else np.cumsum(sizes)
    start = 0
    while start < rows:
        stop = min(start + _CHUNK_ROWS, rows)
        if total is not None:
            before = int(total[start - 1]) if start else 0
            stop = min(stop, max(start + 1, int(np.searchsorted(total, before + _CHUNK_BYTES, "right"))))
        yield slice(start, stop)
        start = stop


def _joined(parts: Sequence[_Part]) -> pa.Array:
    """The parts of each row, one after the other, as large_binary."""
    data = np.concatenate([part.data for part in parts], axis=1)
    kept = np.concatenate(
        [np.ones(part.data.shape, bool) if part.kept is None else part.kept for part in parts], axis=1
    )
    offsets = np.zeros(len(data) + 1, np.int64)
    np.cumsum(np.count_nonzero(kept, axis=1), out=offsets[1:])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data[kept])]
    return pa.Array.from_buffers(pa.large_binary(), len(data), buffers)


# ----------------------------------------------------------------------------------------------- numbers


def _varints(values: npt.NDArray[np.int64]) -> tuple[_Bytes, _Lengths]:
    """Varints, as wide as the longest needs: their bytes and how many of them count. Negative ones take ten."""
    bits = values.view(np.uint64)
    longest = len(varint(int(bits.max()))) if len(bits) else 1
    groups = np.empty((len(bits), longest), np.uint8)
    lengths = np.ones(len(bits), np.int64)
    for place in range(longest):
        groups[:, place] = bits & np.uint64(127)
        bits = bits >> np.uint64(7)
        more = bits != 0
        groups[:, place] |= more.astype(np.uint8) << 7
        lengths += more
    return groups, lengths


def _same(data: bytes, rows: npt.NDArray[Any]) -> _Part:
    """The same bytes for each of ``rows``."""
    return _Part(np.broadcast_to(np.frombuffer(data, np.uint8), (len(rows), len(data))))


def _up_to(lengths: _Lengths, width: int) -> npt.NDArray[np.bool_]:
    return np.arange(width) < lengths[:, None]


def _numbers(column: FixedColumn, part: slice) -> _Part:
    """Numbers with their tags, each behind the msgpack header of so short a string."""
    kind = kind_of(column.number)
    opening = tag(kind)
    values = column.values[part]
    start = 1 + len(opening)
    if kind.code in "iq":
        payload, lengths = _varints(values.astype(np.int64, copy=False))
    else:
        payload = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), values.itemsize)
        lengths = np.full(len(values), payload.shape[1], np.int64)
    data = np.empty((len(values), start + payload.shape[1]), np.uint8)
    data[:, 0] = 0xA0 + len(opening) + lengths
    data[:, 1:start] = np.frombuffer(opening, np.uint8)
    data[:, start:] = payload
    kept = None if kind.code not in "iq" else _up_to(start + lengths, data.shape[1])
    nulls = None if column.nulls is None else column.nulls[part]
    if nulls is not None:
        data[nulls, 0] = 0xA0
        kept = np.ones(data.shape, bool) if kept is None else kept
        kept[nulls, 1:] = False
    return _Part(data, kept)


def _timestamps(event_us: npt.NDArray[np.int64]) -> _Part:
    """Feast's ``Timestamp``: seconds (field 1) and nanoseconds (field 2), each left out when it is zero."""
    seconds, rest = np.divmod(event_us, 1_000_000)
    parts = []
    size = np.zeros(len(event_us), np.int64)
    for opening, values in ((0x08, seconds), (0x10, rest * 1_000)):
        payload, lengths = _varints(values)
        lengths = np.where(values == 0, 0, 1 + lengths)
        data = np.concatenate([np.full((len(values), 1), opening, np.uint8), payload], axis=1)
        parts.append(_Part(data, _up_to(lengths, data.shape[1])))
        size += lengths
    header = (0xA0 + size).astype(np.uint8)[:, None]
    kept = [np.ones(header.shape, bool), *(part.kept for part in parts if part.kept is not None)]
    return _Part(np.concatenate([header, *(part.data for part in parts)], axis=1), np.concatenate(kept, axis=1))


# ------------------------------------------------------------------------------------------------ pieces


class _Pieces(NamedTuple):
    """Pieces of bytes as protobuf wants them, and what opens them.

    elements: whether they are the packed elements of a list, which lie inside the list's own message.
    """

    kind: Kind
    data: pa.Array
    lengths: _Lengths
    nulls: Mask
    elements: bool = False


def _prepared(column: HeapColumn) -> _Pieces:
    kind = kind_of(column.number)
    pieces = _Pieces(kind, column.data, column.lengths, column.nulls, kind.encoding is Encoding.VECTOR)
    if kind.encoding is Encoding.VECTOR and kind.code in "iq":
        return pieces._replace(**_packed_varints(kind, column))
    if kind.encoding is Encoding.PACKED:
        data = pa.array([_repeated(piece) for piece in column.data.to_pylist()], pa.large_binary())
        return pieces._replace(data=data, lengths=pc.binary_length(data).to_numpy())
    return pieces


def _packed_varints(kind: Kind, column: HeapColumn) -> dict[str, Any]:
    """Lists of integers: their elements as varints, cut where each list ends."""
    values = np.frombuffer(b"".join(cut(column.data.cast(pa.large_binary()))), NUMPY[kind.code]).astype(np.int64)
    payload, lengths = _varints(values)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    counts = np.concatenate([[0], np.cumsum(column.lengths // np.dtype(NUMPY[kind.code]).itemsize)])
    offsets = ends[counts].astype(np.int64)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(payload[_up_to(lengths, payload.shape[1])])]
    return {
        "data": pa.Array.from_buffers(pa.large_binary(), len(column.lengths), buffers),
        "lengths": np.diff(offsets),
    }


_read_list = msgspec.msgpack.Decoder().decode


def _repeated(piece: bytes) -> bytes:
    """A msgpack list of texts or bytes as a protobuf list of them; a null, which is no list, as nothing."""
    if not piece:
        return b""
    items = [item.encode() if isinstance(item, str) else item for item in _read_list(piece)]
    return b"".join([_ELEMENTS + varint(len(item)) + item for item in items])


def _openings(column: _Pieces, part: slice) -> _Part:
    """What stands before each piece: a msgpack header, then tag and length unless the piece is a whole ``Value``."""
    sizes = column.lengths[part]
    present = np.ones(len(sizes), bool) if column.nulls is None else ~column.nulls[part]
    parts: list[_Part] = []
    if column.elements:
        # An empty list has no element field at all.
        parts = [_prefix(_ELEMENTS, sizes, present & (sizes > 0))]
        sizes = sizes + _size(parts)
    if column.kind.encoding is not Encoding.PROTO:
        parts.insert(0, _prefix(tag(column.kind), sizes, present))
        sizes = column.lengths[part] + _size(parts)
    parts.insert(0, _string_header(sizes))
    kept = [part.kept for part in parts if part.kept is not None]
    return _Part(np.concatenate([part.data for part in parts], axis=1), np.concatenate(kept, axis=1))


def _size(parts: Sequence[_Part]) -> _Lengths:
    total: _Lengths = np.sum([np.count_nonzero(part.kept, axis=1) for part in parts if part.kept is not None], axis=0)
    return total


def _prefix(opening: bytes, sizes: _Lengths, present: npt.NDArray[np.bool_]) -> _Part:
    """Tag and length of a piece, where there is one."""
    payload, lengths = _varints(sizes.astype(np.int64, copy=False))
    data = np.concatenate([_same(opening, sizes).data, payload], axis=1)
    return _Part(data, _up_to(np.where(present, len(opening) + lengths, 0), data.shape[1]))


def _string_header(sizes: _Lengths) -> _Part:
    """msgpack's header of a string: one byte below 32 bytes, else a marker and a big-endian length."""
    data = np.empty((len(sizes), 5), np.uint8)
    data[:, 0] = np.select([sizes < 32, sizes < 1 << 8, sizes < 1 << 16], [0xA0 | sizes, 0xD9, 0xDA], 0xDB)
    data[:, 1:] = sizes.astype(">u4").view(np.uint8).reshape(len(sizes), 4)
    wide = np.select([sizes < 32, sizes < 1 << 8, sizes < 1 << 16], [0, 1, 2], 4)
    kept = np.ones(data.shape, bool)
    kept[:, 1:] = np.arange(4) >= 4 - wide[:, None]
    return _Part(data, kept)
