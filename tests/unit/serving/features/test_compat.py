"""Feast's answers in the place of ours, on request."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from feast import Field
from feast.types import ScalarMap

from tests.unit.online.reading import World, driver_stats
from tests.unit.serving.kit import PATH, Answered, call, config_of, endpoint_of, fill
from yummy_feast.errors import ConfigError
from yummy_feast.online.answer import Heading, OnlineFeatures, Rows, Status
from yummy_feast.serving.features import snapshot
from yummy_feast.serving.features.compat import CompatEndpoint, as_feast, by_header
from yummy_feast.serving.http import Receive, Scope, Send, respond

RECENT = datetime.now(UTC).replace(microsecond=0)
ALL = {"driver_id": [1, 4, 5, 77]}


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World.at(tmp_path)
    world.put(driver_stats, {"driver_id": 1}, {"conv_rate": 0.5, "trips": 1, "name": "a"}, RECENT)
    world.put(driver_stats, {"driver_id": 4}, {"conv_rate": 0.25, "trips": 4, "name": "d"}, RECENT - timedelta(days=3))
    world.put(driver_stats, {"driver_id": 5}, {"conv_rate": None, "trips": 5, "name": "e"}, RECENT)
    world.serve("names", [driver_stats[["name"]]])
    return world


def opened(world: World, address: str, **settings: Any) -> CompatEndpoint:
    fill(world, address)
    return endpoint_of(world, config_of(world, address, **settings), kind=CompatEndpoint)


def opened_nowhere(world: World) -> CompatEndpoint:
    config = config_of(world, "localhost:1", connect_timeout="100ms", retries=0)
    return endpoint_of(world, config, kind=CompatEndpoint)


def ask(endpoint: Any, body: dict[str, Any], **options: Any) -> Answered:
    return asyncio.run(call(endpoint, PATH, body, **options))


def test_everything_is_present_and_the_rest_is_true(world: World, address: str) -> None:
    endpoint = opened(world, address)
    answered = ask(endpoint, {"features": ["driver_stats:conv_rate", "driver_stats:trips"], "entities": ALL})
    assert answered.values == {**ALL, "conv_rate": [0.5, 0.25, None, None], "trips": [1, 4, 5, None]}
    assert set(map(tuple, answered.statuses.values())) == {("PRESENT",) * 4}
    assert answered.columns["trips"]["event_timestamps"][3] == "1970-01-01T00:00:00Z"
    one = ask(endpoint, {"features": ["driver_stats:conv_rate"], "entities": {"driver_id": [77]}})
    assert one.statuses["conv_rate"] == ["PRESENT"]
    # What is counted is what happened.
    told = endpoint._metrics.exposition().decode()
    assert 'status="NOT_FOUND"' in told


def test_what_is_hidden_as_stale_is_served(world: World, address: str) -> None:
    endpoint = opened(world, address, on_stale="hide")
    assert ask(endpoint, {"features": ["driver_stats:trips"], "entities": ALL}).values["trips"] == [1, 4, 5, None]


def test_what_feast_lets_pass_passes(world: World, address: str) -> None:
    endpoint = opened(world, address)
    one = {"driver_id": [1]}
    for body in (
        {"features": ["driver_stats:name"], "entities": {**one, "anything": [1]}},
        {"features": ["driver_stats:name"], "entities": one, "extra": {}},
        {"features": ["driver_stats:trips"], "feature_service": "names", "entities": one},
    ):
        assert ask(endpoint, body).values == {**one, "name": ["a"]}, body
    full = ask(endpoint, {"features": ["driver_stats:name"], "entities": one, "full_feature_names": "true"})
    assert full.values == {**one, "driver_stats__name": ["a"]}
    other = {"features": ["driver_stats:name"], "entities": {"driver_id": [1, 1], "customer_id": [1, 2.5]}}
    assert ask(endpoint, other).values["driver_id"] == [1, 1]


def test_request_data_take_the_type_of_the_first(world: World, address: str) -> None:
    endpoint = opened(world, address)
    body = {"features": ["in_python:conv_plus"], "entities": {"driver_id": [1, 1], "bonus": [1, 2.5]}}
    assert ask(endpoint, body).values["conv_plus"] == [1.5, 2.5]
    body["entities"] = {"driver_id": [1, 1], "bonus": [2.5, "x"]}
    assert ask(endpoint, body).error == (422, "INVALID_ENTITIES")


def test_refusals_stay_refusals(world: World, address: str) -> None:
    endpoint = opened(world, address)
    assert ask(endpoint, {"features": ["driver_stats:trips"], "entities": {}}).error == (422, "MISSING_JOIN_KEY")
    assert ask(endpoint, {"features": ["nothing:trips"], "entities": ALL}).error == (404, "FEATURE_VIEW_NOT_FOUND")
    assert ask(endpoint, {"features": [], "entities": ALL}).error == (422, "INVALID_FEATURES")
    assert asyncio.run(call(endpoint, PATH, b"{")).error == (422, "MALFORMED_JSON")


def test_transformations_that_fail(world: World, address: str) -> None:
    endpoint = opened(world, address)
    for feature in ("in_python:conv_plus", "in_pandas:conv_times"):
        body = {"features": [feature], "entities": {"driver_id": [1], "bonus": [["no number"]]}}
        assert ask(endpoint, body).error == (422, "ON_DEMAND_FAILED")


def test_what_is_in_redis_may_be_damaged_or_gone(world: World, address: str, client: Any) -> None:
    endpoint = opened(world, address)
    client.hset(world.key_of(driver_stats, {"driver_id": 1}), "driver_stats", b"junk")
    for entities in ({"driver_id": [1]}, {"driver_id": [1], "bonus": [1.0]}):
        features = ["in_python:conv_plus"] if "bonus" in entities else ["driver_stats:trips"]
        assert ask(endpoint, {"features": features, "entities": entities}).error == (503, "STORED_ROW_DAMAGED")
    nobody = opened_nowhere(world)
    assert ask(nobody, {"features": ["driver_stats:trips"], "entities": ALL}).error == (503, "ONLINE_STORE_UNAVAILABLE")


def test_large_answers_are_made_in_threads(world: World, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "_INLINE_CELLS", 1)
    endpoint = opened(world, address)
    assert ask(endpoint, {"features": ["driver_stats:trips"], "entities": ALL}).values["trips"] == [1, 4, 5, None]


def test_a_repeated_join_key_that_is_nothing(world: World, address: str) -> None:
    entities = {"driver_id": [1], "customer_id": [{}]}
    refused = ask(opened(world, address), {"features": ["driver_stats:trips"], "entities": entities})
    assert refused.error == (422, "INVALID_ENTITIES")


def test_scalar_maps_are_null() -> None:
    kind = Field(name="map", dtype=ScalarMap).dtype.to_value_type().value
    heading = Heading.of([("map", kind, 0), ("trips", 4, 0)])
    rows = Rows((Status.NOT_FOUND.value, Status.PRESENT.value), (0, 7))
    told = as_feast(OnlineFeatures(heading, [[None, b"stored"], [None, 3]], [rows], 2))
    assert told.values == [[None, None], [None, 3]]
    assert [told.statuses_of(at) for at in (0, 1)] == [[Status.PRESENT] * 2] * 2
    assert list(told.event_times_of(1)) == [0, 7]


@pytest.mark.parametrize("compat", ["none", "feast"])
def test_the_header_chooses_and_the_option_where_there_is_none(compat: str) -> None:
    def named(name: str) -> Any:
        async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
            await respond(send, 200, [], name.encode())

        return endpoint

    app = by_header(named("none"), named("feast"), compat)
    assert ask(app, {}).body.decode() == compat
    for name in ("none", "feast"):
        assert ask(app, {}, headers={"x-yummy-compat": name}).body.decode() == name
    refused = ask(app, {}, headers={"x-yummy-compat": "stock"})
    assert refused.error == (422, "INVALID_HEADER")
    assert refused.headers["connection"] == "close"


def test_an_option_that_is_neither() -> None:
    with pytest.raises(ConfigError, match=r"compat is 'feasts' \(did you mean 'feast'"):
        by_header(None, None, "feasts")  # type: ignore[arg-type]
