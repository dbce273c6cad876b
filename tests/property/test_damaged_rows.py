"""What the reader of rows makes of damaged ones: what their bytes mean, or an error; nothing else, and never a crash.

A row has no checksum, so there is damage nobody can see: another byte inside a number, a text or a timestamp is another
number, text or timestamp. What is held here instead, over every type and over rows of several schemas:

- damage to the structure (length, version, flags, fingerprint, an offset behind the end) is an error;
- any bytes mean what a second, independent reader says they mean, or are an error to both;
- a byte that changes changes the columns it belongs to and no other: itself, with an offset also the next piece, in the
  bitmap eight columns.
"""

from __future__ import annotations

import random
import struct
from collections import Counter

import pytest

from tests.property.damage import HEADER, Book, Damaged, Sample, column_at, damaged, meaning, samples
from tests.stored_values import same
from yummy_feast.errors import RowDecodeError, YummyError
from yummy_feast.online.answer import finish_all, finisher_of
from yummy_feast.online.layouts.base import Reader
from yummy_feast.online.layouts.rows import ROWS
from yummy_feast.online.rows import RowSchema
from yummy_feast.values import proto_finisher

SEED = 20_261_125


def check(sample: Sample, reader: Reader, dice: random.Random, seen: Counter[str]) -> None:
    original, row, place = damaged(dice, sample.rows)
    try:
        expected = meaning(row, sample.book.schemas, sample.wanted)
        is_damaged = False
    except Damaged:
        expected, is_damaged = None, True
    try:
        [found], [moment] = reader.rows([(row,)], sample.book)
    except RowDecodeError:
        assert is_damaged, row.hex()
        seen["refused"] += 1
        return
    assert not is_damaged, row.hex()
    assert same(found, expected), row.hex()
    if found is None:
        seen["tombstone"] += 1
        return
    assert moment == struct.unpack_from(">Q", row, 1)[0] - 2**63
    seen["read"] += 1
    if place is not None:
        keep_apart(sample, original, found, place, seen)
    finish(sample, found, seen)


def keep_apart(sample: Sample, original: bytes, found: tuple[object, ...], place: int, seen: Counter[str]) -> None:
    """Of a row with one byte changed, the columns that this byte has nothing to do with are what they were."""
    before = meaning(original, sample.book.schemas, sample.wanted)
    assert before is not None
    schema = sample.book.schemas[original[18:22]]
    # Version, flags and fingerprint would have been noticed; the rest of the header is timestamps. Only where there is
    # no column, nulls are nothing.
    assert place not in (0, *range(17, HEADER)) or (place == 17 and not schema.columns)
    touched = set() if place < HEADER else column_at(schema, original, place)
    for (name, _), was, now in zip(sample.wanted, before, found, strict=True):
        if name not in touched:
            assert same(was, now), (name, place, original.hex())
            seen["apart"] += 1


def finish(sample: Sample, found: tuple[object, ...], seen: Counter[str]) -> None:
    """On to Python's values and to Feast's messages: those, or an error of ours."""
    for (_, number), value in zip(sample.wanted, found, strict=True):
        for act in (lambda v, n=number: finish_all([v], finisher_of(n)), lambda v, n=number: proto_finisher(n)(v)):
            try:
                if value is not None:
                    act(value)
            except YummyError:
                seen["unfinished"] += 1


def run(rows: int, seed: int) -> Counter[str]:
    dice = random.Random(seed)
    views = samples(dice, 40)
    readers = [ROWS.reader(b"view", sample.wanted, [0]) for sample in views]
    seen: Counter[str] = Counter()
    for _ in range(rows):
        number = dice.randrange(len(views)) if dice.random() < 0.9 else 0
        check(views[number], readers[number], dice, seen)
    return seen


def test_a_hundred_thousand_damaged_rows() -> None:
    seen = sum((run(10_000, SEED + number) for number in range(10)), Counter())
    assert seen["refused"] + seen["read"] + seen["tombstone"] == 100_000
    # Neither a reader that refuses everything nor one that swallows everything passes.
    assert seen["refused"] > 40_000
    assert seen["read"] > 20_000
    assert seen["tombstone"] > 500
    assert seen["apart"] > 20_000


def test_the_second_reader_reads_what_was_written() -> None:
    """It could say "damaged" of everything else, and so could the first."""
    for sample in samples(random.Random(SEED), 40):
        read = ROWS.reader(b"view", sample.wanted, [0])
        for row in sample.rows:
            [found], _ = read.rows([(row,)], sample.book)
            assert same(found, meaning(row, sample.book.schemas, sample.wanted))


def test_a_damaged_schema_is_an_error_or_a_schema() -> None:
    dice = random.Random(SEED)
    schemas = [schema.to_json() for sample in samples(dice, 10) for schema in sample.book.schemas.values()]
    read = 0
    for _ in range(10_000):
        _, data, _ = damaged(dice, [*schemas, b"{}" * 20, b"[" * 5000])
        try:
            schema = RowSchema.from_json(data)
        except RowDecodeError:
            continue
        read += 1
        # It reads rows of its own kind, whatever it says.
        assert RowSchema.from_json(schema.to_json()) == schema
        rows = ROWS.reader(b"view", schema.columns, [0])
        with pytest.raises(RowDecodeError):
            rows.rows([(b"\1" + bytes(17) + b"none",)], Book({schema.fingerprint: schema}))
    assert read > 100
