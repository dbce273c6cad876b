"""The way from an endpoint to Redis: the connection of the loop it runs in, for reads with and without a task."""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final

from yummy_feast.online.loops import AnyMux, mux_for
from yummy_feast.online.mux import Mux
from yummy_feast.online.retrieval import Question, packed
from yummy_feast.serving.quick import Read

if TYPE_CHECKING:
    from yummy_feast.online.address import RedisSettings
    from yummy_feast.serving.features.snapshot import Served

# Large answers that are made at a time: Redis works for one while we write the other. Each holds megabytes, and more
# of them would end no sooner: their threads share one interpreter.
_LARGE_AT_ONCE: Final = 2
_NO_TURN: Final = nullcontext()


class Way:
    """Belongs to one event loop. settings: where Redis is."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self._mux: AnyMux | None = None
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)

    def turn(self, served: Served, rows: int) -> AbstractAsyncContextManager[Any]:
        """What to hold from the question to Redis to the bytes of the answer: large ones wait for each other."""
        return self._large_turn() if served.is_large(rows) else _NO_TURN

    @asynccontextmanager
    async def _large_turn(self) -> AsyncIterator[None]:
        async with self._large:
            yield
        await asyncio.to_thread(_give_back)

    def mux(self) -> AnyMux:
        """The connection, looked for again once it is closed."""
        mux = self._mux
        if mux is None or mux.is_closed:
            mux = self._mux = mux_for(self._settings)
        return mux

    def read(self, served: Served, question: Question) -> Read | None:
        """What to send for a ``question`` of the plan ``served``; None where its answer needs a task, or no Redis."""
        mux = self.mux()
        # A cluster is asked node by node.
        if type(mux) is not Mux or served.is_large(question.length):
            return None
        read = Read(*packed(question), mux)
        return read if read.replies else None


def _give_back() -> None:
    """Give free memory back to the system: glibc keeps what lies below anything that is still in use, for ever."""
    # Not on a system with another C library, which has ways of its own.
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
