"""Columns arrive as Feast would have converted them, or are refused by name."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest
from feast.type_map import python_values_to_proto_values
from feast.value_type import ValueType

from tests.stored_values import same
from yummy_feast.errors import ValueTypeError
from yummy_feast.online.arrow_numbers import microseconds
from yummy_feast.online.columns import FixedColumn, HeapColumn, convert, of_messages, of_stored
from yummy_feast.online.decoding import decoder
from yummy_feast.online.rows import RowSchema, encode
from yummy_feast.values import BY_NAME, proto_finisher

UUIDS = ["0a8a7d1e-0000-4000-8000-000000000001", "0A8A7D1E-0000-4000-8000-00000000000F"]


def through(type_name: str, array: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Stored values after a trip through row bytes."""
    number = BY_NAME[type_name].number
    column = convert("x", number, array)
    schema = RowSchema.of([("x", number)])
    read = decoder(schema, (("x", number),))
    rows = [read(row) for row in encode(schema, [column], np.zeros(len(array), np.int64))]
    assert None not in rows
    values = [row[0] for row in rows if row is not None]
    return [value.tolist() if isinstance(value, memoryview) else value for value in values]


AS_FEAST: list[tuple[str, pa.Array]] = [
    ("INT32", pa.array([1, None, -5], pa.int16())),
    ("INT32", pa.array([1.0, None, -5.0])),
    ("INT64", pa.array([2**63 - 1, -(2**63), 0])),
    ("INT64", pa.array([True, False])),
    ("FLOAT", pa.array([1, 2, 3], pa.int64())),
    ("FLOAT", pa.array([0.1, float("inf"), -0.0], pa.float64())),
    ("DOUBLE", pa.array([0.1, None, -0.0])),
    ("BOOL", pa.array([True, None, False])),
    ("STRING", pa.array(["", "é\0x", None])),
    ("STRING", pa.array([1, 3], pa.int32())),
    ("STRING", pa.array([True, False])),
    ("STRING", pa.array([1.5, 1e300])),
    ("STRING", pa.array(["a", "b", "a"]).dictionary_encode()),
    ("BYTES", pa.array([b"", b"\0\xff", None])),
    ("PDF_BYTES", pa.array([b"%PDF"])),
    ("UNIX_TIMESTAMP", pa.array([datetime(2026, 1, 1, 12, 0, 0, 999_999, UTC), None])),
    ("UNIX_TIMESTAMP", pa.array([-1, -1_000_000, -1_500_000, 0, 1_999_999], pa.timestamp("us"))),
    ("UNIX_TIMESTAMP", pa.array([-1, 10**9 + 1], pa.timestamp("ns", "Asia/Tokyo"))),
    ("UNIX_TIMESTAMP", pa.array([7], pa.timestamp("s"))),
    ("UNIX_TIMESTAMP", pa.array([1_001], pa.timestamp("ms"))),
    ("UNIX_TIMESTAMP", pa.array([5, 0], pa.int64())),
    ("JSON", pa.array(['{"a": 1}', "[]", None])),
    ("UUID", pa.array(UUIDS)),
    ("DECIMAL", pa.array(["1.50", "-3"])),
    ("DECIMAL", pa.array([Decimal("1.50"), None, Decimal("-0.01")])),
    ("FLOAT_LIST", pa.array([[0.5, 1.5], [], None], pa.list_(pa.float32()))),
    ("DOUBLE_LIST", pa.array([[0.5, 1.5], []])),
    ("INT32_LIST", pa.array([[1], [2, 3]], pa.list_(pa.int32()))),
    ("INT64_LIST", pa.array([[1], [2, 3], None])),
    ("BOOL_LIST", pa.array([[True, False], []])),
    ("STRING_LIST", pa.array([["a", ""], [], None])),
    ("BYTES_LIST", pa.array([[b"a", b""], []])),
    ("STRING_SET", pa.array([["a"], []])),
    ("INT64_SET", pa.array([[3], [4]])),
    ("UUID_LIST", pa.array([UUIDS, []])),
    ("DECIMAL_LIST", pa.array([["1.5"], []])),
    ("JSON_LIST", pa.array([['{"a": 1}'], []])),
    ("STRUCT", pa.array([{"a": 1, "b": "x"}, None])),
    ("STRUCT_LIST", pa.array([[{"a": 1}], []])),
    ("VALUE_LIST", pa.array([[[1, 2], [3]], None])),
    ("MAP", pa.array(['{"a": 1}', None])),
]


@pytest.mark.parametrize(("type_name", "array"), AS_FEAST, ids=lambda item: str(getattr(item, "type", item)))
def test_same_as_feasts_converter(type_name: str, array: pa.Array) -> None:
    number = BY_NAME[type_name].number
    finish = proto_finisher(number)
    ours = [None if value is None else finish(value) for value in through(type_name, array)]
    theirs: list[Any] = []
    for message in python_values_to_proto_values(list(array.to_numpy(zero_copy_only=False)), ValueType(number)):
        held = message.WhichOneof("val")
        is_null = held is None or (held == "unix_timestamp_val" and message.unix_timestamp_val == -(2**63))
        theirs.append(None if is_null else message)
    assert ours == theirs


def test_nan_stays_nan_in_a_float_column_and_is_null_in_an_integer_column() -> None:
    assert same(through("DOUBLE", pa.array([float("nan"), 1.0])), [float("nan"), 1.0])
    assert same(through("FLOAT", pa.array([float("nan")], pa.float32())), [float("nan")])
    assert through("INT64", pa.array([float("nan"), 1.0])) == [None, 1]
    assert same(through("DOUBLE_LIST", pa.array([[1.0, None]])), [[1.0, float("nan")]])


def test_where_feast_needs_the_exact_type_or_invents_a_fraction() -> None:
    assert through("DOUBLE", pa.array([1.5, None], pa.float32())) == [1.5, None]
    assert through("STRING", pa.array([1, None, 3], pa.int32())) == ["1", None, "3"]
    assert through("DOUBLE", pa.array([Decimal("1.5")])) == [1.5]
    assert through("INT64", pa.array(["12", None])) == [12, None]


def test_integers_beyond_a_floats_precision_are_rounded() -> None:
    assert through("FLOAT", pa.array([20_000_001])) == [20_000_000.0]
    assert through("DOUBLE", pa.array([2**63 - 1])) == [float(2**63)]


def test_chunks_slices_and_dictionaries() -> None:
    assert through("INT64", pa.chunked_array([[1, None], [3]])) == [1, None, 3]
    assert through("STRING", pa.chunked_array([["a"], [], [None, "b"]])) == ["a", None, "b"]
    assert through("STRING", pa.chunked_array([], pa.string())) == []
    assert through("STRING", pa.array(["a", "b", "c", None]).slice(1, 3)) == ["b", "c", None]
    assert through("INT64_LIST", pa.array([[1], [2, 3], None, [4]]).slice(1, 3)) == [[2, 3], None, [4]]
    assert through("BOOL", pa.array([True, False, True]).slice(1)) == [False, True]
    assert through("INT64", pa.array([7, 7, None]).dictionary_encode()) == [7, 7, None]
    assert through("INT64", pa.RunEndEncodedArray.from_arrays([2, 3], [5, 6])) == [5, 5, 6]


def test_nulls_under_lists_with_bytes_below_them() -> None:
    """A null list may still cover elements; they belong to nobody."""
    offsets, values = pa.array([0, 2, 4, 5], pa.int32()), pa.array([1, 2, 3, 4, 5])
    lists = pa.ListArray.from_arrays(offsets, values, mask=pa.array([False, True, False]))
    assert through("INT64_LIST", lists) == [[1, 2], None, [5]]
    assert through("STRING_LIST", lists.cast(pa.list_(pa.string()))) == [["1", "2"], None, ["5"]]


@pytest.mark.parametrize(
    "make",
    [
        lambda items: pa.array(items, pa.list_(pa.float32())),
        lambda items: pa.array(items, pa.large_list(pa.float32())),
        lambda items: pa.array(items, pa.list_(pa.float32(), 2)),
        lambda items: pa.array(items, pa.list_view(pa.float32())),
        lambda items: pa.array(items, pa.large_list_view(pa.float64())),
    ],
    ids=["list", "large_list", "fixed_size_list", "list_view", "large_list_view"],
)
def test_every_spelling_of_a_list(make: Any) -> None:
    assert through("FLOAT_LIST", make([[1.0, 2.0], None, [3.0, 4.0]])) == [[1.0, 2.0], None, [3.0, 4.0]]


def test_a_column_without_a_type_is_null() -> None:
    for name in ("INT64", "STRING", "FLOAT_LIST", "MAP", "BOOL"):
        assert through(name, pa.nulls(2)) == [None, None]


def test_dates_are_midnights() -> None:
    days = [date(1969, 12, 31), date(2026, 11, 23), None]
    seconds = [-86_400, 1_795_392_000, None]
    assert through("UNIX_TIMESTAMP", pa.array(days, pa.date32())) == seconds
    assert through("UNIX_TIMESTAMP", pa.array(days, pa.date64())) == seconds
    assert through("UNIX_TIMESTAMP_LIST", pa.array([days[:2]])) == [seconds[:2]]


def test_nulls_in_lists_become_what_feast_declares() -> None:
    assert through("STRING_LIST", pa.array([["a", None]])) == [["a", ""]]
    assert through("BYTES_LIST", pa.array([[None, b"x"]])) == [[b"", b"x"]]
    moments = pa.array([[datetime(1970, 1, 2, tzinfo=UTC), None]])
    assert through("UNIX_TIMESTAMP_LIST", moments) == [[86_400, -(2**63)]]
    for name, array in [
        ("INT64_LIST", pa.array([[1, None]])),
        ("BOOL_LIST", pa.array([[True, None]])),
        ("UUID_LIST", pa.array([[UUIDS[0], None]])),
        ("DECIMAL_LIST", pa.array([["1", None]])),
    ]:
        with pytest.raises(ValueTypeError, match="null inside a list"):
            through(name, array)


def test_sets_hold_each_element_once() -> None:
    assert through("INT64_SET", pa.array([[2, 1, 2], None, []])) == [[2, 1], None, []]
    assert through("STRING_SET", pa.array([["b", "a", "b"]])) == [["b", "a"]]


def test_uuids_from_arrows_own_type_and_from_bytes() -> None:
    raw = [UUID(text).bytes for text in UUIDS]
    lower = [text.lower() for text in UUIDS]
    assert through("UUID", pa.array(raw, pa.uuid())) == lower
    assert through("UUID", pa.array(raw, pa.binary(16))) == lower
    assert through("STRING", pa.array(raw, pa.uuid())) == lower


def test_maps_structs_and_zones() -> None:
    maps = pa.array([[("b", 1), ("a", 2)], None], pa.map_(pa.string(), pa.int64()))
    (stored, missing) = through("MAP", maps)
    assert missing is None
    assert dict(proto_finisher(20)(stored).map_val.val.items()).keys() == {"a", "b"}
    # Equal maps are equal bytes, whatever the order of their entries: an unchanged row must not look changed.
    assert through("MAP", pa.array([[("a", 2), ("b", 1)]], pa.map_(pa.string(), pa.int64()))) == [stored]
    (zoned,) = through(
        "ZONED_TIMESTAMP", pa.array([datetime(2026, 1, 1, tzinfo=UTC)], pa.timestamp("ns", "Asia/Tokyo"))
    )
    assert proto_finisher(48)(zoned).zoned_timestamp_val.zone == "Asia/Tokyo"
    (nested,) = through("STRUCT", pa.array([{"when": date(2026, 1, 1)}]))
    assert proto_finisher(34)(nested).struct_val.val["when"].unix_timestamp_val == 1_767_225_600


@pytest.mark.parametrize(
    ("type_name", "array", "why"),
    [
        ("INT32", pa.array([2**31]), "not in range|out of bounds|Integer value"),
        ("INT64", pa.array([2**63], pa.uint64()), "not in range|out of bounds|Integer value"),
        ("INT64", pa.array([1.5]), "truncated"),
        ("INT64", pa.array(["a"]), "parse"),
        ("BOOL", pa.array(["maybe"]), "parse"),
        ("UNIX_TIMESTAMP", pa.array(["2026-01-01"]), "no timestamps"),
        ("UNIX_TIMESTAMP", pa.array([1.5]), "no timestamps"),
        ("BYTES", pa.array([1]), "no bytes"),
        ("STRING", pa.array([b"\xff"]), "UTF8"),
        ("JSON", pa.array(["{"]), "'{' is none"),
        ("UUID", pa.array(["x"]), "'x' is none"),
        ("DECIMAL", pa.array(["1,5"]), "'1,5' is none"),
        ("FLOAT_LIST", pa.array([1.0]), "no lists"),
        ("STRING_LIST", pa.array(["a"]), "no lists"),
        ("MAP", pa.array([5]), "Expected dict"),
        ("STRUCT_LIST", pa.array([5]), "."),
        ("DOUBLE", pa.array([{"a": 1}]), "no numbers"),
        ("INT64", pa.array([timedelta(1)]), "no numbers"),
        ("DOUBLE", pa.array([1], pa.timestamp("s")), "no numbers"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_by_name(type_name: str, array: pa.Array, why: str) -> None:
    with pytest.raises(
        ValueTypeError, match=f"(?s)column 'x' is declared {type_name} and holds .*: .*({why})"
    ) as caught:
        through(type_name, array)
    assert "\n" not in str(caught.value)


def test_of_stored_refuses_what_the_type_cannot_hold() -> None:
    for name, values in [("INT32", [2**31]), ("INT64", ["a"]), ("STRING", [5]), ("INT64_LIST", [5]), ("MAP", [5])]:
        with pytest.raises(ValueTypeError, match=f"column 'x' is declared {name}"):
            of_stored("x", BY_NAME[name].number, values)


def test_of_messages_is_of_stored_after_stored_value() -> None:
    for name, held in [
        ("INT64", [5, None, -(2**63)]),
        ("FLOAT", [0.5, None]),
        ("BOOL", [True, None]),
        ("UNIX_TIMESTAMP", [5, None]),
        ("STRING", ["é", None, ""]),
        ("BYTES", [b"", None]),
        ("INT64_LIST", [[], None, [1]]),
        ("STRING_SET", [["a"], None]),
    ]:
        number = BY_NAME[name].number
        messages = [None if value is None else proto_finisher(number)(value) for value in held]
        unset = [type(proto_finisher(4)(1))() if message is None else message for message in messages]
        for given in (messages, unset):
            column, expected = of_messages("x", number, given), of_stored("x", number, held)
            assert column.nulls is not None
            assert column.nulls.tolist() == [value is None for value in held]
            if isinstance(column, FixedColumn) and isinstance(expected, FixedColumn):
                assert column.values.tolist() == expected.values.tolist()
            else:
                assert isinstance(column, HeapColumn)
                assert isinstance(expected, HeapColumn)
                assert column.data.equals(expected.data)
    null_moment = proto_finisher(8)(-(2**63))
    assert of_messages("x", 8, [null_moment]).nulls is not None
    other_width = proto_finisher(BY_NAME["INT32"].number)(7)
    column = of_messages("x", BY_NAME["INT64"].number, [other_width])
    assert isinstance(column, FixedColumn)
    assert column.values.tolist() == [7]
    with pytest.raises(ValueTypeError, match="type INT64 was given as int64_list_val"):
        of_messages("x", 4, [proto_finisher(BY_NAME["INT64_LIST"].number)([1])])


def test_a_double_beyond_a_floats_range_is_infinite() -> None:
    for values in ([1e300, None], [1e300]):
        column = of_stored("x", BY_NAME["FLOAT"].number, values)
        assert isinstance(column, FixedColumn)
        assert column.values[0] == float("inf")
    assert through("FLOAT", pa.array([1e300])) == [float("inf")]


def test_columns_know_their_width() -> None:
    fixed = convert("x", BY_NAME["INT64"].number, pa.array([5, None, -300]))
    assert isinstance(fixed, FixedColumn)
    assert fixed.bounds == (-300, 5)
    assert FixedColumn("x", 4, np.zeros(0, np.int64), None).bounds == (0, 0)
    heap = convert("x", BY_NAME["STRING"].number, pa.array(["é", None]))
    assert isinstance(heap, HeapColumn)
    assert heap.lengths.tolist() == [2, 0]


def test_microseconds_of_any_unit() -> None:
    moments = [datetime(1969, 12, 31, 23, 59, 59, 500_000, UTC), None, datetime(2026, 1, 1, tzinfo=UTC)]
    for unit in ("ms", "us", "ns"):
        for zone in (None, "Asia/Tokyo"):
            values, nulls = microseconds(pa.array(moments, pa.timestamp(unit, zone)), "when")
            assert values.tolist() == [-500_000, 0, 1_767_225_600_000_000]
            assert nulls is not None
            assert nulls.tolist() == [False, True, False]
    assert microseconds(pa.array([-1], pa.timestamp("ns")), "when")[0].tolist() == [-1]
    assert microseconds(pa.array([date(1969, 12, 31)]), "when")[0].tolist() == [-86_400_000_000]
    assert microseconds(pa.array([2], pa.timestamp("s")), "when") == (np.array([2_000_000]), None)
    values, nulls = microseconds(pa.nulls(1), "when")
    assert nulls is not None
    assert nulls.all()


def test_what_is_no_moment_is_refused() -> None:
    with pytest.raises(ValueTypeError, match="column 'when' holds int64, which are no timestamps"):
        microseconds(pa.array([1]), "when")
    with pytest.raises(ValueTypeError, match="292,000 years"):
        microseconds(pa.array([2**62], pa.timestamp("s")), "when")
