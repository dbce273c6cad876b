"""Every type of Arrow travels through what Spark has, and comes back as it was."""

from __future__ import annotations

from datetime import date, time, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest

from tests.contract.test_engine_types import FEATURES
from yummy_feast.errors import ColumnTypeError
from yummy_feast.spark.carriers import carrier, carry, restore, restored

FIXED = pa.list_(pa.struct([("a", pa.timestamp("ns")), ("b", pa.uint64())]), 2)
MORE: list[pa.Array] = [
    pa.array([None, None]),
    pa.array([time(1, 2, 3), None], pa.time32("s")),
    pa.array([time(1, 2, 3, 4), None], pa.time64("us")),
    pa.array([timedelta(seconds=-1), None], pa.duration("ns")),
    pa.array([date(1, 1, 1), None, date(9999, 12, 31)], pa.date64()),
    pa.array(["a", None, "a longer one than fits inline"], pa.string_view()),
    pa.array([b"a", None, b"a longer one than fits inline"], pa.binary_view()),
    pa.array(["low", None, "high", "low"]).dictionary_encode(),
    pa.array([[{"a": 1, "b": 2**64 - 1}, None], None, [{"a": None, "b": 0}, {"a": -5, "b": None}]], FIXED),
    pa.array([Decimal("1e-30"), None, Decimal(-7)], pa.decimal256(70, 40)),
    pa.array([{"A": 1, "a": 2}, None], pa.struct([("A", pa.int8()), ("a", pa.uint8())])),
    pa.array([[("k", [1, None])], None, []], pa.map_(pa.string(), pa.large_list(pa.uint16()))),
]


@pytest.mark.parametrize("column", [*FEATURES, *MORE], ids=lambda column: str(column.type))
def test_there_and_back(column: pa.Array) -> None:
    longer = pa.concat_arrays([column, column])
    for values in (column, longer.slice(1, len(column)), longer.slice(len(column) + 1), column.slice(0, 0)):
        travelling = carry(values)
        travelling.validate(full=True)
        assert travelling.type == carrier(column.type)
        assert len(travelling) == len(values)
        back = restore(travelling, column.type)
        back.validate(full=True)
        assert back.type == column.type
        assert back.to_pylist() == values.to_pylist()
        # What Spark sends back are slices as well.
        assert restore(travelling.slice(1), column.type).to_pylist() == values.to_pylist()[1:]
    nothing = restore(pa.nulls(3, carrier(column.type)), column.type)
    nothing.validate(full=True)
    assert (nothing.type, nothing.to_pylist()) == (column.type, [None] * 3)
    assert restored(pa.chunked_array([], carrier(column.type)), column.type).type == column.type


def test_what_spark_calls_things_does_not_matter() -> None:
    kind = pa.list_(pa.struct([("x", pa.uint8())]))
    spark = pa.list_(pa.field("element", pa.struct([pa.field("f0", pa.int16(), nullable=False)]), nullable=False))
    assert restore(pa.array([[{"f0": 255}]], spark), kind).to_pylist() == [[{"x": 255}]]


def test_a_type_that_cannot_travel_is_named() -> None:
    with pytest.raises(ColumnTypeError, match="month_day_nano_interval cannot travel through Spark"):
        carrier(pa.month_day_nano_interval())
