"""One client's connection, and the watch over all of them: nobody holds one for longer than is meant.

The parser and the request cycle are uvicorn's. What it lacks are limits on clients that are slow on purpose, and an end
that loses no request. Both are looked at from outside, now and then, so that a request pays nothing for them.
"""

from __future__ import annotations

import asyncio
import re
import select
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from yummy_feast.serving.http import JSON, Header, Receive, RefusedError, Scope, Send, respond
from yummy_feast.serving.options import RunOptions
from yummy_feast.serving.quick import Quick

CLOSE: Final = (b"connection", b"close")
_NO_TIMEOUT: Final = float("inf")
_OFFER: Final = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)
_LARGEST_HEAD: Final = 65_536
# Bytes that are copied more slowly than sent apart from their head.
_WORTH_A_CALL: Final = 131_072


def _whole_answer(status: HTTPStatus, code: str, message: str) -> bytes:
    body = RefusedError(status, code, message).body()
    return b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (
        status,
        status.phrase.encode(),
        len(body),
        body,
    )


_NO_HTTP: Final = _whole_answer(HTTPStatus.BAD_REQUEST, "NO_HTTP", "this is no HTTP request")
_TOO_SLOW: Final = _whole_answer(
    HTTPStatus.REQUEST_TIMEOUT, "HEAD_TOO_SLOW", "the head of the request did not come in time"
)
_TOO_LARGE: Final = _whole_answer(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "HEAD_TOO_LARGE",
    f"the head of the request is larger than {_LARGEST_HEAD:,} bytes",
)


class Connection(HttpToolsProtocol):
    """A connection that knows what it is waiting for.

    most: connections of this worker; quick: who may answer requests without a task. Set on the class that a worker
    makes for itself.
    """

    most = 10_000
    quick: Quick | None = None
    cycle: Any
    scope: Any
    transport: Any

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there. Beyond ``most`` it is told so when it asks."""
        super().connection_made(WholeAnswers(transport))  # type: ignore[arg-type]
        self._head_bytes = 0
        # A request that waits for its body, in case it can be answered quickly.
        self._held: Any = None
        if len(self.connections) > self.most:
            self.app = too_many_connections

    def data_received(self, data: bytes) -> None:
        """As uvicorn does, except that a head has an end, and that a request with an offer keeps its body."""
        if b"pgrade:" in data and not self.is_answering:
            data = _without_offer(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # An offer that was not seen, or CONNECT: the parser makes nothing of what follows.
            self.end_politely()
        except httptools.HttpParserError:
            self._refuse(_NO_HTTP)
            return
        if self._held is not None:
            # Its body comes in pieces, for which an application waits.
            held, self._held = self._held, None
            super()._start_asgi_task(*held)
        cycle = self.cycle
        if cycle is None or self.scope is not cycle.scope:
            self._head_bytes += len(data)
            if self._head_bytes > _LARGEST_HEAD:
                self._refuse(_TOO_LARGE)
        else:
            self._head_bytes = 0

    def _refuse(self, answer: bytes) -> None:
        self.transport.write(answer)
        self.transport.close()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """A head is there. Its request may wait for the end of what was read, which nearly always has the body, too."""
        if (
            self.quick is not None
            and cycle.more_body
            and app is self.config.loaded_app
            and not cycle.waiting_for_100_continue
            and not self.flow.write_paused
        ):
            self._held = (cycle, app)
        else:
            super()._start_asgi_task(cycle, app)

    def on_message_complete(self) -> None:
        """As uvicorn does, unless the request is answered quickly."""
        super().on_message_complete()
        quick = self.quick
        if quick is not None and self._held is not None:
            (cycle, app), self._held = self._held, None
            if not quick(cycle.scope, cycle.body, _Exchange(self, cycle, app)):
                super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """As uvicorn does, without a timer for each pause between requests: the watch sees idle connections."""
        self.server_state.total_requests += 1
        # An answer without a body.
        self.transport.let_go()
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    @property
    def is_answering(self) -> bool:
        """Whether a request is under way, its head read."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def is_in_head(self) -> bool:
        """Whether a request has begun whose head is not complete."""
        known = None if self.cycle is None else self.cycle.scope
        return self.scope is not known

    @property
    def waits_for(self) -> str:
        """``head``, ``body``, ``us``, ``client`` (to read) or ``nothing``."""
        if self.transport.is_closing() or self.flow.write_paused:
            return "client"
        if self.is_answering:
            return "body" if self.cycle.more_body else "us"
        return "head" if self.cycle is None or self.is_in_head else "nothing"

    def end_politely(self) -> None:
        """The answer under way is the last one."""
        if self.is_answering:
            self.cycle.keep_alive = False

    def end_if_idle(self) -> None:
        """Close, unless a request is under way, or lies there unread."""
        if not self.is_answering and not self.is_in_head and not _is_readable(self.transport):
            self.transport.close()


class _Exchange:
    """A request of ``connection`` whose body is there: an ``Exchange``."""

    __slots__ = ("_app", "_connection", "_cycle")

    def __init__(self, connection: Connection, cycle: Any, app: Any) -> None:
        self._connection = connection
        self._cycle = cycle
        self._app = app

    def start_task(self) -> None:
        HttpToolsProtocol._start_asgi_task(self._connection, self._cycle, self._app)

    def answer(self, status: int, headers: list[Header], body: bytes) -> None:
        """As ``RequestResponseCycle.send`` of uvicorn, for an answer that is whole and known to be in order."""
        cycle = self._cycle
        if cycle.disconnected:
            return
        cycle.response_started = cycle.response_complete = True
        head = [STATUS_LINE[status]]
        for name, value in (*cycle.default_headers, *headers):
            head += (name, b": ", value, b"\r\n")
        if not cycle.keep_alive:
            head.append(b"connection: close\r\n")
        head.append(b"content-length: %d\r\n\r\n" % len(body))
        transport = self._connection.transport
        if len(body) > _WORTH_A_CALL:
            transport.write(b"".join(head))
            transport.write(body)
        else:
            head.append(body)
            transport.write(b"".join(head))
        if not cycle.keep_alive:
            transport.close()
        cycle.on_response()


class WholeAnswers:
    """A transport that sends the head of an answer with the first piece of its body.

    uvicorn writes them one after the other, and each write is a system call: a fifth of the time of a small answer.
    """

    __slots__ = ("_head", "_transport", "is_closing")

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._head = b""
        # Asked for with every request.
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        """Send ``data``, unless it is a head: that is sent with what comes next."""
        if self._head:
            head, self._head = self._head, b""
            if len(data) > _WORTH_A_CALL:
                self._transport.write(head)
            else:
                data = head + data
        elif data[-4:] == b"\r\n\r\n" and data[:9] == b"HTTP/1.1 " and data[9:10] != b"1":
            self._head = data
            return
        self._transport.write(data)

    def let_go(self) -> None:
        """Nothing follows the head."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def close(self) -> None:
        """As any transport's."""
        self.let_go()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Watch:
    """Ends connections whose client lets us wait.

    Args:
        connections: those there are, at each look.
    """

    def __init__(self, connections: Iterable[Any], options: RunOptions) -> None:
        self._connections = connections
        self._limits = {
            "head": options.header_timeout or _NO_TIMEOUT,
            "body": options.body_timeout or _NO_TIMEOUT,
            "client": options.body_timeout or _NO_TIMEOUT,
            "nothing": options.keep_alive or _NO_TIMEOUT,
            "us": _NO_TIMEOUT,
        }
        # Connection -> (what it waits for, in which request, since when).
        self._seen: dict[Any, tuple[str, object, float]] = {}
        shortest = min(self._limits.values())
        self.pause = max(0.02, min(1.0, shortest / 8))

    def look(self, now: float) -> None:
        """``now`` is the time of the loop."""
        seen: dict[Any, tuple[str, object, float]] = {}
        for connection in list(self._connections):
            state = connection.waits_for
            before = self._seen.get(connection)
            if before is None or before[0] != state or before[1] is not connection.scope:
                seen[connection] = (state, connection.scope, now)
            elif now - before[2] < self._limits[state]:
                seen[connection] = before
            else:
                _end(connection, state)
        self._seen = seen

    async def keep_looking(self) -> None:
        """Look for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.pause)
            self.look(loop.time())


def _end(connection: Any, state: str) -> None:
    if state == "head" and connection.is_in_head:
        connection.transport.write(_TOO_SLOW)
    if state in {"head", "nothing"}:
        connection.transport.close()
    else:
        # What is left to write would keep it open.
        connection.transport.abort()


async def too_many_connections(scope: Scope, _: Receive, send: Send) -> None:
    """The application of a connection that is one too many."""
    if scope["type"] == "http":
        error = RefusedError(
            503,
            "TOO_MANY_CONNECTIONS",
            "this worker has as many connections as it may",
            "use fewer connections; --max-connections of the server allows more",
            close=True,
        )
        await respond(send, error.status, [JSON, *error.headers()], error.body())


def _without_offer(data: bytes) -> bytes:
    """A request that offers another protocol, as Java's client offers HTTP/2 with its first one, without the offer:
    the parser would take its body for that protocol.
    """
    head, end, body = data.partition(b"\r\n\r\n")
    return _OFFER.sub(b"", head) + end + body


def _is_readable(transport: asyncio.Transport) -> bool:
    socket = transport.get_extra_info("socket")
    if socket is None or socket.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(socket.fileno(), select.POLLIN)
    # A client that has hung up looks readable, too: it is closed by its own end.
    return bool(poll.poll(0))
