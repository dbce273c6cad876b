"""From JSON to Feast's values: what is taken, what is refused, and that answers can be sent back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from feast.feature_server_utils import _value_to_native
from feast.value_type import ValueType

from tests.unit.online.samples import PYTHON, messages, value_type
from yummy_feast.errors import ValueTypeError
from yummy_feast.serving.features import cells
from yummy_feast.serving.features.json_values import json_finisher, mend_floats
from yummy_feast.values import stored_value


@pytest.mark.parametrize("name", PYTHON)
def test_what_is_answered_can_be_written(name: str) -> None:
    """Our answers' JSON, sent back, is the same values again."""
    kind, original = value_type(name), messages(name)
    finish = json_finisher(kind.value) or (lambda value: value)
    stored = [stored_value(message, kind.value) for message in original]
    answered = mend_floats([None if value is None else finish(value) for value in stored])
    if name.startswith("bytes"):
        answered = [_value_to_native(message) for message in original]
    sent = json.loads(json.dumps(answered))
    again = cells.messages("feature 'x'", kind, sent)
    if name == "zoned":
        # A zone's name is an offset in JSON; the moment is the same.
        moments = [[one.zoned_timestamp_val.unix_timestamp for one in each] for each in (again, original)]
        assert moments[0] == moments[1]
    elif name == "map":
        assert [_value_to_native(one) for one in again] == [_value_to_native(one) for one in original]
    else:
        assert [normal(one) for one in again] == [normal(one) for one in original]


def normal(message: Any) -> Any:
    held = message.WhichOneof("val") or ""
    found = _value_to_native(message) if held != "scalar_map_val" else str(message)
    return json.loads(found) if held == "json_val" else sorted(found) if held.endswith("_set_val") else found


REFUSED: list[tuple[str, Any]] = [
    ("INT64", 1.5),
    ("INT64", "1_0"),
    ("INT64", "x"),
    ("INT64", True),
    ("INT64", 2**63),
    ("INT64", [1]),
    ("INT64", float("inf")),
    ("INT32", 2**31),
    ("DOUBLE", "x"),
    ("DOUBLE", True),
    ("DOUBLE", 10**400),
    ("FLOAT", 1e39),
    ("BOOL", 2),
    ("BOOL", "true"),
    ("STRING", ["a"]),
    ("STRING", {}),
    ("BYTES", "not base64"),
    ("BYTES", 5),
    ("UNIX_TIMESTAMP", "x"),
    ("UNIX_TIMESTAMP", 1.5),
    ("UUID", "x"),
    ("UUID", 5),
    ("DECIMAL", "x"),
    ("DECIMAL", True),
    ("JSON", "{"),
    ("INT64_LIST", 5),
    ("INT64_LIST", [1, None]),
    ("INT64_LIST", "12"),
    ("STRING_LIST", "ab"),
    ("STRING_LIST", ["a", None]),
    ("STRING_SET", [["a"]]),
    ("FLOAT_LIST", [1e39]),
    ("MAP", []),
    ("MAP", "[]"),
    ("MAP_LIST", {}),
    ("MAP_LIST", [1]),
    ("SCALAR_MAP", {"x": 1}),
    ("STRUCT", 5),
    ("VALUE_LIST", [1]),
    ("ZONED_TIMESTAMP", 5),
    ("NULL", 1),
]


@pytest.mark.parametrize(("kind", "value"), REFUSED, ids=str)
def test_what_a_type_cannot_hold_is_refused_with_its_row(kind: str, value: Any) -> None:
    with pytest.raises(ValueTypeError, match=rf"^row 1: feature 'x' is .*, not {kind} \(") as caught:
        cells.messages("feature 'x'", ValueType[kind], [None, value])
    assert len(str(caught.value)) < 250


def test_what_is_taken_in_other_spellings() -> None:
    def plain(kind: str, *values: Any) -> list[Any]:
        return [_value_to_native(one) for one in cells.messages("x", ValueType[kind], values)]

    assert plain("INT64", 2**60 + 1, None, "-7", 3.0) == [2**60 + 1, None, -7, 3]
    assert plain("DOUBLE", 1, "Infinity", "-Infinity") == [1.0, "Infinity", "-Infinity"]
    assert plain("STRING", "a", 5, 1.5) == ["a", "5", "1.5"]
    assert plain("BOOL", True, 0, 1) == [True, False, True]
    assert plain("UNIX_TIMESTAMP", 5, "1970-01-01T00:00:06Z", "1970-01-01T01:00:07+01:00") == [5, 6, 7]
    assert [sorted(one) for one in plain("STRING_SET", ["b", "a", "b"])] == [["a", "b"]]
    assert plain("MAP", '{"a": 1}', {"b": None}) == [{"a": 1}, {"b": None}]
    assert plain("MAP_LIST", ['{"a": 1}', {"b": 2}]) == [[{"a": 1}, {"b": 2}]]
    assert plain("DECIMAL", 1.5, "1e3", 7) == ["1.5", "1E+3", "7"]


@pytest.mark.parametrize(
    ("value", "second"),
    [
        ("2026-11-20T12:00:07Z", 7),
        ("2026-11-20 12:00:07", 7),
        ("2026-11-20 12:00:07 UTC", 7),
        ("2026-11-20T13:00:07+01:00", 7),
        ("2026-11-20T12:00:07.000000001Z", 7),
        ("2026-11-20T12", 0),
        ("2026/11/20 12:00:07", 7),
        (1795176007 * 10**9, 7),
    ],
)
def test_points_in_time(value: Any, second: int) -> None:
    expected = datetime(2026, 11, 20, 12, 0, second, tzinfo=UTC)
    assert cells.moments("timestamp 't'", [value]) == [expected]


@pytest.mark.parametrize(
    "value", ["now", "x", "", 5, 1795176007, 1795176007000, 1.5, True, [], "20/11/2026", "99999-01-01"]
)
def test_no_points_in_time(value: Any) -> None:
    with pytest.raises(ValueTypeError, match=r"^row 1: timestamp 't' is .*, no point in time"):
        cells.moments("timestamp 't'", ["2026-11-20", value])


def test_null_is_a_point_in_time_only_where_it_may_be() -> None:
    assert cells.moments("t", [None], optional=True) == [None]
    with pytest.raises(ValueTypeError, match="is None"):
        cells.moments("t", [None])
