"""Columns as declared, in Spark: the very values that Arrow's ``conform`` makes, or an error where it has one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from feast.types import Array, FeastType, Float32, Float64, Int32, Int64, String, UnixTimestamp

from yummy_feast.errors import ColumnTypeError
from yummy_feast.offline.conform import conform
from yummy_feast.offline.engines.spark_conform import as_declared
from yummy_feast.offline.plan import FeatureColumn
from yummy_feast.spark.borrowed import borrowed
from yummy_feast.spark.carriers import carry
from yummy_feast.values import arrow_type_of

pytestmark = [pytest.mark.slow, pytest.mark.spark]

NAN, INFINITY = float("nan"), float("inf")
DAYS = [date(1, 1, 1), None, date(1582, 10, 10), date(2026, 3, 29), date(9999, 12, 31)]


@pytest.fixture(params=["true", "false"], ids=["ansi", "not ansi"])
def spark(request: pytest.FixtureRequest, spark_session: Any) -> Iterator[Any]:
    with borrowed(spark_session, "spark.sql.ansi.enabled", request.param):
        yield spark_session


def in_spark(spark: Any, column: pa.Array, declared: FeastType) -> pa.ChunkedArray:
    feature = FeatureColumn("f", "f", arrow_type_of(declared))
    frame = spark.createDataFrame(pa.table({"c": carry(column), "n": range(len(column))})).orderBy("n")
    return frame.select(as_declared(frame["c"], column.type, feature, "rows.parquet").alias("f")).toArrow().column("f")


@pytest.mark.parametrize(
    ("column", "declared"),
    [
        (pa.array([1.0, NAN, None, -2.0, -0.0]), Int64),
        (pa.array([-(2.0**63), 2.0**62]), Int64),
        (pa.array([1.0, NAN, None], pa.float32()), Int32),
        (pa.array([1, None, 2**53, -(2**53)]), Float64),
        (pa.array([2**53, 0], pa.uint64()), Float64),
        (pa.array([1, None], pa.int8()), Float32),
        (pa.array([2**24, -(2**24)]), Float32),
        (pa.array([Decimal("2.00"), None, Decimal("-7.00")], pa.decimal128(10, 2)), Int64),
        (pa.array([Decimal("2"), None], pa.decimal128(38, 30)), Int64),
        (pa.array([Decimal("2"), None, Decimal(2**63 - 1)], pa.decimal256(50, 2)), Int64),
        (pa.array([Decimal("2.25"), None], pa.decimal128(10, 2)), Float64),
        (pa.array([Decimal("1e40"), Decimal("2.25")], pa.decimal256(50, 2)), Float64),
        (pa.array([1, None]).dictionary_encode(), Float64),
        (pa.nulls(2), Int64),
        (pa.nulls(2), Float32),
        (pa.nulls(2), String),
        (pa.nulls(2), UnixTimestamp),
        (pa.nulls(2), Array(Float32)),
        (pa.array(DAYS), UnixTimestamp),
        (pa.array(DAYS, pa.date64()), UnixTimestamp),
    ],
    ids=str,
)
def test_values_that_fit(spark: Any, column: pa.Array, declared: FeastType) -> None:
    expected = conform(pa.chunked_array([column]), arrow_type_of(declared), name="f", location="rows.parquet")
    found = in_spark(spark, column, declared)
    assert found.to_pylist() == expected.to_pylist()
    if not pa.types.is_nested(expected.type):
        assert found.type == expected.type


@pytest.mark.parametrize(
    ("column", "declared", "value"),
    [
        (pa.array([1.0, 1.5]), Int64, "1.5"),
        (pa.array([1.0, INFINITY]), Int64, "Infinity"),
        (pa.array([2.0**63]), Int64, "9.223372036854775E18|9.223372036854776E18"),
        (pa.array([2.0**31], pa.float32()), Int32, "2.1474836E9|2.147483[67]E9|2.14748365E9"),
        (pa.array([2**53 + 1]), Float64, "9007199254740993"),
        (pa.array([2**64 - 1], pa.uint64()), Float64, "18446744073709551615"),
        (pa.array([2**24 + 1], pa.int32()), Float32, "16777217"),
        (pa.array([Decimal("1.50")], pa.decimal128(10, 2)), Int64, "1.50"),
        (pa.array([Decimal("1e-25")], pa.decimal128(38, 30)), Int64, ".*"),
        (pa.array([Decimal(2**63)], pa.decimal128(20, 0)), Int64, "9223372036854775808"),
        (pa.array([Decimal(2**31)], pa.decimal128(20, 0)), Int32, "2147483648"),
        (pa.array([Decimal("1.5")], pa.decimal256(50, 2)), Int64, "1.50"),
        (pa.array([Decimal("1e40")], pa.decimal256(50, 2)), Int64, ".*"),
    ],
    ids=str,
)
def test_values_that_do_not_fit_fail_the_job(spark: Any, column: pa.Array, declared: FeastType, value: str) -> None:
    from pyspark.errors import PySparkException

    with pytest.raises(ColumnTypeError, match=r"holds .*, but is declared"):
        conform(pa.chunked_array([column]), arrow_type_of(declared), name="f", location="rows.parquet")
    with pytest.raises(PySparkException, match=rf"column 'f' of rows\.parquet holds ({value}), but is declared"):
        in_spark(spark, column, declared)


def test_types_that_never_fit_are_refused_before_anything_runs(spark: Any) -> None:
    with pytest.raises(ColumnTypeError, match="holds string, but is declared int64"):
        in_spark(spark, pa.array(["1"]), Int64)
