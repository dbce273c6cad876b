"""A store with one table to fetch from, its lockfile, and ways in which the table moves on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field
from feast.types import Float64
from feast.value_type import ValueType

from tests.feast.repo import feature_store, iceberg_keys
from yummy_feast import Lockfile
from yummy_feast.offline.job import YummyRetrievalJob

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
COUNT = 40


def history(first: int = 0, count: int = COUNT, scale: float = 1.0) -> pa.Table:
    numbers = range(first, first + count)
    return pa.table(
        {
            "driver_id": pa.array([number % 5 for number in numbers], pa.int64()),
            "event_timestamp": pa.array([START + number * HOUR for number in numbers], pa.timestamp("us", "UTC")),
            "rate": pa.array([None if number % 7 == 0 else number * scale / 8 for number in numbers], pa.float64()),
        }
    )


def questions() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "driver_id": [number % 6 for number in range(30)],
            "event_timestamp": [START + number * 3 * HOUR for number in range(30)],
            "label": [f"question {number}" for number in range(30)],
        }
    )


def view(source: Any, name: str = "stats", ttl: timedelta | None = 6 * HOUR) -> FeatureView:
    return FeatureView(
        name=name, entities=[DRIVER], schema=[Field(name="rate", dtype=Float64)], source=source, ttl=ttl, online=False
    )


def applied(folder: Path, *views: Any, **settings: Any) -> FeatureStore:
    store = feature_store(folder, **settings)
    store.apply([DRIVER, *views])
    return store


def fetch(store: FeatureStore, entity_df: Any = None, *features: str, **asked: Any) -> YummyRetrievalJob:
    rows = questions() if entity_df is None and not asked.get("end_date") else entity_df
    job: Any = store.get_historical_features(rows, list(features) or ["stats:rate"], **asked)
    return job  # type: ignore[no-any-return]


def locked(job: YummyRetrievalJob, folder: Path, **how: Any) -> Lockfile:
    """The lockfile after its way through a file."""
    job.lockfile(**how).save(folder / "train.lock.json")
    return Lockfile.load(folder / "train.lock.json")


def append(kind: str, folder: Path) -> None:
    more = history(COUNT - 8, 20, scale=100)
    if kind == "parquet":
        pq.write_table(more, folder / "stats" / "later.parquet")
    elif kind == "delta":
        import deltalake

        deltalake.write_deltalake(folder / "stats", more, mode="append")
    else:
        iceberg(folder, lambda table: table.append(more))


def overwrite(kind: str, folder: Path) -> None:
    if kind == "delta":
        import deltalake

        other = history(scale=5).append_column("more", pa.array([1] * COUNT))
        deltalake.write_deltalake(folder / "stats", other, mode="overwrite", schema_mode="overwrite")
    else:
        iceberg(folder, lambda table: table.overwrite(history(scale=5)))


def evolve(kind: str, folder: Path) -> None:
    """New columns, another order of files, fewer files."""
    append(kind, folder)
    if kind == "delta":
        import deltalake

        deltalake.DeltaTable(folder / "stats").optimize.compact()
        return

    def rename(table: Any) -> None:
        with table.update_schema() as change:
            change.rename_column("rate", "old_rate")

    iceberg(folder, rename)


def iceberg(folder: Path, change: Callable[[Any], object]) -> None:
    from pyiceberg.catalog import load_catalog

    catalog: Any = load_catalog("local", **iceberg_keys(folder))
    change(catalog.load_table("lake.stats"))
    catalog.engine.dispose()
