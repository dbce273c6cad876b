"""`/push` and `/write-to-online-store` over HTTP, on a real repository: what is written, and what is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from feast import FeatureStore

from tests.feast.served.servers import Client, Reply
from tests.feast.served_app import served
from tests.feast.writing import NOW, df, in_sqlite, repository
from tests.online_server import client_of, server
from tests.places import Node, node

__all__ = ["server"]

FEATURES = ["trips", "conv", "label"]
WRITTEN = {"trips": [70, 2**60 + 1], "conv": [0.7, None], "label": ["x", "y"]}


@pytest.fixture(scope="module")
def served_store(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FeatureStore, Client]]:
    with client_of(server) as redis:
        redis.flushdb()
    store = repository(tmp_path_factory.mktemp("writes"), server)
    with served(store) as url, client_at(url) as client:
        yield store, client


@pytest.fixture
def store(served_store: tuple[FeatureStore, Client]) -> FeatureStore:
    return served_store[0]


@pytest.fixture
def client(served_store: tuple[FeatureStore, Client]) -> Iterator[Client]:
    store, client = served_store
    yield client
    # The next test finds none of these rows.
    with client_of(store.config.online_store.connection_string) as redis:
        redis.flushdb()


def client_at(url: str) -> Client:
    return Client(int(url.rpartition(":")[2]), hangs_up=True)


def read(client: Client, view: str, drivers: list[int]) -> dict[str, Any]:
    features = [f"{view}:{name}" for name in FEATURES]
    reply = client.post({"features": features, "entities": {"driver_id": drivers}})
    assert reply.status == 200, reply.body
    return {name: reply.columns[name]["values"] for name in FEATURES}


def statuses(client: Client, view: str, drivers: list[int]) -> list[str]:
    reply = client.post({"features": [f"{view}:trips"], "entities": {"driver_id": drivers}})
    found: list[str] = reply.columns["trips"]["statuses"]
    return found


def push(client: Client, rows: dict[str, Any], **more: Any) -> Reply:
    return client.post({"push_source_name": "events", "df": rows, **more}, "/push")


def stored(store: FeatureStore) -> pd.DataFrame:
    return pq.read_table(Path(str(store.config.repo_path)) / "trips").to_pandas()


def test_a_push_reaches_every_view_of_its_source(store: FeatureStore, client: Client) -> None:
    before = len(stored(store))
    reply = push(client, df())
    assert (reply.status, reply.body) == (200, b"")
    assert read(client, "hourly", [7, 8]) == read(client, "daily", [7, 8]) == WRITTEN
    assert statuses(client, "broken", [7]) == ["NOT_FOUND"]
    assert len(stored(store)) == before


@pytest.mark.parametrize(("to", "online"), [("offline", "NOT_FOUND"), ("online_and_offline", "PRESENT")])
def test_a_push_is_appended_once_to_the_source(store: FeatureStore, client: Client, to: str, online: str) -> None:
    """Two views of one source: the rows are the same rows."""
    before = stored(store)
    reply = push(client, df(conv=[0.5, 0.25]), to=to)
    assert reply.status == 200, reply.body
    after = stored(store)
    assert len(after) == len(before) + 2
    assert set(after[after["driver_id"] == 8]["trips"]) == {2**60 + 1}
    assert statuses(client, "hourly", [7]) == [online]


def test_an_offline_push_needs_exactly_the_columns_of_the_source(store: FeatureStore, client: Client) -> None:
    before = len(stored(store))
    reply = push(client, df(more=[1, 2]), to="online_and_offline")
    assert (reply.status, reply.code) == (422, "COLUMNS_DIFFER")
    assert "'more'" in reply.json["detail"]["message"]
    assert len(stored(store)) == before
    assert statuses(client, "hourly", [7]) == ["NOT_FOUND"]


def test_rows_of_one_view(client: Client) -> None:
    reply = client.post({"feature_view_name": "hourly", "df": df()}, "/write-to-online-store")
    assert (reply.status, reply.json) == (200, None)
    assert read(client, "hourly", [7, 8]) == WRITTEN
    assert statuses(client, "daily", [7]) == ["NOT_FOUND"]


def test_rows_as_pandas_writes_them(client: Client) -> None:
    """``DataFrame.to_dict()``, of which Feast's server makes a frame, too."""
    labelled = {name: {str(row): value for row, value in enumerate(values)} for name, values in df().items()}
    assert push(client, labelled).status == 200
    assert read(client, "hourly", [7, 8]) == WRITTEN


def test_the_newest_row_stays(client: Client) -> None:
    assert push(client, df()).status == 200
    old = df(event_timestamp=["2020-01-01T00:00:00Z"] * 2, trips=[1, 2])
    assert push(client, old).status == 200
    assert read(client, "hourly", [7, 8]) == WRITTEN
    # Of one body, too.
    twice = df(driver_id=[9, 9], event_timestamp=[NOW.isoformat(), "2026-01-01T00:00:00Z"], trips=[1, 2])
    assert push(client, twice).status == 200
    assert read(client, "hourly", [9])["trips"] == [1]


BAD = {
    "ragged": (df(trips=[1]), "RAGGED_COLUMNS"),
    "no rows": ({name: [] for name in df()}, "NO_ROWS"),
    "no join key": (df(driver_id=None), "MISSING_JOIN_KEY"),
    "a null join key": (df(driver_id=[7, None]), "INVALID_VALUES"),
    "no timestamp": (df(event_timestamp=None), "MISSING_TIMESTAMP"),
    "a null timestamp": (df(event_timestamp=[NOW.isoformat(), None]), "INVALID_VALUES"),
    "no point in time": (df(event_timestamp=["yesterday", NOW.isoformat()]), "INVALID_VALUES"),
    "no feature": (df(trips=None), "MISSING_COLUMN"),
    "a text for an integer": (df(trips=[1, "many"]), "INVALID_VALUES"),
    "a fraction for an integer": (df(trips=[1, 1.5]), "INVALID_VALUES"),
    "too large": (df(trips=[1, 2**63]), "INVALID_VALUES"),
    "a list for a number": (df(conv=[0.5, [0.5]]), "INVALID_VALUES"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rows_are_refused_and_nothing_is_written(client: Client, case: str) -> None:
    rows, code = BAD[case]
    bodies: dict[str, dict[str, Any]] = {
        "/push": {"push_source_name": "events", "df": rows},
        "/write-to-online-store": {"feature_view_name": "hourly", "df": rows},
    }
    for path, body in bodies.items():
        reply = client.post(body, path)
        assert (reply.status, reply.code) == (422, code), reply.body
        assert reply.json["detail"]["hint"]
    for view in ("hourly", "daily"):
        assert statuses(client, view, [7, 8]) == ["NOT_FOUND"] * 2


@pytest.mark.parametrize("path", ["/push", "/write-to-online-store"])
def test_bad_bodies(client: Client, path: str) -> None:
    name = "push_source_name" if path == "/push" else "feature_view_name"
    whole = {name: "events" if path == "/push" else "hourly", "df": df()}
    for body, code in (
        (b"{", "MALFORMED_JSON"),
        (b"[]", "INVALID_BODY"),
        (b"\xff", "MALFORMED_JSON"),
        ({"df": df()}, "INVALID_BODY"),
        ({**whole, "df": [1]}, "INVALID_BODY"),
        ({**whole, "dff": 1}, "INVALID_BODY"),
    ):
        reply = client.post(body, path)
        assert (reply.status, reply.code) == (422, code), reply.body
    assert client.get(path).code == "METHOD_NOT_ALLOWED"
    assert client.post({**whole, name: "hourli"}, path).status == 404


def test_unknown_names_are_404_and_the_nearest_is_told(client: Client) -> None:
    reply = client.post({"push_source_name": "event", "df": df()}, "/push")
    assert (reply.status, reply.code) == (404, "PUSH_SOURCE_NOT_FOUND")
    assert "'events'" in reply.json["detail"]["hint"]
    reply = client.post({"feature_view_name": "hourli", "df": df()}, "/write-to-online-store")
    assert (reply.status, reply.code) == (404, "FEATURE_VIEW_NOT_FOUND")
    assert "'hourly'" in reply.json["detail"]["hint"]
    assert client.post({"push_source_name": "events", "df": df(), "to": "nowhere"}, "/push").status == 422


@pytest.mark.parametrize(
    ("path", "method"),
    [("/retrieve-online-documents", "POST"), ("/search", "POST"), ("/v1/vector_stores", "GET"), ("/chat", "POST")],
)
def test_what_is_not_served_says_so(client: Client, path: str, method: str) -> None:
    reply = client.post({}, path) if method == "POST" else client.get(path)
    assert (reply.status, reply.code) == (501, "NOT_IMPLEMENTED")
    assert reply.json["detail"]["hint"]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Node]:
    (tmp_path / "redis").mkdir()
    with node(tmp_path / "redis") as running:
        yield running


def test_a_redis_that_is_away_is_503_and_nothing_is_appended(redis: Node, tmp_path: Path) -> None:
    """Online first: where that fails, the offline store does not have what the online store lacks."""
    store = repository(tmp_path, redis.address, connect_timeout="0.3s", read_timeout="0.3s", retries=0)
    before = len(stored(store))
    with served(store) as url, client_at(url) as client:
        redis.kill()
        reply = push(client, df(), to="online_and_offline")
        assert (reply.status, reply.code) == (503, "ONLINE_STORE_UNAVAILABLE")
        assert "again" in reply.json["detail"]["hint"]
        assert len(stored(store)) == before
        redis.restart()
        assert push(client, df()).status == 200
        assert read(client, "hourly", [7, 8]) == WRITTEN


def test_any_other_store_through_feast(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = in_sqlite(tmp_path)
    with served(store) as url, client_at(url) as client:
        assert "rows are read by Feast's SDK" in caplog.text
        assert client.get("/health").json == {"status": "ok", "served_by": "feast sdk"}
        assert push(client, df()).status == 200
        assert read(client, "hourly", [7, 8]) == WRITTEN
        body = {"start_ts": "2020-01-01", "end_ts": "2100-01-01", "feature_views": ["daily"]}
        assert client.post(body, "/materialize").status == 200
        assert read(client, "daily", [1])["trips"] == [10]
        # Refused as for our own rows.
        assert push(client, df(trips=[1, "many"])).code == "INVALID_VALUES"
        assert client.post({"features": ["hourly:trip"], "entities": {"driver_id": [1]}}).code == "FEATURE_NOT_FOUND"
        assert client.post({"features": ["hourly:trips"], "entities": {"x": [1]}}).code == "MISSING_JOIN_KEY"
