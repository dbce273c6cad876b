"""Columns of a body become rows of a view, or are refused by view, row and column."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from feast.value_type import ValueType

from yummy_feast.serving.features.frames import Shape, columns_of, offline_frame, rows_of
from yummy_feast.serving.http import RefusedError

SHAPE = Shape(
    "stats", {"driver_id": ValueType.INT64}, {"trips": ValueType.INT64}, "moment", "made", {"n_trips": "trips"}
)
WHOLE: dict[str, list[Any]] = {"driver_id": [1, 2], "trips": [5, None], "moment": ["2026-01-01", "2026-01-02"]}


def code_of(columns: Any, shape: Shape = SHAPE) -> tuple[str, str]:
    with pytest.raises(RefusedError) as refused:
        rows_of(shape, columns)
    assert refused.value.status == 422
    return refused.value.code, refused.value.message


def test_columns() -> None:
    assert columns_of({"a": [1, 2], "b": "x"}) == {"a": [1, 2], "b": ["x", "x"]}
    assert columns_of({"a": {"0": 1, "1": 2}, "b": {"0": 3, "1": 4}}) == {"a": [1, 2], "b": [3, 4]}


@pytest.mark.parametrize(
    ("df", "code"),
    [
        ({"a": [1], "b": [1, 2]}, "RAGGED_COLUMNS"),
        ({"a": {"0": 1}, "b": {"1": 1}}, "RAGGED_COLUMNS"),
        ({"a": {"0": 1}, "b": [1]}, "RAGGED_COLUMNS"),
        ({}, "NO_ROWS"),
        ({"a": []}, "NO_ROWS"),
        ({"a": 1}, "NO_ROWS"),
    ],
)
def test_no_columns(df: dict[str, Any], code: str) -> None:
    with pytest.raises(RefusedError) as refused:
        columns_of(df)
    assert refused.value.code == code


def test_rows() -> None:
    first, second = rows_of(SHAPE, WHOLE)
    key, values, event, created = first
    assert (list(key.join_keys), key.entity_values[0].int64_val) == (["driver_id"], 1)
    assert values["trips"].int64_val == 5
    assert (event, created) == (datetime(2026, 1, 1, tzinfo=UTC), None)
    assert second[1]["trips"].WhichOneof("val") is None


def test_names_of_the_source_and_of_feast_s_client() -> None:
    columns: dict[str, list[Any]] = {
        "driver_id": [1],
        "n_trips": [5],
        "event_timestamp": ["2026-01-01"],
        "created": ["2026-01-03"],
    }
    ((_, values, event, created),) = rows_of(SHAPE, columns)
    assert values["trips"].int64_val == 5
    assert (event, created) == (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC))


def test_a_view_without_entities() -> None:
    shape = Shape("world", {"__dummy_id": ValueType.STRING}, {"trips": ValueType.INT64}, "moment", None, {})
    ((key, _, _, _),) = rows_of(shape, {"trips": [1], "moment": ["2026-01-01"]})
    assert (list(key.join_keys), key.entity_values[0].string_val) == (["__dummy_id"], "")


@pytest.mark.parametrize(("name", "code"), [("driver_id", "MISSING_JOIN_KEY"), ("trips", "MISSING_COLUMN")])
def test_a_missing_column(name: str, code: str) -> None:
    found, message = code_of({key: values for key, values in WHOLE.items() if key != name})
    assert found == code
    assert "'stats'" in message
    assert repr(name) in message


def test_a_missing_timestamp() -> None:
    assert code_of({"driver_id": [1], "trips": [1]})[0] == "MISSING_TIMESTAMP"


@pytest.mark.parametrize("name", ["driver_id", "moment"])
def test_nulls_that_belong_nowhere(name: str) -> None:
    code, message = code_of({**WHOLE, name: [WHOLE[name][0], None]})
    assert code == "INVALID_VALUES"
    assert "row 1" in message
    assert repr(name) in message


def test_the_offline_frame_keeps_integers_beside_a_null() -> None:
    frame = offline_frame(SHAPE, {**WHOLE, "trips": [2**60 + 1, None]})
    assert list(frame["trips"]) == [2**60 + 1, None]
    assert str(frame["moment"].dtype) == "datetime64[us, UTC]"
    with pytest.raises(RefusedError, match="is null"):
        offline_frame(SHAPE, {**WHOLE, "moment": ["2026-01-01", None]})
