"""A small view that is to be materialized, and how it is checked that it was not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field
from feast.types import Int64
from feast.value_type import ValueType

from yummy_feast import ParquetSource
from yummy_feast.errors import YummyError

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
EMBEDDED = {"type": "yummy_feast.YummyOnlineStore", "connection_string": "embedded"}
MANY = 100_000


def rows(count: int = 4) -> pa.Table:
    times = pa.array([NOON] * count, pa.timestamp("us", "UTC"))
    return pa.table({"driver_id": np.arange(count), "known_at": times, "trips": np.arange(count)})


def parquet(folder: Path, table: pa.Table | None = None, **options: Any) -> ParquetSource:
    pq.write_table(rows() if table is None else table, folder / "rows.parquet", row_group_size=10_000)
    return ParquetSource("rows.parquet", **{"timestamp_field": "known_at", **options})


def applied(store: FeatureStore, source: Any) -> FeatureStore:
    fields = [Field(name="trips", dtype=Int64)]
    view = FeatureView(name="stats", entities=[DRIVER], schema=fields, source=source, ttl=timedelta(0))
    store.apply([DRIVER, view])
    return store


def materialize(store: FeatureStore) -> None:
    store.materialize(NOON - HOUR, NOON + HOUR)


def windows(store: FeatureStore) -> list[Any]:
    return list(store.get_feature_view("stats").materialization_intervals)


def failure(kind: type[YummyError], store: FeatureStore, *parts: str, do: Callable[[], object] | None = None) -> None:
    """Materializing (or ``do``) fails with one line that has all of ``parts``, and the registry does not count it."""
    before = windows(store)
    with pytest.raises(kind) as caught:
        do() if do else materialize(store)
    text = str(caught.value)
    assert "\n" not in text
    for part in parts:
        assert part in text, text
    assert windows(store) == before


def trips(store: FeatureStore, count: int = 4) -> list[Any]:
    answer: list[Any] = []
    for start in range(0, count, 10_000):
        keys = range(start, min(start + 10_000, count))
        answer += store.get_online_features(["stats:trips"], {"driver_id": list(keys)}).to_dict()["trips"]
    return answer
