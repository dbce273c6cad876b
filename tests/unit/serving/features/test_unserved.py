"""Every path of Feast's server is served, or answered with 501 and what to use instead."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from feast import feature_server

from tests.unit.serving.kit import call
from yummy_feast.serving.features import unserved
from yummy_feast.serving.features.face import face_of
from yummy_feast.serving.features.health import SdkHealth

SERVED = {
    "/get-online-features",
    "/push",
    "/write-to-online-store",
    "/materialize",
    "/materialize-incremental",
    "/health",
}


@pytest.fixture
def face() -> FastAPI:
    return face_of("p", SdkHealth(), lambda: b"", [unserved.router()])


def test_what_is_not_served(face: FastAPI) -> None:
    requests = (
        ("POST", "/search"),
        ("POST", "/retrieve-online-documents"),
        ("GET", "/v1/vector_stores"),
        ("GET", "/v1/vector_stores/x"),
        ("POST", "/v1/vector_stores/x/search"),
        ("POST", "/read-document"),
        ("POST", "/save-document"),
        ("GET", "/chat"),
        ("POST", "/chat"),
    )
    for method, path in requests:
        answered = asyncio.run(call(face, path, {}, method=method))
        assert answered.error == (501, "NOT_IMPLEMENTED"), path
        assert answered.json["detail"]["hint"]


def test_none_of_feast_s_paths_is_unknown() -> None:
    text = Path(feature_server.__file__).read_text()
    paths = set(re.findall(r'@app\.(?:get|post)\(\s*"([^"]+)"', text))
    assert len(paths) > 10
    assert paths <= SERVED | {path for path, *_ in unserved._UNSERVED}


def test_operations_have_names_of_their_own(face: FastAPI) -> None:
    operations = [each["operationId"] for path in face.openapi()["paths"].values() for each in path.values()]
    assert len(set(operations)) == len(operations)
