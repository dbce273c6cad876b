"""A batch engine that is not Feast's local one, as a feature_store.yaml may name it."""

from __future__ import annotations

from typing import Any

from feast.infra.compute_engines.base import ComputeEngine
from feast.infra.compute_engines.local.compute import LocalComputeEngine, LocalComputeEngineConfig

__all__ = ["LocalComputeEngineConfig", "OtherEngine", "OtherEngineConfig"]

OtherEngineConfig = LocalComputeEngineConfig


class OtherEngine(ComputeEngine):
    """Tells what it was asked."""

    def __init__(self, type: str, **stores: Any) -> None:  # noqa: A002 - Feast's name
        super().__init__(**stores)

    update = teardown_infra = LocalComputeEngine.update

    def _materialize_one(self, registry: Any, task: Any, **options: Any) -> Any:
        raise NotImplementedError(f"asked to materialize {task.feature_view.name}")
