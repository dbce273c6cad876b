"""Damaged rows, and what they mean: a second reader of rows, written from the description in docs/online.md alone."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from tests.stored_values import STORABLE, serialized
from yummy_feast.errors import RowDecodeError
from yummy_feast.online.columns import of_stored
from yummy_feast.online.layouts.base import Wanted
from yummy_feast.online.rows import RowSchema, encode, fit, tombstone
from yummy_feast.values import Encoding, Kind, kind_of

HEADER = 22


class Damaged(Exception):  # noqa: N818 - what the second reader says, and nobody else
    """These bytes are no row."""


@dataclass
class Book:
    """The schemas of one view's rows."""

    schemas: dict[bytes, RowSchema]

    def get(self, view: bytes, fingerprint: bytes) -> RowSchema:
        if fingerprint not in self.schemas:
            raise RowDecodeError(f"unknown schema {fingerprint.hex()}")
        return self.schemas[fingerprint]


@dataclass
class Sample:
    """Rows of one view in several schemas, and what is asked of them."""

    book: Book
    rows: list[bytes]
    wanted: Wanted


# ------------------------------------------------------------------------------------------------ the reader


def meaning(row: bytes, schemas: Mapping[bytes, RowSchema], wanted: Wanted) -> tuple[Any, ...] | None:
    """The values of ``wanted`` in ``row``, None for a tombstone. Damaged when it is no row of these schemas."""
    if len(row) < HEADER or row[0] != 1 or row[17] not in (0, 1, 2):
        raise Damaged
    if row[17] == 1:
        if len(row) != HEADER:
            raise Damaged
        return None
    if row[18:22] not in schemas:
        raise Damaged
    schema = schemas[row[18:22]]
    numbers, at = [], HEADER
    for code in schema.codes:
        width = struct.calcsize("<" + code)
        if len(row) < at + width:
            raise Damaged
        numbers.append(struct.unpack("<" + code, row[at : at + width])[0])
        at += width
    nulls = 0
    if row[17] == 2:
        size = (len(schema.codes) + 7) // 8
        if len(row) < at + size:
            raise Damaged
        nulls = sum(byte << 8 * place for place, byte in enumerate(row[at : at + size]))
        at += size
    heap = row[at:]
    ends = [number for number, code in zip(numbers, schema.codes, strict=True) if code == "I"]
    if len(heap) != (ends[-1] if ends else 0) or nulls >= 1 << len(schema.codes):
        raise Damaged
    names = [name for name, _ in schema.columns]
    return tuple(
        _value(schema, names.index(name), numbers, nulls, heap) if name in names else None for name, _ in wanted
    )


def _value(schema: RowSchema, column: int, numbers: Sequence[Any], nulls: int, heap: bytes) -> Any:
    if nulls >> column & 1:
        return None
    if schema.codes[column] != "I":
        return numbers[column]
    before = [number for number, code in zip(numbers[:column], schema.codes, strict=False) if code == "I"]
    start, end = (before[-1] if before else 0), numbers[column]
    if not start <= end <= len(heap):
        raise Damaged
    try:
        return _piece(kind_of(schema.columns[column][1]), heap[start:end])
    except (UnicodeDecodeError, msgspec.DecodeError, struct.error):
        raise Damaged from None


def _piece(kind: Kind, piece: bytes) -> Any:
    if kind.encoding is Encoding.TEXT:
        return str(piece, "utf-8")
    if kind.encoding is Encoding.VECTOR:
        return [value for (value,) in struct.iter_unpack("<" + kind.code, piece)]
    if kind.encoding is Encoding.PACKED:
        element = bytes if kind.name.startswith("BYTES_") else str
        values = msgspec.msgpack.decode(piece)
        if not isinstance(values, list) or not all(isinstance(value, element) for value in values):
            raise Damaged
        return values
    return piece


def column_at(schema: RowSchema, row: bytes, place: int) -> set[str]:
    """The columns that the byte at ``place`` of a whole row is part of, or says something about."""
    heap_columns = [column for column, code in enumerate(schema.codes) if code == "I"]
    at = HEADER
    for column, code in enumerate(schema.codes):
        at += struct.calcsize("<" + code)
        if place < at:
            touched = [column]
            if code == "I":
                # Where one piece ends the next one starts.
                touched = heap_columns[heap_columns.index(column) :][:2]
            return {schema.columns[index][0] for index in touched}
    if row[17] == 2:
        size = (len(schema.codes) + 7) // 8
        if place < at + size:
            return {name for name, _ in schema.columns[8 * (place - at) :][:8]}
        at += size
    offset = HEADER
    for column, code in enumerate(schema.codes):
        if code == "I" and place - at < struct.unpack_from("<I", row, offset)[0]:
            return {schema.columns[column][0]}
        offset += struct.calcsize("<" + code)
    raise AssertionError(f"byte {place} is no part of the row")


# ------------------------------------------------------------------------------------------------ the damage


def samples(dice: random.Random, count: int) -> list[Sample]:
    """Views of all types: first one with every type there is, then some with a few; rows with nulls and without."""
    return [
        _sample(dice, STORABLE if not number else dice.sample(STORABLE, dice.randint(0, 9))) for number in range(count)
    ]


def _sample(dice: random.Random, kinds: Sequence[Kind]) -> Sample:
    names = [f"{place}_{kind.name}" for place, kind in enumerate(kinds)]
    wide = [(name, kind.number) for name, kind in zip(names, kinds, strict=True)]
    schemas, rows = {}, [tombstone(5), tombstone(-7, 3)]
    # As it was declared first, and later, with a column less and some in another order.
    fewer = dice.sample(wide, max(len(wide) - 1, 0))
    for columns in (wide, fewer):
        values = [[_drawn(dice, kind_of(number)) for _ in range(4)] for _, number in columns]
        full = [of_stored(name, number, column) for (name, number), column in zip(columns, values, strict=True)]
        holed = [
            of_stored(name, number, [value if dice.random() < 0.6 else None for value in column])
            for (name, number), column in zip(columns, values, strict=True)
        ]
        for schema in (RowSchema.of(columns), fit(full)):
            schemas[schema.fingerprint] = schema
            moments = np.array([dice.randint(-(2**60), 2**60) for _ in range(4)], np.int64)
            rows += encode(schema, full, moments, moments) + encode(RowSchema.of(columns), holed, moments)
    wanted = dice.sample(wide, dice.randint(0, len(wide))) if dice.random() < 0.6 else wide
    return Sample(Book(schemas), rows, (*wanted, ("no such feature", 4)))


_SCALARS: dict[str, Callable[[random.Random], Any]] = {
    "BYTES": lambda dice: dice.randbytes(dice.randint(0, 9)),
    "PDF_BYTES": lambda dice: dice.randbytes(dice.randint(0, 9)),
    "IMAGE_BYTES": lambda dice: dice.randbytes(200),
    "STRING": lambda dice: "".join(dice.choices("aé水 \n\0🐎", k=dice.randint(0, 12))),
    "INT32": lambda dice: dice.randint(-(2**31), 2**31 - 1) >> dice.randint(0, 31),
    "INT64": lambda dice: dice.randint(-(2**63), 2**63 - 1) >> dice.randint(0, 63),
    "DOUBLE": lambda dice: dice.gauss(0, 1e9),
    "FLOAT": lambda dice: float(dice.randint(-(2**20), 2**20)),
    "BOOL": lambda dice: dice.random() < 0.5,
    "UNIX_TIMESTAMP": lambda dice: dice.randint(0, 2**33),
    "JSON": lambda dice: dice.choice(['{"a": [1, null]}', "[]", '"ü"']),
    "UUID": lambda dice: str(UUID(int=dice.getrandbits(128))),
    "TIME_UUID": lambda dice: str(UUID(int=dice.getrandbits(128))),
    "DECIMAL": lambda dice: f"{dice.randint(-(10**9), 10**9)}.{dice.randint(0, 99)}",
}
_MAP = {"a": 1, "b": {"c": "d"}, "e": 0.5, "f": [1, 2]}
_NESTED: dict[str, Any] = {
    "MAP": _MAP,
    "MAP_LIST": [_MAP, {}],
    "STRUCT": _MAP,
    "STRUCT_LIST": [{}, _MAP],
    "SCALAR_MAP": {1: "a", UUID(int=7): 2, b"k": [3]},
    "VALUE_LIST": [[1, 2], [3]],
    "VALUE_SET": [["a"], ["b", "c"]],
    "ZONED_TIMESTAMP": datetime(2026, 3, 29, 1, 30, tzinfo=ZoneInfo("Europe/Prague")),
}


def _drawn(dice: random.Random, kind: Kind) -> Any:
    """A stored value of this type."""
    if kind.name in _NESTED:
        return serialized(kind, _NESTED[kind.name])
    if kind.name in _SCALARS:
        return _SCALARS[kind.name](dice)
    element = _SCALARS[kind.name.removesuffix("_LIST").removesuffix("_SET")]
    return [element(dice) for _ in range(dice.randint(0, 4))]


def damaged(dice: random.Random, rows: Sequence[bytes]) -> tuple[bytes, bytes, int | None]:
    """One of ``rows``, what became of it, and the place where it has another byte, if that is all that happened."""
    original = dice.choice(rows)
    row, place = bytearray(original), None
    change = dice.randrange(8)
    if change < 3:
        # Where lengths, flags and offsets lie as often as anywhere.
        place = dice.randrange(min(len(row), 120) if dice.random() < 0.5 else len(row))
        row[place] ^= 1 << dice.randrange(8) if change < 2 else dice.randint(1, 255)
    elif change == 3:
        for _ in range(dice.randint(2, 6)):
            row[dice.randrange(len(row))] = dice.randrange(256)
    elif change == 4:
        row = row[: dice.randrange(len(row))]
    elif change == 5:
        start = dice.randrange(len(row) + 1)
        row[start : start + dice.randint(0, 9)] = dice.randbytes(dice.randint(0, 9))
    elif change == 6:
        other = dice.choice(rows)
        row = row[: dice.randrange(len(row) + 1)] + other[dice.randrange(len(other) + 1) :]
    else:
        # A header that is right and then anything, or nothing that is right.
        head = row[:HEADER] if dice.random() < 0.8 else b""
        row = bytearray(head) + dice.randbytes(dice.choice([0, 1, len(row) - len(head), dice.randint(0, 400)]))
    return original, bytes(row), place
