"""What counts as the same value, and that offline rows become exactly what the writer would have stored."""

from __future__ import annotations

import math
import struct
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stored_values import STORABLE, serialized, stored
from yummy_feast.errors import ValueTypeError
from yummy_feast.values import BY_NAME, Kind
from yummy_feast.verification.values import Comparison, stored_rows

NAN, INF = math.nan, math.inf
SINGLE = struct.unpack("<f", struct.pack("<f", 0.1))[0]


def same(name: str, left: Any, right: Any, relative: float | None = None) -> bool:
    comparison = Comparison([("x", BY_NAME[name].number)], relative)
    there, back = comparison.differing((left,), (right,)), comparison.differing((right,), (left,))
    assert there == back
    return there == []


def value(name: str, python: Any) -> bytes:
    return serialized(BY_NAME[name], python)


@pytest.mark.parametrize(
    ("name", "left", "right"),
    [
        ("INT64", 1, 1),
        ("DOUBLE", NAN, float("nan")),
        ("DOUBLE", INF, INF),
        ("DOUBLE", 0.0, -0.0),
        ("DOUBLE", 0.1 + 0.2, 0.3),
        ("FLOAT", 0.1, SINGLE),
        ("FLOAT_LIST", [0.1, NAN], [SINGLE, NAN]),
        ("STRING", None, None),
        ("DECIMAL", "1.5", "1.50"),
        ("JSON", '{"a": 1, "b": 2}', '{"b":2,"a":1}'),
        ("UUID", "12345678-1234-5678-1234-56781234567A", "12345678-1234-5678-1234-56781234567a"),
        ("INT64_SET", [1, 2], [2, 1]),
        ("STRING_SET", ["a", "b"], ["b", "a"]),
        ("DOUBLE_SET", [1.0, NAN], [NAN, 1.0]),
        ("DECIMAL_LIST", ["1.0"], ["1"]),
        ("MAP", value("MAP", {"a": 0.1 + 0.2, "b": {"c": [1.0]}}), value("MAP", {"a": 0.3, "b": {"c": [1.0]}})),
    ],
)
def test_the_same(name: str, left: Any, right: Any) -> None:
    assert same(name, left, right)


@pytest.mark.parametrize(
    ("name", "left", "right"),
    [
        ("INT64", 1, 2),
        ("INT64", 2**53, 2**53 + 1),
        ("INT64", 0, None),
        ("BOOL", True, False),
        ("DOUBLE", NAN, 0.0),
        ("DOUBLE", INF, -INF),
        ("DOUBLE", 0.1, SINGLE),
        ("DOUBLE", 0.0, 1e-300),
        ("FLOAT", 1.0, 1.000001),
        ("FLOAT_LIST", [1.0], [1.0, 1.0]),
        ("INT64_LIST", [1, 2], [2, 1]),
        ("STRING", "", None),
        ("STRING", "a", "A"),
        ("BYTES", b"", b"\0"),
        ("UNIX_TIMESTAMP", 1, 2),
        ("DECIMAL", "1.5", "1.51"),
        ("JSON", '{"a": 1}', '{"a": 2}'),
        ("JSON", "no json", "no jso"),
        ("INT64_SET", [1, 2], [1, 3]),
        ("MAP", value("MAP", {"a": 1}), value("MAP", {"a": 1, "b": None})),
    ],
)
def test_not_the_same(name: str, left: Any, right: Any) -> None:
    assert not same(name, left, right)


def test_how_far_apart_is_the_callers_choice() -> None:
    assert same("DOUBLE", 1.0, 1.01, relative=0.02)
    assert same("FLOAT_LIST", [1.0], [1.01], relative=0.02)
    assert same("MAP", value("MAP", {"a": 1.0}), value("MAP", {"a": 1.01}), relative=0.02)
    assert not same("FLOAT", 0.1, SINGLE, relative=0)
    assert not same("INT64", 100, 101, relative=0.02)


def test_damage_inside_a_value_is_an_error() -> None:
    with pytest.raises(ValueTypeError):
        same("MAP", value("MAP", {"a": 1}), b"\xff\xff")


def test_positions() -> None:
    features = [("a", BY_NAME["INT64"].number), ("b", BY_NAME["STRING"].number), ("c", BY_NAME["DOUBLE"].number)]
    assert Comparison(features).differing((1, "x", NAN), (2, "x", 1.0)) == [0, 2]


@pytest.mark.parametrize("kind", STORABLE, ids=lambda kind: kind.name)
@given(data=st.data())
def test_every_value_is_itself(kind: Kind, data: st.DataObject) -> None:
    drawn = data.draw(stored(kind))
    assert same(kind.name, drawn, drawn)


def test_stored_rows() -> None:
    features = [("a", BY_NAME["FLOAT"].number), ("b", BY_NAME["STRING"].number), ("c", BY_NAME["INT64"].number)]
    columns = [pa.array([0.1, None, NAN]), pa.array(["x", "", None]), pa.chunked_array([[2**40], [None, 1]])]
    rows = stored_rows(features, columns)
    assert rows[:2] == [(SINGLE, "x", 2**40), (None, "", None)]
    assert math.isnan(rows[2][0])
    assert rows[2][1:] == (None, 1)
    assert stored_rows(features, [column.slice(0, 0) for column in columns]) == []
    with pytest.raises(ValueTypeError, match="column 'c' is declared INT64"):
        stored_rows(features, [*columns[:2], pa.array(["x", "y", "z"])])
