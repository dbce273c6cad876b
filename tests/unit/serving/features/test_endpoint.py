"""The hot endpoint, from request to answer, over a real Redis and without a server in front."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.unit.online.reading import NOW, World, driver_more, driver_stats, pair_stats, world_stats
from tests.unit.serving.kit import PATH, Answered, call, config_of, endpoint_of, fill, quickly
from yummy_feast.serving.features import endpoint as module
from yummy_feast.serving.features import snapshot
from yummy_feast.serving.features.endpoint import FeaturesEndpoint, Stages

TIMING = re.compile(r"decode;dur=\d+\.\d{3}, redis;dur=\d+\.\d{3}, assemble;dur=\d+\.\d{3}")
RECENT = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World.at(tmp_path)
    for number in range(1, 4):
        row = {"conv_rate": number / 2, "trips": number, "name": f"d{number}"}
        world.put(driver_stats, {"driver_id": number}, row, RECENT)
        world.put(driver_more, {"driver_id": number}, {"rating": 0.5, "tags": ["a"], "last_seen": 3600 * number})
    world.put(driver_stats, {"driver_id": 4}, {"conv_rate": None, "trips": 4, "name": "d4"}, RECENT - timedelta(days=3))
    world.put(driver_stats, {"driver_id": 5}, {"conv_rate": None, "trips": 5, "name": "d5"}, RECENT)
    world.put(pair_stats, {"driver_id": 1, "customer_id": "c"}, {"score": 7, "blob": b"\x00"})
    world.put(world_stats, {}, {"total": 99})
    world.serve("both", [driver_stats[["trips"]], pair_stats[["score"]]])
    return world


@pytest.fixture
def endpoint(world: World, address: str) -> FeaturesEndpoint:
    fill(world, address)
    return endpoint_of(world, config_of(world, address))


def ask(endpoint: FeaturesEndpoint, features: Any, entities: Any, **more: Any) -> Answered:
    """The answer, which is the same where it can be given without a task."""
    key = "feature_service" if isinstance(features, str) else "features"
    body = {key: features, "entities": entities, **more}

    async def both() -> Answered:
        answered = await call(endpoint, PATH, body)
        quick = await quickly(endpoint, body)
        if quick.answered is not None:
            assert (quick.answered.status, quick.answered.body) == (answered.status, answered.body)
            assert TIMING.fullmatch(quick.answered.headers["server-timing"])
        return answered

    return asyncio.run(both())


def test_true_answers(endpoint: FeaturesEndpoint) -> None:
    features = ["driver_stats:trips", "driver_more:tags", "driver_stats:conv_rate"]
    answered = ask(endpoint, features, {"driver_id": [1, 4, 5, 77, None]})
    assert answered.status == 200
    assert list(answered.values) == ["driver_id", "trips", "tags", "conv_rate"]
    assert answered.values == {
        "driver_id": [1, 4, 5, 77, None],
        "trips": [1, 4, 5, None, None],
        "tags": [["a"], None, None, None, None],
        "conv_rate": [0.5, None, None, None, None],
    }
    assert answered.statuses["trips"] == ["PRESENT", "OUTSIDE_MAX_AGE", "PRESENT", "NOT_FOUND", "NOT_FOUND"]
    assert answered.statuses["conv_rate"] == ["PRESENT", "OUTSIDE_MAX_AGE", "NULL_VALUE", "NOT_FOUND", "NOT_FOUND"]
    times = answered.columns["tags"]["event_timestamps"]
    assert times == [NOW.strftime("%Y-%m-%dT%H:%M:%SZ"), *["1970-01-01T00:00:00Z"] * 4]
    assert answered.headers["content-type"] == "application/json"
    assert answered.headers["content-length"] == str(len(answered.body))
    assert TIMING.fullmatch(answered.headers["server-timing"])


def test_services_full_names_and_views_without_entities(endpoint: FeaturesEndpoint) -> None:
    answered = ask(endpoint, "both", {"driver_id": [1], "customer_id": ["c"]}, full_feature_names=True)
    assert answered.values == {
        "driver_id": [1],
        "customer_id": ["c"],
        "driver_stats__trips": [1],
        "pair_stats__score": [7],
    }
    assert ask(endpoint, ["world_stats:total"], {}).values == {"total": [99]}
    versions = ask(endpoint, ["world_stats:total"], {}, include_feature_view_version_metadata=True)
    assert versions.json["metadata"]["feature_view_metadata"] == [{"name": "world_stats"}]


def test_on_demand_views_with_request_data(endpoint: FeaturesEndpoint) -> None:
    features = ["in_python:conv_plus", "in_pandas:conv_times", "one_by_one:twice"]
    answered = ask(endpoint, features, {"driver_id": [1, 2], "bonus": [1.5, 2]})
    assert answered.values == {
        "driver_id": [1, 2],
        "conv_plus": [2.0, 3.0],
        "conv_times": [0.75, 2.0],
        "twice": [2, 4],
    }
    assert ask(endpoint, features[:1], {"driver_id": [1]}).error == (422, "MISSING_REQUEST_DATA")


def test_transformations_that_fail_are_no_server_error(endpoint: FeaturesEndpoint) -> None:
    for features in (["in_python:conv_plus"], ["in_pandas:conv_times"]):
        answered = ask(endpoint, features, {"driver_id": [1], "bonus": [["no number"]]})
        assert answered.error == (422, "ON_DEMAND_FAILED"), answered.json


@pytest.mark.parametrize(
    ("features", "entities", "status", "code"),
    [
        (["stat:trips"], {"driver_id": [1]}, 404, "FEATURE_VIEW_NOT_FOUND"),
        (["driver_stats:trip"], {"driver_id": [1]}, 404, "FEATURE_NOT_FOUND"),
        ("nothing", {"driver_id": [1]}, 404, "FEATURE_SERVICE_NOT_FOUND"),
        (["driver_stats"], {"driver_id": [1]}, 422, "INVALID_FEATURES"),
        (["driver_stats:trips"] * 2, {"driver_id": [1]}, 422, "FEATURE_NAMES_COLLIDE"),
        ([], {"driver_id": [1]}, 422, "INVALID_FEATURES"),
        (["driver_stats:trips"], {}, 422, "MISSING_JOIN_KEY"),
        (["driver_stats:trips"], {"driver_ids": [1]}, 422, "MISSING_JOIN_KEY"),
        (["driver_stats:trips"], {"driver_id": []}, 422, "INVALID_ENTITIES"),
        (["driver_stats:trips"], {"driver_id": [1], "customer_id": ["c"]}, 422, "INVALID_ENTITIES"),
        (["driver_stats:trips"], {"driver_id": [1], "anything": [1]}, 422, "INVALID_ENTITIES"),
        (["pair_stats:score"], {"driver_id": [1], "customer_id": ["c", "d"]}, 422, "INVALID_ENTITIES"),
        (["driver_stats:trips"], {"driver_id": ["one"]}, 422, "INVALID_ENTITIES"),
        (["driver_stats:trips"], {"driver_id": [2**70]}, 422, "INVALID_ENTITIES"),
        (["driver_stats:trips"], {"driver_id": [[1]]}, 422, "INVALID_ENTITIES"),
        (["driver_stats:trips"], {"driver_id": [True]}, 422, "INVALID_ENTITIES"),
        (["driver_stats:trips"], [{"driver_id": 1}], 422, "INVALID_BODY"),
    ],
)
def test_bad_requests(endpoint: FeaturesEndpoint, features: Any, entities: Any, status: int, code: str) -> None:
    answered = ask(endpoint, features, entities)
    assert answered.error == (status, code), answered.json
    assert answered.json["detail"].keys() == {"error", "message", "hint"}
    assert "\n" not in answered.json["detail"]["message"]
    assert TIMING.fullmatch(answered.headers["server-timing"])
    # Whoever asks after that is served.
    assert ask(endpoint, ["driver_stats:trips"], {"driver_id": [1]}).status == 200


def test_a_body_that_is_too_large(world: World, address: str) -> None:
    small = endpoint_of(world, config_of(world, address), max_body=10)
    assert ask(small, ["driver_stats:trips"], {"driver_id": [1]}).error == (413, "BODY_TOO_LARGE")


def test_damaged_rows_are_told(world: World, address: str, client: Any, endpoint: FeaturesEndpoint) -> None:
    key = world.key_of(driver_stats, {"driver_id": 1})
    client.hset(key, "driver_stats", b"junk")
    answered = ask(endpoint, ["driver_stats:trips"], {"driver_id": [1]})
    assert answered.error == (503, "STORED_ROW_DAMAGED")
    with_on_demand = ask(endpoint, ["in_python:conv_plus"], {"driver_id": [1], "bonus": [1]})
    assert with_on_demand.error == (503, "STORED_ROW_DAMAGED")
    client.delete(key)
    client.set(key, "no hash")
    assert ask(endpoint, ["driver_stats:trips"], {"driver_id": [1]}).error == (503, "ONLINE_STORE_REFUSED")
    assert ask(endpoint, ["in_python:conv_plus"], {"driver_id": [2], "bonus": [1]}).status == 200


def test_no_server_is_503(world: World) -> None:
    away = endpoint_of(world, config_of(world, "localhost:1", retries=0, connect_timeout="200ms"))
    answered = ask(away, ["driver_stats:trips"], {"driver_id": [1]})
    assert answered.error == (503, "ONLINE_STORE_UNAVAILABLE")
    assert answered.headers["retry-after"] == "1"
    assert "redis at localhost:1 does not answer" in answered.json["detail"]["message"]


def test_large_answers_leave_the_loop(endpoint: FeaturesEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    drivers = {"driver_id": [1, 77, 2]}
    here = ask(endpoint, ["driver_stats:trips", "driver_stats:name"], drivers)
    monkeypatch.setattr(snapshot, "_INLINE_CELLS", 5)
    threads: list[str] = []
    to_thread = asyncio.to_thread

    async def noted(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        threads.append(function.__name__)
        return await to_thread(function, *arguments, **options)

    monkeypatch.setattr(asyncio, "to_thread", noted)
    there = ask(endpoint, ["driver_stats:trips", "driver_stats:name"], drivers)
    assert there.json == here.json
    assert "_told" in threads
    assert len(threads) == 2


def at_once(*requests: Awaitable[Answered]) -> list[Answered]:
    async def main() -> list[Answered]:
        return list(await asyncio.gather(*requests))

    return asyncio.run(main())


def test_too_many_at_once_are_refused_and_the_others_served(world: World, address: str) -> None:
    fill(world, address)
    narrow = endpoint_of(world, config_of(world, address), most=2)
    body = {"features": ["driver_stats:trips"], "entities": {"driver_id": [1]}}
    answers = at_once(*(call(narrow, PATH, body) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 200, 503, 503, 503]
    refused = next(answer for answer in answers if answer.status == 503)
    assert refused.error == (503, "TOO_MANY_REQUESTS")
    assert refused.headers["retry-after"] == "1"
    assert at_once(call(narrow, PATH, body))[0].status == 200


def test_a_request_that_takes_too_long(world: World, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(world, address)
    impatient = endpoint_of(world, config_of(world, address), seconds=0.2)

    async def never(*_: Any) -> Any:
        await asyncio.sleep(60)

    monkeypatch.setattr(module, "fetch_async", never)
    answered = ask(impatient, ["driver_stats:trips"], {"driver_id": [1]})
    assert answered.error == (503, "REQUEST_TIMEOUT")
    assert answered.headers["retry-after"] == "1"


def scope_and_sent() -> tuple[dict[str, Any], list[Any], Callable[[Any], Awaitable[None]]]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    return {"type": "http", "method": "POST", "path": PATH, "headers": []}, sent, send


def test_a_body_that_does_not_come(world: World, address: str) -> None:
    impatient = endpoint_of(world, config_of(world, address), seconds=0.2)
    scope, sent, send = scope_and_sent()

    async def receive() -> Any:
        await asyncio.sleep(60)

    asyncio.run(impatient(scope, receive, send))
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]


def test_a_client_that_hangs_up_gets_nothing(endpoint: FeaturesEndpoint) -> None:
    scope, sent, send = scope_and_sent()

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    asyncio.run(endpoint(scope, receive, send))
    assert sent == []


def test_a_cancelled_request_ends_as_cancelled(endpoint: FeaturesEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any) -> Any:
        await asyncio.sleep(60)

    async def main() -> None:
        body = {"features": ["driver_stats:trips"], "entities": {"driver_id": [1]}}
        monkeypatch.setattr(module, "fetch_async", never)
        task = asyncio.create_task(call(endpoint, PATH, body))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_stages_that_were_not_reached_take_no_time() -> None:
    stages = Stages(1.0)
    assert stages.header(1.001)[1] == b"decode;dur=1.000, redis;dur=0.000, assemble;dur=0.000"
    stages.decoded = 1.0005
    assert stages.header(1.001)[1] == b"decode;dur=0.500, redis;dur=0.500, assemble;dur=0.000"
    stages.fetched = 1.00075
    assert stages.header(1.001)[1] == b"decode;dur=0.500, redis;dur=0.250, assemble;dur=0.250"
    stages.assembled = 1.00085
    assert stages.header(1.001)[1] == b"decode;dur=0.500, redis;dur=0.250, assemble;dur=0.100"
