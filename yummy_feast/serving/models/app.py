"""The model server as one ASGI application: the hot endpoint in front, FastAPI behind it for everything else."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from yummy_feast.serving.http import Admission, Receive, Scope, Send, live
from yummy_feast.serving.models.endpoint import PATH, InvocationsEndpoint
from yummy_feast.serving.models.face import face_of
from yummy_feast.serving.models.metrics import ModelMetrics
from yummy_feast.serving.models.options import ModelOptions
from yummy_feast.serving.models.registry import Models

if TYPE_CHECKING:
    from yummy_feast.serving.models.from_entities import FromEntities
    from yummy_feast.serving.quick import Exchange

# Threads that score long batches run Python in between: how long the loop waits for its turn then.
_TURN: Final = 0.0005


class ModelApp:
    """Serves models; belongs to the event loop it is started in. Raises as ``load_model``.

    Args:
        places: name -> where the MLmodel folder is.
        metrics_folder: where the workers of one server add up their numbers; None for a server of one process.
    """

    def __init__(
        self, places: Mapping[str, str], options: ModelOptions | None = None, metrics_folder: Path | None = None
    ) -> None:
        options = options or ModelOptions()
        self._admission = Admission(options.max_concurrency, options.request_timeout)
        self._metrics = ModelMetrics(list(places), metrics_folder)
        self._features: FromEntities | None = None
        if options.feature_service:
            # It brings Feast, which takes a hundred megabytes.
            from yummy_feast.serving.models.from_entities import FromEntities

            self._features = FromEntities.open(options)
            self.models = Models(places, options, self._metrics, self._features.check)
        else:
            self.models = Models(places, options, self._metrics)
        self._endpoint = InvocationsEndpoint(
            self.models, self._features, self._admission, self._metrics, options.max_body
        )
        self._face = face_of(self.models, self._features, self._exposition)
        self._tasks: list[asyncio.Task[None]] = []

    def quick(self, scope: Scope, body: bytes, exchange: Exchange) -> bool:
        """Answers requests for predictions that need no task, see ``serving.quick``."""
        if scope["method"] != "POST" or not scope["path"].startswith(PATH):
            return False
        return self._endpoint.quick(scope, body, exchange)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI event. The framework sees everything but requests for predictions."""
        if scope["type"] == "http":
            if scope["method"] == "POST" and scope["path"].startswith(PATH):
                await self._endpoint(scope, receive, send)
            else:
                await self._face(scope, receive, send)
        elif scope["type"] == "lifespan":
            await live(self.start, self.stop, receive, send)
        else:
            await self._face(scope, receive, send)

    async def start(self) -> None:
        """Begin to look after the folders, the registry and Redis."""
        sys.setswitchinterval(min(sys.getswitchinterval(), _TURN))
        self._tasks = [asyncio.create_task(self.models.keep_current())]
        if self._features is not None:
            self._tasks += [asyncio.create_task(work) for work in self._features.work()]

    async def stop(self) -> None:
        """End what ``start`` began."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._endpoint.close()
        if self._features is not None:
            await self._features.close()

    def _exposition(self) -> bytes:
        return self._metrics.exposition(self._admission, self.models.models)
