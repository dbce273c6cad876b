"""YummyProvider: wiring only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feast.infra.compute_engines.local.compute import LocalComputeEngine
from feast.infra.passthrough_provider import PassthroughProvider

from yummy_feast.materialization.engine import YummyBatchEngine
from yummy_feast.offline.store import YummyOfflineStore
from yummy_feast.online.store import YummyOnlineStore
from yummy_feast.settings import refuse_unfilled

if TYPE_CHECKING:
    from feast.infra.compute_engines.base import ComputeEngine
    from feast.repo_config import RepoConfig


class YummyProvider(PassthroughProvider):
    """Feast's provider with our materialization between our stores.

    Views that Feast's compute engine must transform first, a `batch_engine` other than Feast's local one, and stores
    that are not ours, go Feast's own way.
    """

    def __init__(self, config: RepoConfig) -> None:
        # Feast fills these blocks itself, with less than ours know: a default would become the name of a folder.
        for key, block in (
            ("registry", config.registry_config),
            ("auth", config.auth),
            ("batch_engine", config.batch_engine_config),
        ):
            refuse_unfilled(block, f"feature_store.yaml: {key}")
        super().__init__(config)

    @property
    def batch_engine(self) -> ComputeEngine:
        """The engine that feature_store.yaml names; where that is Feast's local one between our stores, ours."""
        engine = super().batch_engine
        ours = isinstance(self.offline_store, YummyOfflineStore) and isinstance(self.online_store, YummyOnlineStore)
        if ours and type(engine) is LocalComputeEngine:
            engine = self._batch_engine = YummyBatchEngine(
                backend=engine.backend_name,
                repo_config=self.repo_config,
                offline_store=self.offline_store,
                online_store=self.online_store,
            )
        return engine
