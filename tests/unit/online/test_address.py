"""The connection keys of the `online_store` block as settings."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from yummy_feast.errors import ConfigError
from yummy_feast.online.address import RedisSettings
from yummy_feast.online.connection_string import Node

parse = RedisSettings.parse


def test_embedded_is_the_server_of_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    settings = parse("embedded", repo_path=tmp_path / "link")
    assert settings.is_embedded
    assert settings == parse(" embedded ", repo_path=tmp_path)
    assert settings.address == f"the embedded server of {tmp_path}"
    monkeypatch.chdir(tmp_path)
    assert parse("embedded") == settings


def test_keys_beside_the_string_are_read_and_the_string_is_stronger() -> None:
    settings = parse("a:1,socket_timeout=1", connect_timeout="500ms", read_timeout=9, retries="4", sentinel_master="m")
    assert (settings.connect_timeout, settings.read_timeout, settings.retries) == (0.5, 1.0, 4)
    assert settings.nodes == (Node("a", 1),)
    assert settings.sentinel_master == "m"
    assert not settings.is_embedded


def test_the_defaults_are_bounded_waits() -> None:
    settings = parse("a:1")
    assert (settings.connect_timeout, settings.read_timeout, settings.retries) == (2.0, 5.0, 2)


def test_variables_are_filled_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "s:e,c")
    monkeypatch.delenv("REDIS_HOST", raising=False)
    settings = parse("redis://${REDIS_HOST:-localhost}:6379")
    assert settings.nodes == (Node("localhost", 6379),)
    with pytest.raises(ConfigError, match="connection_string: the environment variable REDIS_HOST is not set"):
        parse("redis://${REDIS_HOST}:6379")


@pytest.mark.parametrize(
    ("redis_type", "address"),
    [
        ("redis_cluster", "redis cluster at a:1, [::2]:2"),
        ("redis_sentinel", "redis master 'mymaster' of the sentinels at a:1, [::2]:2"),
    ],
)
def test_several_nodes_are_a_cluster_or_sentinels(redis_type: str, address: str) -> None:
    assert parse("a:1,[::2]:2", redis_type=redis_type).address == address


def test_addresses_of_a_single_redis() -> None:
    assert parse("a:1,password=x").address == "redis at a:1"
    assert parse("unix:///run/x.sock").address == "redis at /run/x.sock"


def test_settings_can_be_a_key_and_sent_to_another_process() -> None:
    text = "rediss://me:pw@a:1/0?ssl_ca_certs=/ca.pem&max_connections=3"
    settings = parse(text)
    assert {settings: 1}[parse(text)] == 1
    assert settings != parse(text.replace("pw", "other"))
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_secrets_are_not_in_the_repr() -> None:
    settings = parse(
        "a:1,password=pass-1,ssl=true,ssl_password=pass-2,sentinel_password=pass-3", redis_type="redis_sentinel"
    )
    assert settings.password == "pass-1"
    assert "pass-" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "keys", "message"),
    [
        ("a:1", {"redis_type": "cluster"}, r"redis_type: unknown type 'cluster' \(did you mean 'redis_cluster'\?"),
        ("a:1", {"connect_timeout": "soon"}, r"online_store\.connect_timeout: 'soon' is not a duration"),
        ("a:1", {"read_timeout": 0}, r"online_store\.read_timeout: 0 leaves no time at all"),
        ("a:1", {"retries": -1}, r"online_store\.retries: -1 is not a whole number from 0 to 100"),
        ("a:1", {"retries": True}, r"online_store\.retries: True is not a whole number"),
        ("a:1", {"retries": 1.5}, r"online_store\.retries: 1\.5 is not a whole number"),
        ("a:1,b:2", {}, r"connection_string: 2 nodes for online_store\.redis_type: redis \(leave one, or set"),
        ("embedded", {"redis_type": "redis_cluster"}, "redis_cluster cannot be reached through 'embedded'"),
        ("unix:///x", {"redis_type": "redis_sentinel"}, "redis_sentinel cannot be reached through a unix socket"),
        ("a:1,db=1", {"redis_type": "redis_cluster"}, r"db=1 in a cluster \(a cluster has database 0 alone\)"),
        ("rediss://a:1?ssl_ciphers=x", {"redis_type": "redis_cluster"}, "ssl_ciphers cannot be set for a cluster"),
        ("a:1,ssl_ca_certs=/x", {}, r"ssl_ca_certs without ssl \(add ssl=true, or write rediss://\)"),
        ("a:1,sentinel_password=x", {}, "options of sentinels need"),
        ("a:1,require_full_coverage=no", {}, "the coverage of slots concerns"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(text: str, keys: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(text, **keys)  # type: ignore[arg-type]
