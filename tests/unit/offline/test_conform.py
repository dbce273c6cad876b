"""Source types against declared types: what stays, what is cast, what is an error that names the column."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from feast.types import Array, Bool, Bytes, FeastType, Float32, Float64, Int32, Int64, Json, Map, String, UnixTimestamp

from yummy_feast.errors import ColumnTypeError
from yummy_feast.offline.conform import conform
from yummy_feast.values import arrow_type_of

NAN = float("nan")
UTC_US = pa.timestamp("us", "UTC")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TEXT_MAP = pa.map_(pa.string(), pa.string())


def conformed(column: pa.Array, declared: FeastType) -> pa.ChunkedArray:
    halves = pa.chunked_array([column.slice(0, 1), column.slice(1)])
    return conform(halves, arrow_type_of(declared), name="f", location="rows.parquet")


@pytest.mark.parametrize(
    ("column", "declared"),
    [
        *((pa.array([1, None], kind), Int64) for kind in (pa.int8(), pa.int32(), pa.int64(), pa.uint64())),
        (pa.array([2**40, None]), Int32),
        (pa.array([0.1, None], pa.float64()), Float32),
        (pa.array([0.1, None], pa.float32()), Float64),
        (pa.array(["a", None], pa.large_string()), String),
        (pa.array(["{}", None]), Json),
        (pa.array([b"a", None], pa.large_binary()), Bytes),
        (pa.array([b"a", None], pa.binary(1)), Bytes),
        (pa.array([True, None]), Bool),
        (pa.array([Decimal("1.5"), None]), String),
        (pa.array([[1.0], None]), Array(Float32)),
        (pa.array([[1], None]), Array(Float32)),
        (pa.array([{"x": 1}, None]), Map),
        (pa.array([{"x": 1}, None]), Json),
        (pa.array([[("a", "b")], None], TEXT_MAP), Map),
        (pa.array(['{"a": 1}', None]), Map),
        (pa.array(["[1, 2]", None]), Array(Int64)),
        (pa.array([1_700_000_000, None]), UnixTimestamp),
    ],
    ids=str,
)
def test_the_same_kind_of_value_stays_as_it_is(column: pa.Array, declared: FeastType) -> None:
    found = conformed(column, declared)
    assert found.type == column.type
    assert found.to_pylist() == column.to_pylist()


@pytest.mark.parametrize(
    ("column", "declared", "kind", "expected"),
    [
        (pa.array([1.0, NAN, None, -2.0]), Int64, pa.int64(), [1, None, None, -2]),
        (pa.array([1.0, NAN], pa.float32()), Int32, pa.int32(), [1, None]),
        (pa.array([1, None, 2**53]), Float64, pa.float64(), [1.0, None, 2.0**53]),
        (pa.array([1, None], pa.int8()), Float32, pa.float32(), [1.0, None]),
        (pa.array([Decimal("2.00"), None]), Int64, pa.int64(), [2, None]),
        (pa.array([Decimal("2.25"), None]), Float64, pa.float64(), [2.25, None]),
        (pa.nulls(2), Float32, pa.float32(), [None, None]),
        (pa.nulls(2), Array(Float32), pa.list_(pa.float32()), [None, None]),
        (pa.nulls(2), UnixTimestamp, UTC_US, [None, None]),
        (pa.array(["a", None, "a"]).dictionary_encode(), String, pa.string(), ["a", None, "a"]),
        (pa.array([1, None]).dictionary_encode(), Float64, pa.float64(), [1.0, None]),
        (pa.array(["a", None], pa.string_view()), String, pa.string(), ["a", None]),
        (pa.array([date(2026, 1, 1), None]), UnixTimestamp, UTC_US, [NOON.replace(hour=0), None]),
        (pa.array([date(2026, 1, 1), None], pa.date64()), UnixTimestamp, UTC_US, [NOON.replace(hour=0), None]),
        (pa.array([NOON.replace(tzinfo=None)], pa.timestamp("s")), UnixTimestamp, pa.timestamp("s", "UTC"), [NOON]),
        (pa.array([NOON], pa.timestamp("ns", "Asia/Tokyo")), UnixTimestamp, pa.timestamp("ns", "UTC"), [NOON]),
    ],
    ids=str,
)
def test_values_that_fit_are_cast(
    column: pa.Array, declared: FeastType, kind: pa.DataType, expected: list[Any]
) -> None:
    found = conformed(column, declared)
    assert found.type == kind
    assert found.to_pylist() == expected


@pytest.mark.parametrize(
    ("column", "declared"),
    [
        (pa.array([1.5]), Int64),
        (pa.array([float("inf")]), Int64),
        (pa.array([1e30]), Int64),
        (pa.array([2.0**31]), Int32),
        (pa.array([2**53 + 1]), Float64),
        (pa.array([2**24 + 1]), Float32),
        (pa.array([Decimal("1.5")]), Int64),
        (pa.array(["1"]), Int64),
        (pa.array(["1"]), Float32),
        (pa.array(["true"]), Bool),
        (pa.array(["a"]), Bytes),
        (pa.array(["2026-01-01"]), UnixTimestamp),
        (pa.array([1]), String),
        (pa.array([1]), Bool),
        (pa.array([True]), Int64),
        (pa.array([b"a"]), String),
        (pa.array([1.5]), UnixTimestamp),
        (pa.array([NOON], UTC_US), Int64),
        (pa.array([NOON], UTC_US), String),
        (pa.array([NOON], UTC_US), Array(Int64)),
        (pa.array([date(2026, 1, 1)]), Int64),
        (pa.array([[1]]), Int64),
        (pa.array([["a"]]), String),
        (pa.array([{"x": 1}]), String),
        (pa.array([[1]]), UnixTimestamp),
        (pa.array([1]), Array(Int64)),
        (pa.array([1]), Map),
        (pa.array([Decimal("1.5")]), Bool),
        (pa.array([1], pa.duration("s")), Int64),
        (pa.array([1], pa.time32("s")), UnixTimestamp),
    ],
    ids=str,
)
def test_what_does_not_fit_names_column_place_types_and_the_way_out(column: pa.Array, declared: FeastType) -> None:
    with pytest.raises(ColumnTypeError) as caught:
        conformed(column, declared)
    text = str(caught.value)
    start = f"column 'f' of rows.parquet holds {column.type}, but is declared {arrow_type_of(declared)}: "
    assert text.startswith(start)
    assert text.endswith("(change the Field's dtype or the source's column type)")
    assert "\n" not in text


def test_no_rows_are_conformed_too() -> None:
    found = conform(pa.chunked_array([], pa.float64()), pa.int64(), name="f", location="x")
    assert (len(found), found.type) == (0, pa.int64())
