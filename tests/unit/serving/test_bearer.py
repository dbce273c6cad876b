"""Who is let in with a token, and who without."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.serving.kit import call
from yummy_feast.serving.bearer import Bearer
from yummy_feast.serving.http import Receive, Scope, Send, respond


async def inside(scope: Scope, _: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await respond(send, 200, [], b"in")


def answered(path: str = "/metrics", **headers: str) -> int:
    return asyncio.run(call(Bearer(inside, "s3cret"), path, b"", headers=headers)).status


@pytest.mark.parametrize("given", ["Bearer s3cret", "bearer s3cret", "BEARER  s3cret "])
def test_whoever_brings_it_is_let_in(given: str) -> None:
    assert answered(authorization=given) == 200


@pytest.mark.parametrize("given", ["Bearer s3cre", "Bearer s3crets", "Bearer", "Bearer ", "Basic s3cret", "s3cret", ""])
def test_others_are_not(given: str) -> None:
    assert answered(authorization=given) == 401


def test_everybody_may_ask_for_the_health() -> None:
    assert answered("/health") == 200
    assert [answered(path) for path in ("/", "/health/", "/healthy", "/docs", "/get-online-features")] == [401] * 5


def test_how_to_ask_is_told() -> None:
    found = asyncio.run(call(Bearer(inside, "s3cret"), "/", b""))
    assert found.error == (401, "UNAUTHENTICATED")
    assert found.headers["www-authenticate"] == "Bearer"
    assert b"s3cret" not in found.body


def test_what_is_no_request_passes() -> None:
    async def never() -> None:
        raise AssertionError

    asyncio.run(Bearer(inside, "s3cret")({"type": "lifespan"}, never, never))  # type: ignore[arg-type]
