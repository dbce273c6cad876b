"""`POST /materialize` and `/materialize-incremental` as Feast's server has them, and the state of each run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from fastapi import APIRouter, Query, Request, Response

from yummy_feast.serving.features.bodies import MaterializeIncrementalRequest, MaterializeRequest, decode
from yummy_feast.serving.features.write_schema import INCREMENTAL, MATERIALIZED, answers, content, described
from yummy_feast.serving.http import ClientGoneError, RefusedError, read_body

if TYPE_CHECKING:
    from yummy_feast.serving.features.guard import Guard
    from yummy_feast.serving.features.materialization import Materialization

_T = TypeVar("_T", MaterializeRequest, MaterializeIncrementalRequest)

_JSON: Final = "application/json"
_STATUSES: Final = (401, 403, 404, 409, 413, 422, 503)
_ASYNC: Final = Query(False, alias="async", description="Answer 202 at once, as Feast's server does")
_FORCE: Final = Query(False, description="With async: also where the registry says that the views are MATERIALIZING")
_ABOUT: Final = (
    "Answers when it is done. With `?async=true`, or the header `Prefer: respond-async`, it answers 202 at once, and "
    "`GET` of its `Location` tells how far it is. Whoever hangs up does not stop it."
)
_RESPONSES: Final = {
    200: {"description": "Done", "content": {_JSON: {"example": None}}},
    202: {
        "description": "Begun",
        "headers": {"Location": {"description": "Where its state is", "schema": {"type": "string"}}},
        "content": {
            _JSON: {"example": {"status": "accepted", "feature_views": ["driver_stats"], "id": "5f0c6a1e2b3d4f60"}}
        },
    },
}


class Materializing:
    """The endpoints.

    Args:
        materialization: what they do.
        guard: who may.
        max_body: bytes of a request.
    """

    def __init__(self, materialization: Materialization, guard: Guard, max_body: int) -> None:
        self._materialization = materialization
        self._guard = guard
        self._max_body = max_body

    def router(self) -> APIRouter:
        """For FastAPI."""
        router = APIRouter(tags=["materialize"])
        router.add_api_route(
            "/materialize",
            self.materialize,
            methods=["POST"],
            summary="Bring a range of event timestamps online",
            description=_ABOUT,
            response_class=Response,
            responses=answers(_RESPONSES, *_STATUSES),
            openapi_extra=described("MaterializeRequest", MATERIALIZED),
        )
        router.add_api_route(
            "/materialize-incremental",
            self.materialize_incremental,
            methods=["POST"],
            summary="Bring online what is new",
            description=_ABOUT,
            response_class=Response,
            responses=answers(_RESPONSES, *_STATUSES),
            openapi_extra=described("MaterializeIncrementalRequest", INCREMENTAL),
        )
        router.add_api_route(
            "/materializations",
            self.latest,
            methods=["GET"],
            summary="The latest materializations, newest first",
            response_class=Response,
            responses=answers(
                {
                    200: {
                        "description": "Of all workers of this server",
                        "content": {
                            _JSON: {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/Run"}}}
                        },
                    }
                },
                401,
            ),
        )
        router.add_api_route(
            "/materializations/{run}",
            self.state,
            methods=["GET"],
            summary="How far a materialization is",
            response_class=Response,
            responses=answers({200: {"description": "Its state", "content": content("Run")}}, 401, 404),
        )
        return router

    async def materialize(self, request: Request, is_async: bool = _ASYNC, force: bool = _FORCE) -> Response:
        """One materialization."""
        return await self._run(request, MaterializeRequest, is_async, force)

    async def materialize_incremental(
        self, request: Request, is_async: bool = _ASYNC, force: bool = _FORCE
    ) -> Response:
        """One incremental materialization."""
        return await self._run(request, MaterializeIncrementalRequest, is_async, force)

    async def latest(self, request: Request) -> Response:
        """The runs that are known."""
        await self._guard.identify(request.scope)
        found = await asyncio.to_thread(self._materialization.runs.latest)
        return Response(msgspec.json.encode(found), media_type=_JSON)

    async def state(self, request: Request, run: str) -> Response:
        """One run."""
        await self._guard.identify(request.scope)
        found = await asyncio.to_thread(self._materialization.runs.find, run)
        if found is None:
            raise RefusedError(
                404, "NO_SUCH_MATERIALIZATION", f"there is no materialization {run!r:.80}", "GET /materializations"
            )
        return Response(msgspec.json.encode(found), media_type=_JSON)

    async def _run(self, request: Request, kind: type[_T], is_async: bool, force: bool) -> Response:
        await self._guard.identify(request.scope)
        preferred = "respond-async" in (word.strip() for word in request.headers.get("prefer", "").lower().split(","))
        try:
            body = decode(await read_body(request.receive, self._max_body), kind)
        except ClientGoneError:
            raise RefusedError(400, "CLIENT_GONE", "the client hung up before its body was whole") from None
        permit = self._guard.permit_writes
        started = await self._materialization.start(body, permit, is_async=is_async or preferred, force=force)
        if is_async or preferred:
            # The first two are Feast's.
            told = {"status": "accepted", "feature_views": list(started.run.views), "id": started.run.id}
            headers = {"Location": f"/materializations/{started.run.id}"}
            if preferred:
                headers["Preference-Applied"] = "respond-async"
            return Response(msgspec.json.encode(told), 202, headers, _JSON)
        # Not cancelled with whoever waits for it.
        refusal = await asyncio.shield(asyncio.wrap_future(started.ended))
        if refusal is not None:
            raise refusal
        return Response(b"null", media_type=_JSON)
