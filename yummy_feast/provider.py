"""YummyProvider: wiring only."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from feast.infra.passthrough_provider import PassthroughProvider

from yummy_feast.materialization import BEGINNING, materialize
from yummy_feast.offline.plan import is_plain
from yummy_feast.offline.store import YummyOfflineStore
from yummy_feast.online.store import YummyOnlineStore

if TYPE_CHECKING:
    from feast import FeatureView, OnDemandFeatureView
    from feast.infra.registry.base_registry import BaseRegistry
    from feast.repo_config import RepoConfig
    from tqdm import tqdm


class YummyProvider(PassthroughProvider):
    """Feast's provider with our materialization between our stores.

    Views that Feast's compute engine must transform first, a `batch_engine` other than Feast's local one, and stores
    that are not ours, go Feast's own way.
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
        """Copy the newest row per key of the range, both ends included, into the online store.

        disable_event_timestamp: everything there is, up to now, whatever the range. Feast promises it, but its engines
        do not look at the flag.
        """
        from feast.on_demand_feature_view import OnDemandFeatureView

        if disable_event_timestamp:
            start_date, end_date = BEGINNING, datetime.now(UTC)
        offline, online = self.offline_store, self.online_store
        ours = isinstance(offline, YummyOfflineStore) and isinstance(online, YummyOnlineStore) and self._is_local()
        if isinstance(feature_view, OnDemandFeatureView) or not ours or not is_plain(feature_view):
            super().materialize_single_feature_view(
                config, feature_view, start_date, end_date, registry, project, tqdm_builder, disable_event_timestamp
            )
        elif feature_view.online:
            materialize(config, feature_view, start_date, end_date, offline, online, tqdm_builder)
        # else: a plain view that is only to be kept offline. Its rows are where they belong already; Feast's engine
        # would append them to the source they came from, once more with every run.

    def _is_local(self) -> bool:
        """Whether rows are to be moved by this process, and not by a Spark or Ray cluster."""
        from feast.infra.compute_engines.local.compute import LocalComputeEngine

        return isinstance(self.batch_engine, LocalComputeEngine)
