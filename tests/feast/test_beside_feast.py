"""The same fetch through Feast's own duckdb store, value by value, where both are right.

Feast 0.67's store answers rows in any order, chooses at random among full ties and cannot read nanoseconds; so the
entity rows are numbered, the data has no full ties, and times are microseconds.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RequestSource
from feast.data_source import DataSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Bool, Float32, Float64, Int32, Int64, String, UnixTimestamp
from feast.value_type import ValueType

from tests.feast.repo import OURS, feature_store
from yummy_feast import ParquetSource

pytestmark = [
    pytest.mark.filterwarnings("ignore:On demand feature view is an experimental feature:RuntimeWarning"),
    # ibis still calls what duckdb 2.0 deprecates.
    pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning"),
]

START = datetime(2026, 1, 1, tzinfo=UTC)
USER = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
SHOP = Entity(name="shop", join_keys=["shop_id"], value_type=ValueType.STRING)
STORES = (OURS, "duckdb")


def history(seed: int, keys: dict[str, Any], count: int = 400) -> pa.Table:
    random = np.random.default_rng(seed)
    # Every row has a moment of its own: nothing to choose at random.
    minutes = random.permutation(count) * 13
    created = minutes + random.integers(0, 90, count)
    columns: dict[str, Any] = {name: pa.array(random.choice(values, count)) for name, values in keys.items()}

    def some_null(values: Any, kind: pa.DataType) -> pa.Array:
        return pa.array(values, kind, mask=random.random(count) < 0.15)

    return pa.table(
        columns
        | {
            "event_timestamp": pa.array(
                [START + timedelta(minutes=int(m)) for m in minutes], pa.timestamp("us", "UTC")
            ),
            "created": pa.array([START + timedelta(minutes=int(m)) for m in created], pa.timestamp("us", "UTC")),
            f"f{seed}": some_null(random.normal(size=count), pa.float64()),
            f"g{seed}": some_null(random.normal(size=count).astype(np.float32), pa.float32()),
            f"i{seed}": some_null(random.integers(-9, 9, count), pa.int64()),
            f"j{seed}": some_null(random.integers(-9, 9, count), pa.int32()),
            f"s{seed}": some_null([f"text {n}" for n in range(count)], pa.string()),
            f"b{seed}": some_null(random.random(count) < 0.5, pa.bool_()),
            f"t{seed}": some_null([START + timedelta(hours=int(n)) for n in range(count)], pa.timestamp("us", "UTC")),
        }
    )


TYPES = {"f": Float64, "g": Float32, "i": Int64, "j": Int32, "s": String, "b": Bool, "t": UnixTimestamp}


def asked() -> pd.DataFrame:
    random = np.random.default_rng(0)
    count = 300
    ticks = random.integers(-60, 400 * 13 + 600, count)
    return pd.DataFrame(
        {
            "n": range(count),
            "user_id": random.integers(0, 6, count),
            "shop_id": random.choice(["a", "b", "c"], count),
            "event_timestamp": pd.to_datetime([START + timedelta(minutes=int(tick)) for tick in ticks]).as_unit("us"),
            "bonus": random.normal(size=count),
        }
    )


def repo(folder: Path, offline: str) -> FeatureStore:
    """The same definitions over the same files; only the class of the sources differs."""

    def source(name: str) -> DataSource:
        options: Any = {"timestamp_field": "event_timestamp", "created_timestamp_column": "created", "name": name}
        path = str(folder / f"{name}.parquet")
        return ParquetSource(path=path, **options) if offline == OURS else FileSource(path=path, **options)

    def view(seed: int, entities: list[Entity], ttl: timedelta) -> FeatureView:
        fields = [Field(name=f"{letter}{seed}", dtype=dtype) for letter, dtype in TYPES.items()]
        keys = [Field(name=e.join_key, dtype={"user_id": Int64, "shop_id": String}[e.join_key]) for e in entities]
        return FeatureView(
            name=f"v{seed}", entities=entities, schema=[*keys, *fields], source=source(f"v{seed}"), ttl=ttl
        )

    users, pairs = view(1, [USER], timedelta(hours=9)), view(2, [USER, SHOP], timedelta(days=2))
    shops = view(3, [SHOP], timedelta(0))
    bonus = RequestSource(name="bonus_source", schema=[Field(name="bonus", dtype=Float64)])

    @on_demand_feature_view(sources=[users, bonus], schema=[Field(name="sum", dtype=Float64)], mode="pandas")
    def added(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"sum": inputs["f1"] + inputs["bonus"]})

    place = folder / offline.rpartition(".")[2]
    place.mkdir()
    store = feature_store(place, offline)
    store.apply([USER, SHOP, users, pairs, shops, added])
    return store


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[FeatureStore, FeatureStore]:
    folder = tmp_path_factory.mktemp("beside")
    keys = {"user_id": np.arange(5), "shop_id": np.array(["a", "b"])}
    pq.write_table(history(1, {"user_id": keys["user_id"]}), folder / "v1.parquet")
    pq.write_table(history(2, keys), folder / "v2.parquet")
    pq.write_table(history(3, {"shop_id": keys["shop_id"]}), folder / "v3.parquet")
    ours, feasts = (repo(folder, offline) for offline in STORES)
    return ours, feasts


FEATURES = [f"v{seed}:{letter}{seed}" for seed in (1, 2, 3) for letter in TYPES]


@pytest.mark.filterwarnings("ignore:On demand")
@pytest.mark.parametrize("options", [{}, {"filter_by_created_timestamp": True}, {"full_feature_names": True}], ids=str)
def test_every_value_is_feasts(stores: tuple[FeatureStore, FeatureStore], options: dict[str, Any]) -> None:
    ours, feasts = (
        store.get_historical_features(asked(), [*FEATURES, "added:sum"], **options).to_df() for store in stores
    )
    assert ours["n"].tolist() == list(range(len(asked())))
    feasts = feasts.sort_values("n").reset_index(drop=True)
    assert sorted(ours.columns) == sorted(feasts.columns)
    for name in ours.columns:
        mine, theirs = (frame[name].astype(object).where(frame[name].notna(), None) for frame in (ours, feasts))
        assert mine.tolist() == theirs.tolist(), name
    matched = ours[[c for c in ours.columns if c.rpartition("__")[2] in ("s1", "s2", "s3")]].notna()
    assert 0.1 < matched.to_numpy().mean() < 0.95, "the data decides nothing"


def test_the_newest_rows_are_feasts(stores: tuple[FeatureStore, FeatureStore]) -> None:
    frames = []
    for store in stores:
        source = store.get_feature_view("v2").batch_source
        assert source is not None
        job = store._get_provider().offline_store.pull_latest_from_table_or_query(
            config=store.config,
            data_source=source,
            join_key_columns=["user_id", "shop_id"],
            feature_name_columns=["f2", "s2"],
            timestamp_field="event_timestamp",
            created_timestamp_column="created",
            start_date=START + timedelta(hours=10),
            end_date=START + timedelta(hours=60),
        )
        frame = job.to_df().sort_values(["user_id", "shop_id"]).reset_index(drop=True)
        frames.append(frame[["user_id", "shop_id", "f2", "s2"]])
    assert len(frames[0]) == 10
    pd.testing.assert_frame_equal(frames[0], frames[1])
