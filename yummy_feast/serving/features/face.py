"""What people and programs see beside the hot endpoint: documentation, health, metrics. Made with FastAPI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException

from yummy_feast.errors import nearest
from yummy_feast.serving.features import write_schema
from yummy_feast.serving.features.schema import PATHS, SCHEMAS
from yummy_feast.serving.http import JSON, RefusedError
from yummy_feast.serving.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from yummy_feast.serving.features.health import Healthy

_DESCRIPTION: Final = """Feast's REST for online features.

Statuses are true: `PRESENT`; `NULL_VALUE`, the row is there and the feature is null; `NOT_FOUND`, no row for that
entity and view; `OUTSIDE_MAX_AGE`, the row is older than the view's ttl. Event timestamps are the row's own.
"""


class Face(FastAPI):
    """FastAPI, whose OpenAPI also tells of the endpoint that it never sees."""

    def openapi(self) -> dict[str, Any]:
        """The schema, made at first use."""
        if self.openapi_schema is None:
            schema = get_openapi(
                title=self.title, version=self.version, description=self.description, routes=self.routes
            )
            schema["paths"] = PATHS | schema["paths"]
            schema.setdefault("components", {}).setdefault("schemas", {}).update(SCHEMAS | write_schema.SCHEMAS)
            self.openapi_schema = schema
        return self.openapi_schema


def face_of(project: str, health: Healthy, exposition: Callable[[], bytes], routers: Sequence[APIRouter] = ()) -> Face:
    """The application behind the hot endpoint, with ``routers`` for what it can do besides."""
    face = Face(title=f"Features of {project}", version=version("yummy-feast"), description=_DESCRIPTION)

    @face.get("/health", summary="Whether requests would be answered now", responses=write_schema.refused(503))
    async def health_of() -> dict[str, str]:
        await health.check()
        return {"status": "ok", "served_by": health.served_by}

    @face.get("/metrics", summary="Numbers for Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(exposition(), headers=_text([CONTENT_TYPE]))

    for router in routers:
        face.include_router(router)

    @face.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: Exception) -> Response:
        first = error.errors()[0] if isinstance(error, RequestValidationError) else {"loc": (), "msg": str(error)}
        where = ".".join(map(str, first["loc"]))
        known = RefusedError(422, "INVALID_REQUEST", f"{where}: {first['msg']}", "see /docs")
        return Response(known.body(), known.status, _text([JSON]))

    @face.exception_handler(RefusedError)
    async def refused(_: Request, error: Exception) -> Response:
        known = error if isinstance(error, RefusedError) else RefusedError(500, "INTERNAL_ERROR", str(error))
        return Response(known.body(), known.status, _text([JSON, *known.headers()]))

    @face.exception_handler(HTTPException)
    async def missing(request: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 500)
        path, paths = request.url.path, sorted(face.openapi()["paths"])
        headers = dict(getattr(error, "headers", None) or {})
        if status == 404 and path in PATHS:
            # The hot endpoint is there, in front of this application, for its own method alone.
            status, headers = 405, {"allow": ", ".join(PATHS[path]).upper()}
        if status == 404:
            known = RefusedError(404, "NO_SUCH_PATH", f"there is no {path}", nearest(path, paths))
        elif status == 405:
            known = RefusedError(405, "METHOD_NOT_ALLOWED", f"{path} does not take {request.method}", "see /docs")
        else:
            known = RefusedError(status, "REFUSED", str(getattr(error, "detail", error)))
        return Response(known.body(), status, _text([JSON]) | headers)

    return face


def _text(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in headers}
