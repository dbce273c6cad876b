"""The way to Redis from an event loop: one Link at a time, made again when it is lost.

Retries are counted per request and paced per server: however many requests wait for a server that is away, one
connection attempt is under way, and the next one starts after a pause. All that we send may be sent twice: reads change
nothing, and a row that is written again is equal to itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from redis import exceptions

from yummy_feast.online.link import CLOSED, PING, Link, Replies, Waiting
from yummy_feast.online.redis import HOPELESS, backoff
from yummy_feast.online.wire import Command

Dial = Callable[[], Awaitable[Link]]
LOST: Final = (exceptions.ConnectionError, exceptions.TimeoutError)
"""What may be mended by another attempt, HOPELESS excepted."""


class Mux:
    """Exchanges with one server, for every task of one event loop.

    Args:
        dial: makes a Link that is logged in.
        retries: attempts after the first one.
        follows_master: a server that turns out to be a replica is left, and ``dial`` finds the new master.
    """

    def __init__(self, dial: Dial, retries: int, *, follows_master: bool = False) -> None:
        self._dial = dial
        self._retries = retries
        self._follows_master = follows_master
        self._link: Link | None = None
        self._dialing: asyncio.Task[Link] | None = None
        self._failures = 0
        self._not_before = 0.0
        self._links = 0
        self.is_closed = False

    @property
    def is_connected(self) -> bool:
        """Whether a request would find a link."""
        return self._link is not None and not self._link.is_lost

    @property
    def reconnects(self) -> int:
        """How often a link was made beyond the first one."""
        return max(0, self._links - 1)

    @property
    def is_idle(self) -> bool:
        """Whether there is neither a link nor an attempt to make one."""
        return not self.is_connected and self._dialing is None

    async def connect(self) -> None:
        """Have a link. Raises as ``exchange``."""
        await self.exchange(PING, 1)

    async def exchange(self, packed: bytes, count: int) -> Replies:
        """``count`` replies to as many packed commands, error replies as redis-py's exceptions among them.

        Raises redis-py's ConnectionError or TimeoutError once the retries are used up, at once what no retry mends
        (a refused login, something that is no Redis), EmbeddedServerError.
        """
        failures = 0
        # A link that was idle may have been dropped without our knowing yet, which is no failure.
        may_be_stale = True
        while True:
            link: Link | None = None
            try:
                link = self._link
                if link is None or link.is_lost:
                    link = None
                    may_be_stale = False
                    link = await self._connected()
                replies = await link.exchange(packed, count)
                trouble = self._trouble_in(replies)
                if trouble is None:
                    self._failures = 0
                    return replies
                # The replies were whole, so this link may stay; what is loading now serves in a moment.
                error: Exception = trouble
            except LOST as lost:
                if isinstance(lost, HOPELESS):
                    raise
                error = lost
                if may_be_stale and isinstance(lost, exceptions.ConnectionError):
                    may_be_stale = False
                    continue
            failures += 1
            if failures > self._retries:
                raise error
            if link is not None:
                self._leave(link, error)

    def send(self, packed: bytes, count: int, waiting: Waiting) -> bool:
        """``exchange`` for who does without its retries: over the link there is. False, and nothing sent, while there
        is none that has proved itself.
        """
        link = self._link
        if link is None or link.is_lost or self._failures or self.is_closed:
            return False
        link.send(packed, count, waiting)
        return True

    async def execute(self, commands: Sequence[Command]) -> Replies:
        """One reply per command, in one exchange. Raises as ``exchange``."""
        return await self.exchange(b"".join([packed for _, packed in commands]), len(commands))

    async def aclose(self) -> None:
        """Let what is under way end, then close. A closed Mux stays closed."""
        self.is_closed = True
        if self._dialing is not None:
            self._dialing.cancel()
            await asyncio.wait([self._dialing])
        if self._link is not None:
            await self._link.aclose()

    def _trouble_in(self, replies: Replies) -> Exception | None:
        for reply in replies:
            if isinstance(reply, Exception):
                if isinstance(reply, exceptions.BusyLoadingError):
                    return reply
                if self._follows_master and isinstance(reply, exceptions.ReadOnlyError):
                    return reply
        return None

    def _leave(self, link: Link, error: Exception) -> None:
        """Pause before the next attempt of anybody, on a new link."""
        if link is self._link:
            self._link = None
            self._slow_down()
            link.give_up(exceptions.ConnectionError(*error.args))

    def _slow_down(self) -> None:
        self._failures += 1
        pause = backoff().compute(self._failures)
        self._not_before = asyncio.get_running_loop().time() + pause

    async def _connected(self) -> Link:
        """A link. Everybody who needs one waits for the same attempt; cancelling one of them does not end it."""
        if self.is_closed:
            raise exceptions.ConnectionError(CLOSED)
        if self._dialing is None:
            self._dialing = asyncio.get_running_loop().create_task(self._connect())
            self._dialing.add_done_callback(self._dialed)
        dialing = self._dialing
        try:
            return await asyncio.shield(dialing)
        except asyncio.CancelledError:
            if dialing.cancelled() and self.is_closed:
                raise exceptions.ConnectionError(CLOSED) from None
            raise

    async def _connect(self) -> Link:
        pause = self._not_before - asyncio.get_running_loop().time()
        if pause > 0:
            await asyncio.sleep(pause)
        try:
            self._link = await self._dial()
        except LOST:
            self._slow_down()
            raise
        self._links += 1
        return self._link

    def _dialed(self, task: asyncio.Task[Any]) -> None:
        self._dialing = None
        # Looked at, so that asyncio does not complain where everybody who waited has gone.
        if not task.cancelled():
            task.exception()
