"""From the bytes of a row to stored values: one compiled function per (schema of the row, wanted features).

The layout is described in ``rows``. Compiling costs tens of microseconds and happens once; a row of plain numbers then
takes one ``struct`` call, and a vector is a window on the bytes of its row. Damaged bytes are a RowDecodeError, never
a crash and never a read outside the row.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import msgspec

from yummy_feast.errors import RowDecodeError
from yummy_feast.online.rows import HAS_NULLS, HEADER_SIZE, TOMBSTONE, VERSION, RowSchema
from yummy_feast.online.widening import Conversion, conversion
from yummy_feast.values import Encoding, Kind, kind_of

Decoder = Callable[[bytes], tuple[Any, ...] | None]
"""A row's stored values in the wanted order; None for a tombstone. The row's fingerprint must be the schema's."""

_Values = Sequence[Any]


def decoder(stored: RowSchema, wanted: tuple[tuple[str, int], ...]) -> Decoder:
    """The function that reads ``wanted`` (feature name, Feast type number) out of rows of schema ``stored``.

    A feature the schema does not know, and a null, are None. Raises RowDecodeError when a feature's declared type
    cannot be read from the stored one; the function raises it for bytes that are no row of this schema.
    """
    plan = _compile(stored, wanted)
    unpack, pick, read_heap = plan.fixed.unpack_from, plan.pick, plan.pieces
    heap_start = HEADER_SIZE + plan.fixed.size
    has_heap = plan.last_end is not None
    convert = plan.conversions
    is_whole = plan.is_whole and not convert

    def decode(row: bytes) -> tuple[Any, ...] | None:
        # The common row first: right length, no flags, numbers only.
        if has_heap or len(row) != heap_start or row[17] or row[0] != VERSION:
            return decode_any(row)
        values = unpack(row, HEADER_SIZE)
        if is_whole:
            return values
        picked = pick(values)
        return _converted(picked, convert) if convert else picked

    def decode_any(row: bytes) -> tuple[Any, ...] | None:
        flags = _flags(row)
        if flags == TOMBSTONE:
            return None
        start = heap_start + (plan.bitmap_size if flags else 0)
        if len(row) < start:
            raise _damaged(f"{len(row)} bytes long, at least {start} expected")
        values: _Values = unpack(row, HEADER_SIZE)
        heap_size = values[plan.last_end] if plan.last_end is not None else 0
        if len(row) != start + heap_size:
            raise _damaged(f"{len(row)} bytes long, {start + heap_size} expected")
        nulls = int.from_bytes(row[heap_start:start], "little") if flags else 0
        if nulls >> len(stored.columns):
            raise _damaged("it marks columns as null that it does not have")
        if read_heap:
            values = _read_heap(row, start, values, read_heap, nulls)
        if nulls:
            values = _blank(values, nulls, plan.kept)
        picked = pick(tuple(values))
        return _converted(picked, convert) if convert else picked

    return decode


def read_tombstone(row: bytes) -> None:
    """What a row that says it is a tombstone, and so has no schema, decodes to. RowDecodeError when it is none."""
    _flags(row)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A wanted column on the heap: where its end and the previous column's end stand among the unpacked values."""

    name: str
    column: int
    position: int
    previous: int | None
    read: Callable[[bytes | memoryview], Any]
    in_place: bool
    """Whether ``read`` takes a window on the row, and not a copy of the piece."""


@dataclass(frozen=True, slots=True)
class _Plan:
    fixed: struct.Struct
    kept: tuple[int, ...]
    """Column of the schema -> position among the unpacked values, -1 for those that are skipped."""
    pieces: tuple[_Piece, ...]
    last_end: int | None
    pick: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    is_whole: bool
    """Whether what is unpacked is what is wanted, in that order."""
    conversions: tuple[tuple[int, Conversion], ...]
    bitmap_size: int


def _compile(stored: RowSchema, wanted: tuple[tuple[str, int], ...]) -> _Plan:
    column_of = {name: column for column, (name, _) in enumerate(stored.columns)}
    wanted_columns = {column_of[name] for name, _ in wanted if name in column_of}
    heap = [column for column, code in enumerate(stored.codes) if code == "I"]
    # The end of the piece before a wanted one is where that one starts; the last end is the length of the heap.
    ends = {heap[at] for at, column in enumerate(heap) if column in wanted_columns}
    ends |= {heap[at - 1] for at, column in enumerate(heap) if column in wanted_columns and at}
    ends |= set(heap[-1:])
    kept: list[int] = []
    letters: list[str] = []
    for column, code in enumerate(stored.codes):
        keep = column in (ends if code == "I" else wanted_columns)
        kept.append(sum(position >= 0 for position in kept) if keep else -1)
        letters.append(code if keep else f"{struct.calcsize('<' + code)}x")
    pieces = tuple(
        _Piece(
            stored.columns[column][0],
            column,
            kept[column],
            kept[heap[at - 1]] if at else None,
            _reader(kind_of(stored.columns[column][1])),
            kind_of(stored.columns[column][1]).encoding is Encoding.VECTOR,
        )
        for at, column in enumerate(heap)
        if column in wanted_columns
    )
    conversions = []
    for place, (name, number) in enumerate(wanted):
        convert = conversion(name, stored.columns[column_of[name]][1], number) if name in column_of else None
        if convert is not None:
            conversions.append((place, convert))
    positions = [kept[column_of[name]] if name in column_of else -1 for name, _ in wanted]
    width = len(ends | wanted_columns)
    return _Plan(
        fixed=struct.Struct("<" + "".join(letters)),
        kept=tuple(kept),
        pieces=pieces,
        last_end=kept[heap[-1]] if heap else None,
        pick=_picker(positions, width),
        is_whole=positions == list(range(width)),
        conversions=tuple(conversions),
        bitmap_size=(len(stored.columns) + 7) // 8,
    )


def _picker(positions: list[int], width: int) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """Reorders unpacked values; position -1 is a feature the row does not have."""
    if positions == list(range(width)):
        return lambda values: values
    if not positions:
        return lambda _: ()
    if len(positions) == 1:
        only = positions[0]
        return (lambda values: (values[only],)) if only >= 0 else (lambda _: (None,))
    if -1 not in positions:
        return itemgetter(*positions)
    get = itemgetter(*(width if position < 0 else position for position in positions))
    return lambda values: get((*values, None))


def _reader(kind: Kind) -> Callable[[Any], Any]:
    if kind.encoding is Encoding.TEXT:
        return bytes.decode
    if kind.encoding is Encoding.VECTOR:
        return _vector_reader(kind.code)
    if kind.encoding is Encoding.PACKED:
        element = bytes if kind.name.startswith("BYTES_") else str
        return msgspec.msgpack.Decoder(list[element]).decode  # type: ignore[valid-type]
    return bytes  # BYTES, and serialized protobuf values


def _vector_reader(code: str, byteorder: str = sys.byteorder) -> Callable[[memoryview], Sequence[Any]]:
    """A typed window on the row; where the machine reads bytes the other way round, a list of what they mean."""
    if byteorder == "little":
        return lambda piece: piece.cast(code)  # type: ignore[call-overload]
    width = struct.calcsize("<" + code)
    return lambda piece: list(struct.unpack(f"<{len(piece) // width}{code}", piece))


def _flags(row: bytes) -> int:
    if len(row) < HEADER_SIZE:
        raise _damaged(f"{len(row)} bytes long, shorter than a header")
    if row[0] != VERSION:
        raise RowDecodeError(
            f"a row of version {row[0]}, and this release reads version {VERSION}", hint="update yummy-feast"
        )
    flags = row[17]
    if flags == TOMBSTONE:
        if len(row) != HEADER_SIZE:
            raise _damaged("a tombstone with something behind it")
    elif flags not in (0, HAS_NULLS):
        raise _damaged(f"unknown flags {flags}")
    return flags


def _read_heap(row: bytes, start: int, ends: _Values, pieces: tuple[_Piece, ...], nulls: int) -> list[Any]:
    values = list(ends)
    heap_end = len(row) - start
    window = memoryview(row)
    for piece in pieces:
        if nulls >> piece.column & 1:
            continue
        low = 0 if piece.previous is None else ends[piece.previous]
        high = ends[piece.position]
        if not low <= high <= heap_end:
            raise _damaged(f"feature {piece.name!r} lies outside the row")
        try:
            values[piece.position] = piece.read((window if piece.in_place else row)[start + low : start + high])
        # TypeError: what a window says of bytes that are no whole number of elements.
        except (UnicodeDecodeError, msgspec.DecodeError, struct.error, TypeError) as error:
            raise _damaged(f"feature {piece.name!r}: {error}") from None
    return values


def _blank(values: _Values, nulls: int, kept: tuple[int, ...]) -> list[Any]:
    blanked = list(values)
    while nulls:
        column = (nulls & -nulls).bit_length() - 1
        nulls &= nulls - 1
        if kept[column] >= 0:
            blanked[kept[column]] = None
    return blanked


def _converted(values: tuple[Any, ...], conversions: tuple[tuple[int, Conversion], ...]) -> tuple[Any, ...]:
    converted = list(values)
    for place, convert in conversions:
        if converted[place] is not None:
            converted[place] = convert(converted[place])
    return tuple(converted)


def _damaged(why: str) -> RowDecodeError:
    return RowDecodeError(f"a row in Redis is damaged: {why}", hint="materialize the feature view again")
