"""Data for the materialization benchmark: a view of 25 float32 and 25 int64 features, and what must be online then.

Some keys have older rows, corrections of the same event time, and rows delivered twice; some values are null.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.offline_answer import plain, winners
from benchmarks.offline_data import BASE, DAY, first_of_equals, times
from tests.property.oracle import View, point_in_time

FLOATS = [f"amount_{i}" for i in range(25)]
INTEGERS = [f"count_{i}" for i in range(25)]
FEATURES = [*FLOATS, *INTEGERS]
START = datetime.fromtimestamp(BASE, UTC)
END = datetime.fromtimestamp(BASE + 10 * DAY, UTC)


def prepare(keys: int, path: Path) -> pa.Table:
    """Write the view's file; the rows that belong online, one per key, in the order of the keys."""
    rng = np.random.default_rng(20260102)
    # Every key once, and a fifth as many rows again that some of them lose to others.
    ids = np.concatenate([np.arange(keys), rng.integers(0, keys, keys // 5)])
    rows = len(ids)
    # Few moments, so that events tie, and some rows after the end of the range.
    events = BASE + rng.integers(0, 11 * 24, rows) * 3600
    events[:keys] = np.minimum(events[:keys], BASE + 10 * DAY)
    created = events + rng.integers(0, 5, rows)
    chosen = pa.array(first_of_equals(ids, events, created))
    columns = {"id": pa.array(ids), "event_timestamp": times(events), "created": times(created)}
    for name in FLOATS:
        columns[name] = values(rng, rng.random(rows, dtype=np.float32)).take(chosen)
    for name in INTEGERS:
        columns[name] = values(rng, rng.integers(0, 10_000_000, rows)).take(chosen)
    table = pa.table(columns).take(pa.array(rng.permutation(rows)))
    pq.write_table(table, path, row_group_size=128 * 1024)
    return newest(keys, table)


def values(rng: np.random.Generator, numbers: np.ndarray) -> pa.Array:
    return pa.array(numbers, mask=rng.random(len(numbers)) < 0.01)


def newest(keys: int, rows: pa.Table) -> pa.Table:
    asked = pa.table({"id": np.arange(keys), "event_timestamp": times(np.full(keys, int(END.timestamp())))})
    return rows.take(pa.array(winners(asked, rows, 0))).select(["id", *FEATURES])


def prove(right: pa.Table, path: Path, *, sample: int = 500) -> int:
    """Ask the naive oracle about ``sample`` random keys; the number asked. Raises AssertionError where it disagrees."""
    rng = np.random.default_rng()
    chosen = rng.choice(len(right), min(sample, len(right)), replace=False)
    rows: dict[object, list[dict[str, object]]] = {int(key): [] for key in chosen}
    for row in plain(pq.read_table(path, filters=[("id", "in", list(rows))])):
        rows[row["id"]].append(row)
    for expected in plain(right.take(pa.array(chosen))):
        view = View(rows[expected["id"]], {"id": "id"}, {name: name for name in FEATURES}, created="created")
        asked = {"id": expected["id"], "event_timestamp": int(END.timestamp()) * 10**9}
        naive = point_in_time([asked], [view])[0]
        del naive["event_timestamp"]
        assert naive == expected, f"the sorted answer says {expected}, the naive oracle {naive}"
    return len(chosen)
