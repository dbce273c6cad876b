"""Listening sockets, and the door behind them: who takes the next connection, and how the last ones are let in.

The workers of a server listen on the same sockets. Left to themselves, whoever wakes first takes all that wait, and
kernels that spread connections (SO_REUSEPORT) do so by chance: of eight, two workers may well get seven and one. Here
each takes one at a time, and stands back for a moment while it has more than a sibling.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import logging
import mmap
import socket
import struct
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

from yummy_feast.errors import ConfigError

logger = logging.getLogger(__name__)

BACKLOG: Final = 2048
_STAND_BACK: Final = 0.0005
# A sibling that does not come within this time is busy, and that for a while.
_PATIENCE: Final = 0.01
_IMPATIENCE: Final = 0.02
_NO_MORE_FILES: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_WITHOUT_FILES: Final = 0.1
# Whatever lies in the backlog once nobody new can come is taken within this time.
_LAST_ONES: Final = 0.05
_ABSENT: Final = 2**62
_SO_ATTACH_FILTER: Final = 26
# Classic BPF over the TCP header: packets with ACK pass, those without (the first of a connection) are dropped.
_ONLY_WITH_ACK: Final = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in ((0x30, 0, 0, 13), (0x45, 1, 0, 0x10), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
)


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on every address of ``host``. ConfigError when they cannot."""
    found: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            if found and port == 0:
                break
            found.append(_bound(socket.socket(family, kind, protocol), address))
    except OSError as error:
        for each in found:
            each.close()
        raise _why_not(host, port, error) from error
    return found


def _bound(listener: socket.socket, address: Any) -> socket.socket:
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listener.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _why_not(host: str, port: int, error: OSError) -> ConfigError:
    if isinstance(error, socket.gaierror):
        return ConfigError(f"--host: {host!r} is no address of anything: {error.strerror}")
    if error.errno == errno.EADDRINUSE:
        return ConfigError(
            f"port {port} of {host} is in use", hint="stop the server that listens there, or take another --port"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return ConfigError(f"--host: {host!r} is no address of this machine", hint="0.0.0.0 stands for all of them")
    if error.errno == errno.EACCES:
        return ConfigError(f"port {port} of {host}: not allowed", hint="ports below 1024 are the superuser's")
    return ConfigError(f"cannot listen on port {port} of {host}: {error.strerror}")


def turn_away(listeners: Sequence[socket.socket]) -> None:
    """From now on no connection begins, while those that have begun still complete, and can be taken.

    A listening socket that is closed resets what waits in its backlog, requests included. Only Linux can do this;
    elsewhere that risk remains, for as long as it takes to look into the backlog and close.
    """
    if not sys.platform.startswith("linux"):
        return
    program = ctypes.create_string_buffer(_ONLY_WITH_ACK)
    option = struct.pack("HP", len(_ONLY_WITH_ACK) // 8, ctypes.addressof(program))
    for listener in listeners:
        try:
            listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)
        except OSError as error:
            logger.debug("the listening socket takes no filter: %s", error)


class Crowd:
    """How many connections each worker has, in memory that they share.

    Args:
        path: the file behind that memory.
        places: workers there may be at once.
        place: this worker's; None for whoever only keeps the book.
    """

    def __init__(self, path: Path, places: int, place: int | None = None) -> None:
        is_new = not path.exists()
        with path.open("a+b") as file:
            file.truncate(8 * places)
            self._counts = memoryview(mmap.mmap(file.fileno(), 8 * places)).cast("q")
        if is_new:
            for each in range(places):
                self.leave(each)
        self._place = place

    def leave(self, place: int) -> None:
        """There is no worker at ``place`` (any more)."""
        self._counts[place] = _ABSENT

    def tell(self, connections: int) -> None:
        """How many this worker has."""
        if self._place is not None:
            self._counts[self._place] = connections

    def has_fewer_elsewhere(self, connections: int) -> bool:
        """Tell that this worker has so many; whether a sibling should rather take the next one.

        A few are spread to the last; of many, an eighth more or less is no reason to keep anybody waiting.
        """
        self.tell(connections)
        return connections > min(self._counts) + connections // 8


class Door:
    """Takes connections from listening sockets, one at a time.

    Args:
        listeners: non-blocking; closed when the door is.
        welcome: serves a connection.
        count: how many connections there are.
        crowd: those of the siblings.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        welcome: Callable[[socket.socket], Coroutine[Any, Any, None]],
        count: Callable[[], int],
        crowd: Crowd | None = None,
    ) -> None:
        self._listeners = list(listeners)
        self._welcome = welcome
        self._count = count
        self._crowd = crowd
        self._loop = asyncio.get_running_loop()
        self._arriving: set[asyncio.Task[None]] = set()
        self._impatient_until = 0.0
        self._is_out_of_files = False
        self._is_closed = False

    @property
    def arriving(self) -> int:
        """Connections that were taken and are not served yet: TLS takes a while."""
        return len(self._arriving)

    def open(self) -> None:
        """Take connections from now on."""
        self.tell()
        for listener in self._listeners:
            self._watch(listener)

    def tell(self) -> None:
        """Tell the siblings how many connections there are here."""
        if self._crowd is not None:
            self._crowd.tell(self._count() + len(self._arriving))

    async def close(self, *, alone: bool) -> None:
        """Take what has arrived, then listen no more.

        Args:
            alone: nobody else listens on these sockets; otherwise whoever closes them all has turned newcomers away,
                or the others take them.
        """
        if alone:
            turn_away(self._listeners)
        self._crowd = None
        await asyncio.sleep(_LAST_ONES)
        self._is_closed = True
        for listener in self._listeners:
            self._loop.remove_reader(listener)
            while self._take(listener):
                pass
            listener.close()

    def _watch(self, listener: socket.socket) -> None:
        if not self._is_closed:
            self._loop.add_reader(listener, self._someone_waits, listener)

    def _someone_waits(self, listener: socket.socket) -> None:
        if self._is_ahead():
            self._loop.remove_reader(listener)
            self._stand_back(listener, self._loop.time() + _PATIENCE)
        else:
            self._take(listener)

    def _is_ahead(self) -> bool:
        if self._crowd is None or self._loop.time() < self._impatient_until:
            return False
        return self._crowd.has_fewer_elsewhere(self._count() + len(self._arriving))

    def _stand_back(self, listener: socket.socket, limit: float) -> None:
        self._loop.call_later(_STAND_BACK, self._come_back, listener, limit)

    def _come_back(self, listener: socket.socket, limit: float) -> None:
        if self._is_closed:
            return
        if self._is_ahead():
            if self._loop.time() < limit:
                self._stand_back(listener, limit)
                return
            self._impatient_until = self._loop.time() + _IMPATIENCE
        self._watch(listener)

    def _take(self, listener: socket.socket) -> bool:
        try:
            arrived, _ = listener.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionError:
            return True
        except OSError as error:
            if error.errno not in _NO_MORE_FILES:
                raise
            self._wait_for_files(listener, error)
            return False
        self._is_out_of_files = False
        arrived.setblocking(False)
        task = self._loop.create_task(self._welcome(arrived))
        self._arriving.add(task)
        task.add_done_callback(self._arrived)
        self.tell()
        return True

    def _arrived(self, task: asyncio.Task[None]) -> None:
        self._arriving.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # It hung up, or spoke no TLS.
            logger.debug("a connection failed at its beginning: %s", task.exception())

    def _wait_for_files(self, listener: socket.socket, error: OSError) -> None:
        if not self._is_out_of_files:
            self._is_out_of_files = True
            logger.error("no further connection can be taken: %s (`ulimit -n` allows more)", error.strerror)
        self._loop.remove_reader(listener)
        self._loop.call_later(_WITHOUT_FILES, self._watch, listener)
