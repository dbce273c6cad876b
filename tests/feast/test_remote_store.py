"""Feast's own remote online store as a client of our server."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest
from feast import FeatureStore, RepoConfig
from feast.feature_server_utils import _value_to_native
from feast.infra.online_stores.remote import RemoteOnlineStore
from feast.permissions.client.http_auth_requests_wrapper import HttpSessionManager
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from tests.feast.served_app import served
from tests.feast.side_by_side import EXPERIMENTAL, NOW, fill, open_store, register, server, stats
from tests.unit.online.samples import PYTHON

__all__ = ["server"]

pytestmark = pytest.mark.filterwarnings(EXPERIMENTAL)

# Feast's client cannot tell the type of these from JSON.
UNREADABLE = {"list_of_lists", "map_list"}
# Nor does it make JSON of these when it writes.
UNSENDABLE = {"bytes", "bytes_list", "zoned", "scalar_map", "decimal", "decimal_list", "decimal_set"} | {
    f"{kind}_set" for kind in ("int64", "string", "float64")
}


@pytest.fixture(scope="module")
def store(server: Any, tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """The repository behind the server."""
    online = {"type": "yummy_feast.YummyOnlineStore", "connection_string": f"localhost:{server.port},db=1"}
    store = open_store(tmp_path_factory.mktemp("remote") / "ours", online)
    register(store)
    fill(store)
    return store


@pytest.fixture(scope="module")
def url(store: FeatureStore) -> Iterator[str]:
    with served(store) as url:
        yield url
        HttpSessionManager.close_session()


@pytest.fixture(scope="module")
def client(store: FeatureStore, url: str) -> FeatureStore:
    """A FeatureStore that knows the registry, and of the rows only the server."""
    config = RepoConfig(
        project=store.project,
        provider="local",
        registry=store.config.registry,
        online_store={"type": "remote", "path": url, "connection_retries": 0},
        entity_key_serialization_version=3,
    )
    client = FeatureStore(config=config)
    assert type(client._get_provider().online_store) is RemoteOnlineStore
    return client


@pytest.mark.parametrize("name", [name for name in PYTHON if name not in UNREADABLE])
def test_every_type(client: FeatureStore, url: str, name: str) -> None:
    """What the server says is what the client makes of it. (Of empty lists Feast's client makes an error.)"""
    asked = {"features": [f"everything:{name}"], "entities": {"driver_id": [0, 3]}}
    request = urllib.request.Request(f"{url}/get-online-features", json.dumps(asked).encode())
    with urllib.request.urlopen(request) as answer:
        said = json.load(answer)["results"][1]["values"]
    found = client.get_online_features([f"everything:{name}"], [{"driver_id": 0}, {"driver_id": 3}]).to_dict()
    assert found == {"driver_id": [0, 3], name: said}
    assert said[0] is not None
    assert said[1] is None


@pytest.mark.parametrize("full", [False, True])
def test_services_and_on_demand_views(client: FeatureStore, store: FeatureStore, full: bool) -> None:
    rows = [{"driver_id": 0, "customer_id": "a", "bonus": 1.0}, {"driver_id": 1, "customer_id": "b", "bonus": 2.0}]
    remote, local = (
        one.get_online_features(one.get_feature_service("mixed"), rows, full_feature_names=full).to_dict()
        for one in (client, store)
    )
    score = "pairs__score" if full else "score"
    assert remote.pop(score) == pytest.approx(local.pop(score))
    assert remote == local
    assert remote["plus__conv_plus" if full else "conv_plus"] == [1.5, 2.25]


def test_true_statuses_arrive(client: FeatureStore) -> None:
    answer = client.get_online_features(["stats:conv"], [{"driver_id": number} for number in (0, 2, 77)])
    column = list(answer.proto.results)[1]
    assert list(column.statuses) == [1, 2, 3]
    assert answer.to_dict() == {"driver_id": [0, 2, 77], "conv": [0.5, None, None]}


def test_versions_of_views_are_told(client: FeatureStore) -> None:
    answer = client.get_online_features(["stats:trips"], [{"driver_id": 0}], include_feature_view_version_metadata=True)
    assert [one.name for one in answer.proto.metadata.feature_view_metadata] == ["stats"]


def test_what_is_refused_is_told(client: FeatureStore) -> None:
    with pytest.raises(RuntimeError, match=r"404.*FEATURE_NOT_FOUND.*did you mean 'trips'"):
        client.get_online_features(["stats:trip"], [{"driver_id": 0}])
    with pytest.raises(RuntimeError, match=r"422.*MISSING_JOIN_KEY"):
        client.get_online_features(["stats:trips"], [{"driver_ids": 0}])
    with pytest.raises(RuntimeError, match=r"501.*NOT_IMPLEMENTED.*no vector index"):
        client._get_provider().online_store.retrieve_online_documents(client.config, stats, ["conv"], [0.5], 1)


def test_rows_are_written_through_it(client: FeatureStore, store: FeatureStore) -> None:
    frame = pd.DataFrame(
        {
            "driver_id": [100, 101],
            "conv": [0.125, None],
            "trips": [7, 2**60 + 1],
            "label": ["x", "y"],
            "event_timestamp": [NOW + timedelta(seconds=1)] * 2,
        }
    )
    client.write_to_online_store("stats", frame)
    rows = [{"driver_id": 100}, {"driver_id": 101}]
    for one in (client, store):
        answer = one.get_online_features(["stats:conv", "stats:trips", "stats:label"], rows).to_dict()
        assert answer == {"driver_id": [100, 101], "conv": [0.125, None], "trips": [7, 2**60 + 1], "label": ["x", "y"]}


@pytest.mark.parametrize("name", [name for name in PYTHON if name not in UNSENDABLE])
def test_every_type_is_written_through_it(store: FeatureStore, client: FeatureStore, name: str) -> None:
    """What comes to lie in the store is what the client was given."""
    online = store._get_provider().online_store
    applied = store.registry.get_feature_view("everything", "side", allow_cache=False)
    before = online.online_read(store.config, applied, [key_of(number) for number in range(3)])
    provider = client._get_provider()
    for shift, (_, values) in enumerate(before):
        row = {**dict.fromkeys(values, Value()), name: values[name]}
        provider.online_write_batch(client.config, applied, [(key_of(1000 + shift), row, NOW, None)], None)
    after = online.online_read(store.config, applied, [key_of(1000 + number) for number in range(3)])
    assert [json_of(values[name]) for _, values in after] == [json_of(values[name]) for _, values in before]


def json_of(value: Value) -> Any:
    """JSON may be spelled otherwise, sets have no order."""
    found = _value_to_native(value)
    if value.WhichOneof("val") == "json_val":
        return json.loads(found)
    return sorted(found) if (value.WhichOneof("val") or "").endswith("_set_val") else found


def key_of(number: int) -> EntityKey:
    return EntityKey(join_keys=["driver_id"], entity_values=[Value(int64_val=number)])
