"""Keys of the `feature_server` block: honoured, or refused when the server starts."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from feast import RepoConfig
from feast.infra.feature_servers.local_process.config import LocalFeatureServerConfig

from yummy_feast.errors import ConfigError
from yummy_feast.serving.features.blocks import refuse_what_is_not_served
from yummy_feast.serving.features.offline_batches import offline_batches


def config(tmp_path: Path, **server: Any) -> RepoConfig:
    block = {"feature_server": {"type": "local", **server}} if server else {}
    return RepoConfig(project="p", registry=str(tmp_path / "r.db"), entity_key_serialization_version=3, **block)


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ({"type": "mcp"}, "feature_server.type is 'mcp'"),
        ({"feature_logging": {"enabled": True}}, "feature_server.feature_logging is enabled"),
        ({"audit_logging": {"enabled": True}}, "feature_server.audit_logging is enabled"),
        ({"metrics": {"audit_logging": True}}, "feature_server.metrics.audit_logging is on"),
        ({"transformation_service_endpoint": "x:1"}, "feature_server.transformation_service_endpoint is 'x:1'"),
    ],
)
def test_what_is_refused(tmp_path: Path, server: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        refuse_what_is_not_served(config(tmp_path, **server))
    assert caught.value.hint


@pytest.mark.parametrize(
    "server",
    [
        {},
        {"enabled": True},
        {"feature_logging": {"enabled": False}, "audit_logging": {}},
        {"metrics": {"request": False}},
    ],
)
def test_what_makes_no_difference(tmp_path: Path, server: dict[str, Any]) -> None:
    refuse_what_is_not_served(config(tmp_path, **server))


def test_where_the_numbers_are_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        refuse_what_is_not_served(config(tmp_path, metrics={"enabled": True}))
    assert "/metrics" in caplog.text


@pytest.mark.parametrize(("size", "seconds", "said"), [(None, 5, "batch_size"), (5, None, "interval"), (0, 5, "size")])
def test_batches_need_a_size_and_an_interval(tmp_path: Path, size: Any, seconds: Any, said: str) -> None:
    server = {
        "offline_push_batching_enabled": True,
        "offline_push_batching_batch_size": size,
        "offline_push_batching_batch_interval_seconds": seconds,
    }
    with pytest.raises(ConfigError, match=said):
        offline_batches(config(tmp_path, **server), None)  # type: ignore[arg-type]
    assert offline_batches(config(tmp_path, **{**server, "offline_push_batching_enabled": False}), None) is None  # type: ignore[arg-type]


def test_every_key_of_feast_is_decided_upon() -> None:
    assert set(LocalFeatureServerConfig.model_fields) == {
        "type",
        "enabled",
        "metrics",
        "feature_logging",
        "audit_logging",
        "offline_push_batching_enabled",
        "offline_push_batching_batch_size",
        "offline_push_batching_batch_interval_seconds",
        "transformation_service_endpoint",
    }
