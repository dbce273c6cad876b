"""The table of types agrees with Feast, wherever Feast has an opinion."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import feast.types as feast_types
import pyarrow as pa
import pytest
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import feast_value_type_to_python_type, pa_to_feast_value_type
from feast.types import from_feast_to_pyarrow_type, from_value_type
from feast.value_type import ValueType
from hypothesis import given
from hypothesis import strategies as st

from tests.stored_values import STORABLE, same, stored
from yummy_feast.errors import ValueTypeError
from yummy_feast.values import (
    BY_NAME,
    KINDS,
    NULL_TIMESTAMP,
    Encoding,
    Kind,
    arrow_type_of,
    kind_of,
    proto_finisher,
    python_finisher,
    stored_value,
    value_type_of,
)


def name_of(kind: Kind) -> str:
    return kind.name


def test_every_feast_type_has_a_line() -> None:
    assert {(kind.number, kind.name) for kind in KINDS.values()} == {
        (item.value, item.name) for item in ValueType if item is not ValueType.UNKNOWN
    }


def test_numbers_of_fields_are_those_of_feasts_message() -> None:
    fields = {field.name for field in Value.DESCRIPTOR.fields}
    assert {kind.proto_field for kind in KINDS.values()} == fields


@pytest.mark.parametrize(
    ("arrow_type", "expected"),
    [
        (pa.int8(), "INT32"),
        (pa.int16(), "INT32"),
        (pa.int32(), "INT32"),
        (pa.int64(), "INT64"),
        (pa.uint8(), "INT32"),
        (pa.uint16(), "INT32"),
        (pa.uint32(), "INT64"),
        (pa.uint64(), "INT64"),
        (pa.float16(), "FLOAT"),
        (pa.float32(), "FLOAT"),
        (pa.float64(), "DOUBLE"),
        (pa.bool_(), "BOOL"),
        (pa.string(), "STRING"),
        (pa.string_view(), "STRING"),
        (pa.binary(), "BYTES"),
        (pa.binary(16), "BYTES"),
        (pa.large_binary(), "BYTES"),
        (pa.binary_view(), "BYTES"),
        (pa.timestamp("s"), "UNIX_TIMESTAMP"),
        (pa.timestamp("ns", "Asia/Tokyo"), "UNIX_TIMESTAMP"),
        (pa.date32(), "UNIX_TIMESTAMP"),
        (pa.date64(), "UNIX_TIMESTAMP"),
        (pa.decimal128(38, 4), "DECIMAL"),
        (pa.decimal256(60, 4), "DECIMAL"),
        (pa.dictionary(pa.int8(), pa.string()), "STRING"),
        (pa.run_end_encoded(pa.int32(), pa.float32()), "FLOAT"),
        (pa.uuid(), "UUID"),
        (pa.json_(), "JSON"),
        (pa.bool8(), "BOOL"),
        (pa.null(), "NULL"),
        (pa.list_(pa.float32()), "FLOAT_LIST"),
        (pa.list_(pa.float32(), 3), "FLOAT_LIST"),
        (pa.large_list(pa.string()), "STRING_LIST"),
        (pa.list_view(pa.int64()), "INT64_LIST"),
        (pa.large_list_view(pa.int8()), "INT32_LIST"),
        (pa.list_(pa.date32()), "UNIX_TIMESTAMP_LIST"),
        (pa.list_(pa.decimal128(9, 2)), "DECIMAL_LIST"),
        (pa.list_(pa.uuid()), "UUID_LIST"),
        (pa.list_(pa.dictionary(pa.int8(), pa.string())), "STRING_LIST"),
        (pa.list_(pa.list_(pa.int32())), "VALUE_LIST"),
        (pa.list_(pa.list_(pa.struct([("a", pa.int8())]))), "VALUE_LIST"),
        (pa.struct([("a", pa.int8())]), "STRUCT"),
        (pa.list_(pa.struct([("a", pa.int8())])), "STRUCT_LIST"),
        (pa.map_(pa.string(), pa.int8()), "MAP"),
        (pa.map_(pa.int64(), pa.string()), "SCALAR_MAP"),
        (pa.list_(pa.map_(pa.string(), pa.int8())), "MAP_LIST"),
    ],
    ids=str,
)
def test_value_type_of(arrow_type: pa.DataType, expected: str) -> None:
    assert value_type_of(arrow_type) is ValueType[expected]
    try:
        theirs = pa_to_feast_value_type(str(arrow_type))
    except KeyError:
        return  # Feast does not know it
    # Feast takes any map for one with text keys.
    assert expected == "SCALAR_MAP" or theirs is ValueType[expected]


def test_large_string_is_plain_text_although_feast_reads_json() -> None:
    assert value_type_of(pa.large_string()) is ValueType.STRING
    assert pa_to_feast_value_type("large_string") is ValueType.JSON


@pytest.mark.parametrize(
    "arrow_type",
    [
        pa.duration("s"),
        pa.time32("s"),
        pa.time64("us"),
        pa.month_day_nano_interval(),
        pa.list_(pa.null()),
        pa.list_(pa.duration("s")),
        pa.list_(pa.map_(pa.int64(), pa.int64())),
        pa.dense_union([pa.field("a", pa.int8())]),
    ],
    ids=str,
)
def test_what_feast_cannot_hold_is_refused_by_name(arrow_type: pa.DataType) -> None:
    with pytest.raises(ValueTypeError, match="has no Feast type"):
        value_type_of(arrow_type)


@pytest.mark.parametrize("kind", [kind for kind in STORABLE if kind.name != "VALUE_SET"], ids=name_of)
def test_arrow_type_of_is_feasts_where_feast_has_one(kind: Kind) -> None:
    dtype = from_value_type(ValueType(kind.number))
    ours = arrow_type_of(dtype)
    try:
        assert ours == from_feast_to_pyarrow_type(dtype)
    except ValueError:
        assert "BYTES" in kind.name or kind.name == "SCALAR_MAP"
    # An Arrow column that we make for a type is one that we read as that type, as far as Arrow can tell them apart.
    read = value_type_of(ours).name
    told_apart = not any(word in kind.name for word in ("SET", "UUID", "DECIMAL", "JSON", "PDF", "IMAGE", "ZONED"))
    assert read == kind.name or not told_apart


def test_arrow_type_of_nested_declarations() -> None:
    dtype = feast_types.Array(feast_types.Struct({"id": feast_types.Int64, "tags": feast_types.Set(feast_types.Bytes)}))
    assert arrow_type_of(dtype) == pa.list_(pa.struct([("id", pa.int64()), ("tags", pa.list_(pa.binary()))]))
    assert arrow_type_of(feast_types.Set(feast_types.Array(feast_types.Int32))) == pa.list_(pa.list_(pa.int32()))
    with pytest.raises(ValueTypeError, match="value type 0"):
        arrow_type_of(feast_types.Invalid)


def test_an_unknown_number_is_refused() -> None:
    with pytest.raises(ValueTypeError, match="value type 0 cannot be stored"):
        kind_of(ValueType.UNKNOWN)


@pytest.mark.parametrize("kind", STORABLE, ids=name_of)
@given(data=st.data())
def test_finishers_answer_what_feast_answers(kind: Kind, data: st.DataObject) -> None:
    value = data.draw(stored(kind))
    message = proto_finisher(kind.number)(value)
    assert message.WhichOneof("val") == kind.proto_field
    finish = python_finisher(kind.number)

    def ours() -> Any:
        return value if finish is None else finish(value)

    try:
        theirs = feast_value_type_to_python_type(message, ValueType(kind.number))
    except (ValueError, OverflowError, OSError):
        # Neither Feast nor Python has a datetime there.
        assert "TIMESTAMP" in kind.name
        with pytest.raises((ValueTypeError, ValueError, OverflowError)):
            ours()
        return
    assert same(ours(), theirs)
    assert same(stored_value(message, kind.number), value)


def test_finished_values_by_example() -> None:
    def finish(name: str, value: Any) -> Any:
        finisher = python_finisher(BY_NAME[name].number)
        return value if finisher is None else finisher(value)

    assert finish("UNIX_TIMESTAMP", -1) == datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert finish("UNIX_TIMESTAMP", NULL_TIMESTAMP) is None
    assert finish("UNIX_TIMESTAMP_LIST", [0, NULL_TIMESTAMP]) == [datetime(1970, 1, 1, tzinfo=UTC), None]
    assert finish("JSON", '{"a": 1}') == {"a": 1}
    assert finish("JSON", "{") == "{"
    assert finish("DECIMAL", "1.10") == Decimal("1.10")
    assert finish("INT64_SET", [1, 2]) == {1, 2}
    text = "0a8a7d1e-0000-4000-8000-000000000001"
    assert finish("UUID_SET", [text]) == {UUID(text)}
    with pytest.raises(ValueTypeError, match="outside the years 1 to 9999"):
        finish("UNIX_TIMESTAMP", 2**40)


@pytest.mark.parametrize(("name", "value"), [("UUID", "x"), ("DECIMAL", "x"), ("UUID_LIST", ["x"]), ("MAP", b"\xff")])
def test_a_damaged_value_is_an_error_of_ours(name: str, value: Any) -> None:
    finisher = python_finisher(BY_NAME[name].number)
    assert finisher is not None
    with pytest.raises(ValueTypeError, match=r"is no|damaged"):
        finisher(value)


def test_an_empty_list_is_not_a_null() -> None:
    message = proto_finisher(BY_NAME["INT64_LIST"].number)([])
    assert message.WhichOneof("val") == "int64_list_val"
    assert stored_value(message, BY_NAME["INT64_LIST"].number) == []


def test_nulls_of_feast_have_no_stored_value() -> None:
    assert stored_value(Value(), 4) is None
    assert stored_value(Value(null_val=0), 4) is None
    assert stored_value(Value(unix_timestamp_val=NULL_TIMESTAMP), 8) is None


@pytest.mark.parametrize("name", ["INT64", "STRING"])
def test_a_list_is_no_scalar_and_a_scalar_no_list(name: str) -> None:
    with pytest.raises(ValueTypeError, match=f"type {name} was given as int64_list_val"):
        stored_value(proto_finisher(BY_NAME["INT64_LIST"].number)([1]), BY_NAME[name].number)
    with pytest.raises(ValueTypeError, match=f"type {name}_LIST was given as int64_val"):
        stored_value(Value(int64_val=1), BY_NAME[f"{name}_LIST"].number)


def test_the_table_does_not_load_feast() -> None:
    code = "import sys, yummy_feast.values; sys.exit('feast' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_fixed_types_have_a_width() -> None:
    assert {kind.name for kind in KINDS.values() if kind.encoding is Encoding.FIXED} == {
        "INT32",
        "INT64",
        "DOUBLE",
        "FLOAT",
        "BOOL",
        "UNIX_TIMESTAMP",
    }
