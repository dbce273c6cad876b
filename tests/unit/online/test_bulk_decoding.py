"""Rows read together are what each of them is by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stored_values import STORABLE, same, stored
from yummy_feast.errors import RowDecodeError
from yummy_feast.online.bulk_decoding import bulk_decoder
from yummy_feast.online.columns import of_stored
from yummy_feast.online.layouts.rows import ROWS
from yummy_feast.online.rows import RowSchema, encode, fit, tombstone
from yummy_feast.values import BY_NAME, Encoding

NUMBERS = [kind for kind in STORABLE if kind.encoding is Encoding.FIXED]
INT64, INT32, DOUBLE, STRING = (BY_NAME[name].number for name in ("INT64", "INT32", "DOUBLE", "STRING"))


class Book:
    """The schemas of one view."""

    def __init__(self, *schemas: RowSchema) -> None:
        self._known = {schema.fingerprint: schema for schema in schemas}

    def get(self, view: bytes, fingerprint: bytes) -> RowSchema:
        return self._known[fingerprint]


def rows_of(count: int, **columns: tuple[int, list[Any]]) -> tuple[RowSchema, list[bytes]]:
    converted = [of_stored(name, number, values) for name, (number, values) in columns.items()]
    schema = fit(converted)
    return schema, encode(schema, converted, np.arange(-3, count - 3))


@given(data=st.data())
def test_columns_are_the_rows_turned(data: st.DataObject) -> None:
    count = data.draw(st.integers(8, 12))
    with_nulls = data.draw(st.booleans())
    kinds = data.draw(st.lists(st.sampled_from(data.draw(st.sampled_from([NUMBERS, STORABLE]))), max_size=4))
    columns = {
        f"f{at}": (
            kind.number,
            data.draw(
                st.lists(st.none() | stored(kind) if with_nulls else stored(kind), min_size=count, max_size=count)
            ),
        )
        for at, kind in enumerate(kinds)
    }
    schema, rows = rows_of(count, **columns)
    wanted = tuple((name, number) for name, (number, _) in columns.items())
    wanted = (*data.draw(st.permutations(wanted)), ("younger", INT64))
    cells: list[bytes | None] = list(rows)
    for at in data.draw(st.sets(st.integers(0, count - 1))):
        cells[at] = data.draw(st.none() | st.just(tombstone(5)))
    reader = ROWS.reader(b"view", wanted, [1])
    replies = [(b"other", cell) for cell in cells]
    alone, times = reader.rows(replies, Book(schema))
    together = reader.columns(list(zip(*replies, strict=True)), Book(schema))
    assert list(together.times) == times
    assert list(together.there or [True] * count) == [row is not None for row in alone]
    turned = [[None if row is None else row[at] for row in alone] for at in range(len(wanted))]
    assert same([list(column) for column in together.columns], turned)


def test_a_narrow_and_a_widened_number() -> None:
    schema, rows = rows_of(9, a=(INT32, list(range(9))), b=(INT64, [2**40] * 9), c=(DOUBLE, [0.5] * 9))
    decode = bulk_decoder(schema, (("b", INT64), ("a", INT64), ("a", DOUBLE)))
    assert decode is not None
    columns, times = decode(rows)
    assert columns == [[2**40] * 9, list(range(9)), [float(value) for value in range(9)]]
    assert times == list(range(-3, 6))
    assert type(columns[1][0]) is int
    assert type(columns[2][0]) is float


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row + b"\0",
        lambda row: row[:-1],
        lambda row: b"\2" + row[1:],
        lambda row: row[:17] + b"\2" + row[18:],
        lambda row: row[:18] + b"none" + row[22:],
    ],
)
def test_one_odd_row_among_many_leaves_all_to_the_other_decoder(change: Any) -> None:
    schema, rows = rows_of(9, a=(INT64, list(range(9))))
    decode = bulk_decoder(schema, (("a", INT64),))
    assert decode is not None
    assert decode([*rows[:4], change(rows[4]), *rows[5:]]) is None


def test_rows_with_text_are_not_all_of_one_length() -> None:
    schema, _ = rows_of(2, a=(INT64, [1, 2]), s=(STRING, ["x", "yy"]))
    assert bulk_decoder(schema, (("a", INT64),)) is None


def test_damage_among_many_is_told() -> None:
    schema, rows = rows_of(9, a=(INT64, list(range(9))))
    reader = ROWS.reader(b"view", (("a", INT64),), [0])
    for damaged in (rows[0][:10], rows[0][:-1], b"\7" + rows[0][1:]):
        for place in (0, 4):
            cells = list(rows)
            cells[place] = damaged
            with pytest.raises(RowDecodeError):
                reader.columns([cells], Book(schema))
