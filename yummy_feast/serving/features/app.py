"""The feature server as one ASGI application: the hot endpoint in front, FastAPI behind it for everything else."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

from yummy_feast.errors import OnlineStoreError
from yummy_feast.online.loops import mux_for
from yummy_feast.online.stock import as_ours
from yummy_feast.online.store import YummyOnlineStore
from yummy_feast.serving.features.behind import Behind
from yummy_feast.serving.features.blocks import refuse_what_is_not_served
from yummy_feast.serving.features.compat import HEADER, App, CompatEndpoint, by_header
from yummy_feast.serving.features.endpoint import FeaturesEndpoint
from yummy_feast.serving.features.face import face_of
from yummy_feast.serving.features.fallback import SdkEndpoint, needs_sdk, pretended
from yummy_feast.serving.features.guard import Guard, Guarded
from yummy_feast.serving.features.health import Health, Healthy, SdkHealth
from yummy_feast.serving.features.metrics import FeatureMetrics
from yummy_feast.serving.features.options import ServingOptions
from yummy_feast.serving.features.own_store import OwnStore
from yummy_feast.serving.features.request import Selection
from yummy_feast.serving.features.sinks import OurSink, SdkSink, Sink
from yummy_feast.serving.features.snapshot import Registries
from yummy_feast.serving.http import Admission, Receive, Scope, Send, live

if TYPE_CHECKING:
    from feast import FeatureStore

    from yummy_feast.serving.quick import Exchange, Quick

logger = logging.getLogger(__name__)

PATH: Final = "/get-online-features"
_GAUGES_EVERY: Final = 1.0


class FeatureApp:
    """Serves one repository; belongs to the event loop it is started in.

    Raises ConfigError for a repository that this server cannot serve as its configuration wants.

    Args:
        store: the repository.
        metrics_folder: where the workers of one server add up their numbers; None for a server of one process.
    """

    def __init__(
        self, store: FeatureStore, options: ServingOptions | None = None, metrics_folder: Path | None = None
    ) -> None:
        options = options or ServingOptions()
        refuse_what_is_not_served(store.config)
        by_sdk = needs_sdk(store.config)
        config = pretended(store.config) if by_sdk else as_ours(store.config)
        self._store = store
        self._config = config
        self._own = OwnStore(store)
        self._online = YummyOnlineStore()
        self._registries = Registries(store.registry, config, options.registry_poll)
        self._admission = Admission(options.max_concurrency, options.request_timeout)
        self._metrics = FeatureMetrics(metrics_folder)
        guard = Guard(store.config, self._registries)
        self._settings = settings = None if by_sdk else self._online.settings(config)
        self._health: Healthy
        self.quick: Quick | None = None
        sink: Sink
        endpoint: App
        if settings is None:
            logger.warning(
                "online_store.type is %s: rows are read by Feast's SDK, slowly; see docs/feature-server-writes.md",
                store.config.online_store.type,
            )
            self._health, sink = SdkHealth(), SdkSink(self._own, store.config)
            by_feast = SdkEndpoint(self._own, self._registries, self._admission, self._metrics, options.max_body)
            # What Feast's SDK says is what Feast's server says.
            endpoint = by_header(by_feast, by_feast, options.compat)
        else:
            self._health, sink = Health(settings), OurSink(self._online, config)
            parts = (
                self._registries,
                settings,
                self._online.schemas(config),
                self._admission,
                self._metrics,
                options.max_body,
            )
            own = FeaturesEndpoint(*parts)
            endpoint = by_header(own, CompatEndpoint(*parts), options.compat)
            if guard.is_open and options.compat == "none":
                self.quick = _of_requests_for_features(own.quick)
        self._is_by_sdk = by_sdk
        self._endpoint = endpoint
        if not guard.is_open:
            self._endpoint = Guarded(endpoint, guard, self._metrics, options.max_body, options.request_timeout)
        self._behind = Behind(
            self._own, self._registries, store.config, sink, settings, guard, options.max_body, metrics_folder
        )
        self._face = face_of(config.project, self._health, self._exposition, self._behind.routers)
        self._tasks: list[asyncio.Task[None]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI event. The framework sees everything but requests for features."""
        if scope["type"] == "http":
            if scope["path"] == PATH and scope["method"] == "POST":
                await self._endpoint(scope, receive, send)
            else:
                await self._face(scope, receive, send)
        elif scope["type"] == "lifespan":
            await live(self.start, self.stop, receive, send)
        else:
            await self._face(scope, receive, send)

    async def start(self) -> None:
        """Begin to look after the registry and Redis. Requests are answered from now on, fast ones a moment later."""
        from feast.feature_server import load_static_artifacts

        # A user's file beside feature_store.yaml, which on-demand views may need; Feast logs what goes wrong with it.
        await load_static_artifacts(self._face, self._store)
        self._tasks = [
            asyncio.create_task(work)
            for work in (self._warm_up(), self._registries.keep_current(), self._take_down_gauges())
        ]

    async def stop(self) -> None:
        """End what ``start`` began, and the connections of this loop."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._behind.stop()
        if self._is_by_sdk:
            await self._own.get().close()
        else:
            await self._online.close()

    async def _warm_up(self) -> None:
        """Connect, and compile every feature service: the first requests need not wait for either."""
        try:
            if self._is_by_sdk:
                await (await asyncio.to_thread(self._own.get)).initialize()
            else:
                await self._online.initialize(self._config)
        except OnlineStoreError as error:
            # It may be mended while we run: the health says so then.
            logger.warning("%s", error)
        snapshot = self._registries.current
        services = snapshot.registry.list_feature_services(self._config.project, allow_cache=True)
        selections = [Selection(service.name, (), False) for service in services]
        await asyncio.to_thread(snapshot.warm, selections)
        self._health.is_warm = True

    async def _take_down_gauges(self) -> None:
        while True:
            self._gauge()
            await asyncio.sleep(_GAUGES_EVERY)

    def _gauge(self) -> None:
        reconnects = 0 if self._settings is None else mux_for(self._settings).reconnects
        self._metrics.gauge(self._admission, self._registries, reconnects)

    def _exposition(self) -> bytes:
        self._gauge()
        return self._metrics.exposition()


def _of_requests_for_features(quick: Quick) -> Quick:
    """``quick`` for all that this server is asked."""

    def chosen(scope: Scope, body: bytes, exchange: Exchange) -> bool:
        if scope["path"] != PATH or scope["method"] != "POST":
            return False
        for name, _ in scope["headers"]:
            if name == HEADER:
                return False
        return quick(scope, body, exchange)

    return chosen
