"""What people and programs see beside the hot endpoint: documentation, health, metrics. Made with FastAPI."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException

from yummy_feast.errors import nearest
from yummy_feast.serving.http import JSON, RefusedError
from yummy_feast.serving.metrics import CONTENT_TYPE
from yummy_feast.serving.models.refusals import body_of
from yummy_feast.serving.models.schema import SCHEMAS, paths_of

if TYPE_CHECKING:
    from yummy_feast.models.loading import Model
    from yummy_feast.serving.models.from_entities import FromEntities
    from yummy_feast.serving.models.registry import Models

_DESCRIPTION: Final = """MLflow's REST for LightGBM and CatBoost.

`POST /invocations` takes `dataframe_split`, `dataframe_records`, `instances`, `inputs`, CSV, Parquet, and the short
`{"columns": [...], "data": [[...]]}`, which answers a bare list. Several models are at `/invocations/{name}`.
"""


class Face(FastAPI):
    """FastAPI, whose OpenAPI also tells of the endpoint that it never sees."""

    models: Models

    def openapi(self) -> dict[str, Any]:
        """The schema, made at first use."""
        if self.openapi_schema is None:
            schema = get_openapi(
                title=self.title, version=self.version, description=self.description, routes=self.routes
            )
            schema["paths"] = paths_of(self.models) | schema["paths"]
            schema.setdefault("components", {}).setdefault("schemas", {}).update(SCHEMAS)
            self.openapi_schema = schema
        return self.openapi_schema


def face_of(models: Models, features: FromEntities | None, exposition: Callable[[], bytes]) -> Face:
    """The application behind the hot endpoint."""
    face = Face(title=", ".join(models.served), version=version("yummy-feast"), description=_DESCRIPTION)
    face.models = models

    async def alive() -> Response:
        if features is not None:
            await features.check_health()
        return Response("\n", media_type="application/json")

    for path in ("/ping", "/health"):
        face.get(path, summary="Whether requests would be answered now", response_class=Response)(alive)

    @face.get("/version", summary="Of this server", response_class=Response)
    async def version_of() -> Response:
        return Response(version("yummy-feast"), media_type="application/json")

    @face.get("/metrics", summary="Numbers for Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(exposition(), headers=_text([CONTENT_TYPE]))

    @face.get("/models", summary="What is served, and what it wants")
    async def models_of() -> list[dict[str, Any]]:
        return [_told(name, model) for name, model in models.models.items()]

    @face.exception_handler(RefusedError)
    async def refused(_: Request, error: Exception) -> Response:
        known = error if isinstance(error, RefusedError) else RefusedError(500, "INTERNAL_ERROR", str(error))
        return Response(body_of(known), known.status, _text([JSON, *known.headers()]))

    @face.exception_handler(HTTPException)
    async def missing(request: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 500)
        path, paths = request.url.path, sorted(face.openapi()["paths"])
        headers = dict(getattr(error, "headers", None) or {})
        if status == 404 and path in paths_of(models):
            status, headers = 405, {"allow": "POST"}
        if status == 404:
            known = RefusedError(404, "ENDPOINT_NOT_FOUND", f"there is no {path}", nearest(path, paths))
        elif status == 405:
            known = RefusedError(405, "METHOD_NOT_ALLOWED", f"{path} does not take {request.method}", "see /docs")
        else:
            known = RefusedError(status, "BAD_REQUEST", str(getattr(error, "detail", error)))
        return Response(body_of(known), status, _text([JSON]) | headers)

    return face


def _told(name: str, model: Model) -> dict[str, Any]:
    return {
        "name": name,
        "place": model.place.text,
        "version": model.version,
        "flavor": model.about.flavor,
        "answers": model.scorer.output,
        "inputs": [
            {"name": column.name, "type": column.type.value, "required": column.required}
            for column in model.arranger.inputs
        ],
    }


def _text(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in headers}
