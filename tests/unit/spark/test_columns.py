"""From Spark's types to carriers and back, whatever the session's zone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from yummy_feast.spark.borrowed import borrowed
from yummy_feast.spark.carriers import carry
from yummy_feast.spark.columns import carried, natural

pytestmark = [pytest.mark.slow, pytest.mark.spark]

TIMES = [
    "0001-01-01 00:00:00",
    "1582-10-04 23:59:59.000001",
    "1582-10-10 12:00:00",
    "1969-12-31 23:59:59.999999",
    "1970-01-01 00:00:00",
    # Neither is a time on clocks in Warsaw, or is one twice.
    "2026-03-29 02:30:00",
    "2026-10-25 02:30:00.5",
    "9999-12-31 23:59:59.999999",
]


@pytest.fixture(params=["UTC", "Europe/Warsaw", "America/Los_Angeles"])
def spark(request: pytest.FixtureRequest, spark_session: Any) -> Iterator[Any]:
    with borrowed(spark_session, "spark.sql.session.timeZone", request.param):
        yield spark_session


def test_times_without_a_zone_are_utc(spark: Any) -> None:
    frame = spark.createDataFrame([(time,) for time in [*TIMES, None]], "t string").selectExpr(
        "CAST(t AS TIMESTAMP_NTZ)"
    )
    column = carried(frame["t"], frame.schema["t"].dataType, pa.timestamp("us", "UTC"))
    since = [datetime.fromisoformat(f"{time}+00:00") - datetime(1970, 1, 1, tzinfo=UTC) for time in TIMES]
    expected = [time // timedelta(microseconds=1) for time in since]
    assert [row[0] for row in frame.select(column).collect()] == [*expected, None]


def test_the_ends_of_what_spark_can_hold(spark: Any) -> None:
    ends = [-(2**63), -(2**63) + 1, 2**63 - 1]
    with borrowed(spark, "spark.sql.timestampType", "TIMESTAMP_NTZ"):
        frame = spark.createDataFrame(pa.table({"t": pa.array(ends, pa.timestamp("us"))}))
    assert frame.dtypes == [("t", "timestamp_ntz")]
    column = carried(frame["t"], frame.schema["t"].dataType, pa.timestamp("us", "UTC"))
    assert [row[0] for row in frame.select(column).collect()] == ends


def test_unsigned_numbers_of_64_bits_are_decimals(spark: Any) -> None:
    numbers = pa.array([0, 2**63 - 1, 2**63, 2**64 - 1, None], pa.uint64())
    frame = spark.createDataFrame(pa.table({"c": carry(numbers)}))
    found = frame.select(natural(frame["c"], pa.uint64()).alias("n"))
    assert found.dtypes == [("n", "decimal(20,0)")]
    assert [row.n for row in found.collect()] == [None if n is None else Decimal(n) for n in numbers.to_pylist()]


def test_nothing_but_nulls_is_any_carrier(spark: Any) -> None:
    frame = spark.sql("SELECT NULL AS n")
    for kind in (pa.null(), pa.int64(), pa.string(), pa.timestamp("us", "UTC")):
        found = frame.select(carried(frame["n"], frame.schema["n"].dataType, kind).alias("n"))
        assert found.collect()[0].n is None
        assert found.dtypes[0][1] != "void"


def test_times_of_every_unit(spark: Any) -> None:
    moment = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    for unit in ("s", "ms", "us", "ns"):
        times = pa.array([moment], pa.timestamp(unit, "UTC"))
        frame = spark.createDataFrame(pa.table({"c": carry(times)}))
        found = frame.select(natural(frame["c"], times.type).alias("t")).toArrow().column("t")
        assert found.cast(pa.timestamp("us", "UTC")).to_pylist() == [moment]
