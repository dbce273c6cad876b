"""A link without a socket: what it would send is kept, what it receives is given by the test."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from yummy_feast.online.link import Link
from yummy_feast.online.wire import pack

GET = pack("GET", "key")


class Wire:
    """Stands in for a transport."""

    def __init__(self, link: Link) -> None:
        self.writes: list[bytes] = []
        self.is_aborted = False
        self._link = link
        link.connection_made(cast("asyncio.Transport", self))

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def abort(self) -> None:
        self.is_aborted = True
        asyncio.get_running_loop().call_soon(self._link.connection_lost, None)


def wired(read_timeout: float = 5.0, heartbeat: float = 0) -> tuple[Link, Wire]:
    link = Link("localhost:6379", read_timeout, heartbeat)
    return link, Wire(link)


async def turn() -> None:
    """Let everything run that is ready."""
    for _ in range(3):
        await asyncio.sleep(0)


def encoded(value: Any) -> bytes:
    """A reply in the wire protocol: bytes, None, int, a list of these, or an exception whose text is an error."""
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, bytes):
        return b"$%d\r\n%b\r\n" % (len(value), value)
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, list):
        return b"*%d\r\n%b" % (len(value), b"".join(map(encoded, value)))
    return b"-%b\r\n" % str(value).encode()
