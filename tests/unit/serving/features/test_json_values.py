"""Values in JSON, beside the function Feast's own feature server writes them with."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from feast.feature_server_utils import _value_to_native
from feast.protos.feast.types.Value_pb2 import ScalarMap, Value, ZonedTimestamp
from hypothesis import given
from hypothesis import strategies as st

from tests import stored_values
from tests.unit.online import samples
from yummy_feast.errors import ValueTypeError
from yummy_feast.serving.features.json_values import is_number, json_finisher, mend_floats
from yummy_feast.values import BY_NAME, KINDS, NULL_TIMESTAMP, Encoding, Kind, proto_finisher


def through_json(number: int, stored: Any) -> Any:
    finish = json_finisher(number)
    [value] = mend_floats([stored if finish is None else finish(stored)])
    return json.loads(msgspec.json.encode(value))


def feast_s(number: int, stored: Any) -> Any:
    return json.loads(json.dumps(_value_to_native(proto_finisher(number)(stored)), allow_nan=False))


@pytest.mark.parametrize("name", sorted(set(samples.PYTHON) - {"scalar_map"}))
def test_samples_of_every_type_are_feast_s(name: str) -> None:
    number = samples.value_type(name).value
    for stored in samples.stored(name)[:-1]:
        assert stored_values.same(through_json(number, stored), feast_s(number, stored)), name


@pytest.mark.parametrize("kind", [k for k in stored_values.STORABLE if k.name != "SCALAR_MAP"], ids=lambda k: k.name)
@given(data=st.data())
def test_every_value_of_every_type_is_feast_s(kind: Kind, data: st.DataObject) -> None:
    stored = data.draw(stored_values.stored(kind))
    assert stored_values.same(through_json(kind.number, stored), feast_s(kind.number, stored))


def test_a_map_whose_keys_are_no_texts_is_an_object() -> None:
    """Feast writes null, and a warning into its log."""
    message = Value(scalar_map_val=ScalarMap())
    assert message.scalar_map_val is not None
    for key, value in (
        ({"int64_key": -3}, Value(int64_val=1)),
        ({"bool_key": True}, Value(string_val="yes")),
        ({"bytes_key": b"\xff"}, Value()),
        ({"double_key": 0.5}, Value(float_val=float("inf"))),
    ):
        entry = message.scalar_map_val.val.add()
        for field, plain in key.items():
            setattr(entry.key, field, plain)
        entry.value.CopyFrom(value)
    # A key that nobody wrote.
    message.scalar_map_val.val.add()
    found = through_json(BY_NAME["SCALAR_MAP"].number, message.SerializeToString())
    assert found == {"-3": 1, "true": "yes", "/w==": None, "0.5": "Infinity"}


def test_windows_on_a_row_are_lists() -> None:
    window = memoryview(bytes(16)).cast("q")
    assert through_json(BY_NAME["INT64_LIST"].number, window) == [0, 0]


def test_a_null_among_timestamps_is_null() -> None:
    """Feast writes the number that stands for it inside."""
    assert through_json(BY_NAME["UNIX_TIMESTAMP_LIST"].number, [5, NULL_TIMESTAMP]) == [5, None]


def test_values_that_are_no_json_numbers() -> None:
    assert mend_floats([1.5, float("nan"), float("-inf"), None, 3, "null"]) == [
        1.5,
        "NaN",
        "-Infinity",
        None,
        3,
        "null",
    ]
    assert through_json(BY_NAME["DOUBLE_LIST"].number, [0.5, float("inf")]) == [0.5, "Infinity"]


def test_damaged_values_are_errors() -> None:
    zoned = BY_NAME["ZONED_TIMESTAMP"].number
    null = Value(zoned_timestamp_val=ZonedTimestamp(unix_timestamp=NULL_TIMESTAMP, zone="UTC"))
    assert through_json(zoned, null.SerializeToString()) is None
    far = Value(zoned_timestamp_val=ZonedTimestamp(unix_timestamp=2**60, zone="UTC"))
    with pytest.raises(ValueTypeError, match="is no point in time"):
        through_json(zoned, far.SerializeToString())
    with pytest.raises(ValueTypeError, match="is no Feast value"):
        through_json(zoned, b"\xff")


def test_numbers_are_told_from_what_may_hold_a_comma() -> None:
    numbers = {kind.name for number, kind in KINDS.items() if is_number(number)}
    assert numbers == {kind.name for kind in KINDS.values() if kind.encoding is Encoding.FIXED}
    assert not is_number(0)
    assert json_finisher(0) is None
