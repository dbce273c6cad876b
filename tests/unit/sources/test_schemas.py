"""Plain types, common types, and casts that name what does not fit."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yummy_feast.errors import ColumnTypeError
from yummy_feast.sources.schemas import cast_column, common_type, merged_schema, plain_type

US = pa.timestamp("us")


@pytest.mark.parametrize(
    ("stored", "plain"),
    [
        (pa.dictionary(pa.int8(), pa.large_string()), pa.large_string()),
        (pa.list_(pa.field("element", pa.dictionary(pa.int8(), pa.string()))), pa.list_(pa.string())),
        (pa.uuid(), pa.binary(16)),
        (pa.string_view(), pa.string()),
        (pa.binary_view(), pa.binary()),
        (pa.list_view(pa.int64()), pa.list_(pa.int64())),
        (pa.struct([("a", pa.json_())]), pa.struct([("a", pa.string())])),
        (pa.run_end_encoded(pa.int32(), pa.int64()), pa.int64()),
    ],
)
def test_plain_types_carry_no_encoding(stored: pa.DataType, plain: pa.DataType) -> None:
    assert plain_type(stored) == plain
    assert str(plain_type(stored)) == str(plain)


@pytest.mark.parametrize(
    ("left", "right", "both"),
    [
        (pa.int8(), pa.int64(), pa.int64()),
        (pa.uint8(), pa.int8(), pa.int16()),
        (pa.uint32(), pa.int32(), pa.int64()),
        (pa.uint16(), pa.uint64(), pa.uint64()),
        (pa.float32(), pa.float64(), pa.float64()),
        (pa.int64(), pa.float32(), pa.float64()),
        (pa.null(), pa.bool_(), pa.bool_()),
        (pa.string(), pa.large_string(), pa.large_string()),
        (pa.binary(4), pa.binary(), pa.binary()),
        (pa.timestamp("s"), pa.timestamp("ns"), pa.timestamp("ns")),
        (pa.timestamp("us", tz="Asia/Tokyo"), pa.timestamp("us"), pa.timestamp("us", tz="UTC")),
        (pa.date32(), US, US),
        (pa.decimal128(10, 2), pa.decimal128(8, 4), pa.decimal128(12, 4)),
        (pa.decimal128(38, 0), pa.decimal128(10, 5), pa.decimal256(43, 5)),
        (pa.list_(pa.int32()), pa.large_list(pa.int64()), pa.large_list(pa.int64())),
        (pa.map_(pa.string(), pa.int32()), pa.map_(pa.string(), pa.int64()), pa.map_(pa.string(), pa.int64())),
        (
            pa.struct([("a", pa.int32())]),
            pa.struct([("b", pa.string()), ("a", pa.int64())]),
            pa.struct([("a", pa.int64()), ("b", pa.string())]),
        ),
        (pa.int64(), pa.string(), None),
        (pa.bool_(), pa.int8(), None),
        (US, pa.int64(), None),
        (pa.struct([("a", pa.int32())]), pa.struct([("a", pa.string())]), None),
        (pa.list_(pa.int32()), pa.list_(pa.bool_()), None),
        (pa.decimal256(76, 0), pa.decimal256(10, 5), None),
    ],
)
def test_common_type(left: pa.DataType, right: pa.DataType, both: pa.DataType | None) -> None:
    assert common_type(left, right) == both
    swapped = common_type(right, left)
    if both is None or not pa.types.is_struct(both):
        assert swapped == both


numbers = st.sampled_from([pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16(), pa.uint32(), pa.float32()])


@given(numbers, numbers)
def test_a_common_type_holds_the_values_of_both(left: pa.DataType, right: pa.DataType) -> None:
    both = common_type(left, right)
    for kind in (left, right):
        if pa.types.is_integer(kind):
            signed = pa.types.is_signed_integer(kind)
            edges = (
                [-(2 ** (kind.bit_width - 1)), 2 ** (kind.bit_width - 1) - 1] if signed else [0, 2**kind.bit_width - 1]
            )
            assert pa.array(edges, kind).cast(both).to_pylist() == edges


def test_columns_merge_in_order_of_appearance() -> None:
    merged = merged_schema(
        [("one", pa.schema([("b", pa.int32())])), ("two", pa.schema([("a", pa.string()), ("b", pa.int64())]))]
    )
    assert merged == pa.schema([("b", pa.int64()), ("a", pa.string())])


def test_files_that_disagree_are_both_named() -> None:
    with pytest.raises(ColumnTypeError, match=r"two: column 'b' is string, but int64 in one"):
        merged_schema([("one", pa.schema([("b", pa.int64())])), ("two", pa.schema([("b", pa.string())]))])


def test_a_cast_never_changes_a_value() -> None:
    assert cast_column(pa.array([1, None]), pa.float64(), "n", "here").to_pylist() == [1.0, None]
    for values, kind in (
        (pa.array([2**53 + 1]), pa.float64()),
        (pa.array([300]), pa.int8()),
        (pa.array([1.5]), pa.int64()),
        (pa.array(["x"]), pa.int64()),
        (pa.array([{"a": 1}]), pa.int64()),
    ):
        with pytest.raises(ColumnTypeError, match="here: column 'n'"):
            cast_column(values, kind, "n", "here")


def test_extensions_and_dictionaries_are_cast() -> None:
    assert cast_column(pa.array([b"0" * 16], pa.uuid()), pa.binary(16), "u", "here").to_pylist() == [b"0" * 16]
    chunked = pa.chunked_array([pa.array([b"0" * 16], pa.uuid())])
    assert cast_column(chunked, pa.binary(16), "u", "here").to_pylist() == [b"0" * 16]
    assert cast_column(pa.array(["a"]).dictionary_encode(), pa.string(), "d", "here").to_pylist() == ["a"]
