"""Which connection belongs to whom: one per process, event loop and Redis.

A fork finds nothing under its own id and makes its own; so does another loop. When a loop ends as `asyncio.run` ends
it, or uvicorn, its connections are closed with it, because they are known to it as an asynchronous generator.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import partial
from typing import Final

from yummy_feast.online.address import RedisSettings
from yummy_feast.online.dial import dial
from yummy_feast.online.mux import Mux
from yummy_feast.online.mux_cluster import ClusterMux

AnyMux = Mux | ClusterMux


class _Connections:
    """Those of one loop."""

    def __init__(self, key: tuple[int, asyncio.AbstractEventLoop]) -> None:
        self.muxes: dict[RedisSettings, AnyMux] = {}
        self._key = key
        # Running the generator to its yield is what makes the loop remember it.
        self._guard = self._until_the_loop_ends()
        with suppress(StopIteration):
            self._guard.__anext__().send(None)

    async def _until_the_loop_ends(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            _by_loop.pop(self._key, None)
            for mux in self.muxes.values():
                await mux.aclose()


_by_loop: Final[dict[tuple[int, asyncio.AbstractEventLoop], _Connections]] = {}


def mux_for(settings: RedisSettings) -> AnyMux:
    """The way to Redis of the running loop, made on first use; nothing is contacted before the first exchange."""
    key = (os.getpid(), asyncio.get_running_loop())
    known = _by_loop.get(key)
    if known is None:
        _forget_closed_loops()
        known = _by_loop[key] = _Connections(key)
    mux = known.muxes.get(settings)
    if mux is None or mux.is_closed:
        mux = known.muxes[settings] = _new(settings)
    return mux


async def aclose(settings: RedisSettings) -> None:
    """Close the running loop's connections to this Redis, once what is under way has ended."""
    known = _by_loop.get((os.getpid(), asyncio.get_running_loop()))
    mux = None if known is None else known.muxes.pop(settings, None)
    if mux is not None:
        await mux.aclose()


def _new(settings: RedisSettings) -> AnyMux:
    if settings.redis_type == "redis_cluster":
        return ClusterMux(settings.nodes, partial(dial, settings), settings.retries)
    return Mux(partial(dial, settings), settings.retries, follows_master=settings.redis_type == "redis_sentinel")


def _forget_closed_loops() -> None:
    """Loops that were closed without notice. A parent process' loops are the parent's."""
    process = os.getpid()
    for key in [key for key in _by_loop if key[0] == process and key[1].is_closed()]:
        del _by_loop[key]
