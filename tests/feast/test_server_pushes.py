"""`/push` and `/write-to-online-store` of a server with a real repository: what comes to lie where, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from feast import FeatureStore

from tests.feast.write_world import NOW, Ask, at_address, df, nobody, read, serve
from tests.online_server import address, server

__all__ = ["address", "nobody", "server"]


@pytest.fixture
def store(tmp_path: Path, address: str) -> FeatureStore:
    return at_address(tmp_path, address)


def stored(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / "rows.parquet").to_pylist()[3:]


def test_a_push_reaches_every_view_of_its_source(store: FeatureStore, tmp_path: Path) -> None:
    async def play(ask: Ask) -> None:
        pushed = await ask("/push", {"push_source_name": "pushed", "df": df()})
        assert (pushed.status, pushed.body) == (200, b"")
        assert await read(ask, "stats:trips", "stats:rate") == {"trips": [70], "rate": [0.25]}
        assert await read(ask, "again:trips") == {"trips": [70]}
        assert stored(tmp_path) == []

    serve(store, play)


@pytest.mark.parametrize("to", ["offline", "online_and_offline"])
def test_to_the_offline_store_once_however_many_views(store: FeatureStore, tmp_path: Path, to: str) -> None:
    async def play(ask: Ask) -> None:
        assert (await ask("/push", {"push_source_name": "pushed", "df": df(rate=[None]), "to": to})).status == 200
        assert await read(ask, "stats:trips") == {"trips": [70 if to == "online_and_offline" else None]}

    serve(store, play)
    [row] = stored(tmp_path)
    assert row == {"driver_id": 7, "known_at": NOW, "written_at": NOW, "trips": 70, "rate": None}


def test_newest_wins_and_null_is_written(store: FeatureStore) -> None:
    async def play(ask: Ask) -> None:
        for trips, moment in ((2**60 + 1, NOW.isoformat()), (1, "2020-01-01")):
            body = {"feature_view_name": "stats", "df": df(known_at=[moment], trips=[trips], rate=[None])}
            written = await ask("/write-to-online-store", body)
            assert (written.status, written.body) == (200, b"null")
        # Feast leaves a row out whose features are all null: then the old values stay as if they were true.
        assert await read(ask, "stats:trips", "stats:rate") == {"trips": [2**60 + 1], "rate": [None]}
        body = {"feature_view_name": "again", "df": df(trips=[None])}
        assert (await ask("/write-to-online-store", body)).status == 200
        answered = await ask("/get-online-features", {"features": ["again:trips"], "entities": {"driver_id": [7]}})
        assert answered.statuses["trips"] == ["NULL_VALUE"]

    serve(store, play)


def test_other_types_and_views_without_entities(store: FeatureStore) -> None:
    async def play(ask: Ask) -> None:
        rich = df(tags=[["a", "b"]], facts=[{"one": 1, "two": {"three": "x"}}], trips=None, rate=None)
        assert (await ask("/write-to-online-store", {"feature_view_name": "rich", "df": rich})).status == 200
        assert await read(ask, "rich:tags", "rich:facts") == {"tags": rich["tags"], "facts": rich["facts"]}
        world = {"known_at": [NOW.isoformat()], "total": [9]}
        assert (await ask("/write-to-online-store", {"feature_view_name": "world", "df": world})).status == 200
        answered = await ask("/get-online-features", {"features": ["world:total"], "entities": {}})
        assert answered.values == {"total": [9]}

    serve(store, play)


def test_on_demand_views_that_are_written(store: FeatureStore) -> None:
    async def play(ask: Ask) -> None:
        body = {"feature_view_name": "computed", "df": {"driver_id": [7], "base": [21]}}
        written = await ask("/write-to-online-store", body)
        assert written.status == 200, written.json
        assert await read(ask, "computed:doubled") == {"doubled": [42]}
        failed = await ask("/write-to-online-store", body | {"df": {"driver_id": [7], "bas": [21]}})
        assert failed.error == (422, "ON_DEMAND_FAILED")
        plain = body | {"df": {"driver_id": [7], "doubled": [1]}, "transform_on_write": False}
        assert (await ask("/write-to-online-store", plain)).status == 200
        assert await read(ask, "computed:doubled") == {"doubled": [1]}
        keyless = await ask("/write-to-online-store", body | {"df": {"base": [21]}})
        assert keyless.error == (422, "MISSING_JOIN_KEY")

    serve(store, play)


REFUSED: list[tuple[dict[str, Any], tuple[int, str]]] = [
    ({"push_source_name": "pushd"}, (404, "PUSH_SOURCE_NOT_FOUND")),
    ({"to": "sideways"}, (422, "INVALID_BODY")),
    ({"too": "online"}, (422, "INVALID_BODY")),
    ({"df": {}}, (422, "NO_ROWS")),
    ({"df": df(trips=[1, 2])}, (422, "RAGGED_COLUMNS")),
    ({"df": df(driver_id=None)}, (422, "MISSING_JOIN_KEY")),
    ({"df": df(driver_id=[None])}, (422, "INVALID_VALUES")),
    ({"df": df(trips=None)}, (422, "MISSING_COLUMN")),
    ({"df": df(trips=["many"])}, (422, "INVALID_VALUES")),
    ({"df": df(trips=[1.5])}, (422, "INVALID_VALUES")),
    ({"df": df(known_at=None)}, (422, "MISSING_TIMESTAMP")),
    ({"df": df(known_at=["soon"])}, (422, "INVALID_VALUES")),
    ({"df": df(known_at=[5])}, (422, "INVALID_VALUES")),
    ({"df": df(extra=[1]), "to": "online_and_offline"}, (422, "COLUMNS_DIFFER")),
    ({"df": df(rate=None), "to": "offline"}, (422, "COLUMNS_DIFFER")),
]


def test_what_does_not_fit_is_refused_before_anything_is_written(store: FeatureStore, tmp_path: Path) -> None:
    async def play(ask: Ask) -> None:
        for changes, expected in REFUSED:
            refused = await ask("/push", {"push_source_name": "pushed", "df": df()} | changes)
            assert refused.error == expected, (changes, refused.json)
            assert refused.json["detail"]["hint"], changes
        unknown = await ask("/write-to-online-store", {"feature_view_name": "stat", "df": df()})
        assert unknown.error == (404, "FEATURE_VIEW_NOT_FOUND")
        assert "did you mean 'stats'" in unknown.json["detail"]["hint"]
        assert (await ask("/push", b"{")).error == (422, "MALFORMED_JSON")
        for view in ("stats", "again"):
            assert await read(ask, f"{view}:trips") == {"trips": [None]}

    serve(store, play)
    assert stored(tmp_path) == []


def test_the_registry_may_be_asked_anew(store: FeatureStore) -> None:
    """``allow_registry_cache: false`` finds what was applied a moment ago."""
    from feast.types import Int64

    from tests.feast.write_world import view

    async def play(ask: Ask) -> None:
        store.apply([view("late", store.get_data_source("other_rows"), {"trips": Int64})])
        body = {"feature_view_name": "late", "df": df(rate=None)}
        assert (await ask("/write-to-online-store", body)).error == (404, "FEATURE_VIEW_NOT_FOUND")
        assert (await ask("/write-to-online-store", body | {"allow_registry_cache": False})).status == 200

    serve(store, play)


def test_redis_away_is_said_and_nothing_is_lost_in_silence(tmp_path: Path, nobody: int) -> None:
    port = nobody
    store = at_address(tmp_path, f"localhost:{port}")

    async def play(ask: Ask) -> None:
        body = {"push_source_name": "pushed", "df": df(), "to": "online_and_offline"}
        refused = await ask("/push", body)
        assert refused.error == (503, "ONLINE_STORE_UNAVAILABLE"), refused.json
        assert f"localhost:{port}" in refused.json["detail"]["message"]
        assert "sending all of them again is safe" in refused.json["detail"]["hint"]
        assert refused.headers["retry-after"]

    serve(store, play)
    assert stored(tmp_path) == []


def test_half_of_it_written_is_said(store: FeatureStore, tmp_path: Path) -> None:
    async def play(ask: Ask) -> None:
        # The source takes no such value, which only appending finds out.
        body = {"push_source_name": "pushed", "df": df(written_at=[None]), "to": "online_and_offline"}
        from yummy_feast.offline.store import YummyOfflineStore

        patch.setattr(YummyOfflineStore, "offline_write_batch", staticmethod(broken))
        refused = await ask("/push", body)
        assert refused.error == (503, "OFFLINE_STORE_UNAVAILABLE"), refused.json
        said = refused.json["detail"]["message"]
        assert "disk full" in said
        assert "before it: feature view 'again' online, feature view 'stats' online" in said
        assert await read(ask, "stats:trips") == {"trips": [70]}

    def broken(*_: Any) -> None:
        raise OSError("disk full")

    with pytest.MonkeyPatch.context() as patch:
        serve(store, play)


def test_offline_rows_are_gathered_where_that_is_asked_for(tmp_path: Path, address: str) -> None:
    batching = {
        "type": "local",
        "offline_push_batching_enabled": True,
        "offline_push_batching_batch_size": 2,
        "offline_push_batching_batch_interval_seconds": 3600,
    }
    store = at_address(tmp_path, address, top={"feature_server": batching})

    async def play(ask: Ask) -> None:
        for number, kept in ((1, 0), (2, 2), (3, 2)):
            body = {"push_source_name": "pushed", "df": df(driver_id=[number]), "to": "offline"}
            assert (await ask("/push", body)).status == 202
            assert len(stored(tmp_path)) == kept
        bad = await ask("/push", {"push_source_name": "pushed", "df": df(known_at=["x"]), "to": "offline"})
        assert bad.error == (422, "INVALID_VALUES")

    serve(store, play)
    # What was left is appended at the end.
    assert [row["driver_id"] for row in stored(tmp_path)] == [1, 2, 3]
