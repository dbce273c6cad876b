"""Blocks of feature_store.yaml that concern Feast's server: what this one cannot honour is refused when it starts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from yummy_feast.errors import ConfigError

if TYPE_CHECKING:
    from feast import RepoConfig

logger = logging.getLogger(__name__)

_ELSEWHERE: Final = "serve this repository with `feast serve`, or leave it out"
_NO_TRANSFORMATIONS: Final = "localhost:6569"


def refuse_what_is_not_served(config: RepoConfig) -> None:
    """Raise ConfigError for keys of the `feature_server` block that this server would have to ignore.

    `auth` is honoured, see ``guard``; so is `offline_push_batching_*`, see ``offline_batches``.
    """
    server = config.feature_server
    if server is None:
        return
    if server.type != "local":
        raise ConfigError(f"feature_server.type is {server.type!r}: only 'local' is served", hint=_ELSEWHERE)
    for name in ("feature_logging", "audit_logging"):
        block = getattr(server, name, None)
        if block is not None and block.enabled:
            raise ConfigError(
                f"feature_server.{name} is enabled: this server does not log what it serves", hint=_ELSEWHERE
            )
    if server.transformation_service_endpoint != _NO_TRANSFORMATIONS:
        raise ConfigError(
            f"feature_server.transformation_service_endpoint is {server.transformation_service_endpoint!r}: on-demand "
            "feature views are computed in this server",
            hint=_ELSEWHERE,
        )
    _look_at_metrics(server.metrics)


def _look_at_metrics(metrics: Any) -> None:
    if metrics is None:
        return
    if metrics.audit_logging:
        raise ConfigError(
            "feature_server.metrics.audit_logging is on: this server does not log what it serves", hint=_ELSEWHERE
        )
    if metrics.enabled:
        logger.warning(
            "feature_server.metrics: this server counts in its own way, always, and tells at /metrics of its own port"
        )
