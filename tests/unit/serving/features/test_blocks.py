"""Keys of Feast's `feature_server` block that are honoured or refused, never passed over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from feast import RepoConfig

from yummy_feast.errors import ConfigError
from yummy_feast.serving.features.blocks import refuse_what_is_not_served


def config_of(folder: Path, **block: Any) -> RepoConfig:
    server = {"type": "local", **block} if block else None
    return RepoConfig(
        project="p",
        provider="local",
        registry=str(folder / "registry.db"),
        feature_server=server,
        entity_key_serialization_version=3,
    )


def test_what_is_served(tmp_path: Path) -> None:
    refuse_what_is_not_served(config_of(tmp_path))
    refuse_what_is_not_served(config_of(tmp_path, enabled=True))


def test_feast_s_metrics_are_counted_in_our_way(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    refuse_what_is_not_served(config_of(tmp_path, metrics={"enabled": True}))
    assert "counts in its own way" in caplog.text


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({"feature_logging": {"enabled": True}}, "feature_server.feature_logging"),
        ({"metrics": {"enabled": True, "audit_logging": True}}, "feature_server.metrics.audit_logging"),
        ({"transformation_service_endpoint": "there:6569"}, "feature_server.transformation_service_endpoint"),
    ],
)
def test_what_is_refused(tmp_path: Path, block: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as refused:
        refuse_what_is_not_served(config_of(tmp_path, **block))
    assert "feast serve" in str(refused.value.hint)
