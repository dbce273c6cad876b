"""Maps, structs and lists of lists: what comes back is what went in, empty and null things too."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from feast.type_map import python_values_to_proto_values
from feast.value_type import ValueType

from tests.stored_values import same
from yummy_feast.errors import ValueTypeError
from yummy_feast.online.arrow_pieces import pieces
from yummy_feast.online.nested import NULL_INSIDE
from yummy_feast.values import BY_NAME, proto_finisher, python_finisher

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MICROS = pa.timestamp("us", "UTC")
RECORD = pa.struct([("a", pa.int64()), ("l", pa.list_(pa.string()))])


def through(name: str, values: list[Any], kind: pa.DataType) -> list[bytes | None]:
    return pieces(BY_NAME[name], pa.array(values, kind)).to_pylist()


def read(name: str, values: list[Any], kind: pa.DataType) -> list[Any]:
    finish = python_finisher(BY_NAME[name].number)
    assert finish is not None
    return [None if data is None else finish(data) for data in through(name, values, kind)]


def record_of(kind: pa.DataType) -> pa.DataType:
    return pa.struct([("x", kind)])


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.int8(), -5),
        (pa.uint64(), 2**62),
        (pa.float32(), 0.5),
        (pa.float64(), math.nan),
        (pa.bool_(), False),
        (pa.string(), ""),
        (pa.large_string(), "ü"),
        (pa.binary(), b"\xff"),
        (pa.binary(2), b"ab"),
        (pa.decimal128(9, 2), Decimal("1.50")),
        (MICROS, NOON),
        (MICROS, datetime(1960, 1, 1, tzinfo=UTC)),
        (pa.list_(pa.int32()), []),
        (pa.list_(pa.int32()), [1, 2]),
        (pa.list_(pa.float64()), [0.5, math.nan]),
        (pa.list_(pa.bool_()), []),
        (pa.list_(MICROS), [NOON]),
        (pa.list_(pa.decimal128(9, 2)), [Decimal("1.50")]),
        (pa.list_(pa.list_(pa.string())), [["a"], [], None]),
        (pa.list_(RECORD), []),
        (pa.list_(RECORD), [{"a": 1, "l": []}, {"a": None, "l": None}]),
        (RECORD, {"a": 1, "l": ["x"]}),
        (pa.map_(pa.string(), pa.list_(pa.int64())), {"a": [], "b": None, "c": [3]}),
        (pa.map_(pa.int32(), pa.string()), {1: "a", -2: None}),
        (pa.list_(pa.map_(pa.int32(), pa.string())), [{1: "a"}, None]),
        (pa.null(), None),
        (pa.int64(), None),
    ],
    ids=str,
)
def test_anything_inside_a_struct_or_a_map(kind: pa.DataType, value: Any) -> None:
    given = [{"x": value}, None]
    assert same(read("STRUCT", given, record_of(kind)), given)
    assert same(read("MAP", given, record_of(kind)), given)
    assert same(read("MAP", given, pa.map_(pa.string(), kind)), given)


def test_lists_of_lists() -> None:
    values = [[[1, 2], []], [], [None, [3]], None]
    for name in ("VALUE_LIST", "VALUE_SET"):
        assert read(name, values, pa.list_(pa.list_(pa.int64()))) == values
    deep = [[[[1.5], []], []], None]
    assert read("VALUE_LIST", deep, pa.list_(pa.list_(pa.list_(pa.float64())))) == deep
    assert read("VALUE_LIST", [[[], None]], pa.list_(pa.list_(pa.null()))) == [[[], None]]


def test_lists_of_structs_and_maps() -> None:
    values = [[{"a": 1, "l": []}], [], None]
    assert read("STRUCT_LIST", values, pa.list_(RECORD)) == values
    assert read("MAP_LIST", values, pa.list_(RECORD)) == values


@pytest.mark.parametrize(
    ("kind", "key"),
    [(pa.int64(), 5), (pa.float64(), 0.5), (pa.bool_(), True), (pa.binary(), b"k"), (MICROS, NOON),
     (pa.date32(), date(2026, 1, 1)), (pa.decimal128(9, 1), Decimal("1.5"))],
    ids=str,
)  # fmt: skip
def test_keys_of_scalar_maps(kind: pa.DataType, key: Any) -> None:
    answer = datetime(2026, 1, 1, tzinfo=UTC) if kind == pa.date32() else key
    assert read("SCALAR_MAP", [[(key, "x")], [], None], pa.map_(kind, pa.string())) == [{answer: "x"}, {}, None]


def test_the_fields_are_those_that_feast_picks() -> None:
    values = [{"a": 5, "l": ["x"]}, {"a": None, "l": None}]
    for name in ("STRUCT", "MAP"):
        theirs = python_values_to_proto_values(values, ValueType[name])
        assert [proto_finisher(BY_NAME[name].number)(data) for data in through(name, values, RECORD)] == theirs


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("VALUE_LIST", [[[1, None]]], pa.list_(pa.list_(pa.int64()))),
        ("VALUE_LIST", [[[True, None]]], pa.list_(pa.list_(pa.bool_()))),
        ("STRUCT_LIST", [[None]], pa.list_(RECORD)),
        ("STRUCT", [{"x": [None]}], record_of(pa.list_(RECORD))),
    ],
)
def test_a_null_without_a_place_is_refused(name: str, values: list[Any], kind: pa.DataType) -> None:
    with pytest.raises(ValueTypeError, match=NULL_INSIDE):
        through(name, values, kind)


def test_nulls_in_lists_that_have_a_place_for_them() -> None:
    ((floats,),) = read("VALUE_LIST", [[[0.5, None]]], pa.list_(pa.list_(pa.float64())))
    assert floats[0] == 0.5
    assert math.isnan(floats[1])
    assert read("VALUE_LIST", [[["a", None]]], pa.list_(pa.list_(pa.string()))) == [[["a", ""]]]
    assert read("VALUE_LIST", [[[NOON, None]]], pa.list_(pa.list_(MICROS))) == [[[NOON, None]]]


def test_what_feast_has_no_type_for_is_named() -> None:
    with pytest.raises(ValueTypeError, match=r"values of duration\[us\], which have no Feast type"):
        through("STRUCT", [{"x": None}], record_of(pa.duration("us")))
