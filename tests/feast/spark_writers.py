"""Writers of parts that die or dawdle, for tests that put them in the place of ours; and a program that uses one.

They are found by name on executors, so they live in a module of their own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import pyarrow as pa

from tests.feast.repo import at, feature_store
from tests.spark_session import spark_settings
from yummy_feast.materialization import parts
from yummy_feast.materialization.parts import PartWriter
from yummy_feast.spark.session import session
from yummy_feast.spark.settings import conf_of

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MARKER = "YUMMY_TEST_MARKER"
"""Environment variable: a folder with a mark ``PART-PROCESS`` for each time that half of a part was written, where
somebody wants to know."""


class HalfWriter(PartWriter):
    """Half of the rows of each part are online before something else happens, and then all of them."""

    __slots__ = ()

    def __call__(self, part: int, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch:
        whole = list(batches)
        if whole:
            rows = pa.Table.from_batches(whole)
            self.destination.write(self._rows(iter(rows.slice(0, len(rows) // 2).to_batches())))
        marks, is_first = os.environ.get(MARKER), True
        if marks is not None:
            is_first = not list(Path(marks).glob(f"{part}-*"))
            (Path(marks) / f"{part}-{os.getpid()}").touch()
        self.meanwhile(is_first)
        return super().__call__(part, iter(whole))

    def meanwhile(self, is_first: bool) -> None:
        """Overridden: what happens. is_first: whether it is the first attempt at the part."""


class DyingWriter(HalfWriter):
    """The first attempt at each part ends there."""

    __slots__ = ()

    def meanwhile(self, is_first: bool) -> None:
        if is_first:
            os._exit(1)


class SlowWriter(HalfWriter):
    """Each part takes its time, so that something can happen to it."""

    __slots__ = ()

    def meanwhile(self, is_first: bool) -> None:
        time.sleep(1.5)


def main(kind: str, conf: str, folder: str, registry: str, address: str, marks: str, *views: str) -> None:
    """Materialize the day before ``NOON`` with writers of this kind. conf: as of Spark, in JSON."""
    os.environ[MARKER] = marks
    given = {**json.loads(conf), f"spark.executorEnv.{MARKER}": marks}
    running = session(spark_settings(Path(folder), conf=conf_of(given)))
    store = feature_store(Path(folder), online=at(address), engine="spark", top={"registry": registry})
    with mock.patch.object(parts, "PartWriter", {"dying": DyingWriter, "slow": SlowWriter}[kind]):
        store.materialize(NOON - timedelta(days=1), NOON, list(views))
    running.stop()


if __name__ == "__main__":
    # Executors find classes by the name of the module they were imported from.
    from tests.feast import spark_writers

    spark_writers.main(*sys.argv[1:])
