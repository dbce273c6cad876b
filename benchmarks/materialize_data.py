"""Data for the materialization benchmark, and what must be online then.

``VIEW``: one view of 25 float32 and 25 int64 features, where keys have older rows, corrections of the same event time
and rows delivered twice, and where values are null. ``SWEEP``: 25 views of 10 int32 features over one file.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.offline_answer import plain, winners
from benchmarks.offline_data import BASE, DAY, first_of_equals, times
from tests.property.oracle import View, point_in_time

START = datetime.fromtimestamp(BASE, UTC)
END = datetime.fromtimestamp(BASE + 10 * DAY, UTC)


@dataclass(frozen=True, slots=True)
class Case:
    """Feature views over one file, by name, each with its features and their types; the join key is ``id``."""

    views: dict[str, dict[str, pa.DataType]]
    created: str | None = None
    ttl: timedelta = timedelta(0)

    @property
    def types(self) -> dict[str, pa.DataType]:
        """Every feature; no name is in two views."""
        return {name: kind for features in self.views.values() for name, kind in features.items()}

    @property
    def references(self) -> list[str]:
        return [f"{view}:{name}" for view, features in self.views.items() for name in features]


FLOATS = {f"amount_{i}": pa.float32() for i in range(25)}
INTEGERS = {f"count_{i}": pa.int64() for i in range(25)}
VIEW = Case({"view": {**FLOATS, **INTEGERS}}, created="created")
# The original benchmark of the plugin: see `prepare_sweep`.
SWEEP = Case(
    {f"feature_view_{v}": {f"feature_{10 * v + i}": pa.int32() for i in range(10)} for v in range(25)},
    ttl=timedelta(days=1),
)
CASES = {"view": VIEW, "sweep": SWEEP}


def prepare(case: str, rows: int, path: Path) -> pa.Table:
    """Write the case's file; the rows that belong online, one per key, in the order of the keys."""
    return prepare_view(rows, path) if case == "view" else prepare_sweep(rows, path)


def prepare_view(keys: int, path: Path) -> pa.Table:
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
    columns |= {name: column.take(chosen) for name, column in features(rng, rows).items()}
    table = pa.table(columns).take(pa.array(rng.permutation(rows)))
    pq.write_table(table, path, row_group_size=128 * 1024)
    asked = pa.table({"id": np.arange(keys), "event_timestamp": times(np.full(keys, int(END.timestamp())))})
    return table.take(pa.array(winners(asked, table, 0))).select(["id", *VIEW.types])


def features(rng: np.random.Generator, rows: int) -> dict[str, pa.Array]:
    """Random values for the features of ``VIEW``, one in a hundred null."""
    floats = {name: values(rng, rng.random(rows, dtype=np.float32)) for name in FLOATS}
    return floats | {name: values(rng, rng.integers(0, 10_000_000, rows)) for name in INTEGERS}


def values(rng: np.random.Generator, numbers: np.ndarray) -> pa.Array:
    return pa.array(numbers, mask=rng.random(len(numbers)) < 0.01)


def prepare_sweep(rows: int, path: Path) -> pa.Table:
    """``rows`` draws from as many ids, so that about a third of the ids is missing and many come more than once."""
    rng = np.random.default_rng(20260103)
    ids = rng.integers(0, rows, rows)
    # A moment of its own for each draw: which of two rows of one moment wins is promised by nobody.
    events = BASE + rng.permutation(rows) * (10 * DAY // rows)
    columns = {"id": pa.array(ids), "event_timestamp": times(events)}
    columns |= {name: pa.array(rng.integers(1, 10_000, rows).astype(np.int32)) for name in SWEEP.types}
    table = pa.table(columns)
    pq.write_table(table, path)
    order = np.lexsort((events, ids))
    last = np.append(np.diff(ids[order]) != 0, True)
    return table.take(pa.array(order[last])).select(["id", *SWEEP.types])


def prove(case: Case, right: pa.Table, path: Path, *, sample: int = 500) -> int:
    """Ask the naive oracle about ``sample`` random keys; the number asked. Raises AssertionError where it disagrees."""
    rng = np.random.default_rng()
    chosen = rng.choice(len(right), min(sample, len(right)), replace=False)
    keys = right["id"].take(pa.array(chosen)).to_pylist()
    rows: dict[object, list[dict[str, object]]] = {key: [] for key in keys}
    for row in plain(pq.read_table(path, filters=[("id", "in", keys)])):
        rows[row["id"]].append(row)
    for expected in plain(right.take(pa.array(chosen))):
        view = View(rows[expected["id"]], {"id": "id"}, {name: name for name in case.types}, created=case.created)
        asked = {"id": expected["id"], "event_timestamp": int(END.timestamp()) * 10**9}
        naive = point_in_time([asked], [view])[0]
        del naive["event_timestamp"]
        assert naive == expected, f"the sorted answer says {expected}, the naive oracle {naive}"
    return len(chosen)
