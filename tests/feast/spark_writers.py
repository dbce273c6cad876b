"""Writers of parts that die or dawdle, for tests that put them in the place of ours; and a program that uses one.

They are found by name on executors, so they live in a module of their own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa

from tests.feast.repo import at, feature_store
from yummy_feast.materialization import parts
from yummy_feast.materialization.parts import PartWriter

MARKER = "YUMMY_TEST_MARKER"
"""Environment variable: a folder where it is marked which parts have died once."""


class DyingWriter(PartWriter):
    """The first attempt at each part dies after half of its rows are in Redis."""

    __slots__ = ()

    def __call__(self, part: int, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch:
        try:
            os.close(os.open(Path(os.environ[MARKER]) / str(part), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return super().__call__(part, batches)
        rows = pa.Table.from_batches(list(batches))
        self.destination.write(self._rows(iter(rows.slice(0, len(rows) // 2).to_batches())))
        raise RuntimeError("this executor is lost")


class SlowWriter(PartWriter):
    """Each part takes its time, so that something can happen meanwhile."""

    __slots__ = ()

    def __call__(self, part: int, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch:
        time.sleep(0.5)
        return super().__call__(part, batches)


def session(master: str, **conf: Any) -> Any:
    """A small session."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(master)
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.memory": "1g",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.shuffle.partitions": "8",
        **conf,
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    made = builder.getOrCreate()
    made.sparkContext.setLogLevel("ERROR")
    return made


def main(kind: str, master: str, folder: str, address: str, start: str, end: str, *views: str) -> None:
    """Materialize with writers of this kind."""
    with mock.patch.object(parts, "PartWriter", {"dying": DyingWriter, "slow": SlowWriter}[kind]):
        running = session(master)
        store = feature_store(Path(folder), online=at(address), engine="spark")
        store.materialize(datetime.fromisoformat(start), datetime.fromisoformat(end), list(views))
        running.stop()

