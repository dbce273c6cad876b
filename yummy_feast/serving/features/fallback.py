"""Online features from any other online store, read by Feast's own SDK: slower, and with Feast's statuses.

Requests are decoded, checked and refused as for our own rows: the same plan is compiled, and asks nothing of a store.
"""

from __future__ import annotations

import asyncio
import logging
from copy import copy
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

import msgspec
from feast.infra.online_stores.redis import RedisOnlineStoreConfig

from yummy_feast.errors import OnlineRequestError
from yummy_feast.online.config import YummyOnlineStoreConfig
from yummy_feast.online.request import to_columns
from yummy_feast.online.retrieval import ask
from yummy_feast.serving.features import refusals
from yummy_feast.serving.features.endpoint import Endpoint, Stages, compiled
from yummy_feast.serving.features.request import FeaturesRequest, decode, selection_of

if TYPE_CHECKING:
    from feast import RepoConfig

    from yummy_feast.serving.features.metrics import FeatureMetrics
    from yummy_feast.serving.features.own_store import OwnStore
    from yummy_feast.serving.features.snapshot import Registries, Served, Snapshot
    from yummy_feast.serving.http import Admission, Scope

logger = logging.getLogger(__name__)


def needs_sdk(config: RepoConfig) -> bool:
    """Whether the online store is one that only Feast can read."""
    online = config.online_store
    return online is not None and not isinstance(online, YummyOnlineStoreConfig | RedisOnlineStoreConfig)


def pretended(config: RepoConfig) -> RepoConfig:
    """``config`` with an online store of ours, which is never connected: what plans are compiled with."""
    ours: Any = copy(config)
    ours._online_store = YummyOnlineStoreConfig(connection_string="127.0.0.1:1")
    return cast("RepoConfig", ours)


class SdkEndpoint(Endpoint):
    """Answers requests through Feast's provider: its async read where the store has one, else a thread.

    Args:
        own: the repository.
        registries: what is served; of ``pretended`` configuration.
        admission, metrics, max_body: as of every endpoint.
    """

    def __init__(
        self, own: OwnStore, registries: Registries, admission: Admission, metrics: FeatureMetrics, max_body: int
    ) -> None:
        super().__init__(admission, metrics, max_body)
        self._own = own
        self._registries = registries

    async def answer(self, scope: Scope, body: bytes, stages: Stages) -> bytes:
        """The JSON that answers ``body``, as Feast's server writes it. RefusedError."""
        request = decode(body)
        selection = selection_of(request)
        snapshot = self._registries.current
        served = snapshot.known(selection) or await compiled(snapshot, selection)
        try:
            length = ask(served.plan, *to_columns(request.entities), strict=True).length
        except OnlineRequestError as error:
            raise refusals.of_entities(error) from error
        stages.decoded = perf_counter()
        try:
            response = await self._read(snapshot, request)
        # Stores of others raise what they like, and so does the code of on-demand views.
        except Exception as error:
            raise _refusal(error, served) from error
        stages.fetched = perf_counter()
        answer = await asyncio.to_thread(_encoded, response)
        stages.assembled = ended = perf_counter()
        self._metrics.answered(stages, ended, length)
        return answer

    async def _read(self, snapshot: Snapshot, request: FeaturesRequest) -> Any:
        own = self._own
        provider = await asyncio.to_thread(lambda: own.provider)
        config = own.get().config
        features: Any = request.features
        if request.feature_service:
            features = snapshot.registry.get_feature_service(request.feature_service, config.project, allow_cache=True)
        wanted = {
            "config": config,
            "features": features,
            "entity_rows": request.entities,
            "registry": snapshot.registry,
            "project": config.project,
            "full_feature_names": request.full_feature_names,
            "include_feature_view_version_metadata": request.include_feature_view_version_metadata,
        }
        if provider.async_supported.online.read:
            return await provider.get_online_features_async(**wanted)
        return await asyncio.to_thread(lambda: provider.get_online_features(**wanted))


def _encoded(response: Any) -> bytes:
    from feast.feature_server_utils import convert_response_to_dict

    return msgspec.json.encode(convert_response_to_dict(response.proto))


def _refusal(error: Exception, served: Served) -> Exception:
    if served.on_demand and not isinstance(error, OSError):
        return refusals.of_transformation(error, served.on_demand)
    return refusals.of_other_store(error)
