"""What `FeatureStore.get_online_features` and its async twin do once Feast has handed over to the online store."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from yummy_feast.online.answer import OnlineFeatures, Status
from yummy_feast.online.compile import PlanCache
from yummy_feast.online.loops import mux_for
from yummy_feast.online.redis import RedisSettings, client_for, translated
from yummy_feast.online.request import to_columns
from yummy_feast.online.response import YummyOnlineResponse
from yummy_feast.online.retrieval import read, read_async

if TYPE_CHECKING:
    from feast import FeatureService, RepoConfig
    from feast.infra.registry.base_registry import BaseRegistry

    from yummy_feast.online.plan import OnlinePlan
    from yummy_feast.online.schemas import SchemaBook

EntityRows = Sequence[Mapping[str, Any]] | Mapping[str, Any]
"""A list of dicts, or columns of values, of Feast's ``Value`` messages, or as ``RepeatedValue``."""


class Readable(Protocol):
    """What a read needs of an online store."""

    @property
    def plans(self) -> PlanCache:
        """The plans compiled so far."""
        ...

    def settings(self, config: RepoConfig) -> RedisSettings:
        """Where the rows are."""
        ...

    def schemas(self, config: RepoConfig) -> SchemaBook:
        """The schemas of the rows."""
        ...


def get_online_features(
    store: Readable,
    config: RepoConfig,
    features: list[str] | FeatureService,
    entity_rows: EntityRows,
    registry: BaseRegistry,
    project: str,
    full_feature_names: bool = False,
    include_feature_view_version_metadata: bool = False,
) -> YummyOnlineResponse:
    """Online features of ``entity_rows``, in their order: join keys first, then features in the order they were asked
    for.

    Raises:
        OnlineRequestError: no rows, a missing or uncastable join key, missing request data, an unknown feature.
        ServerUnavailableError: Redis does not answer.
        RowDecodeError: a row in Redis is damaged.
        What Feast raises for unknown views and services, colliding names, and views that must not be served.
    """
    plan = store.plans.get(registry, project, config, features, full_feature_names)
    columns, length = to_columns(entity_rows)
    settings = store.settings(config)
    started = time.monotonic()
    with translated(settings):
        answer = read(plan, client_for(settings), store.schemas(config), columns, length)
    _report(plan, answer, time.monotonic() - started)
    return YummyOnlineResponse(answer, version_metadata=include_feature_view_version_metadata)


async def get_online_features_async(
    store: Readable,
    config: RepoConfig,
    features: list[str] | FeatureService,
    entity_rows: EntityRows,
    registry: BaseRegistry,
    project: str,
    full_feature_names: bool = False,
    include_feature_view_version_metadata: bool = False,
) -> YummyOnlineResponse:
    """The same over the running loop's own connection, which all its tasks share: no thread, and nothing blocks but
    the compilation of a plan that is new.
    """
    plan = store.plans.get(registry, project, config, features, full_feature_names)
    columns, length = to_columns(entity_rows)
    settings = store.settings(config)
    started = time.monotonic()
    with translated(settings):
        answer = await read_async(plan, mux_for(settings), store.schemas(config), columns, length)
    _report(plan, answer, time.monotonic() - started)
    return YummyOnlineResponse(answer, version_metadata=include_feature_view_version_metadata)


def _report(plan: OnlinePlan, answer: OnlineFeatures, seconds: float) -> None:
    """Tell `feast serve --metrics` what its own store would have told it; nobody else has loaded that module."""
    metrics = sys.modules.get("feast.metrics")
    if metrics is None or not metrics._config.online_features:
        return
    metrics.track_online_store_read(seconds)
    for view, rows in zip(plan.views, answer.rows[1:], strict=True):
        found = sum(status != Status.NOT_FOUND for status in rows.statuses)
        features = len(view.features)
        metrics.track_feature_statuses(view.name, found * features, (answer.length - found) * features)
