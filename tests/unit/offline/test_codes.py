"""Join keys as small numbers: one number per distinct key, -1 for everything else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yummy_feast.errors import ColumnTypeError, EntityRowsError
from yummy_feast.offline.engines import codes
from yummy_feast.offline.engines.codes import CANONICAL, KeyCodes, Numbering, canonical, common_family, family

INT64S = st.integers(-(2**63), 2**63 - 1)
NEAR = st.integers(-3, 3)


@pytest.mark.parametrize(
    "values", [NEAR, INT64S, st.integers(2**63 - 4, 2**63 - 1), st.integers(-(2**63), -(2**63) + 3)]
)
def test_a_numbering_finds_its_own_values_only(values: st.SearchStrategy[int]) -> None:
    column = st.lists(st.none() | values, max_size=12)

    @given(column, column)
    def check(own: list[int | None], asked: list[int | None]) -> None:
        numbering = Numbering(pa.array(own, pa.int64()))
        found = numbering.look_up(pa.array(asked, pa.int64())).tolist()
        listed = numbering.values.to_pylist()
        assert sorted(listed) == sorted({value for value in own if value is not None})
        assert found == [listed.index(value) if value in listed else -1 for value in asked]

    check()


def test_dense_and_sparse_numbers_are_looked_up_alike() -> None:
    dense, sparse = pa.array([5, 7, 6]), pa.array([5, 2**60, 6])
    assert Numbering(dense)._table is not None
    assert Numbering(sparse)._table is None
    asked = pa.array([6, 7, 5, 4, 8, None, -(2**63), 2**63 - 1])
    assert Numbering(dense).look_up(asked).tolist() == [2, 1, 0, -1, -1, -1, -1, -1]
    assert Numbering(sparse).look_up(asked).tolist() == [2, -1, 0, -1, -1, -1, -1, -1]


def test_the_size_of_a_table_follows_how_full_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codes, "DENSE", 4)
    assert Numbering(pa.array([0, 3]))._table is not None
    assert Numbering(pa.array([0, 8]))._table is None
    assert Numbering(pa.array([0, 2, 4, 15]))._table is not None


def test_an_offset_into_a_column_is_minded() -> None:
    longer = pa.array([9, None, 1, 2, None]).slice(1, 3)
    assert Numbering(longer).values.to_pylist() == [1, 2]
    assert Numbering(pa.array([1, 2])).look_up(longer).tolist() == [-1, 0, 1]


KEYS = st.tuples(st.none() | NEAR, st.none() | st.sampled_from(["", "a", "b"]), st.none() | NEAR)


@given(st.lists(KEYS, max_size=10), st.lists(KEYS, max_size=10), st.integers(1, 3))
def test_composite_keys_are_equal_where_all_parts_are(own: Any, asked: Any, width: int) -> None:
    kinds = [pa.int64(), pa.string(), pa.int64()][:width]

    def columns(rows: list[tuple[object, ...]]) -> list[pa.Array]:
        return [pa.array([row[part] for row in rows], kind) for part, kind in enumerate(kinds)]

    keys = KeyCodes.of(columns(own), ["int", "string", "int"][:width], len(own))
    code_of: dict[int, tuple[object, ...]] = {}
    for row, code in zip(own, keys.codes.tolist(), strict=True):
        assert (code == -1) == (None in row[:width])
        if code >= 0:
            assert code_of.setdefault(code, row[:width]) == row[:width]
    assert len(set(code_of.values())) == len(code_of)
    for row, code in zip(asked, keys.look_up(columns(asked), len(asked)).tolist(), strict=True):
        assert code_of.get(code) == (row[:width] if row[:width] in code_of.values() else None)


def test_no_key_columns_are_one_key() -> None:
    keys = KeyCodes.of([], [], 3)
    assert keys.codes.tolist() == [0, 0, 0]
    assert keys.look_up([], 2).tolist() == [0, 0]


def test_codes_may_be_changed_by_who_asked_for_them() -> None:
    for column in (pa.array([1, 2]), pa.array([1, 2**60]), pa.array(["a", "b"])):
        keys = KeyCodes.of([column], ["any"], 2)
        found = keys.look_up([column], 2)
        found[:] = -1
        assert keys.look_up([column], 2).tolist() == [0, 1]


# -------------------------------------------------------------------------------------------------- families


def test_every_family_has_one_type_to_compare_in() -> None:
    kinds = [pa.int8(), pa.uint64(), pa.float16(), pa.large_string(), pa.binary(3), pa.bool_(), pa.date64()]
    kinds += [pa.timestamp("ns"), pa.timestamp("s", "UTC"), pa.decimal128(3), pa.decimal256(70), pa.null()]
    assert {family(kind) for kind in kinds} == set(CANONICAL)
    for kind in (
        pa.list_(pa.int8()),
        pa.struct([]),
        pa.map_(pa.string(), pa.string()),
        pa.duration("s"),
        pa.time32("s"),
    ):
        assert family(kind) is None
        with pytest.raises(EntityRowsError, match=r"^entity column 'e' holds .* which cannot be a join key"):
            common_family("e", kind, "s", pa.int64(), "here")
        with pytest.raises(EntityRowsError, match=r"^column 's' of here holds .* which cannot be a join key"):
            common_family("e", pa.int64(), "s", kind, "here")


def test_nulls_take_the_family_of_the_other_side() -> None:
    assert common_family("e", pa.null(), "s", pa.string(), "here") == "string"
    assert common_family("e", pa.bool_(), "s", pa.null(), "here") == "bool"
    assert common_family("e", pa.null(), "s", pa.null(), "here") == "null"


def test_uuids_are_the_bytes_they_are_stored_as() -> None:
    ids = [UUID(int=1), UUID(int=2)]
    column = pa.Array.from_pandas(pd.Series(ids))
    assert common_family("e", column.type, "s", pa.binary(16), "here") == "bytes"
    assert canonical(column, "bytes", "e").to_pylist() == [one.bytes for one in ids]


def test_a_chunked_dictionary_with_two_dictionaries() -> None:
    column = pa.chunked_array([pa.array(["a", "b"]).dictionary_encode(), pa.array(["c", "a"]).dictionary_encode()])
    assert canonical(column, "string", "k").to_pylist() == ["a", "b", "c", "a"]
    assert canonical(column.slice(0, 0), "string", "k").to_pylist() == []


@given(st.lists(st.none() | st.floats(width=64), max_size=8), st.sampled_from(["int", "uint", "float"]))
def test_floats_become_the_integers_they_are(values: list[float | None], kind: str) -> None:
    found = canonical(pa.array(values, pa.float64()), kind, "k").to_pylist()
    low, high = {"int": (-(2**63), 2**63), "uint": (0, 2**64), "float": (-np.inf, np.inf)}[kind]

    def expected(value: float | None) -> float | int | None:
        if value is None or np.isnan(value):
            return None
        if kind == "float":
            return value
        return int(value) if np.isfinite(value) and value == int(value) and low <= int(value) < high else None

    assert found == [expected(value) for value in values]


def test_times_that_no_int64_holds_have_no_equal() -> None:
    ends = pa.array([-(2**63) + 1, 2**63 - 1, 0, None], pa.timestamp("s"))
    assert canonical(ends, "time", "k").cast(pa.int64()).to_pylist() == [None, None, 0, None]
    assert canonical(ends.cast(pa.int64()).cast(pa.timestamp("us")), "fine time", "k").null_count == 3
    year_2000 = pa.array([datetime(2000, 1, 1, tzinfo=UTC)], pa.timestamp("ms", "America/New_York"))
    assert canonical(year_2000, "fine time", "k").type == pa.timestamp("ns", "UTC")
    assert canonical(year_2000, "fine time", "k")[0].as_py() == datetime(2000, 1, 1, tzinfo=UTC)


def test_a_decimal_that_does_not_fit_is_named() -> None:
    wide = pa.array([10**60], pa.decimal256(76, 0))
    with pytest.raises(ColumnTypeError, match=r"join key 'price' of type decimal256\(76, 0\) cannot be read") as caught:
        canonical(wide, "decimal", "price")
    assert "\n" not in str(caught.value)
