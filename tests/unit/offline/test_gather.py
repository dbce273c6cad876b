"""The second pass: values by address, across pieces, batches and threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yummy_feast.offline.engines import gather as module
from yummy_feast.offline.engines.gather import gather
from yummy_feast.offline.engines.passes import PIECE_BITS

LISTS = pa.list_(pa.string())


@dataclass
class Piece:
    table: pa.Table
    batch: int
    reads: int = 0

    @property
    def rows(self) -> int:
        return int(self.table.num_rows)

    def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        self.reads += 1
        yield from self.table.select(columns).to_batches(max_chunksize=self.batch)


def table(rows: int, start: int = 0) -> pa.Table:
    numbers = range(start, start + rows)
    odd = [None if n % 5 == 3 else n for n in numbers]
    return pa.table(
        {
            "number": pa.array(odd, pa.int64()),
            "small": pa.array([None if n is None else n % 100 for n in odd], pa.int8()),
            "flag": pa.array([None if n is None else n % 2 == 0 for n in odd]),
            "text": pa.array([None if n is None else "x" * (n % 7) + str(n) for n in odd]),
            "lists": pa.array([None if n is None else [str(n)] * (n % 3) for n in odd], LISTS),
            "pair": pa.array([None if n is None else {"a": n, "b": [n] * (n % 2)} for n in odd]),
        },
        schema=pa.schema(
            [
                ("number", pa.int64()),
                ("small", pa.int8()),
                ("flag", pa.bool_()),
                ("text", pa.string()),
                ("lists", LISTS),
                ("pair", pa.struct([("a", pa.int64()), ("b", pa.list_(pa.int64()))])),
            ]
        ),
    )


SIZES = (0, 7, 1, 12)
WHOLE = table(sum(SIZES))
STARTS = np.cumsum((0, *SIZES))
ADDRESSES = [(piece << PIECE_BITS) + row for piece, size in enumerate(SIZES) for row in range(size)]


def pieces(batch: int) -> list[Piece]:
    return [Piece(WHOLE.slice(int(start), size), batch) for start, size in zip(STARTS, SIZES, strict=False)]


@given(
    st.lists(st.none() | st.integers(0, len(ADDRESSES) - 1), max_size=40),
    st.integers(1, 13),
    st.integers(1, 3),
    st.sampled_from([1, 5, 40, module.MOST]),
)
def test_every_row_gets_the_values_at_its_address(rows: list[int | None], batch: int, threads: int, most: int) -> None:
    addresses = np.array([-1 if row is None else ADDRESSES[row] for row in rows], np.int64)
    with pytest.MonkeyPatch.context() as patch:
        # Answers are cut where an array would hold too much: here almost everywhere.
        patch.setattr(module, "MOST", most)
        found = gather(pieces(batch), WHOLE.schema, WHOLE.column_names, addresses, threads)
    expected = WHOLE.take(pa.array(rows, pa.int64()))
    answer = pa.table(found)
    answer.validate(full=True)
    assert answer.schema == expected.schema
    assert answer.to_pydict() == expected.to_pydict()
    if most == 1 and len(set(rows) - {None}) > 3:
        assert found["text"].num_chunks > 1


def test_only_pieces_with_wanted_rows_are_read_and_columns_once() -> None:
    parts = pieces(4)
    found = gather(parts, WHOLE.schema, ["text", "number", "text"], np.array([ADDRESSES[8], -1], np.int64), 2)
    assert [part.reads for part in parts] == [0, 0, 0, 1]
    assert {name: column.to_pylist() for name, column in found.items()} == {
        "text": [None, None],
        "number": [None, None],
    }
    assert list(found) == ["text", "number"]


def test_a_row_that_many_ask_for_is_kept_once() -> None:
    megabyte = pa.table({"text": ["x" * 2**20]})
    before = pa.total_allocated_bytes()
    addresses = np.zeros(60, np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST", 2**25)
        found = gather([Piece(megabyte, 1)], megabyte.schema, ["text"], addresses, 1)["text"]
    assert found.num_chunks == 2
    assert found.to_pylist() == ["x" * 2**20] * 60
    assert pa.total_allocated_bytes() - before < 80 * 2**20


@pytest.mark.slow
def test_more_text_than_32_bit_offsets_can_count() -> None:
    value = pa.array(["x" * 10**6])
    one = pa.table({"value": value})
    found = gather([Piece(one, 1)], one.schema, ["value"], np.zeros(2200, np.int64), 1)["value"]
    assert len(found) == 2200
    assert found.num_chunks > 1
    assert all(chunk[-1].equals(value[0]) for chunk in found.chunks)


def test_buffers_with_offsets_and_bits_inside_bytes() -> None:
    longer = table(20).slice(5)
    picked: Any = np.array([2, 0, 14, -1, 2], np.int64)
    found = pa.table(gather([Piece(longer, 4)], longer.schema, longer.column_names, picked, 1))
    assert found.to_pydict() == longer.take(pa.array([2, 0, 14, None, 2])).to_pydict()


def test_columns_are_gathered_in_groups_that_fit_a_quarter_of_the_limit() -> None:
    schema = pa.schema(
        [("a", pa.int64()), ("b", pa.float32()), ("c", pa.string()), ("d", pa.bool_()), ("e", pa.int8())]
    )
    names = ["a", "b", "a", "c", "d", "e"]
    assert module.groups(names, schema, 1000, None) == [["a", "b", "c", "d", "e"]]
    assert module.groups(names, schema, 1000, 10**9) == [["a", "b", "c", "d", "e"]]
    # 9 + 5 bytes a row; 64 for text; 1 and 2 for the rest.
    assert module.groups(names, schema, 1000, 4 * 14_000) == [["a", "b"], ["c"], ["d", "e"]]
    assert module.groups(names, schema, 1000, 4 * 67_000) == [["a", "b"], ["c", "d", "e"]]
    assert module.groups(names, schema, 1000, 0) == [["a"], ["b"], ["c"], ["d"], ["e"]]
    assert module.groups(names, schema, 0, 0) == [["a", "b", "c", "d", "e"]]
    assert module.groups([], schema, 10, 0) == [[]]
