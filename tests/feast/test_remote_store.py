"""Feast's own remote online store as a client of our server, beside the same client of Feast's server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from feast import FeatureStore, RepoConfig
from feast.infra.online_stores.remote import RemoteOnlineStore
from feast.permissions.client.http_auth_requests_wrapper import HttpSessionManager

from tests.feast.served_app import served, served_by_feast
from tests.feast.side_by_side import EXPERIMENTAL, NOW, server, stats, stores
from tests.unit.online.samples import PYTHON

__all__ = ["server", "stores"]

pytestmark = pytest.mark.filterwarnings(EXPERIMENTAL)

# Feast's client makes no value of these from JSON (the last: Feast's server writes null for it).
UNREADABLE = {"list_of_lists", "map_list", "zoned", "scalar_map"}

# Feast's client hands Python sets to its JSON encoder; those of times and UUIDs it writes as lists.
JSON_LESS_SETS = {"int64_set", "string_set", "float64_set"}


def client_of(store: FeatureStore, url: str, registry: Any = None) -> FeatureStore:
    """A FeatureStore that knows the registry, and of the rows only the server."""
    config = RepoConfig(
        project=store.project,
        provider="local",
        registry=registry or store.config.registry,
        online_store={"type": "remote", "path": url, "connection_retries": 0},
        entity_key_serialization_version=3,
    )
    return FeatureStore(config=config)


@pytest.fixture(scope="module")
def clients(stores: tuple[FeatureStore, FeatureStore]) -> Iterator[tuple[FeatureStore, FeatureStore]]:
    """Of our server, and of Feast's, which serves Feast's own store."""
    ours, feast = stores
    with served(ours) as our_url, served_by_feast(feast) as feast_url:
        yield client_of(ours, our_url), client_of(feast, feast_url)
        HttpSessionManager.close_session()


def test_it_is_feast_s_client(clients: tuple[FeatureStore, FeatureStore]) -> None:
    for client in clients:
        assert type(client._get_provider().online_store) is RemoteOnlineStore


@pytest.mark.parametrize("name", [name for name in PYTHON if name not in UNREADABLE])
def test_every_type(clients: tuple[FeatureStore, FeatureStore], name: str) -> None:
    drivers = [2, 0, 3] if name.endswith(("_list", "_set", "map")) else [2, 0, 1, 3]
    rows = [{"driver_id": number} for number in drivers]
    ours, feast = (client.get_online_features([f"everything:{name}"], rows).to_dict() for client in clients)
    assert list(ours) == ["driver_id", name]
    assert ours["driver_id"] == drivers
    assert ours[name][-1] is None
    if name.endswith("_set"):
        ours[name], feast[name] = ([value and sorted(value) for value in one[name]] for one in (ours, feast))
    assert ours == feast


@pytest.mark.parametrize("name", ["int64_list", "string_set", "map"])
def test_feast_s_client_reads_no_empty_lists(clients: tuple[FeatureStore, FeatureStore], name: str) -> None:
    """Both servers answer ``[]`` and ``{}``, of which it cannot tell the type."""
    for client in clients:
        with pytest.raises(TypeError, match="infer value type"):
            client.get_online_features([f"everything:{name}"], [{"driver_id": 1}])


@pytest.mark.parametrize("full", [False, True])
def test_services_and_on_demand_views(clients: tuple[FeatureStore, FeatureStore], full: bool) -> None:
    rows = [{"driver_id": 0, "customer_id": "a", "bonus": 1.0}, {"driver_id": 1, "customer_id": "b", "bonus": 2.0}]
    ours, feast = (
        client.get_online_features(client.get_feature_service("mixed"), rows, full_feature_names=full).to_dict()
        for client in clients
    )
    # Under full names Feast's own response leaves features of python transformations out.
    assert {name: ours[name] for name in feast} == feast
    assert list(ours["plus__conv_plus" if full else "conv_plus"]) == [1.5, 2.25]
    assert set(ours) - {"driver_id", "customer_id"} == {
        f"{view}__{name}" if full else name
        for view, name in (("pairs", "score"), ("stats", "trips"), ("stats", "conv"), ("plus", "conv_plus"))
    }


def test_true_statuses_arrive(clients: tuple[FeatureStore, FeatureStore]) -> None:
    answer = clients[0].get_online_features(["stats:conv"], [{"driver_id": number} for number in (0, 2, 77)])
    column = list(answer.proto.results)[1]
    assert list(column.statuses) == [1, 2, 3]
    assert answer.to_dict() == {"driver_id": [0, 2, 77], "conv": [0.5, None, None]}


def test_versions_of_views_are_told(clients: tuple[FeatureStore, FeatureStore]) -> None:
    answers = [
        client.get_online_features(["stats:trips"], [{"driver_id": 0}], include_feature_view_version_metadata=True)
        for client in clients
    ]
    ours, feast = ([one.name for one in answer.proto.metadata.feature_view_metadata] for answer in answers)
    assert ours == feast == ["stats"]


def test_what_is_refused_is_told(clients: tuple[FeatureStore, FeatureStore]) -> None:
    with pytest.raises(RuntimeError, match=r"404.*FEATURE_NOT_FOUND.*did you mean 'trips'"):
        clients[0].get_online_features(["stats:trip"], [{"driver_id": 0}])
    with pytest.raises(RuntimeError, match=r"422.*MISSING_JOIN_KEY"):
        clients[0].get_online_features(["stats:trips"], [{"driver_ix": 0}])
    with pytest.raises(RuntimeError, match=r"501.*NOT_IMPLEMENTED.*no vector index"):
        clients[0]._get_provider().online_store.retrieve_online_documents(clients[0].config, stats, ["conv"], [0.5], 1)


def test_rows_are_written_through_it(clients: tuple[FeatureStore, FeatureStore]) -> None:
    frame = pd.DataFrame(
        {
            "driver_id": [100, 101],
            "conv": [0.125, None],
            "trips": [7, 2**60 + 1],
            "label": ["x", "y"],
            "event_timestamp": [NOW + timedelta(seconds=1)] * 2,
        }
    )
    rows = [{"driver_id": 100}, {"driver_id": 101}]
    expected = {"driver_id": [100, 101], "conv": [0.125, None], "trips": [7, 2**60 + 1], "label": ["x", "y"]}
    for client in clients:
        client.write_to_online_store("stats", frame)
        answer = client.get_online_features(["stats:conv", "stats:trips", "stats:label"], rows)
        assert answer.to_dict() == expected, client


@pytest.mark.parametrize("name", [name for name in PYTHON if name not in {"zoned", "scalar_map"}])
def test_every_type_is_written_through_it(
    stores: tuple[FeatureStore, FeatureStore], clients: tuple[FeatureStore, FeatureStore], name: str, tmp_path: Path
) -> None:
    """What the client makes of a row's values on their way is what comes to lie in the store."""
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    ours = stores[0]
    applied = ours.registry.get_feature_view("everything", "side", allow_cache=False)
    before = ours._get_provider().online_store.online_read(ours.config, applied, [_key(number) for number in range(3)])
    data = []
    for number, (_, values) in enumerate(before):
        assert values is not None
        key = EntityKey(join_keys=["driver_id"], entity_values=[Value(int64_val=1000 + number)])
        data.append((key, {**dict.fromkeys(values, Value()), name: values[name]}, NOW, None))
    client = clients[0]
    if name.removesuffix("_list").removesuffix("_set") in ("bytes", "decimal") or name in JSON_LESS_SETS:
        with pytest.raises(TypeError, match="JSON"):
            client._get_provider().online_write_batch(client.config, applied, data, None)
        return
    client._get_provider().online_write_batch(client.config, applied, data, None)
    keys = [_key(1000 + number) for number in range(3)]
    after = ours._get_provider().online_store.online_read(ours.config, applied, keys)
    assert [values and values[name] for _, values in after] == [values and values[name] for _, values in before]


def _key(number: int) -> Any:
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    return EntityKey(join_keys=["driver_id"], entity_values=[Value(int64_val=number)])
