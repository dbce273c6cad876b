"""Who asks, and what they may: the `auth:` block of feature_store.yaml, decided by Feast's own functions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from starlette.requests import Request

from yummy_feast.serving.features import refusals
from yummy_feast.serving.features.request import Selection, decode, selection_of
from yummy_feast.serving.http import (
    JSON,
    ClientGoneError,
    Header,
    Message,
    Receive,
    RefusedError,
    Scope,
    Send,
    read_body,
    respond,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from feast import RepoConfig
    from feast.permissions.auth.auth_manager import AuthManager
    from feast.permissions.permission import Permission
    from feast.permissions.security_manager import SecurityManager

    from yummy_feast.serving.features.metrics import FeatureMetrics
    from yummy_feast.serving.features.snapshot import Registries, Snapshot

logger = logging.getLogger(__name__)

_MOST_SELECTIONS: Final = 256


class UnauthenticatedError(RefusedError):
    """Nobody is known to ask (401)."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(401, "UNAUTHENTICATED", message, hint)

    def headers(self) -> list[Header]:
        """With the scheme to authenticate by."""
        return [*super().headers(), (b"www-authenticate", b"Bearer")]


class Guard:
    """Knows who asks from the bearer token, and what they may from the permissions in the registry.

    Without an `auth:` block everybody may do everything. The project is always the repository's own: in Feast's server
    the query parameter ``project`` chooses whose permissions count.
    """

    def __init__(self, config: RepoConfig, registries: Registries) -> None:
        self._registries = registries
        self._project = config.project
        self._resources: WeakKeyDictionary[Snapshot, dict[Selection, list[Any]]] = WeakKeyDictionary()
        self._manager, self._auth = _managers(config, registries)

    @property
    def is_open(self) -> bool:
        """Whether everybody may do everything."""
        return self._manager is None

    async def identify(self, scope: Scope) -> None:
        """Find out who sent this request, for the rest of its context. UnauthenticatedError."""
        if self._manager is None:
            return
        # What tokens and identity providers can make of Feast's parsers is not for a client to see.
        try:
            token = self._auth.token_extractor.extract_access_token(request=Request(scope))
        except Exception as error:
            raise UnauthenticatedError("no bearer token", "send the header Authorization: Bearer TOKEN") from error
        try:
            # It asks an identity provider, or Kubernetes, and blocks meanwhile.
            user = await asyncio.to_thread(asyncio.run, self._auth.token_parser.user_details_from_access_token(token))
        except Exception as error:
            logger.info("a bearer token was not accepted: %s", error)
            raise UnauthenticatedError("the bearer token is invalid or expired", "get a new one") from error
        self._manager.set_current_user(user)
        self._manager.set_current_request_token(token)

    def permit_writes(self, views: Sequence[Any], online: bool, offline: bool) -> None:
        """Whether they may write these views. RefusedError (403)."""
        from feast.permissions.action import AuthzedAction

        actions = [AuthzedAction.WRITE_ONLINE] * online + [AuthzedAction.WRITE_OFFLINE] * offline
        self._permit(views, actions)

    async def permit_reads(self, selection: Selection) -> None:
        """Whether they may read this selection: the feature service, or each of the views. RefusedError."""
        from feast.permissions.action import AuthzedAction

        if self._manager is None:
            return
        snapshot = self._registries.current
        known = self._resources.setdefault(snapshot, {})
        resources = known.get(selection)
        if resources is None:
            try:
                resources = await asyncio.to_thread(self._resources_of, snapshot, selection)
            # What is looked up holds the code of users, as for a plan.
            except Exception as error:
                raise refusals.of_features(error) from error
            if len(known) < _MOST_SELECTIONS:
                known[selection] = resources
        self._permit(resources, [AuthzedAction.READ_ONLINE])

    def _resources_of(self, snapshot: Snapshot, selection: Selection) -> list[Any]:
        from feast import utils

        registry = snapshot.registry
        if selection.feature_service is not None:
            return [registry.get_feature_service(selection.feature_service, self._project, allow_cache=True)]
        views, on_demand = utils._get_feature_views_to_use(
            registry, self._project, list(selection.features), allow_cache=True, hide_dummy_entity=False
        )
        return [*views, *on_demand]

    def _permit(self, resources: Sequence[Any], actions: list[Any]) -> None:
        from feast.errors import FeastPermissionError
        from feast.permissions.security_manager import assert_permissions

        if self._manager is None:
            return
        try:
            for resource in resources:
                assert_permissions(resource=resource, actions=actions)
        except FeastPermissionError as error:
            raise RefusedError(
                403, "PERMISSION_DENIED", refusals.plain(error), "ask for a permission in the registry that grants it"
            ) from error


class Guarded:
    """An endpoint for features behind a guard: plain ASGI, as the endpoint is.

    Args:
        endpoint: what answers those who may.
        metrics: what is told of the others.
        max_body, seconds: as of the endpoint; 0 seconds for any time.
    """

    def __init__(
        self,
        endpoint: Callable[[Scope, Receive, Send], Awaitable[None]],
        guard: Guard,
        metrics: FeatureMetrics,
        max_body: int,
        seconds: float,
    ) -> None:
        self._endpoint = endpoint
        self._guard = guard
        self._metrics = metrics
        self._max_body = max_body
        self._seconds = seconds or None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        try:
            await self._guard.identify(scope)
            async with asyncio.timeout(self._seconds):
                body = await read_body(receive, self._max_body)
            await self._guard.permit_reads(selection_of(decode(body)))
        except ClientGoneError:
            return
        except TimeoutError:
            slow = RefusedError(
                408, "BODY_TOO_SLOW", "the body did not come in time", "send it in one piece", close=True
            )
            await self._refuse(slow, send)
            return
        except RefusedError as error:
            await self._refuse(error, send)
            return
        read: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return read.pop() if read else await receive()

        await self._endpoint(scope, again, send)

    async def _refuse(self, error: RefusedError, send: Send) -> None:
        self._metrics.refused(error.code, 0.0)
        await respond(send, error.status, [JSON, *error.headers()], error.body())


class _SnapshotPermissions:
    """The part of a registry that Feast's security manager asks, from the snapshot instead of the file."""

    def __init__(self, registries: Registries) -> None:
        self._registries = registries
        self._known: tuple[Snapshot, list[Permission]] | None = None

    def list_permissions(self, project: str, **_: Any) -> list[Permission]:
        snapshot = self._registries.current
        if self._known is None or self._known[0] is not snapshot:
            self._known = snapshot, snapshot.registry.list_permissions(project, allow_cache=True)
        return self._known[1]


def _managers(config: RepoConfig, registries: Registries) -> tuple[SecurityManager | None, AuthManager]:
    """Feast's, which its functions find in variables of their modules."""
    from feast.permissions.auth.auth_manager import get_auth_manager
    from feast.permissions.security_manager import SecurityManager, no_security_manager, set_security_manager
    from feast.permissions.server.utils import ServerType, init_auth_manager, str_to_auth_manager_type

    auth = config.auth_config
    kind = str_to_auth_manager_type(auth.type)
    init_auth_manager(ServerType.REST, kind, auth)
    if auth.type == "no_auth":
        no_security_manager()
        return None, get_auth_manager()
    registry: Any = _SnapshotPermissions(registries)
    manager = SecurityManager(config.project, registry)
    set_security_manager(manager)
    return manager, get_auth_manager()
