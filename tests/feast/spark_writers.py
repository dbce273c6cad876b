"""Writers of parts that die or dawdle, for tests that put them in the place of ours; and a program that uses one.

They are found by name on executors, so they live in a module of their own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from unittest import mock

import pyarrow as pa

from tests.feast.repo import at, feature_store
from tests.spark_session import spark_settings
from yummy_feast.materialization import parts
from yummy_feast.materialization.parts import PartWriter
from yummy_feast.spark.session import session

MARKER = "YUMMY_TEST_MARKER"
"""Environment variable: a folder where it is marked which parts have died once."""


class HalfWriter(PartWriter):
    """Half of the rows of each part are online before something else happens, and then all of them."""

    __slots__ = ()

    def __call__(self, part: int, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch:
        whole = list(batches)
        if whole:
            rows = pa.Table.from_batches(whole)
            self.destination.write(self._rows(iter(rows.slice(0, len(rows) // 2).to_batches())))
        self.meanwhile(part)
        return super().__call__(part, iter(whole))

    def meanwhile(self, part: int) -> None:
        """Overridden: what happens."""


class DyingWriter(HalfWriter):
    """The first attempt at each part ends there."""

    __slots__ = ()

    def meanwhile(self, part: int) -> None:
        marked = Path(os.environ[MARKER]) / str(part)
        if not marked.exists():
            marked.touch()
            os._exit(1)


class SlowWriter(HalfWriter):
    """Each part takes its time, so that something can happen to it."""

    __slots__ = ()

    def meanwhile(self, part: int) -> None:
        time.sleep(1.5)


def main(kind: str, master: str, folder: str, registry: str, address: str, start: str, end: str, *views: str) -> None:
    """Materialize with writers of this kind."""
    writer = {"dying": DyingWriter, "slow": SlowWriter}[kind]
    running = session(spark_settings(Path(folder), conf={"spark.master": master}))
    store = feature_store(Path(folder), online=at(address), engine="spark", top={"registry": registry})
    with mock.patch.object(parts, "PartWriter", writer):
        store.materialize(datetime.fromisoformat(start), datetime.fromisoformat(end), list(views))
    running.stop()
