"""Feast's own Redis store as one of ours: every key of its configuration, and only that store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from feast import RepoConfig
from feast.infra.online_stores.redis import RedisOnlineStoreConfig

from yummy_feast.errors import ConfigError
from yummy_feast.online.config import YummyOnlineStoreConfig
from yummy_feast.online.stock import as_ours, from_stock


def config(tmp_path: Path, online: dict[str, Any]) -> RepoConfig:
    return RepoConfig(
        project="p", registry=str(tmp_path / "r.db"), online_store=online, entity_key_serialization_version=3
    )


def test_every_key_of_feast_s_store_arrives() -> None:
    stock = RedisOnlineStoreConfig(
        redis_type="redis_sentinel",
        sentinel_master="boss",
        connection_string="a:1,b:2,db=3,password=secret",
        key_ttl_seconds=60,
        full_scan_for_deletion=False,
        skip_dedup=True,
    )
    ours = from_stock(stock)
    assert (ours.layout, ours.on_stale) == ("feast", "serve")
    settings = ours.redis_settings(None)
    assert (settings.redis_type, settings.sentinel_master, settings.db) == ("redis_sentinel", "boss", 3)
    assert (settings.password, [str(node) for node in settings.nodes]) == ("secret", ["a:1", "b:2"])
    assert (ours.key_ttl_seconds, ours.full_scan_for_deletion, ours.skip_dedup) == (60, False, True)
    # A key that Feast adds must be decided upon.
    known = set(YummyOnlineStoreConfig.model_fields)
    assert set(RedisOnlineStoreConfig.model_fields) <= known


def test_the_defaults_are_feast_s() -> None:
    settings = from_stock(RedisOnlineStoreConfig()).redis_settings(None)
    assert [str(node) for node in settings.nodes] == ["localhost:6379"]


def test_another_library_reads_the_same_rows() -> None:
    assert from_stock(RedisOnlineStoreConfig(client="glide")).client == "redis"


def test_what_looks_like_a_variable_is_the_text_that_feast_saw() -> None:
    stock = RedisOnlineStoreConfig(connection_string="localhost:1,password=a${HOME}")
    assert from_stock(stock).redis_settings(None).password == "a${HOME}"


def test_the_repository_keeps_its_own_configuration(tmp_path: Path) -> None:
    stock = config(tmp_path, {"type": "redis", "connection_string": "localhost:1"})
    ours = as_ours(stock)
    assert isinstance(ours.online_store, YummyOnlineStoreConfig)
    assert isinstance(stock.online_store, RedisOnlineStoreConfig)
    assert (ours.project, ours.registry.path) == (stock.project, stock.registry.path)
    assert as_ours(ours) is ours


def test_another_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"online_store.type is 'sqlite': only rows in Redis can be served"):
        as_ours(config(tmp_path, {"type": "sqlite", "path": str(tmp_path / "o.db")}))
