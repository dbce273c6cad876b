"""Entity rows in every shape callers have, and what is said about the others."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from feast.errors import RequestDataNotFoundInEntityRowsException
from feast.protos.feast.types.Value_pb2 import RepeatedValue, Value
from hypothesis import given
from hypothesis import strategies as st

from yummy_feast.errors import OnlineRequestError
from yummy_feast.online.request import (
    BYTES,
    INT32,
    INT64,
    STRING,
    UNIX_TIMESTAMP,
    cast_keys,
    missing_request_data,
    plain_values,
    to_columns,
)

VALUES = [Value(int64_val=1), Value(int64_val=2)]


@pytest.mark.parametrize(
    "rows",
    [
        [{"a": 1}, {"a": 2}],
        ({"a": 1}, {"a": 2}),
        {"a": [1, 2]},
        {"a": (1, 2)},
        {"a": range(1, 3)},
        {"a": np.array([1, 2])},
        {"a": pd.Series([1, 2])},
        {"a": pa.array([1, 2])},
    ],
)
def test_rows_and_columns_are_the_same(rows: Any) -> None:
    assert to_columns(rows) == ({"a": [1, 2]}, 2)


def test_messages_stay_messages() -> None:
    assert to_columns({"a": VALUES}) == ({"a": VALUES}, 2)
    assert to_columns({"a": RepeatedValue(val=VALUES)}) == ({"a": VALUES}, 2)
    assert cast_keys("a", VALUES, INT64) == [1, 2]
    assert cast_keys("a", [Value()], INT64) == [None]
    assert cast_keys("a", VALUES, STRING) == ["1", "2"]


def test_rows_may_differ_in_the_order_of_their_keys() -> None:
    assert to_columns([{"a": 1, "b": 2}, {"b": 4, "a": 3}]) == ({"a": [1, 3], "b": [2, 4]}, 2)


def test_rows_without_keys_still_count() -> None:
    assert to_columns([{}, {}]) == ({}, 2)
    assert to_columns({}) == ({}, 1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "there are no entity rows"),
        ({"a": []}, "there are no entity rows"),
        ([{"a": 1}, {"a": 2, "b": 3}], r"entity row 1 and entity row 0 do not have the same keys: b \(All entity_rows"),
        ([{"a": 1, "b": 3}, {"a": 2}], "entity row 1 and entity row 0 do not have the same keys: b"),
        ([{"a": 1}, {"b": 2}], "entity row 1 and entity row 0 do not have the same keys: a, b"),
        ([{}, {"b": 2}], "entity row 1 and entity row 0 do not have the same keys: b"),
        ({"a": [1, 2], "b": [1]}, "the entity columns have different lengths: a 2, b 1"),
        ({"a": "abc"}, r"entity column 'a' is str 'abc', not a list of values"),
        ({"a": 5}, r"entity column 'a' is a int, not a list of values"),
        ({"a": np.int64(5)}, r"entity column 'a' is a int64, not a list of values"),
        ({"a": {"b": 1}}, r"entity column 'a' is dict"),
    ],
)
def test_other_rows_are_refused(rows: Any, message: str) -> None:
    with pytest.raises(OnlineRequestError, match=message):
        to_columns(rows)


@pytest.mark.parametrize("kind", [INT32, INT64])
@pytest.mark.parametrize("value", [7, np.int8(7), np.uint64(7), np.float32(7), 7.0, "7"])
def test_integers(kind: int, value: Any) -> None:
    [key] = cast_keys("k", [value], kind)
    assert (key, type(key)) == (7, int)


@given(st.lists(st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1)), min_size=1))
def test_integers_of_both_widths_pass_through(values: list[int | None]) -> None:
    assert cast_keys("k", values, INT32) == values
    assert cast_keys("k", values, INT64) == values


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1])
def test_int32_has_limits(value: int) -> None:
    with pytest.raises(OnlineRequestError, match=r"entity row 0: join key 'k' is .*, not INT32"):
        cast_keys("k", [value], INT32)


@pytest.mark.parametrize("null", [None, float("nan"), pd.NA, pd.NaT, np.datetime64("NaT"), np.float64("nan"), Value()])
def test_nulls(null: Any) -> None:
    for kind in (UNIX_TIMESTAMP,) if isinstance(null, np.datetime64) else (BYTES, STRING, INT32, INT64, UNIX_TIMESTAMP):
        assert cast_keys("k", [null], kind) == [None]


@pytest.mark.parametrize(
    "value",
    [
        datetime(2026, 1, 2, tzinfo=UTC),
        datetime(2026, 1, 2),  # noqa: DTZ001
        date(2026, 1, 2),
        pd.Timestamp("2026-01-02T00:00:00.9Z"),
        np.datetime64("2026-01-02"),
        "2026-01-02",
        "2026-01-02T01:00:00+01:00",
        1767312000,
    ],
)
def test_timestamps_are_whole_seconds_in_utc(value: Any) -> None:
    assert cast_keys("k", [value], UNIX_TIMESTAMP) == [1767312000]


def test_bytes() -> None:
    assert cast_keys("k", [b"a", bytearray(b"b"), memoryview(b"c")], BYTES) == [b"a", b"b", b"c"]
    with pytest.raises(OnlineRequestError, match=r"'k' is 'a' \(str\), not BYTES"):
        cast_keys("k", ["a"], BYTES)


def test_text() -> None:
    assert cast_keys("k", ["a", np.str_("b"), 3, 4.5], STRING) == ["a", "b", "3", "4.5"]
    assert {type(key) for key in cast_keys("k", [np.str_("b"), 3], STRING)} == {str}


def test_types_without_keys_are_refused() -> None:
    with pytest.raises(OnlineRequestError, match="join key 'k' is DOUBLE, which Feast cannot look up"):
        cast_keys("k", [1.0], 5)


def test_plain_values_are_feast_s() -> None:
    same: list[list[Any]] = [[1, None], [1.5, 2], ["a"], [True], [None]]
    for values in same:
        assert plain_values("x", values) is values
    assert plain_values("x", [np.float64(1.5)]) == [1.5]
    assert plain_values("x", [pd.Timestamp("2026-01-02")]) == [datetime(2026, 1, 2, tzinfo=UTC)]
    assert plain_values("x", [[1, 2], [3]]) == [[1, 2], [3]]
    assert plain_values("x", VALUES) == [1, 2]
    with pytest.raises(OnlineRequestError, match="entity column 'x' holds values that Feast cannot take"):
        plain_values("x", [object()])


def test_missing_request_data_is_both_errors() -> None:
    error = missing_request_data(["bonus"], ["driver_id"])
    assert isinstance(error, RequestDataNotFoundInEntityRowsException)
    assert str(error) == (
        "the entity rows lack request data 'bonus', which an on-demand feature view needs (the rows have driver_id)"
    )
