"""`/materialize` and `/materialize-incremental` over HTTP, on a real repository."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from feast import FeatureStore

from tests.feast.served.servers import Client, Reply
from tests.feast.served_app import served
from tests.feast.writing import NOW, repository
from tests.online_server import address, server
from tests.places import wait_until

__all__ = ["address", "server"]

RANGE = {"start_ts": (NOW - timedelta(days=1)).isoformat(), "end_ts": NOW.isoformat()}
TRIPS = [10, 20, 30, 40]


@pytest.fixture
def client(address: str, tmp_path: Path) -> Iterator[Client]:
    with served(repository(tmp_path, address)) as url, Client(int(url.rpartition(":")[2]), hangs_up=True) as client:
        yield client


class Gate:
    """Materializations of this process wait for ``open``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        real = FeatureStore.materialize

        def waiting(*arguments: Any, **options: Any) -> Any:
            self.reached.set()
            assert self.open.wait(30)
            return real(*arguments, **options)

        monkeypatch.setattr(FeatureStore, "materialize", waiting)


@pytest.fixture
def gate(client: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.open.set()


def trips(client: Client, view: str) -> list[int | None]:
    reply = client.post({"features": [f"{view}:trips"], "entities": {"driver_id": [1, 2, 3, 4]}})
    assert reply.status == 200, reply.body
    values: list[int | None] = reply.columns["trips"]["values"]
    return values


def ended(client: Client, location: str) -> Any:
    """The record of a run that is over."""

    def is_over() -> bool:
        return bool(client.get(location).json["state"] != "running")

    wait_until(is_over, 30, location)
    return client.get(location).json


def test_a_range(client: Client) -> None:
    assert trips(client, "hourly") == [None] * 4
    reply = client.post({**RANGE, "feature_views": ["hourly"]}, "/materialize")
    assert (reply.status, reply.json) == (200, None), reply.body
    assert trips(client, "hourly") == TRIPS
    assert trips(client, "daily") == [None] * 4
    before = {**RANGE, "end_ts": (NOW - timedelta(hours=2)).isoformat(), "feature_views": ["daily"]}
    assert client.post(before, "/materialize").status == 200
    assert trips(client, "daily") == [None] * 4


def test_everything_and_what_is_new(client: Client) -> None:
    every = {"disable_event_timestamp": True, "feature_views": ["hourly"]}
    assert client.post(every, "/materialize").status == 200
    assert trips(client, "hourly") == TRIPS
    reply = client.post({"end_ts": NOW.isoformat(), "feature_views": ["daily"]}, "/materialize-incremental")
    assert (reply.status, reply.json) == (200, None), reply.body
    assert trips(client, "daily") == TRIPS
    latest = client.get("/materializations").json
    assert [run["kind"] for run in latest] == ["materialize-incremental", "materialize"]
    assert {run["state"] for run in latest} == {"done"}


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/materialize", {}, 422, "INVALID_RANGE"),
        ("/materialize", {"start_ts": RANGE["start_ts"]}, 422, "INVALID_RANGE"),
        ("/materialize", {**RANGE, "start_ts": "soon"}, 422, "INVALID_RANGE"),
        ("/materialize", {"start_ts": RANGE["end_ts"], "end_ts": RANGE["start_ts"]}, 422, "INVALID_RANGE"),
        ("/materialize", {**RANGE, "feature_views": []}, 422, "NO_FEATURE_VIEWS"),
        ("/materialize", {**RANGE, "feature_views": ["hourli"]}, 404, "FEATURE_VIEW_NOT_FOUND"),
        ("/materialize", {**RANGE, "feature_views": "hourly"}, 422, "INVALID_BODY"),
        ("/materialize", {**RANGE, "views": ["hourly"]}, 422, "INVALID_BODY"),
        ("/materialize", b"{", 422, "MALFORMED_JSON"),
        ("/materialize-incremental", {}, 422, "INVALID_BODY"),
        ("/materialize-incremental", {"end_ts": "soon"}, 422, "INVALID_RANGE"),
        (
            "/materialize-incremental",
            {"end_ts": RANGE["end_ts"], "feature_views": ["x"]},
            404,
            "FEATURE_VIEW_NOT_FOUND",
        ),
    ],
)
def test_what_is_refused(client: Client, path: str, body: Any, status: int, code: str) -> None:
    reply = client.post(body, path)
    assert (reply.status, reply.code) == (status, code), reply.body
    assert client.get("/materializations").json == []


def test_one_at_a_time(client: Client, gate: Gate) -> None:
    body = {**RANGE, "feature_views": ["hourly"]}
    begun = client.post(body, "/materialize", {"Prefer": "respond-async"})
    assert (begun.status, begun.headers["preference-applied"]) == (202, "respond-async")
    assert gate.reached.wait(30)
    for path in ("/materialize", "/materialize?async=true", "/materialize-incremental"):
        given = {"end_ts": NOW.isoformat()} if path.endswith("incremental") else body
        reply = client.post(given, path)
        assert (reply.status, reply.code) == (409, "MATERIALIZATION_RUNNING"), reply.body
        assert begun.headers["location"] in reply.json["detail"]["hint"]
        assert reply.json["feature_views"] == ["hourly"]
    gate.open.set()
    assert ended(client, begun.headers["location"])["state"] == "done"
    assert client.post(body, "/materialize").status == 200


@pytest.mark.parametrize(("query", "headers"), [("?async=true", {}), ("", {"Prefer": "respond-async"})])
def test_progress_until_it_is_done(client: Client, gate: Gate, query: str, headers: dict[str, str]) -> None:
    reply = client.post({**RANGE, "feature_views": ["hourly", "daily"]}, f"/materialize{query}", headers)
    assert reply.status == 202
    location = reply.headers["location"]
    assert reply.json["status"] == "accepted"
    assert sorted(reply.json["feature_views"]) == ["daily", "hourly"]
    assert gate.reached.wait(30)
    run = client.get(location).json
    assert (run["state"], {view["state"] for view in run["views"].values()}) == ("running", {"waiting"})
    # It answers for features meanwhile.
    assert trips(client, "hourly") == [None] * 4
    gate.open.set()
    run = ended(client, location)
    assert (run["state"], run["rows"], run["error"]) == ("done", 8, None)
    assert {view["state"] for view in run["views"].values()} == {"done"}
    assert trips(client, "hourly") == trips(client, "daily") == TRIPS
    assert client.get("/materializations/0123456789abcdef").code == "NO_SUCH_MATERIALIZATION"


def test_the_error_of_a_view_is_told(client: Client) -> None:
    """Its source is gone."""
    waited = client.post({**RANGE, "feature_views": ["broken"]}, "/materialize")
    assert (waited.status, waited.code) == (503, "OFFLINE_STORE_UNAVAILABLE"), waited.body
    assert "gone" in waited.json["detail"]["message"]
    begun = client.post({**RANGE, "feature_views": ["broken"]}, "/materialize?async=true")
    run = ended(client, begun.headers["location"])
    assert run["state"] == "failed"
    assert run["error"]["error"] == waited.code
    assert "gone" in run["error"]["message"]
    assert run["views"]["broken"]["state"] == "failed"
    # Not held by the one that failed.
    assert client.post({**RANGE, "feature_views": ["hourly"]}, "/materialize").status == 200


def test_whoever_hangs_up_does_not_stop_it(client: Client, gate: Gate) -> None:
    body = json.dumps({**RANGE, "feature_views": ["hourly"]}).encode()
    with socket.create_connection(("127.0.0.1", client.port)) as waiting:
        head = f"POST /materialize HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        waiting.sendall(head.encode() + body)
        assert gate.reached.wait(30)
    (run,) = client.get("/materializations").json
    gate.open.set()
    assert ended(client, f"/materializations/{run['id']}")["state"] == "done"
    assert trips(client, "hourly") == TRIPS


def test_a_stuck_state_of_the_registry_is_taken_back_by_force(client: Client, tmp_path: Path) -> None:
    """As after a kill: the registry says MATERIALIZING, and nobody is at it."""
    from feast.feature_view import FeatureViewState

    store = FeatureStore(config=_config(tmp_path))
    view = store.get_feature_view("hourly")
    view.state = FeatureViewState.MATERIALIZING
    store.registry.apply_feature_view(view, store.project)
    body = {**RANGE, "feature_views": ["hourly"]}
    wait_until(lambda: _is_busy(client.post(body, "/materialize?async=true")), 30, "a registry that is read anew")
    begun = client.post(body, "/materialize?async=true&force=true")
    assert begun.status == 202, begun.body
    assert ended(client, begun.headers["location"])["state"] == "done"
    assert trips(client, "hourly") == TRIPS


def _is_busy(reply: Reply) -> bool:
    assert reply.status in (202, 409)
    return reply.status == 409


def _config(folder: Path) -> Any:
    from tests.feast.repo import feature_store

    return feature_store(folder, online=None).config
