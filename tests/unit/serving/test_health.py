"""An application asked for its health without a connection."""

from __future__ import annotations

import asyncio

import pytest

from yummy_feast.serving.health import why_not_healthy
from yummy_feast.serving.http import Receive, RefusedError, Scope, Send, read_body, respond


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, b"", ""),
        (503, RefusedError(503, "X", "Redis is away").body(), "Redis is away"),
        (500, b"Internal Server Error", "/health answers 500"),
        (404, b"[]", "/health answers 404"),
        (404, b'{"detail": "Not Found"}', "/health answers 404"),
    ],
)
def test_why_it_is_not_healthy(status: int, body: bytes, reason: str) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        assert (scope["method"], scope["path"]) == ("GET", "/health")
        assert await read_body(receive, 10) == b""
        await respond(send, status, [], body)

    assert asyncio.run(why_not_healthy(application)) == reason
