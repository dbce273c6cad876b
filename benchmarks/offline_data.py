"""Data for the offline benchmark: feature views and entity rows with everything that makes a point-in-time join hard.

Event ties that only the created time decides, rows delivered twice, missing created times, values older than the ttl,
entity rows that repeat, that ask about unknown keys or about times before the first value. Written once as Parquet, and
kept.

Rows that tie in keys, event and created have equal features, because there contenders may choose as they like.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BASE = 1_700_000_000
DAY = 86_400
DAYS = 30
TIME = pa.timestamp("us", "UTC")
# Changes with what is generated, so that data of an older version of this file is not taken for today's.
VERSION = 2


@dataclass(frozen=True, slots=True)
class Shape:
    """rows: per feature view. entities: entity rows. keys: distinct join keys. ttl_days: 0 is no limit."""

    rows: int = 2_000_000
    entities: int = 500_000
    views: int = 5
    features: int = 10
    keys: int = 50_000
    ttl_days: int = 7

    @property
    def ttl(self) -> timedelta:
        return timedelta(days=self.ttl_days)

    def feature_names(self, view: int) -> list[str]:
        return [f"v{view}_f{i}" for i in range(self.features)]

    @property
    def references(self) -> list[str]:
        return [f"v{view}:{name}" for view in range(self.views) for name in self.feature_names(view)]

    @property
    def columns(self) -> list[str]:
        return [reference.split(":")[1] for reference in self.references]


# What a contender fetches before its clock starts, so that nobody's imports are on the bill.
WARM_UP = Shape(rows=40, entities=10, views=1, features=1, keys=4)


def prepare(shape: Shape, home: Path) -> Path:
    """The folder with this shape's files; made if it is not there yet."""
    name = "-".join(str(value) for value in asdict(shape).values())
    ready = home / f"offline-v{VERSION}-{name}"
    if not ready.exists():
        unfinished = ready.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        rng = np.random.default_rng(20260101)
        for view in range(shape.views):
            table = feature_rows(rng, shape, view)
            pq.write_table(table, unfinished / f"v{view}.parquet", row_group_size=128 * 1024)
        pq.write_table(entity_rows(rng, shape), unfinished / "entity_rows.parquet")
        (unfinished / "shape.json").write_text(json.dumps(asdict(shape)))
        # Renamed last: a run that was stopped half way leaves nothing that looks finished.
        unfinished.rename(ready)
    return ready


def shape_of(folder: Path) -> Shape:
    return Shape(**json.loads((folder / "shape.json").read_text()))


def feature_rows(rng: np.random.Generator, shape: Shape, view: int) -> pa.Table:
    """``id, event_timestamp, created`` and the features, in no order, as a table of many small loads is."""
    rows = shape.rows
    keys = rng.integers(0, shape.keys, rows)
    events = BASE + rng.integers(0, DAYS * DAY, rows)
    # One key in ten falls silent after ten days: what is known of it expires.
    silent = keys % 10 == 0
    events[silent] = BASE + (events[silent] - BASE) // (DAYS // 10)
    created = events + rng.integers(0, 3600, rows)
    # Two in a hundred correct the row before them, five in a thousand repeat it to the byte.
    corrections = np.flatnonzero(rng.random(rows) < 0.02)[1:]
    keys[corrections], events[corrections] = keys[corrections - 1], events[corrections - 1]
    repeats = np.flatnonzero(rng.random(rows) < 0.005)[1:]
    for column in (keys, events, created):
        column[repeats] = column[repeats - 1]
    known = rng.random(rows) > 0.01
    known[repeats] = known[repeats - 1]
    chosen = first_of_equals(keys, events, np.where(known, created, -1))
    columns = {
        "id": pa.array(keys),
        "event_timestamp": times(events),
        "created": times(created, known),
    }
    for name in shape.feature_names(view):
        values = pa.array(rng.random(rows, dtype=np.float32), mask=rng.random(rows) < 0.01)
        columns[name] = values.take(pa.array(chosen))
    return pa.table(columns)


def entity_rows(rng: np.random.Generator, shape: Shape) -> pa.Table:
    """``id, event_timestamp`` and two columns of the user's own; ``row`` tells which row is which after the join."""
    count = shape.entities
    # Two in a hundred keys are unknown to every view.
    keys = rng.integers(0, max(1, int(shape.keys * 1.02)), count)
    asked = BASE + rng.integers(DAY, DAYS * DAY, count)
    repeats = np.flatnonzero(rng.random(count) < 0.01)[1:]
    keys[repeats], asked[repeats] = keys[repeats - 1], asked[repeats - 1]
    return pa.table(
        {
            "row": pa.array(np.arange(count)),
            "id": pa.array(keys),
            "event_timestamp": times(asked),
            "label": pa.array(rng.random(count, dtype=np.float32)),
        }
    )


def times(seconds: np.ndarray, known: np.ndarray | None = None) -> pa.Array:
    return pa.array(seconds * 1_000_000, pa.int64(), mask=None if known is None else ~known).cast(TIME)


def first_of_equals(*columns: np.ndarray) -> np.ndarray:
    """For each row the index of the first row, in some order, that equals it in all columns."""
    order = np.lexsort(columns)
    new = np.zeros(len(order), bool)
    new[:1] = True
    for column in columns:
        new[1:] |= column[order][1:] != column[order][:-1]
    leaders = np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))
    chosen = np.empty(len(order), np.int64)
    chosen[order] = order[leaders]
    return chosen
