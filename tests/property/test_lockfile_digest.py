"""The digest of a column is about its values alone: however they are cut, coded or sliced, and never two alike."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from yummy_feast.offline.lockfile_digest import digest

SCALARS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): st.text("a", max_size=2),
    pa.int64(): st.integers(-3, 3),
    pa.uint8(): st.integers(0, 2),
    pa.float64(): st.sampled_from([0.0, -0.0, 1.5, math.nan, math.inf]),
    pa.bool_(): st.booleans(),
    pa.binary(): st.binary(max_size=2),
    pa.timestamp("us", "UTC"): st.integers(-2, 2),
}


def values_of(kind: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_list(kind):
        return st.none() | st.lists(values_of(kind.value_type), max_size=3)
    if pa.types.is_struct(kind):
        return st.none() | st.fixed_dictionaries({child.name: values_of(child.type) for child in kind})
    # Nulls are rare, or they alone would tell most columns apart.
    return st.integers(0, 5).flatmap(lambda number: SCALARS[kind] if number else st.none())


# Text is drawn more often than the rest: its digest has the most parts.
leaves = st.sampled_from([*SCALARS, pa.string(), pa.string(), pa.string()])
structs = st.tuples(leaves, leaves).map(lambda two: pa.struct({"a": two[0], "b": two[1]}))
kinds = st.one_of(leaves, leaves.map(pa.list_), structs, structs.map(pa.list_), leaves.map(pa.list_).map(pa.list_))


@st.composite
def columns(draw: st.DrawFn) -> tuple[pa.DataType, list[Any], list[Any]]:
    """A type, and two columns of it that are often equal and often differ in one place."""
    kind = draw(kinds)
    one = draw(st.lists(values_of(kind), max_size=8))
    way = draw(st.sampled_from(["same", "in another order", "in one place", "any"]))
    if way == "in one place" and one:
        place = draw(st.integers(0, len(one) - 1))
        return kind, one, [*one[:place], draw(values_of(kind)), *one[place + 1 :]]
    others = {"in another order": st.permutations(one), "any": st.lists(values_of(kind), max_size=8)}
    two = draw(others.get(way, st.just(one)))
    return kind, one, two


@st.composite
def forms(draw: st.DrawFn, kind: pa.DataType, values: list[Any]) -> pa.ChunkedArray:
    """The values in some form: in chunks, inside a longer array, as a dictionary, large."""
    chunks, position = [], 0
    while position < len(values):
        length = draw(st.integers(1, len(values) - position))
        before, after = (draw(st.lists(values_of(kind), max_size=2)) for _ in range(2))
        part = values[position : position + length]
        chunk = pa.array([*before, *part, *after], kind).slice(len(before), length)
        if chunk.type in SCALARS and draw(st.booleans()):
            chunk = chunk.dictionary_encode()
        chunks.append(chunk)
        position += length
    same = {str(chunk.type) for chunk in chunks}
    if len(same) > 1:
        chunks = [chunk if isinstance(chunk, pa.DictionaryArray) else chunk.dictionary_encode() for chunk in chunks]
    column = pa.chunked_array(chunks, chunks[0].type if chunks else kind)
    if column.type == pa.string() and draw(st.booleans()):
        return column.cast(pa.large_string())
    return column


def shown(value: Any) -> Any:
    """A value of which equality is what the digest means by it: NaN is NaN, and -0.0 is not 0.0."""
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else (value, math.copysign(1, value))
    if isinstance(value, list):
        return [shown(item) for item in value]
    return {name: shown(item) for name, item in value.items()} if isinstance(value, dict) else value


@settings(max_examples=300)
@given(columns(), st.data())
def test_equal_digests_are_equal_values(drawn: tuple[pa.DataType, list[Any], list[Any]], data: st.DataObject) -> None:
    kind, one, two = drawn
    first, second = data.draw(forms(kind, one)), data.draw(forms(kind, two))
    assert (digest(first) == digest(second)) == (shown(one) == shown(two))
