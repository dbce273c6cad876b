"""Rows written by Spark's tasks themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yummy_feast.spark.failures import spark_errors

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_TIMES = "spark.sql.parquet.outputTimestampType"


def hadoop_path(path: str) -> str:
    """A path as Spark's file systems want it: ``s3a://`` for S3."""
    return "s3a://" + path.split("://", 1)[1] if path.startswith(("s3://", "s3n://")) else path


def write_parquet(frame: DataFrame, folder: str) -> None:
    """The frame's rows as Parquet files in ``folder``, beside what is there; times as 64-bit microseconds.

    Raises:
        YummyError: see ``spark_errors``.
    """
    conf = frame.sparkSession.conf
    before = conf.get(_TIMES) or "INT96"
    # Spark's default, INT96, is a type that nobody else writes any more.
    conf.set(_TIMES, "TIMESTAMP_MICROS")
    try:
        with spark_errors(f"writing {folder}"):
            frame.write.mode("append").parquet(hadoop_path(folder))
    finally:
        conf.set(_TIMES, before)
