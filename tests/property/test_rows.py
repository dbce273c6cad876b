"""Whatever a row holds comes back, its header orders as its timestamps do, and no damage gets past the decoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.stored_values import INT64, STORABLE, TEXT, same, stored
from yummy_feast.online.columns import of_stored
from yummy_feast.online.decoding import decoder
from yummy_feast.online.rows import ORDER, RowSchema, created_us, encode, event_us, fit, tombstone
from yummy_feast.values import BY_NAME, Kind

# What microseconds since 1970 the header can hold, but for the one value that means "none".
MOMENTS = st.integers(-(2**63) + 1, 2**63 - 1)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[tuple[str, int]], list[list[Any]]]:
    """Columns of any types, a few rows each, with nulls."""
    names = draw(st.lists(TEXT, max_size=6, unique=True))
    kinds = [draw(st.sampled_from(STORABLE)) for _ in names]
    rows = draw(st.integers(0, 4))
    values = [[draw(st.none() | stored(kind)) for _ in range(rows)] for kind in kinds]
    return [(name, kind.number) for name, kind in zip(names, kinds, strict=True)], values


@given(table=tables(), moments=st.data())
def test_what_goes_in_comes_out(table: tuple[list[tuple[str, int]], list[list[Any]]], moments: st.DataObject) -> None:
    columns, values = table
    rows = len(values[0]) if values else 2
    event = moments.draw(st.lists(MOMENTS, min_size=rows, max_size=rows))
    created = moments.draw(st.lists(st.none() | MOMENTS, min_size=rows, max_size=rows))
    converted = [of_stored(name, number, column) for (name, number), column in zip(columns, values, strict=True)]
    for schema in (RowSchema.of(columns), fit(converted)):
        encoded = encode(
            schema,
            converted,
            np.array(event, np.int64),
            np.array([moment or 0 for moment in created], np.int64),
            np.array([moment is None for moment in created], bool),
        )
        order = moments.draw(st.permutations(range(len(columns))))
        read = decoder(RowSchema.from_json(schema.to_json()), tuple(columns[place] for place in order))
        assert [event_us(row) for row in encoded] == event
        assert [created_us(row) for row in encoded] == created
        expected = [tuple(values[place][row] for place in order) for row in range(rows)]
        assert same([read(row) for row in encoded], expected)


@pytest.mark.parametrize("kind", STORABLE, ids=lambda kind: kind.name)
@given(data=st.data())
@settings(max_examples=30)
def test_every_type_by_itself(kind: Kind, data: st.DataObject) -> None:
    value = data.draw(stored(kind))
    columns = [of_stored("x", kind.number, [value, None])]
    schema = fit(columns)
    read = decoder(schema, (("x", kind.number),))
    first, second = (read(row) for row in encode(schema, columns, np.zeros(2, np.int64)))
    assert same(first, (value,))
    assert second == (None,)


@given(st.tuples(MOMENTS, st.none() | MOMENTS), st.tuples(MOMENTS, st.none() | MOMENTS))
@example((-1, None), (0, None))
@example((5, None), (5, -(2**62)))
def test_headers_order_as_event_and_created_do(left: tuple[int, int | None], right: tuple[int, int | None]) -> None:
    def rank(moments: tuple[int, int | None]) -> tuple[int, int]:
        event, created = moments
        return event, -(2**63) if created is None else created

    one, other = tombstone(*left), tombstone(*right)
    assert (one[ORDER] < other[ORDER]) == (rank(left) < rank(right))
    assert (one[ORDER] == other[ORDER]) == (rank(left) == rank(right))


@given(st.lists(INT64, min_size=1, max_size=5), st.lists(INT64, min_size=1, max_size=5))
def test_a_known_schema_is_used_only_where_it_fits(known: list[int], now: list[int]) -> None:
    number = BY_NAME["INT64"].number
    schema = fit([of_stored("n", number, known)])
    columns = [of_stored("n", number, now)]
    chosen = fit(columns, [schema])
    read = decoder(chosen, (("n", number),))
    assert [read(row) for row in encode(chosen, columns, np.zeros(len(now), np.int64))] == [(value,) for value in now]
