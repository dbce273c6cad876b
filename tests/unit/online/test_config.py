"""The `online_store` block: every key of Feast's Redis store, and complaints that say what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from feast import RepoConfig
from feast.infra.online_stores.redis import RedisOnlineStoreConfig
from feast.repo_config import get_online_config_from_type

from yummy_feast.errors import ConfigError
from yummy_feast.online.config import YummyOnlineStoreConfig
from yummy_feast.online.store import YummyOnlineStore


def test_defaults_need_nothing_installed_or_running(tmp_path: Path) -> None:
    config = YummyOnlineStoreConfig()
    assert config.redis_settings(tmp_path).repo_path == tmp_path
    assert (config.layout, config.on_stale, config.key_ttl_seconds, config.skip_dedup) == ("rows", "serve", None, False)


def test_every_key_of_feasts_redis_store_is_taken() -> None:
    values = RedisOnlineStoreConfig(connection_string="redis:6379,db=0", key_ttl_seconds=5).model_dump()
    values["type"] = "yummy_feast.YummyOnlineStore"
    config = YummyOnlineStoreConfig(**values)
    assert config.redis_settings(None).nodes[0].host == "redis"
    assert config.key_ttl_seconds == 5


def test_feast_finds_config_and_store_by_the_class_path() -> None:
    from feast.infra.online_stores.helpers import get_online_store_from_config

    found = get_online_config_from_type("yummy_feast.YummyOnlineStore")
    assert found is YummyOnlineStoreConfig
    assert isinstance(get_online_store_from_config(found()), YummyOnlineStore)


def test_variables_and_durations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", "cache:7000")
    config = YummyOnlineStoreConfig(
        connection_string="${WHERE},db=${DB:-3}",
        on_stale="${STALE:-hide}",
        connect_timeout="500ms",
        key_ttl_seconds="60",
    )
    settings = config.redis_settings(None)
    assert (settings.nodes[0].port, settings.db, settings.connect_timeout) == (7000, 3, 0.5)
    assert (config.on_stale, config.key_ttl_seconds) == ("hide", 60)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"conection_string": "x:1"}, "has no setting 'conection_string' .did you mean 'connection_string'"),
        ({"layout": "row"}, "layout: unknown value 'row' .did you mean 'rows'"),
        ({"on_stale": "hid"}, "on_stale: unknown value 'hid' .did you mean 'hide'"),
        ({"client": "glide"}, "client: glide is not used"),
        ({"client": "hiredis"}, "client: unknown value 'hiredis'"),
        ({"redis_type": "cluster"}, "redis_type"),
        ({"connection_string": "nowhere"}, "connection_string"),
        ({"connect_timeout": "2 parsecs"}, "connect_timeout"),
        ({"retries": -1}, "retries"),
        ({"key_ttl_seconds": -1}, "key_ttl_seconds: -1: .*greater"),
        ({"retention": "soon"}, "retention: 'soon' is not a duration"),
        ({"retention": "7d", "key_ttl_seconds": 60}, "retention and key_ttl_seconds are both set .leave one of them"),
        ({"skip_dedup": "perhaps"}, "skip_dedup: 'perhaps'"),
        ({"connection_string": "${NOT_SET_ANYWHERE}"}, ".*NOT_SET_ANYWHERE"),
    ],
)
def test_what_is_wrong_is_named(values: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=f"online_store.?{why}") as caught:
        YummyOnlineStoreConfig(**values)
    assert "\n" not in str(caught.value)


def test_a_repository_with_a_wrong_key_does_not_start(tmp_path: Path) -> None:
    block = {"type": "yummy_feast.YummyOnlineStore", "conection_string": "x:1"}
    with pytest.raises(ConfigError, match=r"^feature_store.yaml: online_store.*did you mean 'connection_string'"):
        RepoConfig(project="prod", provider="local", registry=str(tmp_path / "r.db"), online_store=block)
