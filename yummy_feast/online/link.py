"""One connection to one Redis, shared by every task of an event loop.

Requests are written as they come and answered in the order they were written, so a request needs no identity on the
wire: its place in the queue is enough. Whoever is cancelled leaves its place behind, and the replies that belong there
are dropped when they come. No thread, no lock, no connection of one's own for anybody.

A request that waits longer than the read timeout takes the link with it. Everybody behind it waits for the same
server, a connection that died silently shows in no other way, and replies that nobody counts any more could reach the
wrong caller. What was in flight is told, and may be sent again on the next link: one slow command costs its neighbours
an attempt, not their answer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import perf_counter
from typing import Any, Final, Protocol, cast

import hiredis
from redis import exceptions

from yummy_feast.online.wire import pack, reason_of, reply_error

# What may be under way at once; more waits its turn. Far above what keeps a server busy, low enough that the server,
# the kernel and this process hold little for callers who may be gone.
_MOST_REPLIES: Final = 16 * 1024
_MOST_BYTES: Final = 16 * 1024 * 1024
# A loop that was blocked sees the timer before the bytes that waited with it: look again before giving up.
_SECOND_LOOK: Final = 0.05
# Seconds for which a server keeps looking for the reply to the only request it has sent.
_PATIENCE: Final = 1e-4
PING: Final = pack("PING")
CLOSED: Final = "this process closed the connection"

Replies = list[Any]
"""One reply per command; an error reply is a redis-py exception among them, not raised."""


class Waiting(Protocol):
    """Who waits for replies: a future, or whoever wants to be called the moment they are there."""

    def done(self) -> bool:
        """Whether it waits no more."""
        ...

    def set_result(self, result: Replies, /) -> None:
        """The replies. Raises nothing."""
        ...

    def set_exception(self, exception: exceptions.RedisError, /) -> None:
        """There will be none, see ``Link.exchange``. Raises nothing."""
        ...


class _Slot:
    """A place in the order of replies. ``future`` is None for our own PING."""

    __slots__ = ("count", "future", "packed", "replies", "sent", "size")

    def __init__(self, packed: bytes, count: int, future: Waiting | None) -> None:
        self.packed = packed
        self.size = len(packed)
        self.count = count
        self.future = future
        self.replies: Replies = []
        self.sent = 0.0


class Link(asyncio.Protocol):
    """A connected socket. Made by ``dial``; belongs to one event loop, and is used from within it alone.

    Args:
        address: for people, ``localhost:6379``.
        read_timeout: seconds from sending a request to its last reply.
        heartbeat: seconds of silence after which a PING asks whether the other end is still there; 0 never asks.
    """

    def __init__(self, address: str, read_timeout: float, heartbeat: float = 0) -> None:
        self._address = address
        self._read_timeout = read_timeout
        self._heartbeat = heartbeat
        self._loop = asyncio.get_running_loop()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader(protocolError=exceptions.InvalidResponse, replyError=reply_error)
        self._slots: deque[_Slot] = deque()
        self._waiting: deque[_Slot] = deque()
        self._out: list[bytes] = []
        self._paused = False
        self._replies_due = 0
        self._bytes_due = 0
        self._timer: asyncio.TimerHandle | None = None
        self._suspect: _Slot | None = None
        self._was_used = False
        self._used = 0.0
        self._failure: exceptions.RedisError | None = None

    @property
    def is_lost(self) -> bool:
        """Whether this link is of no use any more."""
        return self._failure is not None

    @property
    def in_flight(self) -> int:
        """Requests that were sent and not answered in full yet."""
        return len(self._slots)

    def exchange(self, packed: bytes, count: int) -> asyncio.Future[Replies]:
        """Send ``count`` commands, packed in Redis' wire protocol; the future holds as many replies.

        The future raises redis-py's ConnectionError when the link is lost, TimeoutError when it is given up,
        InvalidResponse when the other end is no Redis. Cancelling it never disturbs another request.
        """
        future: asyncio.Future[Replies] = self._loop.create_future()
        if self._failure is not None:
            future.set_exception(_again(self._failure))
        else:
            self.send(packed, count, future)
        return future

    def send(self, packed: bytes, count: int, waiting: Waiting) -> None:
        """The same over a link that is not lost; ``waiting`` gets what the future would."""
        slot = _Slot(packed, count, waiting)
        if self._waiting or self._is_full():
            self._waiting.append(slot)
        else:
            self._send(slot)

    def give_up(self, error: exceptions.RedisError) -> None:
        """Close the link at once: whoever waits for a reply gets ``error``."""
        if self._failure is None:
            self._fail(error)
            if self._transport is not None:
                self._transport.abort()

    async def aclose(self) -> None:
        """Wait until what is under way is answered (no longer than its timeouts), then close."""
        futures = [slot.future for slot in (*self._slots, *self._waiting) if asyncio.isfuture(slot.future)]
        under_way = [future for future in futures if not future.done()]
        if under_way:
            await asyncio.wait(under_way)
        self.give_up(exceptions.ConnectionError(CLOSED))
        if self._transport is not None:
            await self._closed

    # ------------------------------------------------------------------------------------------------ sending

    def _is_full(self) -> bool:
        return self._paused or self._replies_due >= _MOST_REPLIES or self._bytes_due >= _MOST_BYTES

    def _send(self, slot: _Slot) -> None:
        slot.sent = self._loop.time()
        self._was_used = True
        self._replies_due += slot.count
        self._bytes_due += slot.size
        if not self._out:
            # Others of the same turn of the loop leave together: a system call costs more than all of a small request.
            self._loop.call_soon(self._flush)
        self._out.append(slot.packed)
        self._slots.append(slot)
        slot.packed = b""

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out and self._transport is not None and self._failure is None:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))
            if len(self._slots) == 1 and not asyncio.isfuture(self._slots[0].future):
                self._look_again(perf_counter() + _PATIENCE)

    def _look_again(self, until: float) -> None:
        """Keep the loop from falling asleep while a single request is under way: to wake up takes longer than Redis."""
        if len(self._slots) == 1 and perf_counter() < until:
            self._loop.call_soon(self._look_again, until)

    def _admit(self) -> None:
        """Send what waited, first come first served."""
        while self._waiting and not self._is_full():
            slot = self._waiting.popleft()
            if slot.future is not None and not slot.future.done():
                self._send(slot)

    def pause_writing(self) -> None:
        """The transport holds more than the socket takes."""
        self._paused = True

    def resume_writing(self) -> None:
        """It does not any more."""
        self._paused = False
        self._admit()

    # ---------------------------------------------------------------------------------------------- receiving

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ours."""
        # uvloop's transports are none by class.
        self._transport = cast("asyncio.Transport", transport)
        self._used = self._loop.time()
        self._timer = self._loop.call_later(self._read_timeout, self._watch)

    def data_received(self, data: bytes) -> None:
        """Hand out replies, however the stream was cut."""
        if self._failure is not None:
            return
        reader, slots = self._reader, self._slots
        try:
            reader.feed(data)
            reply = reader.gets()
            while reply is not False:
                if not slots:
                    self.give_up(exceptions.InvalidResponse("a reply that nobody asked for"))
                    return
                self._take(slots[0], reply)
                reply = reader.gets()
        except exceptions.InvalidResponse as error:
            self.give_up(error)
            return
        if self._waiting:
            self._admit()

    def _take(self, slot: _Slot, reply: object) -> None:
        # Replies to a cancelled request are counted and not kept: at any time the memory held here is the part that
        # has come of one answer.
        slot.count -= 1
        self._replies_due -= 1
        future = slot.future
        if future is not None and not future.done():
            slot.replies.append(reply)
            if slot.count == 0:
                future.set_result(slot.replies)
        if slot.count == 0:
            self._slots.popleft()
            self._bytes_due -= slot.size

    def eof_received(self) -> None:
        """The other end is done; asyncio closes the transport."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone, for whatever reason."""
        if not self._closed.done():
            self._closed.set_result(None)
        if self._failure is not None:
            return
        if exc is None:
            self._fail(exceptions.ConnectionError("Connection closed by server."))
        else:
            self._fail(exceptions.ConnectionError(f"Error while reading from {self._address}: {reason_of(exc)}"))

    def _fail(self, error: exceptions.RedisError) -> None:
        self._failure = error
        if self._timer is not None:
            self._timer.cancel()
        for slot in (*self._slots, *self._waiting):
            if slot.future is not None and not slot.future.done():
                slot.future.set_exception(_again(error))
        self._slots.clear()
        self._waiting.clear()
        self._out.clear()

    # ------------------------------------------------------------------------------------------------ watching

    def _watch(self) -> None:
        """One timer for all requests: replies come in order, so the oldest is the first to be late."""
        now = self._loop.time()
        if self._was_used:
            self._was_used, self._used = False, now
        if not self._slots:
            self._suspect = None
            if self._heartbeat and now - self._used >= self._heartbeat:
                self._send(_Slot(PING, 1, None))
            self._timer = self._loop.call_later(self._read_timeout, self._watch)
            return
        oldest = self._slots[0]
        due = oldest.sent + self._read_timeout
        if now < due:
            self._timer = self._loop.call_at(due, self._watch)
        elif self._suspect is not oldest:
            self._suspect = oldest
            self._timer = self._loop.call_later(_SECOND_LOOK, self._watch)
        else:
            self.give_up(exceptions.TimeoutError(f"Timeout reading from {self._address}"))


def _again(error: exceptions.RedisError) -> exceptions.RedisError:
    """A fresh instance for each caller: a shared one would collect all their tracebacks."""
    return type(error)(*error.args)
