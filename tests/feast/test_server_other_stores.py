"""Online stores that only Feast can read, here its SQLite: same requests, refusals and writes, through Feast's SDK."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from feast import FeatureStore
from feast.infra.online_stores.sqlite import SqliteOnlineStore

from tests.feast.write_world import HOUR, NOW, Ask, df, read, repository, serve
from yummy_feast.serving.features.fallback import needs_sdk


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return repository(tmp_path, {"type": "sqlite", "path": str(tmp_path / "online.db")})


def test_it_says_so(store: FeatureStore, caplog: pytest.LogCaptureFixture) -> None:
    assert needs_sdk(store.config)

    async def play(ask: Ask) -> None:
        assert (await ask("/health")).json == {"status": "ok", "served_by": "feast sdk"}

    with caplog.at_level(logging.WARNING, "yummy_feast"):
        serve(store, play)
    [record] = [one for one in caplog.records if one.name.startswith("yummy_feast")]
    assert "online_store.type is sqlite" in record.getMessage()


def test_written_materialized_and_read(store: FeatureStore) -> None:
    async def play(ask: Ask) -> None:
        assert (await ask("/push", {"push_source_name": "pushed", "df": df()})).status == 200
        assert await read(ask, "stats:trips", "stats:rate") == {"trips": [70], "rate": [0.25]}
        moments = {"start_ts": (NOW - HOUR).isoformat(), "end_ts": (NOW + HOUR).isoformat()}
        done = await ask("/materialize", moments | {"feature_views": ["filed"]})
        assert done.status == 200, done.json
        assert await read(ask, "filed:trips", drivers=(2, 0, 7)) == {"trips": [20, 0, None]}
        [run] = (await ask("/materializations")).json
        # Feast's engine does not tell how far it is.
        assert (run["state"], run["views"]["filed"]["state"], run["rows"]) == ("done", "done", None)
        full = {"features": ["stats:trips"], "entities": {"driver_id": [7]}, "full_feature_names": True}
        assert list((await ask("/get-online-features", full)).values) == ["driver_id", "stats__trips"]
        body = {"feature_view_name": "computed", "df": {"driver_id": [7], "base": [21]}}
        assert (await ask("/write-to-online-store", body)).status == 200
        assert await read(ask, "computed:doubled") == {"doubled": [42]}

    serve(store, play)


REFUSED: list[tuple[dict[str, Any], tuple[int, str]]] = [
    ({"features": ["stat:trips"]}, (404, "FEATURE_VIEW_NOT_FOUND")),
    ({"features": ["stats:trip"]}, (404, "FEATURE_NOT_FOUND")),
    ({"features": []}, (422, "INVALID_FEATURES")),
    ({"feature_service": "none", "features": []}, (404, "FEATURE_SERVICE_NOT_FOUND")),
    ({"entities": {}}, (422, "MISSING_JOIN_KEY")),
    ({"entities": {"driver_id": []}}, (422, "INVALID_ENTITIES")),
    ({"entities": {"driver_id": ["x"]}}, (422, "INVALID_ENTITIES")),
    ({"entities": {"driver_id": [1], "other": [1]}}, (422, "INVALID_ENTITIES")),
    ({"entity": {}}, (422, "INVALID_BODY")),
]


def test_refused_as_by_our_own_store(store: FeatureStore) -> None:
    async def play(ask: Ask) -> None:
        for changes, expected in REFUSED:
            body = {"features": ["stats:trips"], "entities": {"driver_id": [7]}} | changes
            refused = await ask("/get-online-features", body)
            assert refused.error == expected, (changes, refused.json)

    serve(store, play)


def test_a_store_that_fails_is_503(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError("disk on fire")

    async def play(ask: Ask) -> None:
        await read(ask, "stats:trips")
        monkeypatch.setattr(SqliteOnlineStore, "online_read", broken)
        monkeypatch.setattr(SqliteOnlineStore, "online_write_batch", broken)
        asked = {"features": ["stats:trips"], "entities": {"driver_id": [7]}}
        for path, body in (
            ("/get-online-features", asked),
            ("/write-to-online-store", {"feature_view_name": "stats", "df": df()}),
        ):
            refused = await ask(path, body)
            assert refused.error == (503, "ONLINE_STORE_UNAVAILABLE")
            assert "disk on fire" in refused.json["detail"]["message"]

    serve(store, play)


def test_a_slow_store_holds_nobody_else_up(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    let_go = threading.Event()
    original = SqliteOnlineStore.online_read

    def slow(*arguments: Any, **options: Any) -> Any:
        assert let_go.wait(30)
        return original(*arguments, **options)

    async def play(ask: Ask) -> None:
        monkeypatch.setattr(SqliteOnlineStore, "online_read", slow)
        waiting = asyncio.create_task(read(ask, "stats:trips"))
        for _ in range(5):
            assert (await ask("/health")).status == 200
        assert not waiting.done()
        let_go.set()
        assert await waiting == {"trips": [None]}

    serve(store, play)
