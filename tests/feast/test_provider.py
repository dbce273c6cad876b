"""The ways into the online store besides plain materialization: pushes, transformed views, other engines and stores."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import (
    BatchFeatureView,
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    KafkaSource,
    PushSource,
    StreamFeatureView,
)
from feast.data_format import JsonFormat
from feast.data_source import PushMode
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Float32, Float64, Int64, String
from feast.value_type import ValueType

from tests.feast.repo import FORMATS, at, feature_store
from tests.online_server import address, client, server
from yummy_feast import ParquetSource
from yummy_feast.errors import ValueTypeError

__all__ = ["address", "client", "server"]

pytestmark = [
    pytest.mark.filterwarnings("ignore:On demand feature view is an experimental feature:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Stream feature views are experimental features:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Batch feature views are experimental features:RuntimeWarning"),
]

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MICROS = pa.timestamp("us", "UTC")
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
TRIPS = [Field(name="trips", dtype=Int64), Field(name="label", dtype=String)]


def rows(*given: tuple[int, datetime, int, str]) -> pa.Table:
    schema = pa.schema([("driver_id", pa.int64()), ("known_at", MICROS), ("trips", pa.int64()), ("label", pa.string())])
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in given], schema)


HISTORY = rows((0, NOON, 1, "a"), (0, NOON - HOUR, 2, "b"), (1, NOON - HOUR, 3, "c"))


def frame(*given: tuple[int, datetime, int, str]) -> pd.DataFrame:
    return rows(*given).to_pandas()


def source(folder: Path, table: pa.Table = HISTORY, name: str = "rows", **options: Any) -> ParquetSource:
    pq.write_table(table, folder / f"{name}.parquet")
    return ParquetSource(f"{name}.parquet", name=name, timestamp_field="known_at", **options)


def view(batch: Any, name: str = "stats", **options: Any) -> FeatureView:
    return FeatureView(
        **{"name": name, "entities": [DRIVER], "schema": TRIPS, "source": batch, "ttl": timedelta(0), **options}
    )


@pytest.fixture
def store(tmp_path: Path, address: str) -> FeatureStore:
    return feature_store(tmp_path, online=at(address))


def read(store: FeatureStore, *features: str, drivers: int = 2) -> list[list[Any]]:
    names = list(features) or ["stats:trips", "stats:label"]
    answer = store.get_online_features(names, [{"driver_id": number} for number in range(drivers)]).to_dict()
    return [values for name, values in answer.items() if name != "driver_id"]


# ------------------------------------------------------------------------------------------------------- pushes


@pytest.mark.parametrize("mode", PushMode)
@pytest.mark.parametrize("kind", ["parquet", "delta"])
def test_push(store: FeatureStore, tmp_path: Path, kind: str, mode: PushMode) -> None:
    batch = FORMATS[kind](tmp_path, "rows", HISTORY, timestamp_field="known_at")
    store.apply([DRIVER, view(PushSource(name="pushed", batch_source=batch))])
    store.materialize(NOON - 9 * HOUR, NOON)
    pushed = frame((5, NOON, 0, "dropped"), (1, NOON + HOUR, 7, "x"), (0, NOON - HOUR, 8, "late"))
    # A frame that was filtered has an index to keep, which Arrow makes a column of.
    store.push("pushed", pushed[pushed["driver_id"] < 5], to=mode)
    online, offline = mode != PushMode.OFFLINE, mode != PushMode.ONLINE
    assert read(store) == ([[1, 7], ["a", "x"]] if online else [[1, 3], ["a", "c"]])
    asked = pd.DataFrame({"driver_id": [0, 1], "event_timestamp": [NOON + 2 * HOUR] * 2})
    found = store.get_historical_features(asked, ["stats:trips", "stats:label"]).to_df()
    assert found["trips"].tolist() == ([1, 7] if offline else [1, 3])
    store.materialize(NOON - 9 * HOUR, NOON + 2 * HOUR)
    assert read(store) == ([[1, 3], ["a", "c"]] if not (online or offline) else [[1, 7], ["a", "x"]])


def test_push_reaches_every_view_of_its_source(store: FeatureStore, tmp_path: Path) -> None:
    pushed = PushSource(name="pushed", batch_source=source(tmp_path))
    store.apply([DRIVER, view(pushed), view(pushed, "other", schema=TRIPS[:1])])
    asyncio.run(store.push_async("pushed", frame((0, NOON + HOUR, 7, "x")), to=PushMode.ONLINE_AND_OFFLINE))
    assert read(store, drivers=1) == [[7], ["x"]]
    assert read(store, "other:trips", drivers=1) == [[7]]
    # Each view has its rows appended, as Feast says.
    assert pq.read_table(tmp_path / "rows.parquet").num_rows == len(HISTORY) + 2


@pytest.mark.parametrize("asynchronous", [False, True])
def test_write_to_online_store(store: FeatureStore, tmp_path: Path, asynchronous: bool) -> None:
    store.apply([DRIVER, view(source(tmp_path))])

    def write(data: pd.DataFrame) -> None:
        if asynchronous:
            asyncio.run(store.write_to_online_store_async("stats", data))
        else:
            store.write_to_online_store("stats", data)

    write(frame((0, NOON, 1, "a"), (1, NOON, 2, "b"), (1, NOON + HOUR, 3, "c")))
    assert read(store) == [[1, 3], ["a", "c"]]
    # Older loses, a time without a zone is UTC, a gap is a null.
    late = frame((0, NOON - HOUR, 9, "late"), (1, NOON + 2 * HOUR, 4, "d"))
    late["known_at"] = late["known_at"].dt.tz_localize(None)
    late.loc[1, "label"] = None
    write(late)
    assert read(store) == [[1, 4], ["a", None]]
    answer = store.get_online_features(["stats:trips"], [{"driver_id": 1}]).to_dict(include_event_timestamps=True)
    assert answer["trips__ts"] == [int((NOON + 2 * HOUR).timestamp())]


# --------------------------------------------------------------------------------- views that are more than rows


def test_a_stream_view_is_its_batch_source_and_what_is_pushed(store: FeatureStore, tmp_path: Path) -> None:
    stream = KafkaSource(
        name="stream",
        timestamp_field="known_at",
        batch_source=source(tmp_path),
        kafka_bootstrap_servers="nowhere:1",
        topic="trips",
        message_format=JsonFormat("driver_id integer"),
    )
    stats = StreamFeatureView(name="stats", entities=[DRIVER], schema=TRIPS, source=stream, ttl=timedelta(0))
    store.apply([DRIVER, stats])
    store.materialize(NOON - 9 * HOUR, NOON)
    assert read(store) == [[1, 3], ["a", "c"]]
    store.write_to_online_store("stats", frame((1, NOON + HOUR, 7, "x")))
    assert read(store) == [[1, 7], ["a", "x"]]


def test_a_transformed_batch_view_goes_through_feasts_engine(store: FeatureStore, tmp_path: Path) -> None:
    batch = source(tmp_path, field_mapping={"trips": "rides"})

    def doubled(data):  # type: ignore[no-untyped-def] # the registry keeps the function without its module
        # A column that is no feature of the view: the transformation sees the whole source.
        return data.assign(twice=data["rides"] * 2, loud=data["label"].str.upper())

    stats = BatchFeatureView(
        name="stats",
        mode="pandas",
        entities=[DRIVER],
        schema=[Field(name="twice", dtype=Int64), Field(name="loud", dtype=String)],
        source=batch,
        udf=doubled,
        udf_string="",
        online=True,
        ttl=timedelta(0),
    )
    store.apply([DRIVER, stats])
    store.materialize(NOON - 9 * HOUR, NOON)
    assert read(store, "stats:twice", "stats:loud") == [[2, 6], ["A", "C"]]
    # The flag reaches Feast's engine too, which by itself does not know it.
    pq.write_table(rows((1, datetime(1960, 1, 1, tzinfo=UTC), 9, "z"), (2, NOON, 5, "y")), tmp_path / "rows.parquet")
    store.materialize(NOON, NOON, disable_event_timestamp=True)
    assert read(store, "stats:twice", drivers=3) == [[2, 6, 10]]


def test_a_transformed_stream_view_goes_through_feasts_engine(store: FeatureStore, tmp_path: Path) -> None:
    def tripled(data):  # type: ignore[no-untyped-def]
        return data.assign(trips=data["trips"] * 3)

    pushed = PushSource(name="pushed", batch_source=source(tmp_path))
    stats = StreamFeatureView(
        name="stats", mode="pandas", entities=[DRIVER], schema=TRIPS, source=pushed, udf=tripled, ttl=timedelta(0)
    )
    store.apply([DRIVER, stats])
    store.materialize(NOON - 9 * HOUR, NOON)
    assert read(store) == [[3, 9], ["a", "c"]]


@pytest.mark.parametrize("offline", [False, True])
def test_a_view_derived_from_another_goes_through_feasts_engine(
    store: FeatureStore, tmp_path: Path, offline: bool
) -> None:
    def tenfold(data):  # type: ignore[no-untyped-def]
        return data[["driver_id", "known_at"]].assign(trips=data["trips"] * 10)

    stats = view(source(tmp_path))
    sink = source(tmp_path, HISTORY.slice(0, 0).select(["driver_id", "known_at", "trips"]), name="sink")
    derived = BatchFeatureView(
        name="derived",
        mode="pandas",
        entities=[DRIVER],
        schema=TRIPS[:1],
        source=[stats],
        sink_source=sink,
        udf=tenfold,
        udf_string="",
        online=True,
        offline=offline,
        ttl=timedelta(0),
    )
    store.apply([DRIVER, stats, derived])
    store.materialize(NOON - 9 * HOUR, NOON, feature_views=["derived"])
    assert read(store, "derived:trips") == [[10, 30]]
    kept = pq.read_table(tmp_path / "sink.parquet").to_pydict()["trips"]
    assert sorted(kept) == ([10, 30] if offline else [])


def test_a_validated_view_goes_through_feasts_engine(store: FeatureStore, tmp_path: Path) -> None:
    store.apply([DRIVER, view(source(tmp_path), enable_validation=True)])
    store.materialize(NOON - 9 * HOUR, NOON)
    assert read(store) == [[1, 3], ["a", "c"]]


def test_an_on_demand_view_that_is_written(store: FeatureStore, tmp_path: Path) -> None:
    stats = view(source(tmp_path))

    @on_demand_feature_view(
        sources=[stats],
        entities=[DRIVER],
        schema=[Field(name="more", dtype=Float64)],
        mode="pandas",
        write_to_online_store=True,
    )
    def derived(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"more": inputs["trips"] + 0.5})

    store.apply([DRIVER, stats, derived])
    store.materialize(NOON - 9 * HOUR, NOON)
    assert read(store, "derived:more", "stats:trips", drivers=3) == [[1.5, 3.5, None], [1, 3, None]]
    # It is read, not computed again.
    store.write_to_online_store("stats", frame((0, NOON + HOUR, 100, "x")))
    assert read(store, "derived:more", "stats:trips") == [[1.5, 3.5], [100, 3]]


def test_a_precomputed_service_is_no_obstacle(
    store: FeatureStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stats = view(PushSource(name="pushed", batch_source=source(tmp_path)))
    store.apply([DRIVER, stats, FeatureService(name="all", features=[stats], precompute_online=True)])
    store.materialize(NOON - 9 * HOUR, NOON)
    store.push("pushed", frame((0, NOON + HOUR, 7, "x")))
    answer = store.get_online_features(store.get_feature_service("all"), [{"driver_id": 0}]).to_dict()
    assert answer == {"driver_id": [0], "trips": [7], "label": ["x"]}


# -------------------------------------------------------------------------------------- what a view may ask for


def test_a_view_that_is_not_online_is_not_written_and_its_source_stays_as_it_is(
    store: FeatureStore, tmp_path: Path, client: Any
) -> None:
    store.apply([DRIVER, view(source(tmp_path), online=False, offline=True)])
    store.materialize(NOON - 9 * HOUR, NOON)
    store.materialize(NOON - 9 * HOUR, NOON, feature_views=["stats"])
    assert client.dbsize() == 0
    assert pq.read_table(tmp_path / "rows.parquet").equals(HISTORY)


def test_a_view_that_is_online_and_offline_is_written_online_only(store: FeatureStore, tmp_path: Path) -> None:
    store.apply([DRIVER, view(source(tmp_path), offline=True)])
    store.materialize(NOON - 9 * HOUR, NOON)
    assert read(store) == [[1, 3], ["a", "c"]]
    assert pq.read_table(tmp_path / "rows.parquet").equals(HISTORY)


def test_vectors_have_the_length_they_are_declared_with(store: FeatureStore, tmp_path: Path) -> None:
    vectors = pa.array([[0.5, 1.5], [2.5], [3.5, 4.5]], pa.list_(pa.float32()))
    batch = source(tmp_path, HISTORY.append_column("vector", vectors))
    fields = [Field(name="vector", dtype=Array(Float32), vector_index=True, vector_length=2)]
    store.apply([DRIVER, view(batch, schema=fields)])
    store.materialize(NOON, NOON)
    assert read(store, "stats:vector", drivers=1) == [[[0.5, 1.5]]]
    pq.write_table(pq.read_table(tmp_path / "rows.parquet").slice(1), tmp_path / "rows.parquet")
    expected = (
        r"^feature view 'stats' from rows\.parquet: Row 0: Vector length 1 does not match expected 2 for .*vector"
    )
    with pytest.raises(ValueTypeError, match=expected):
        store.materialize(NOON - 9 * HOUR, NOON)


def test_versions_are_materialized_side_by_side(tmp_path: Path, address: str) -> None:
    registry = {"path": str(tmp_path / "registry.db"), "enable_online_feature_view_versioning": True}
    store = feature_store(tmp_path, online=at(address), top={"registry": registry})
    batch = source(tmp_path)
    store.apply([DRIVER, view(batch, schema=TRIPS[:1])])
    store.apply([DRIVER, view(batch, schema=TRIPS)])
    store.materialize(NOON - 9 * HOUR, NOON, feature_views=["stats"], version="v0")
    assert read(store, "stats@v0:trips") == [[1, 3]]
    assert read(store, "stats:trips", "stats:label") == [[None, None], [None, None]]
    store.materialize(NOON - 9 * HOUR, NOON - HOUR, feature_views=["stats"])
    assert read(store, "stats@v0:trips") == [[1, 3]]
    assert read(store, "stats:trips", "stats:label") == [[2, 3], ["b", "c"]]


# ------------------------------------------------------------------------------------------- projects and stores


def test_projects_share_a_server_and_nothing_else(tmp_path: Path, address: str, client: Any) -> None:
    stores = {}
    for number, project in enumerate(("prod", "nonprod", "prod2")):
        folder = tmp_path / project
        folder.mkdir()
        stores[project] = feature_store(folder, online=at(address), project=project)
        stores[project].apply([DRIVER, view(source(folder, rows((0, NOON, number, project))))])
        stores[project].materialize(NOON, NOON)
    everything = {project: [[number], [project]] for number, project in enumerate(stores)}
    assert {name: read(store, drivers=1) for name, store in stores.items()} == everything
    stores["prod"].teardown()
    assert read(stores["nonprod"], drivers=1) == everything["nonprod"]
    assert read(stores["prod2"], drivers=1) == everything["prod2"]
    assert not [key for key in client.scan_iter() if key.startswith(b"prod\0")]
    for project in ("nonprod", "prod2"):
        stores[project].teardown()
    assert client.dbsize() == 0


def test_a_view_that_is_gone_takes_its_rows_along(store: FeatureStore, tmp_path: Path) -> None:
    batch = source(tmp_path)
    stats, other = view(batch), view(batch, "other")
    store.apply([DRIVER, stats, other])
    store.materialize(NOON - 9 * HOUR, NOON)
    store.apply([DRIVER, other], objects_to_delete=[stats], partial=False)
    assert read(store, "other:trips") == [[1, 3]]
    store.apply([DRIVER, stats])
    assert read(store) == [[None, None], [None, None]]


@pytest.mark.parametrize("size", [None, 1, 2])
def test_feasts_own_provider_between_our_stores(tmp_path: Path, address: str, size: int | None) -> None:
    top = {"provider": "local", "materialization": {"online_write_batch_size": size}}
    store = feature_store(tmp_path, online=at(address), top=top)
    store.apply([DRIVER, view(source(tmp_path))])
    store.materialize(NOON - 9 * HOUR, NOON)
    assert read(store) == [[1, 3], ["a", "c"]]


@pytest.mark.parametrize("latest", [True, False])
def test_our_provider_with_feasts_online_store(tmp_path: Path, latest: bool) -> None:
    online = {"type": "sqlite", "path": str(tmp_path / "online.db")}
    store = feature_store(tmp_path, online=online, top={"materialization": {"pull_latest_features": latest}})
    store.apply([DRIVER, view(source(tmp_path)), view(source(tmp_path, name="all"), "world", entities=[])])
    store.materialize(NOON - 9 * HOUR, NOON)
    # Feast's own answers come in the order of a set.
    assert sorted(map(str, read(store))) == ["['a', 'c']", "[1, 3]"]
    if latest:
        # Without it Feast's engine writes every row of a view without entities, and the file's last one stays.
        assert store.get_online_features(["world:trips"], [{"any": 1}]).to_dict()["trips"] == [1]


def test_our_provider_with_feasts_offline_store(tmp_path: Path, address: str) -> None:
    from feast import FileSource

    store = feature_store(tmp_path, "dask", online=at(address), top={"provider": "yummy_feast.YummyProvider"})
    pq.write_table(HISTORY, tmp_path / "rows.parquet")
    store.apply([DRIVER, view(FileSource(path=str(tmp_path / "rows.parquet"), timestamp_field="known_at"))])
    store.materialize(NOON - 9 * HOUR, NOON)
    assert read(store) == [[1, 3], ["a", "c"]]


def test_another_batch_engine_gets_the_work(tmp_path: Path, address: str) -> None:
    engine = {"type": "tests.feast.other_engine.OtherEngine"}
    store = feature_store(tmp_path, online=at(address), top={"batch_engine": engine})
    store.apply([DRIVER, view(source(tmp_path))])
    with pytest.raises(NotImplementedError, match="asked to materialize stats"):
        store.materialize(NOON - 9 * HOUR, NOON)
