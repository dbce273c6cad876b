"""A Redis in the test's own event loop, whose answers are made up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from yummy_feast.online.address import RedisSettings
from yummy_feast.online.dial import dial
from yummy_feast.online.mux import Mux


class Scripted:
    """A server whose answers are made up: ``answer(connection number, bytes)``; None hangs up."""

    def __init__(self, answer: Callable[[int, bytes], bytes | None]) -> None:
        self.answer = answer
        self.times: list[float] = []
        self.port = 0

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[Scripted]:
        tasks: set[Any] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.add(asyncio.current_task())
            self.times.append(asyncio.get_running_loop().time())
            number = len(self.times)
            try:
                while data := await reader.read(65536):
                    reply = self.answer(number, data)
                    if reply is None:
                        break
                    writer.write(reply)
            except (asyncio.CancelledError, ConnectionError):
                # The test is over.
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def mux(self, retries: int = 2, **settings: Any) -> Mux:
        return Mux(partial(dial, RedisSettings.parse(f"127.0.0.1:{self.port}", **settings)), retries)


def ok(number: int, data: bytes) -> bytes:
    return b"+OK\r\n" * data.count(b"*2\r\n")
