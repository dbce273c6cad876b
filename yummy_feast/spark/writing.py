"""Rows written by Spark's tasks themselves."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from yummy_feast.spark.borrowed import borrowed
from yummy_feast.spark.failures import spark_errors

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Observation

_TIMES = "spark.sql.parquet.outputTimestampType"
_PATIENCE = 60.0
"""Seconds that Spark may take after a write to tell what it counted."""


def hadoop_path(path: str) -> str:
    """A path as Spark's file systems want it: ``s3a://`` for S3, ``file://`` for what is on this machine, which without
    it would be looked for in Spark's default file system. Names stay as they are: Hadoop reads no escapes in them.
    """
    if path.startswith("/"):
        return f"file://{path}"
    return "s3a://" + path.split("://", 1)[1] if path.startswith(("s3://", "s3n://")) else path


def write_parquet(frame: DataFrame, folder: str) -> int:
    """The frame's rows as Parquet files in ``folder``, beside what is there; times as 64-bit microseconds. How many
    rows the tasks have written, by their own account.

    Raises:
        YummyError: see ``spark_errors``.
    """
    from pyspark.sql import Observation
    from pyspark.sql import functions as F  # noqa: N812

    counted = Observation()
    # Spark's default, INT96, is a type that nobody else writes any more.
    with spark_errors(f"writing {folder}"), borrowed(frame.sparkSession, _TIMES, "TIMESTAMP_MICROS"):
        frame.observe(counted, F.count(F.lit(1)).alias("rows")).write.mode("append").parquet(hadoop_path(folder))
        rows = _told(counted)
        return frame.count() if rows is None else rows


def _told(counted: Observation) -> int | None:
    """The count; None where Spark has lost it, as a full queue of events loses some: ``get`` would wait for ever."""
    answer: queue.SimpleQueue[int] = queue.SimpleQueue()
    threading.Thread(target=lambda: answer.put(counted.get["rows"]), daemon=True).start()
    try:
        return answer.get(timeout=_PATIENCE)
    except queue.Empty:
        return None
