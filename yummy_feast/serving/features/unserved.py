"""What Feast's server answers and this one does not: 501, with what to use instead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import APIRouter

from yummy_feast.serving.features.write_schema import refused
from yummy_feast.serving.http import RefusedError

_VECTORS: Final = (
    "rows in Redis have no vector index: serve a store that has one (milvus, pgvector, ...) with `feast serve`"
)
_CHAT: Final = "Feast's answers a placeholder: ask a model server"
_DOCUMENTS: Final = "no online store here keeps documents: read them where they are stored"
_UNSERVED: Final = (
    ("/search", ("POST",), "Vector search", _VECTORS),
    ("/retrieve-online-documents", ("POST",), "Vector search", _VECTORS),
    ("/v1/vector_stores", ("GET",), "Vector stores", _VECTORS),
    ("/v1/vector_stores/{vector_store_id}", ("GET",), "A vector store", _VECTORS),
    ("/v1/vector_stores/{vector_store_id}/search", ("POST",), "Vector search as OpenAI has it", _VECTORS),
    ("/read-document", ("POST",), "A document", _DOCUMENTS),
    ("/save-document", ("POST",), "Keeping a document", _DOCUMENTS),
    ("/chat", ("GET", "POST"), "Chat", _CHAT),
)


def router() -> APIRouter:
    """For FastAPI."""
    found = APIRouter(tags=["not served"])
    for path, methods, what, hint in _UNSERVED:
        for method in methods:
            found.add_api_route(
                path,
                _refuser(path, what, hint),
                methods=[method],
                summary=f"{what}: not served",
                operation_id=f"{method} {path}".lower().translate({ord(letter): "_" for letter in " /{}-"}),
                status_code=501,
                responses=refused(501),
            )
    return found


def _refuser(path: str, what: str, hint: str) -> Callable[[], Awaitable[None]]:
    async def refuse() -> None:
        raise RefusedError(501, "NOT_IMPLEMENTED", f"{path}: {what[0].lower()}{what[1:]} is not served here", hint)

    return refuse
