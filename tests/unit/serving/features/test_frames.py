"""Columns of a body, and the rows they are for a feature view."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from feast.value_type import ValueType

from tests.unit.online.reading import driver_stats, world_stats
from yummy_feast.serving.features.frames import Shape, columns_of, offline_frame, rows_of
from yummy_feast.serving.http import RefusedError

MOMENT = datetime(2026, 11, 20, 12, tzinfo=UTC)
TEXT = MOMENT.isoformat()
SHAPE = Shape("v", {"id": ValueType.INT64}, {"a": ValueType.INT64}, "ts", "made", {"raw_a": "a"})


def refused(code: str, call: Any, *arguments: Any) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        call(*arguments)
    assert (caught.value.status, caught.value.code) == (422, code)
    return caught.value


def test_lists_labels_and_single_values() -> None:
    assert columns_of({"a": [1, 2], "b": "x"}) == {"a": [1, 2], "b": ["x", "x"]}
    # What DataFrame.to_dict() writes.
    assert columns_of({"a": {"0": 1, "1": 2}, "b": {"0": 3, "1": 4}}) == {"a": [1, 2], "b": [3, 4]}


@pytest.mark.parametrize(
    "df", [{"a": [1], "b": [1, 2]}, {"a": {"0": 1}, "b": {"1": 1}}, {"a": {"0": 1}, "b": [1]}, {"a": [], "b": [1]}]
)
def test_columns_of_other_lengths_are_refused(df: dict[str, Any]) -> None:
    assert "column" in refused("RAGGED_COLUMNS", columns_of, df).message


@pytest.mark.parametrize("df", [{}, {"a": []}, {"a": 1}, {"a": {}}])
def test_no_rows_are_refused(df: dict[str, Any]) -> None:
    refused("NO_ROWS", columns_of, df)


def test_rows() -> None:
    [row, other] = rows_of(
        SHAPE, {"id": [1, 2], "a": [5, None], "ts": [TEXT] * 2, "made": [TEXT, None], "more": [0, 0]}
    )
    key, values, event, created = row
    assert (list(key.join_keys), key.entity_values[0].int64_val) == (["id"], 1)
    assert (values["a"].int64_val, event, created) == (5, MOMENT, MOMENT)
    assert (other[1]["a"].WhichOneof("val"), other[3]) == (None, None)
    assert set(values) == {"a"}


def test_names_of_the_source_and_of_feast_s_remote_store() -> None:
    [row] = rows_of(SHAPE, {"id": [1], "raw_a": [5], "event_timestamp": [TEXT], "created": [TEXT]})
    assert (row[1]["a"].int64_val, row[2], row[3]) == (5, MOMENT, MOMENT)
    # Without the time of its creation a row is taken too.
    assert rows_of(SHAPE, {"id": [1], "a": [5], "ts": [TEXT]})[0][3] is None


@pytest.mark.parametrize(
    ("columns", "code", "said"),
    [
        ({"a": [1], "ts": [TEXT]}, "MISSING_JOIN_KEY", "join key as column 'id'"),
        ({"id": [1], "ts": [TEXT]}, "MISSING_COLUMN", "feature as column 'a'"),
        ({"id": [1], "a": [1]}, "MISSING_TIMESTAMP", "event timestamp as column 'ts'"),
        ({"id": [None], "a": [1], "ts": [TEXT]}, "INVALID_VALUES", "row 0: join key 'id' is null"),
        ({"id": [1], "a": [1], "ts": [None]}, "INVALID_VALUES", "row 0: event timestamp 'ts' is null"),
        ({"id": [1], "a": ["x"], "ts": [TEXT]}, "INVALID_VALUES", "row 0: feature 'a' is 'x' (str), not INT64"),
        ({"id": [1], "a": [1], "ts": [TEXT], "made": ["x"]}, "INVALID_VALUES", "timestamp 'made' is 'x'"),
    ],
)
def test_rows_that_do_not_fit(columns: dict[str, list[Any]], code: str, said: str) -> None:
    error = refused(code, rows_of, SHAPE, columns)
    assert said in error.message
    assert "feature view 'v'" in error.message


def test_shapes_of_views() -> None:
    shape = Shape.of(driver_stats)
    assert (shape.view, shape.event, shape.created) == ("driver_stats", "event_timestamp", None)
    assert (shape.join_keys, set(shape.features)) == ({"driver_id": ValueType.INT64}, {"conv_rate", "trips", "name"})
    # Nobody need know how Feast keys a view without entities.
    [row] = rows_of(Shape.of(world_stats), {"total": [1], "event_timestamp": [TEXT]})
    assert (list(row[0].join_keys), row[0].entity_values[0].string_val) == (["__dummy_id"], "")


def test_the_same_for_the_offline_store() -> None:
    frame = offline_frame(SHAPE, {"id": [1, 2], "a": [2**60 + 1, None], "ts": [TEXT] * 2, "made": [TEXT, None]})
    assert frame["a"].tolist() == [2**60 + 1, None]
    assert str(frame["ts"].dtype) == str(frame["made"].dtype) == "datetime64[us, UTC]"
    assert frame["made"].isna().tolist() == [False, True]
    refused("MISSING_TIMESTAMP", offline_frame, SHAPE, {"id": [1]})
    refused("INVALID_VALUES", offline_frame, SHAPE, {"ts": [None]})
