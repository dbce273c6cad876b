"""`POST /push` and `POST /write-to-online-store`, as Feast's server has them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from fastapi import APIRouter, Request, Response

from yummy_feast.serving.features.bodies import PushRequest, WriteRequest, decode
from yummy_feast.serving.features.write_schema import PUSHED, WRITTEN, answers, described
from yummy_feast.serving.http import ClientGoneError, RefusedError, read_body

if TYPE_CHECKING:
    from yummy_feast.serving.features.guard import Guard
    from yummy_feast.serving.features.offline_batches import OfflineBatches
    from yummy_feast.serving.features.writing import Writing

_T = TypeVar("_T", PushRequest, WriteRequest)

# Bodies of writes may be large, and all of them are in memory at once.
_MOST_AT_ONCE: Final = 64
_SMALL: Final = 64 * 1024
_STATUSES: Final = (401, 403, 404, 413, 422, 503)


class Writes:
    """The two endpoints.

    Args:
        writing: what they do.
        guard: who may.
        batches: takes the rows for the offline store where `feature_server.offline_push_batching_enabled` is set.
        max_body: bytes of a request.
    """

    def __init__(self, writing: Writing, guard: Guard, batches: OfflineBatches | None, max_body: int) -> None:
        self._writing = writing
        self._guard = guard
        self._batches = batches
        self._max_body = max_body
        self._running = 0

    def router(self) -> APIRouter:
        """For FastAPI."""
        router = APIRouter(tags=["write"])
        router.add_api_route(
            "/push",
            self.push,
            methods=["POST"],
            summary="Rows for every feature view of a push source",
            description="With batched offline writes the answer is 202: the rows are appended later.",
            response_class=Response,
            responses=answers({200: {"description": "Written"}, 202: {"description": "Taken"}}, *_STATUSES),
            openapi_extra=described("PushRequest", PUSHED),
        )
        router.add_api_route(
            "/write-to-online-store",
            self.write,
            methods=["POST"],
            summary="Rows for one feature view, online only",
            response_class=Response,
            responses=answers({200: {"description": "Written"}}, *_STATUSES),
            openapi_extra=described("WriteRequest", WRITTEN),
        )
        return router

    async def push(self, request: Request) -> Response:
        """One push."""
        with self._admitted():
            await self._guard.identify(request.scope)
            body = await self._body(request, PushRequest)
            defer = None if self._batches is None else self._batches.add
            await self._writing.push(body, self._guard.permit_writes, defer)
            is_deferred = defer is not None and body.to != "online"
            return Response(status_code=202 if is_deferred else 200)

    async def write(self, request: Request) -> Response:
        """One write."""
        with self._admitted():
            await self._guard.identify(request.scope)
            body = await self._body(request, WriteRequest)
            await self._writing.write(body, self._guard.permit_writes)
            # What FastAPI makes of Feast's function, which returns nothing.
            return Response(b"null", media_type="application/json")

    async def _body(self, request: Request, kind: type[_T]) -> _T:
        try:
            body = await read_body(request.receive, self._max_body)
        except ClientGoneError:
            raise RefusedError(400, "CLIENT_GONE", "the client hung up before its body was whole") from None
        # Others wait no longer than for a small body.
        return decode(body, kind) if len(body) <= _SMALL else await asyncio.to_thread(decode, body, kind)

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        """Counts a write while it is under way. RefusedError (503) for one too many."""
        if self._running >= _MOST_AT_ONCE:
            raise RefusedError(
                503, "TOO_MANY_REQUESTS", f"{_MOST_AT_ONCE} writes are under way", "try again in a moment"
            )
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
