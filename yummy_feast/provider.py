"""YummyProvider: wiring only."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from feast.infra.passthrough_provider import PassthroughProvider

from yummy_feast.materialization import BEGINNING, is_plain, materialize
from yummy_feast.offline.store import YummyOfflineStore
from yummy_feast.online.store import YummyOnlineStore

if TYPE_CHECKING:
    from feast import FeatureView, OnDemandFeatureView
    from feast.infra.registry.base_registry import BaseRegistry
    from feast.repo_config import RepoConfig
    from tqdm import tqdm


class YummyProvider(PassthroughProvider):
    """Feast's provider with our materialization between our stores.

    Views that Feast's compute engine must transform first, and stores that are not ours, go Feast's own way.
    """

    def materialize_single_feature_view(
        self,
        config: RepoConfig,
        feature_view: FeatureView | OnDemandFeatureView,
        start_date: datetime,
        end_date: datetime,
        registry: BaseRegistry,
        project: str,
        tqdm_builder: Callable[[int], tqdm[Any]],
        disable_event_timestamp: bool = False,
    ) -> None:
        """Copy the newest row per key of the range into the online store.

        disable_event_timestamp: the whole history up to now, as in Feast's ``materialize``.
        """
        from feast.on_demand_feature_view import OnDemandFeatureView

        offline, online = self.offline_store, self.online_store
        ours = isinstance(offline, YummyOfflineStore) and isinstance(online, YummyOnlineStore)
        if isinstance(feature_view, OnDemandFeatureView) or not ours or not is_plain(feature_view):
            super().materialize_single_feature_view(
                config, feature_view, start_date, end_date, registry, project, tqdm_builder, disable_event_timestamp
            )
            return
        if disable_event_timestamp:
            start_date, end_date = BEGINNING, datetime.now(UTC)
        materialize(config, feature_view, start_date, end_date, offline, online, tqdm_builder)
