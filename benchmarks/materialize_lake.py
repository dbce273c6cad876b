"""What a change of a large table costs: a Delta table of many files is materialized, one small file is appended, and
`materialize-incremental` brings it online. One process runs it once:

python -m benchmarks.materialize_lake SERVER FILES ROWS ADDED

reports seconds and rows of both runs, and how many of the rows that must be online now are not.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.materialize_contenders import OURS, read_back, store_of
from benchmarks.materialize_data import END, START, VIEW, features
from benchmarks.measure import report
from benchmarks.offline_answer import differs
from benchmarks.offline_data import BASE, DAY, times

CONTENDER = replace(OURS, source="yummy_feast.DeltaSource")
CASE = replace(VIEW, created=None)
SAMPLE = 5000


@dataclass(frozen=True, slots=True)
class Shape:
    """files of rows each, then one of ``added`` rows, whose keys all have older rows."""

    files: int
    rows: int
    added: int


class SentRows(logging.Handler):
    """Counts the rows that a run sent to Redis: it says of each view how many it wrote, found equal, found older."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.rows = 0
        logger = logging.getLogger("yummy_feast.materialization.copying")
        logger.setLevel(logging.INFO)
        logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple) and record.levelno == logging.INFO:
            _, *counts = record.args
            self.rows += sum(number for number in counts if isinstance(number, int))


def tables(shape: Shape) -> tuple[list[pa.Table], pa.Table]:
    """The table's files, and the file that is added later."""
    rng = np.random.default_rng(20260104)
    count = shape.files * shape.rows
    first = _rows(rng, rng.permutation(count), BASE + rng.integers(0, 10 * DAY, count))
    added = rng.choice(count, shape.added, replace=False)
    return (
        [first.slice(start, shape.rows) for start in range(0, count, shape.rows)],
        _rows(rng, added, BASE + 10 * DAY + rng.integers(1, DAY, shape.added)),
    )


def _rows(rng: np.random.Generator, ids: np.ndarray, events: np.ndarray) -> pa.Table:
    return pa.table({"id": pa.array(ids), "event_timestamp": times(events), **features(rng, len(ids))})


def must_be_online(files: list[pa.Table], added: pa.Table) -> pa.Table:
    """A sample of the keys, all that were added among them, with their newest rows."""
    old = pa.concat_tables(files)
    kept = np.flatnonzero(~np.isin(old["id"].to_numpy(), added["id"].to_numpy()))
    chosen = np.random.default_rng().choice(kept, min(SAMPLE, len(kept)), replace=False)
    return pa.concat_tables([added, old.take(pa.array(chosen))]).select(["id", *CASE.types])


def run(shape: Shape, folder: Path, server: str) -> dict[str, Any]:
    from deltalake import write_deltalake

    files, added = tables(shape)
    small, _ = tables(Shape(1, 20, 1))
    write_deltalake(folder / "small", small[0])
    for part in files:
        write_deltalake(folder / "table", part, mode="append")
    # Imports and first connections are on nobody's bill.
    warm = store_of(CONTENDER, CASE, "warm_up", folder / "small", server, folder)
    warm.materialize(START, END)
    warm.teardown()
    store = store_of(CONTENDER, CASE, "measured", folder / "table", server, folder)
    sent = SentRows()
    full = _timed(sent, lambda: store.materialize(START, END))
    write_deltalake(folder / "table", added, mode="append")
    change = _timed(sent, lambda: store.materialize_incremental(END + timedelta(days=1)))
    right = must_be_online(files, added)
    found = read_back(store, CASE, right["id"].to_pylist())
    wrong = np.zeros(len(right), bool)
    for name in right.column_names:
        wrong |= differs(found[name], right[name])
    return {"full": full, "change": change, "wrong": int(wrong.sum())}


def _timed(sent: SentRows, act: Callable[[], object]) -> dict[str, float]:
    sent.rows = 0
    started = time.perf_counter()
    act()
    return {"seconds": time.perf_counter() - started, "rows": sent.rows}


def main(server: str, *sizes: str) -> None:
    files, rows, added = map(int, sizes)
    with tempfile.TemporaryDirectory() as folder:
        report(**run(Shape(files, rows, added), Path(folder), server))


if __name__ == "__main__":
    main(*sys.argv[1:])
