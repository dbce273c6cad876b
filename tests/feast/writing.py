"""A small repository whose views are pushed to, written and materialized over HTTP."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from feast import Entity, FeatureStore, FeatureView, Field, PushSource
from feast.types import Float64, Int64, String
from feast.value_type import ValueType

from tests.feast.repo import at, feature_store, in_parquet
from yummy_feast import ParquetSource

NOW = datetime.now(UTC).replace(microsecond=0)
driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)


def repository(folder: Path, address: str, *, top: dict[str, Any] | None = None, **online: Any) -> FeatureStore:
    """`hourly` and `daily`, fed by the push source `events`; `broken`, whose source is not there."""
    store = feature_store(folder, online=at(address, **online), top=top)
    apply(store, folder)
    return store


def apply(store: FeatureStore, folder: Path) -> None:
    definitions = views(folder)
    shutil.copytree(folder / "trips", folder / "gone")
    store.apply([driver, *definitions])
    shutil.rmtree(folder / "gone")


def views(folder: Path) -> list[FeatureView]:
    stored = in_parquet(folder, "trips", table(), timestamp_field="event_timestamp")
    nowhere = ParquetSource(path="gone", name="broken", timestamp_field="event_timestamp")
    pushed = PushSource(name="events", batch_source=stored)
    broken = FeatureView(name="broken", entities=[driver], schema=fields(), source=nowhere, ttl=timedelta(days=9))
    return [
        FeatureView(name="hourly", entities=[driver], schema=fields(), source=pushed, ttl=timedelta(days=9)),
        FeatureView(name="daily", entities=[driver], schema=fields(), source=pushed, ttl=timedelta(days=9)),
        broken,
    ]


def fields() -> list[Field]:
    return [
        Field(name="driver_id", dtype=Int64),
        Field(name="trips", dtype=Int64),
        Field(name="conv", dtype=Float64),
        Field(name="label", dtype=String),
    ]


def table() -> pa.Table:
    """Drivers 1 to 4, of an hour ago."""
    return pa.table(
        {
            "driver_id": pa.array([1, 2, 3, 4], pa.int64()),
            "event_timestamp": pa.array([NOW - timedelta(hours=1)] * 4, pa.timestamp("us", tz="UTC")),
            "trips": pa.array([10, 20, 30, 40], pa.int64()),
            "conv": pa.array([0.1, 0.2, 0.3, 0.4], pa.float64()),
            "label": pa.array(["a", "b", "c", "d"]),
        }
    )


def df(**columns: Any) -> dict[str, Any]:
    """Rows of drivers 7 and 8, as a body has them; None leaves a column out."""
    given = {
        "driver_id": [7, 8],
        "event_timestamp": [NOW.isoformat()] * 2,
        "trips": [70, 2**60 + 1],
        "conv": [0.7, None],
        "label": ["x", "y"],
        **columns,
    }
    return {name: values for name, values in given.items() if values is not None}


def in_sqlite(folder: Path) -> FeatureStore:
    """The same with Feast's SQLite store, which only Feast reads."""
    store = feature_store(folder, online={"type": "sqlite", "path": str(folder / "online.db")})
    apply(store, folder)
    return store


__all__ = ["NOW", "df", "in_sqlite", "repository", "table"]
