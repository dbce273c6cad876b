"""What the HTTP servers share below any framework: refusals, bodies, answers, and how many requests run for how long.

Plain ASGI: a hot endpoint that a web framework routes and wraps answers half as many requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from time import perf_counter
from typing import Any, Final, Protocol

import msgspec

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON: Final[Header] = (b"content-type", b"application/json")
_CLOSE: Final[Header] = (b"connection", b"close")
_RETRY_AFTER: Final = 1
_FAREWELL: Final = 2.0


class RefusedError(Exception):
    """A request that is not answered: the HTTP status, a code for programs, and what is wrong for people."""

    def __init__(self, status: int, code: str, message: str, hint: str = "", *, close: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint
        self.close = close

    def body(self) -> bytes:
        """``{"detail": {"error", "message", "hint"}}``."""
        return msgspec.json.encode({"detail": {"error": self.code, "message": self.message, "hint": self.hint}})

    def headers(self) -> list[Header]:
        """Beyond the content type: when to come again, whether the connection ends."""
        headers = [(b"retry-after", b"%d" % _RETRY_AFTER)] if self.status == 503 else []
        return [*headers, _CLOSE] if self.close else headers


class ClientGoneError(Exception):
    """Whoever asked has hung up: there is nobody to answer."""


async def read_body(receive: Receive, limit: int, headers: Iterable[Header] = ()) -> bytes:
    """The whole body of a request. RefusedError (413) for more than ``limit`` bytes, ClientGoneError.

    Args:
        headers: of the request: a body that does not come in one piece may be announced there as too large.
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body") or message["type"] != "http.request":
        parts, size = [body], len(body)
        if _announced(headers) > limit:
            size = limit + 1
        while message["type"] == "http.request" and message.get("more_body") and size <= limit:
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
        if message["type"] != "http.request":
            raise ClientGoneError
        body = b"".join(parts)
        if size > limit:
            raise _too_large(limit, is_unread=message.get("more_body", False))
    elif len(body) > limit:
        raise _too_large(limit, is_unread=False)
    return body


def _announced(headers: Iterable[Header]) -> int:
    for name, value in headers:
        if name == b"content-length":
            # The parser has seen to it that it is a number.
            return int(value)
    return 0


def _too_large(limit: int, *, is_unread: bool) -> RefusedError:
    return RefusedError(
        413,
        "BODY_TOO_LARGE",
        f"the body is larger than {limit:,} bytes",
        "ask for fewer entities at a time, or start the server with a larger --max-body",
        close=is_unread,
    )


async def respond(
    send: Send, status: int, headers: list[Header], body: bytes, *, unread: Receive | None = None
) -> None:
    """Send a whole answer. ``headers`` lack the length alone.

    Args:
        unread: where the rest of the request still comes from, if it does and nobody wants it. A connection that is
            closed meanwhile takes the answer with it, so what the client is sending is thrown away for a moment.
    """
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if unread is not None:
        await send({"type": "http.response.body", "body": body, "more_body": True})
        body = b""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                while (await unread()).get("more_body"):
                    pass
    await send({"type": "http.response.body", "body": body})


async def live(
    start: Callable[[], Awaitable[None]], stop: Callable[[], Awaitable[None]], receive: Receive, send: Send
) -> None:
    """The lifespan of an application: ``start`` it, and ``stop`` it when the server ends."""
    await receive()
    await start()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await stop()
    await send({"type": "lifespan.shutdown.complete"})


class Running(Protocol):
    """A request under way: a task, or whatever else can be told to end."""

    def cancel(self) -> object:
        """It took too long."""
        ...


class Admission:
    """How many requests run at once, and for how long: beyond either they are refused, not queued.

    One timer per loop looks at the oldest requests; a timer of its own for each would cost as much as decoding one.

    Args:
        most: requests at once.
        seconds: longest time of one; 0 for ever.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._since: dict[Running, float] = {}
        self._overdue: set[Running] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def running(self) -> int:
        """Requests under way."""
        return len(self._since)

    def enter(self, task: Running, now: float) -> None:
        """``task`` begins a request at ``now`` (``perf_counter()``). RefusedError (503) while there are too many."""
        if len(self._since) >= self._most:
            raise RefusedError(
                503,
                "TOO_MANY_REQUESTS",
                f"{self._most} requests are under way",
                "try again in a moment; --max-concurrency of the server allows more, --workers answers more",
            )
        self._since[task] = now
        if self._timer is None and self._seconds:
            self._timer = asyncio.get_running_loop().call_later(self._seconds / 8, self._look)

    def leave(self, task: Running) -> None:
        """``task`` has answered."""
        self._since.pop(task, None)
        if self._overdue:
            self._overdue.discard(task)

    def timed_out(self, task: asyncio.Task[Any]) -> bool:
        """Whether the cancellation of ``task`` was ours: then it lives on, to say so."""
        if task in self._overdue:
            task.uncancel()
            return True
        return False

    def _look(self) -> None:
        self._timer = None
        if not self._since:
            return
        latest = perf_counter() - self._seconds
        # In the order of their beginnings.
        for task, since in list(self._since.items()):
            if since > latest:
                break
            if task not in self._overdue:
                self._overdue.add(task)
                task.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._seconds / 8, self._look)
