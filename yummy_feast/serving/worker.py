"""One process that serves: an application in an event loop, from the first health to the last answer."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import uvicorn

from yummy_feast.serving.access_log import AccessLog
from yummy_feast.serving.bearer import Bearer
from yummy_feast.serving.connections import CLOSE, Connection, Watch
from yummy_feast.serving.door import BACKLOG, Crowd, Door
from yummy_feast.serving.health import why_not_healthy
from yummy_feast.serving.http import Application
from yummy_feast.serving.options import RunOptions
from yummy_feast.serving.quick import Quick

logger = logging.getLogger(__name__)

# A client that keeps its connection may have sent a request when we begin to end: it is answered, and told to go.
_FAREWELL: Final = 0.5
_TICK: Final = 0.01
_LONGEST_TICK: Final = 0.5
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker stands.

    on_ready: called once, when requests are answered for the first time.
    on_trouble: called with the reason why they are not, each time it is another one, until then.
    crowd: how many connections its siblings have; None for one that is alone.
    parent: a descriptor at which nothing ever arrives: it becomes readable when whoever looks after us is gone.
    """

    listeners: Sequence[socket.socket]
    on_ready: Callable[[], None]
    on_trouble: Callable[[str], None]
    crowd: Crowd | None = None
    parent: int | None = None


class Worker(uvicorn.Server):
    """Runs ``application`` on the listeners of ``place`` until it is told to end."""

    def __init__(self, application: Application, options: RunOptions, place: Place) -> None:
        self._application = application
        self._options = options
        self._place = place
        self._access_log = AccessLog() if options.access_log else None
        around = Bearer(application, options.token) if options.token else application
        # Whoever stands around the application sees every request.
        quick = getattr(application, "quick", None) if around is application and not self._access_log else None
        super().__init__(_config(self._access_log.around(around) if self._access_log else around, options, quick))
        self._watch = Watch(self.server_state.connections, options)
        self._door: Door | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then let clients in."""
        await super().startup(sockets=[])
        self._door = Door(self._place.listeners, self._welcome, self._count, self._place.crowd)
        self._door.open()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._watch.keep_looking()), loop.create_task(self._tell_when_ready())]
        if self._place.parent is not None:
            loop.add_reader(self._place.parent, self._orphaned, loop)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if self._door is not None:
            self._door.tell()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what is under way and what is on its way, then end; after ``drain`` seconds, end anyway."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        state = self.server_state
        # On every answer from now on: whoever asks again does so elsewhere.
        state.default_headers = [*state.default_headers, CLOSE]
        for connection in list(state.connections):
            connection.end_politely()  # type: ignore[union-attr]
        if self._door is not None:
            await self._door.close(alone=self._place.crowd is None)
        limit = began + (self._options.drain or float("inf"))
        tick = _TICK
        while self._is_busy() and not self.force_exit and loop.time() < limit:
            if loop.time() > began + _FAREWELL:
                for connection in list(state.connections):
                    connection.end_if_idle()  # type: ignore[union-attr]
            await asyncio.sleep(tick)
            tick = min(tick * 1.2, _LONGEST_TICK)
        await self._abandon()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.lifespan.shutdown()
        if self._access_log is not None:
            await self._access_log.flush()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The first signal begins the end, the second one hastens it. uvicorn would die of the signal afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        # With a parent, what a terminal sends to all of us is the parent's to pass on.
        passed_on = set() if self._place.parent is None else {signal.SIGINT, signal.SIGHUP}
        before = {
            each: signal.signal(each, signal.SIG_IGN if each in passed_on else self._signalled) for each in _SIGNALS
        }
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def _signalled(self, *_: object) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True

    def _orphaned(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._place.parent is not None:
            loop.remove_reader(self._place.parent)
        self.should_exit = True

    def _count(self) -> int:
        return len(self.server_state.connections)

    def _is_busy(self) -> bool:
        arriving = self._door.arriving if self._door is not None else 0
        return bool(self.server_state.connections or self.server_state.tasks or arriving)

    async def _welcome(self, arrived: socket.socket) -> None:
        if arrived.family in (socket.AF_INET, socket.AF_INET6):
            arrived.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tls = self.config.ssl
        patience = {"ssl_handshake_timeout": self._options.header_timeout or 60.0} if tls is not None else {}
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(self._connection, arrived, ssl=tls, **patience)

    def _connection(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    async def _tell_when_ready(self) -> None:
        pause, told = 0.02, ""
        while True:
            reason = await why_not_healthy(self._application)
            if not reason:
                break
            if reason != told and pause > 0.5:
                told = reason
                self._place.on_trouble(reason)
            await asyncio.sleep(pause)
            pause = min(pause * 1.3, 1.0)
        # What was made until now stays: from here on, garbage is looked for among what requests make.
        gc.collect()
        gc.freeze()
        self._place.on_ready()

    async def _abandon(self) -> None:
        state = self.server_state
        if not self._is_busy():
            return
        if state.tasks and not self.force_exit:
            logger.warning("%d request(s) not answered within %g s: abandoned", len(state.tasks), self._options.drain)
        uvicorns = logging.getLogger("uvicorn.error")
        # It would tell of each with a traceback, and answers it with 500.
        uvicorns.disabled, before = True, uvicorns.disabled
        for task in list(state.tasks):
            task.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await asyncio.gather(*state.tasks, return_exceptions=True)
        uvicorns.disabled = before
        for connection in list(state.connections):
            connection.transport.abort()


def _config(application: Any, options: RunOptions, quick: Quick | None) -> uvicorn.Config:
    own = {"most": options.max_connections, "quick": None if quick is None else staticmethod(quick)}
    limited = type("Connection", (Connection,), own)
    config = uvicorn.Config(
        application,
        loop="uvloop",
        http=limited,
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=0,
    )
    context = options.tls()
    if context is not None:
        config.ssl_context_factory = lambda *_: context
    return config
