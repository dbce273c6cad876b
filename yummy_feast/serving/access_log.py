"""A line of JSON for each request, on stdout."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from contextlib import suppress
from typing import Final

import msgspec

from yummy_feast.serving.http import Application, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

_WRITE_EVERY: Final = 0.1
# What a pipe takes in one piece: the lines of several workers stay whole.
_PIECE: Final = 4096
_MOST_LINES: Final = 100_000
_encode: Final = msgspec.json.Encoder().encode


class Line(msgspec.Struct):
    """time: seconds since 1970, when the answer was complete; ms: until then; bytes: of the answer's body."""

    time: float
    client: str | None
    method: str
    path: str
    status: int
    ms: float
    bytes: int


class AccessLog:
    """Collects lines, and writes them in a thread: whoever reads them slowly holds up no request.

    Args:
        file: descriptor to write to.
    """

    def __init__(self, file: int | None = None) -> None:
        self._file = sys.stdout.fileno() if file is None else file
        self._lines: list[bytes] = []
        self._writing: asyncio.Task[None] | None = None
        self._lost = 0

    def around(self, application: Application) -> Application:
        """``application``, whose requests are logged."""

        async def logged(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await application(scope, receive, send)
                return
            began = time.perf_counter()
            # 0 for a client that hung up before it was answered.
            status, size = 0, 0

            async def noted(message: Message) -> None:
                nonlocal status, size
                if message["type"] == "http.response.start":
                    status = message["status"]
                else:
                    size += len(message.get("body", b""))
                await send(message)

            try:
                await application(scope, receive, noted)
            finally:
                self._add(scope, status, time.perf_counter() - began, size)

        return logged

    async def flush(self) -> None:
        """Write what there is."""
        if self._writing is not None:
            await self._writing
        await self._write()

    def _add(self, scope: Scope, status: int, seconds: float, size: int) -> None:
        client = scope["client"]
        path = scope["path"]
        if scope["query_string"]:
            path = f"{path}?{scope['query_string'].decode('latin-1')}"
        line = Line(
            round(time.time(), 6),
            client[0] if client else None,
            scope["method"],
            path,
            status,
            round(seconds * 1e3, 3),
            size,
        )
        if len(self._lines) < _MOST_LINES:
            self._lines.append(_encode(line) + b"\n")
        else:
            self._lost += 1
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write_soon())

    async def _write_soon(self) -> None:
        while self._lines:
            await asyncio.sleep(_WRITE_EVERY)
            await self._write()
        self._writing = None

    async def _write(self) -> None:
        lines, self._lines = self._lines, []
        if self._lost:
            logger.warning("the access log was read too slowly: %d lines are lost", self._lost)
            self._lost = 0
        await asyncio.to_thread(_write_all, self._file, lines)


def _write_all(file: int, lines: list[bytes]) -> None:
    # Nobody may read any more: that is no reason to stop serving.
    with suppress(BrokenPipeError):
        for piece in _pieces(lines):
            left = memoryview(piece)
            while left:
                left = left[os.write(file, left) :]


def _pieces(lines: list[bytes]) -> list[bytes]:
    """Whole lines together, as many as a piece holds."""
    found: list[bytes] = []
    start = size = 0
    for at, line in enumerate(lines):
        if size and size + len(line) > _PIECE:
            found.append(b"".join(lines[start:at]))
            start, size = at, 0
        size += len(line)
    return [*found, b"".join(lines[start:])] if size else found
