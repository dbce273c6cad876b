"""What a feature server does besides answering for features: writes, materialization, and saying what it does not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from yummy_feast.serving.features import unserved
from yummy_feast.serving.features.materialization import Materialization
from yummy_feast.serving.features.materializing import Materializing
from yummy_feast.serving.features.offline_batches import offline_batches
from yummy_feast.serving.features.runs import Runs
from yummy_feast.serving.features.writes import Writes
from yummy_feast.serving.features.writing import Writing

if TYPE_CHECKING:
    from fastapi import APIRouter
    from feast import RepoConfig

    from yummy_feast.online.address import RedisSettings
    from yummy_feast.serving.features.guard import Guard
    from yummy_feast.serving.features.own_store import OwnStore
    from yummy_feast.serving.features.sinks import Sink
    from yummy_feast.serving.features.snapshot import Registries


class Behind:
    """Wiring only. Raises ConfigError for offline batches that cannot be.

    Args:
        own, registries, config: the repository, as it is written, read and configured.
        sink, settings: where rows go; settings are None where that is not Redis.
        guard: who may.
        max_body: bytes of a request.
        folder: what the workers of one server share; None for a server of one process.
    """

    def __init__(
        self,
        own: OwnStore,
        registries: Registries,
        config: RepoConfig,
        sink: Sink,
        settings: RedisSettings | None,
        guard: Guard,
        max_body: int,
        folder: Path | None,
    ) -> None:
        self._writing = Writing(own, registries, sink, config.project)
        self._batches = offline_batches(config, self._writing)
        self._materialization = Materialization(own, registries, Runs(folder), settings)
        writes = Writes(self._writing, guard, self._batches, max_body)
        materializing = Materializing(self._materialization, guard, max_body)
        self.routers: list[APIRouter] = [writes.router(), materializing.router(), unserved.router()]

    async def stop(self) -> None:
        """Append what is still gathered, and end the threads."""
        if self._batches is not None:
            await asyncio.to_thread(self._batches.stop)
        self._writing.close()
        self._materialization.cut_off()
        self._materialization.runs.close()
