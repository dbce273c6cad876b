"""The bytes of a row: what one feature view knows of one entity key, in one Redis hash field.

::

    byte  0       version, 1
    bytes 1-8     event timestamp, microseconds since 1970 as int64, big-endian with the sign bit flipped
    bytes 9-16    created timestamp, the same; all zero when there is none, so that it loses
    byte  17      flags: 1 = tombstone (nothing follows the header), 2 = the row has nulls
    bytes 18-21   fingerprint of the row's schema
    fixed part    per column of the schema: its number, or (u32) where its piece of the heap ends
    null bitmap   only with flag 2: bit i % 8 of byte i // 8 is set when column i is null
    heap          the pieces, one after the other

Bytes 1 to 16 of two rows compare as their (event, created) timestamps do, byte by byte, so the server can tell the
newer without decoding. Everything after the header is little-endian. Integers may lie narrower than declared: a schema
says how wide, so a view can have rows of several schemas at a time, and a reader never notices.

Pure: nothing here touches a socket or a file.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from yummy_feast.errors import RowDecodeError, ValueTypeError
from yummy_feast.online.columns import Column, FixedColumn, HeapColumn
from yummy_feast.online.keys import cut
from yummy_feast.values import Encoding, kind_of

VERSION = 1
HEADER_SIZE = 22
FINGERPRINT = slice(18, 22)
"""Where a row tells its schema."""
ORDER = slice(1, 17)
"""Where a row tells its age: of two rows, the newer one has the greater bytes here."""
TOMBSTONE = 1
HAS_NULLS = 2
NARROWER = {"q": "bhiq", "i": "bhi"}
"""The widths a declared integer may be stored in, narrowest first."""

_HEADER = struct.Struct(">BQQB4s")
_SIGN = 1 << 63
_MAX_ROW = 512 * 1024 * 1024
_CHUNK_ROWS = 1024
# How much smaller than a known schema that would do a new one must be, and how many a view may have before its next
# one is as wide as declared.
_WORTH = 0.8
_MANY = 8
_CHUNK_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class RowSchema:
    """What is needed to read a row: its columns in order, and how each lies in the fixed part.

    columns: (feature name, number of its Feast ``ValueType``).
    codes: per column the struct letter of its number; "I" (the end of a piece) for a column on the heap.
    fingerprint: 4 bytes that stand for all of this in the row.

    Raises RowDecodeError when the codes cannot belong to the types.
    """

    columns: tuple[tuple[str, int], ...]
    codes: tuple[str, ...]
    fingerprint: bytes = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.columns) != len(self.codes):
            raise RowDecodeError("a row schema has as many codes as columns")
        for (name, number), code in zip(self.columns, self.codes, strict=True):
            if code not in set(_codes_of(number)):
                raise RowDecodeError(f"feature {name!r} of type {kind_of(number).name} cannot be stored as {code!r}")
        digest = hashlib.blake2b(self.to_json(), digest_size=4).digest()
        object.__setattr__(self, "fingerprint", digest)

    @classmethod
    def of(cls, columns: Iterable[tuple[str, int]]) -> RowSchema:
        """The schema with every integer as wide as declared."""
        pairs = tuple(columns)
        return cls(pairs, tuple(_codes_of(number)[-1] for _, number in pairs))

    def to_json(self) -> bytes:
        """The schema as the store keeps it: ``[[name, type number, code], ...]``."""
        rows = [[name, number, code] for (name, number), code in zip(self.columns, self.codes, strict=True)]
        return json.dumps(rows, separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, data: bytes) -> RowSchema:
        """The inverse of ``to_json``. RowDecodeError for anything it did not write."""
        try:
            rows = json.loads(data)
            if not isinstance(rows, list):
                raise ValueError("no list")  # noqa: TRY004 - its fellows are ValueErrors too
            return cls(
                tuple((str(name), int(number)) for name, number, _ in rows), tuple(str(code) for _, _, code in rows)
            )
        except (ValueError, TypeError, RecursionError) as error:
            if isinstance(error, RowDecodeError):
                raise
            raise RowDecodeError(f"the stored row schema {data[:60]!r} is damaged: {error}") from None

    @cached_property
    def fixed_size(self) -> int:
        """Bytes of the fixed part."""
        return _size(self.codes)


def _size(codes: Sequence[str]) -> int:
    return struct.calcsize("<" + "".join(codes))


def _codes_of(number: int) -> str:
    kind = kind_of(number)
    if kind.encoding is not Encoding.FIXED:
        return "I"
    return NARROWER.get(kind.code, kind.code)


def fit(columns: Sequence[Column], known: Iterable[RowSchema] = ()) -> RowSchema:
    """The schema to write these columns with: the smallest of ``known`` that holds them, or a new one worth having.

    A new schema is worth having when no known one holds the columns, or when it saves a fifth of the fixed part. It is
    made at least as wide as a known one where that still pays, and as wide as declared once a view has several, so that
    their number stays small.
    """
    pairs = tuple((column.name, column.number) for column in columns)
    needed = tuple(_narrowest(column) for column in columns)
    same = sorted((schema for schema in known if schema.columns == pairs), key=lambda schema: schema.fixed_size)
    best = next((schema for schema in same if schema.codes == _wider(schema.codes, needed)), None)
    if len(same) >= _MANY:
        return best or RowSchema.of(pairs)
    limit = _WORTH * best.fixed_size if best else float("inf")
    if best and _size(needed) > limit:
        return best
    wider = (_wider(needed, schema.codes) for schema in reversed(same))
    return RowSchema(pairs, next((codes for codes in wider if _size(codes) <= limit), needed))


def _narrowest(column: Column) -> str:
    codes = _codes_of(column.number)
    if len(codes) == 1 or not isinstance(column, FixedColumn):
        return codes
    low, high = column.bounds
    return next(code for code in codes if _holds(code, low, high))


def _holds(code: str, low: int, high: int) -> bool:
    limit = 1 << (8 * struct.calcsize("<" + code) - 1)
    return -limit <= low and high < limit


def _wider(left: tuple[str, ...], right: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(max(pair, key=lambda code: struct.calcsize("<" + code)) for pair in zip(left, right, strict=True))


# ----------------------------------------------------------------------------------------------- writing


def encode(
    schema: RowSchema,
    columns: Sequence[Column],
    event_us: npt.NDArray[np.int64],
    created_us: npt.NDArray[np.int64] | None = None,
    created_null: npt.NDArray[np.bool_] | None = None,
) -> list[bytes]:
    """The rows of ``columns``, which are those of ``schema`` in its order.

    event_us, created_us: microseconds since 1970, one per row; where ``created_null`` is set there is no created
    timestamp.

    Raises ValueTypeError when a number does not fit the schema's width or a row is larger than the 512 MB Redis can
    hold.
    """
    _check_fit(schema, columns)
    rows = len(event_us)
    layout = _layout(schema)
    heap = [column for column in columns if isinstance(column, HeapColumn)]
    ends = _ends(heap, rows)
    nulls = _null_matrix(columns, rows)
    created = np.zeros(rows, np.uint64) if created_us is None else _ordered(created_us)
    if created_null is not None:
        created = np.where(created_null, np.uint64(0), created)
    event = _ordered(event_us)
    encoded: list[bytes] = []
    for start, stop in _chunks(rows, ends):
        part = slice(start, stop)
        table = np.zeros(stop - start, layout)
        table["version"] = VERSION
        table["event"], table["created"] = event[part], created[part]
        table["fingerprint"] = np.frombuffer(schema.fingerprint, ">u4")[0]
        _fill(table, columns, ends, part)
        if nulls is None and not heap:
            encoded += _slices(table)
        else:
            encoded += _join(table, None if nulls is None else nulls[part], heap, part)
    return encoded


def tombstone(event: int, created: int | None = None) -> bytes:
    """The row that says "deleted at that time" (microseconds since 1970): read as no row, and older rows lose to it."""
    return _HEADER.pack(VERSION, event + _SIGN, 0 if created is None else created + _SIGN, TOMBSTONE, bytes(4))


def _check_fit(schema: RowSchema, columns: Sequence[Column]) -> None:
    if schema.columns != tuple((column.name, column.number) for column in columns):
        raise ValueTypeError("the columns are not those of the row schema")
    for column, code in zip(columns, schema.codes, strict=True):
        if isinstance(column, FixedColumn) and code in "bhi" and not _holds(code, *column.bounds):
            raise ValueTypeError(f"column {column.name!r} holds integers wider than its row schema has room for")


def _layout(schema: RowSchema) -> np.dtype[Any]:
    numpy_codes = {"b": "i1", "h": "<i2", "i": "<i4", "q": "<i8", "f": "<f4", "d": "<f8", "?": "?", "I": "<u4"}
    head = [("version", "u1"), ("event", ">u8"), ("created", ">u8"), ("flags", "u1"), ("fingerprint", ">u4")]
    # Positions as names: a feature may be called anything, "event" too.
    return np.dtype(head + [(f"{position}", numpy_codes[code]) for position, code in enumerate(schema.codes)])


def _ordered(microseconds: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    return microseconds.astype(np.int64, copy=False).view(np.uint64) ^ np.uint64(_SIGN)


def _ends(heap: Sequence[HeapColumn], rows: int) -> npt.NDArray[np.int64]:
    """Per row (first axis) where each heap column's piece ends."""
    if not heap:
        return np.zeros((rows, 0), np.int64)
    ends = np.cumsum(np.stack([column.lengths for column in heap], axis=1), axis=1)
    if rows and int(ends[:, -1].max()) > _MAX_ROW:
        worst = int(ends[:, -1].argmax())
        raise ValueTypeError(f"row {worst} takes {int(ends[worst, -1])} bytes and Redis holds at most {_MAX_ROW}")
    return ends


def _null_matrix(columns: Sequence[Column], rows: int) -> npt.NDArray[np.bool_] | None:
    if all(column.nulls is None for column in columns):
        return None
    matrix = np.zeros((rows, len(columns)), bool)
    for position, column in enumerate(columns):
        if column.nulls is not None:
            matrix[:, position] = column.nulls
    return matrix


def _chunks(rows: int, ends: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of rows that fit a processor's cache, and whose heaps stay small enough to be copied once more."""
    total = np.cumsum(ends[:, -1]) if ends.shape[1] else None
    start = 0
    while start < rows:
        stop = min(start + _CHUNK_ROWS, rows)
        if total is not None:
            before = int(total[start - 1]) if start else 0
            stop = min(stop, max(start + 1, int(np.searchsorted(total, before + _CHUNK_BYTES, "right"))))
        yield start, stop
        start = stop


def _fill(table: npt.NDArray[Any], columns: Sequence[Column], ends: npt.NDArray[np.int64], part: slice) -> None:
    heap_position = 0
    for position, column in enumerate(columns):
        if isinstance(column, FixedColumn):
            table[f"{position}"] = column.values[part]
        else:
            table[f"{position}"] = ends[part, heap_position]
            heap_position += 1


def _slices(table: npt.NDArray[Any]) -> list[bytes]:
    data, width = table.tobytes(), table.itemsize
    return [data[start : start + width] for start in range(0, len(data), width)]


def _join(
    table: npt.NDArray[Any], nulls: npt.NDArray[np.bool_] | None, heap: Sequence[HeapColumn], part: slice
) -> list[bytes]:
    """Fixed part, bitmap where there are nulls, heap: joined row by row, in C."""
    pieces = []
    if nulls is not None:
        has_nulls = nulls.any(axis=1)
        table["flags"] = has_nulls * HAS_NULLS
        bitmap = np.packbits(nulls[has_nulls], axis=1, bitorder="little")
        pieces.append(_variable(bitmap, has_nulls * bitmap.shape[1]))
    pieces.insert(0, _variable(table, np.full(len(table), table.itemsize)))
    pieces += [column.data[part] for column in heap]
    return cut(pc.binary_join_element_wise(*pieces, pa.scalar(b"", pa.large_binary())))


def _variable(data: npt.NDArray[Any], lengths: npt.NDArray[Any]) -> pa.Array:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data.tobytes())]
    return pa.Array.from_buffers(pa.large_binary(), len(lengths), buffers)


# ------------------------------------------------------------------------------------------- the header


def event_us(row: bytes) -> int:
    """The row's event timestamp, microseconds since 1970."""
    return int.from_bytes(row[1:9]) - _SIGN


def created_us(row: bytes) -> int | None:
    """The row's created timestamp, microseconds since 1970, or None."""
    return int.from_bytes(row[9:17]) - _SIGN if any(row[9:17]) else None
