"""A fetch on a cluster, in a process of its own: ``python -m tests.feast.cluster_fetch REPO SPARK_CONF ANSWER``.

The repository's engine is set by whoever calls; ``repository`` makes it, and its answer, for the test as well.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureView, Field
from feast.types import Float64, Int64
from feast.value_type import ValueType

from tests.feast.repo import feature_store, in_csv, in_delta, in_parquet
from tests.feast.slow_source import SlowParquetSource
from yummy_feast.offline.job import YummyRetrievalJob

FILES = 10
_ROWS = 10_000
_KEYS = 500
_START = 1_760_000_000
_SPAN = 30 * 86_400
"""Seconds."""
FIRST, LAST = (datetime.fromtimestamp(seconds, UTC) for seconds in (_START, _START + _SPAN))


def lay(folder: Path, rows: int = _ROWS) -> None:
    """The rows of four views, so many each, one of which is slow to read."""
    random = np.random.default_rng(5)
    (folder / "slow").mkdir()
    for number in range(FILES):
        pq.write_table(_rows(random, rows // FILES), folder / "slow" / f"{number:02}.parquet")
    slow = SlowParquetSource(path="slow", name="slow", timestamp_field="event_timestamp")
    makers = {"quick": in_parquet, "lines": in_csv, "lake": in_delta}
    sources: list[Any] = [
        slow,
        *(make(folder, name, _rows(random, rows), timestamp_field="event_timestamp") for name, make in makers.items()),
    ]
    store = feature_store(folder)
    thing = Entity(name="thing", join_keys=["thing_id"], value_type=ValueType.INT64)
    store.apply(
        [
            thing,
            *(
                FeatureView(
                    name=source.name,
                    entities=[thing],
                    schema=[Field(name="v", dtype=Float64), Field(name="n", dtype=Int64)],
                    source=source,
                    ttl=timedelta(days=2),
                )
                for source in sources
            ),
        ]
    )
    asked = _rows(random, 2_000).select(["thing_id", "event_timestamp"])
    pq.write_table(asked, folder / "asked.parquet")


def _rows(random: np.random.Generator, count: int) -> pa.Table:
    moments = (_START + random.integers(0, _SPAN, count)) * 1_000_000
    return pa.table(
        {
            "thing_id": random.integers(0, _KEYS, count),
            "event_timestamp": pa.array(moments, pa.timestamp("us", "UTC")),
            "v": random.random(count).round(6),
            "n": random.integers(0, 10**9, count),
        }
    )


def job_of(folder: Path, asked: Any = None, **settings: Any) -> YummyRetrievalJob:
    """The fetch, by an engine."""
    store = feature_store(folder, **settings)
    names = sorted(view.name for view in store.list_feature_views())
    features = [f"{name}:{what}" for name in names for what in "vn"]
    rows = folder / "asked.parquet" if asked is None else asked
    job = store.get_historical_features(rows, features, full_feature_names=True)
    assert isinstance(job, YummyRetrievalJob)
    return job


def answer(folder: Path, **settings: Any) -> pa.Table:
    """What an engine says."""
    return job_of(folder, **settings).to_arrow()


if __name__ == "__main__":
    repo, conf, where = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
    pq.write_table(answer(repo, engine="spark", spark_conf=conf), where)
