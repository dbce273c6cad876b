"""Values of JSON become Feast's, or are refused by name: nothing is cut to fit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from feast.value_type import ValueType

from yummy_feast.errors import ValueTypeError
from yummy_feast.serving.features.cells import messages, moment, moments


@pytest.mark.parametrize(
    ("kind", "value", "field", "expected"),
    [
        ("INT64", 2**63 - 1, "int64_val", 2**63 - 1),
        ("INT64", "9007199254740993", "int64_val", 9007199254740993),
        ("INT32", 3.0, "int32_val", 3),
        ("DOUBLE", 1, "double_val", 1.0),
        ("DOUBLE", "-Infinity", "double_val", float("-inf")),
        ("FLOAT", 0.5, "float_val", 0.5),
        ("BOOL", 1, "bool_val", True),
        ("STRING", 5, "string_val", "5"),
        ("BYTES", "AP8=", "bytes_val", b"\x00\xff"),
        ("UNIX_TIMESTAMP", "1970-01-01T00:00:05Z", "unix_timestamp_val", 5),
        ("UNIX_TIMESTAMP", 5, "unix_timestamp_val", 5),
        ("DECIMAL", "1.10", "decimal_val", "1.10"),
    ],
)
def test_values(kind: str, value: Any, field: str, expected: Any) -> None:
    (found, empty) = messages("x", ValueType[kind], [value, None])
    assert getattr(found, field) == expected
    assert empty.WhichOneof("val") is None


def test_lists_and_sets() -> None:
    (found, empty) = messages("x", ValueType.INT64_LIST, [[1, 2**60], []])
    assert list(found.int64_list_val.val) == [1, 2**60]
    assert (empty.WhichOneof("val"), list(empty.int64_list_val.val)) == ("int64_list_val", [])
    (found,) = messages("x", ValueType.INT64_SET, [[1, 1, 2]])
    assert sorted(found.int64_set_val.val) == [1, 2]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("INT64", 1.5),
        ("INT64", True),
        ("INT64", " 1 "),
        ("INT64", 2**63),
        ("INT64", [1]),
        ("INT32", 2**31),
        ("DOUBLE", "many"),
        ("DOUBLE", False),
        ("FLOAT", 1e39),
        ("BOOL", "true"),
        ("BOOL", 2),
        ("STRING", ["a"]),
        ("BYTES", "%"),
        ("UNIX_TIMESTAMP", "soon"),
        ("INT64_LIST", 1),
        ("INT64_LIST", [1, None]),
        ("UUID", "no"),
        ("DECIMAL", "one"),
        ("MAP", [1]),
    ],
)
def test_what_does_not_fit_is_told_by_row(kind: str, value: Any) -> None:
    with pytest.raises(ValueTypeError, match=r"row 1: feature 'x' is .*, not " + kind):
        messages("feature 'x'", ValueType[kind], [None, value])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-20T12:00:00Z", datetime(2026, 11, 20, 12, tzinfo=UTC)),
        ("2026-11-20T12:00:00", datetime(2026, 11, 20, 12, tzinfo=UTC)),
        ("2026-11-20 14:00:00+02:00", datetime(2026, 11, 20, 12, tzinfo=UTC)),
        ("2026-11-20 12:00:00 UTC", datetime(2026, 11, 20, 12, tzinfo=UTC)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        (1_795_608_000_000_000_000, datetime(2026, 11, 25, 12, tzinfo=UTC)),
    ],
)
def test_moments(value: Any, expected: datetime) -> None:
    assert moment(value) == expected


@pytest.mark.parametrize("value", ["yesterday", "", 5, True, 1.5, None, "2026-13-01"])
def test_no_moments(value: Any) -> None:
    with pytest.raises(ValueTypeError, match="row 0: timestamp 't' is"):
        moments("timestamp 't'", [value])


def test_an_optional_moment_may_be_null() -> None:
    assert moments("t", [None], optional=True) == [None]
