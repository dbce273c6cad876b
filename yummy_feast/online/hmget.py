"""Many HMGETs in one round trip.

redis-py spends more time on packing the commands of a pipeline and on looking at each reply than Redis spends on
answering them. A plan reads the same hash fields for every key, so all of a command but its key is packed once, here;
the connection, its pool, health check and retry policy stay redis-py's. For a cluster, where keys live on different
nodes, see ``cluster``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from redis import ConnectionPool, Redis, exceptions

from yummy_feast.online.cluster import execute_all
from yummy_feast.online.mux import Mux
from yummy_feast.online.wire import Command

if TYPE_CHECKING:
    from redis.cluster import RedisCluster

    from yummy_feast.online.loops import AnyMux

Reply = list[bytes | None]
"""One value per field; None where the hash has no such field."""


class HashRead:
    """``HMGET <key> field...`` for any key, packed up to the key."""

    __slots__ = ("_head", "_tail", "fields")

    def __init__(self, fields: Sequence[bytes]) -> None:
        self.fields = tuple(fields)
        self._head = b"*%d\r\n$5\r\nHMGET\r\n$" % (2 + len(self.fields))
        self._tail = b"".join([b"\r\n$%d\r\n%b" % (len(name), name) for name in self.fields]) + b"\r\n"

    def pack(self, keys: Sequence[bytes]) -> bytes:
        """The commands for ``keys``, in Redis' wire protocol."""
        head, tail = self._head, self._tail
        return b"".join([b"%b%d\r\n%b%b" % (head, len(key), key, tail) for key in keys])


def read_hashes(client: Redis | RedisCluster, reads: Sequence[tuple[HashRead, Sequence[bytes]]]) -> list[list[Reply]]:
    """Per element of ``reads`` the replies for its keys, in order; one round trip for all (per node of a cluster).

    Raises what redis-py raises, after its own retries.
    """
    count = sum(len(keys) for _, keys in reads)
    if not count:
        return [[] for _ in reads]
    if isinstance(client, Redis):
        replies = _exchange(client, reads, count)
    else:
        replies = execute_all(client, [Command(key, read.pack((key,))) for read, keys in reads for key in keys])
    return by_read(reads, replies)


async def read_hashes_async(mux: AnyMux, reads: Sequence[tuple[HashRead, Sequence[bytes]]]) -> list[list[Reply]]:
    """The same from an event loop, over its own connection. Raises what ``mux`` raises, and error replies."""
    if len(reads) == 1 and len(reads[0][1]) == 1 and type(mux) is Mux:
        # What most reads are, and where every microsecond shows.
        read, keys = reads[0]
        replies = await mux.exchange(read.pack(keys), 1)
        if isinstance(replies[0], Exception):
            raise replies[0]
        return [replies]
    if isinstance(mux, Mux):
        packed, count = packed_reads(reads)
        replies = await mux.exchange(packed, count) if count else []
    else:
        commands = [Command(key, read.pack((key,))) for read, keys in reads for key in keys]
        replies = await mux.execute(commands) if commands else []
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return by_read(reads, replies)


def packed_reads(reads: Sequence[tuple[HashRead, Sequence[bytes]]]) -> tuple[bytes, int]:
    """All commands of ``reads`` in the wire protocol, and how many there are."""
    if len(reads) == 1:
        read, keys = reads[0]
        return read.pack(keys), len(keys)
    return b"".join([read.pack(keys) for read, keys in reads]), sum(len(keys) for _, keys in reads)


def by_read(reads: Sequence[tuple[HashRead, Sequence[bytes]]], replies: list[Reply]) -> list[list[Reply]]:
    """The replies to ``packed_reads``, per element of ``reads``."""
    if len(reads) == 1:
        return [replies]
    found, start = [], 0
    for _, keys in reads:
        found.append(replies[start : start + len(keys)])
        start += len(keys)
    return found


def _exchange(client: Redis, reads: Sequence[tuple[HashRead, Sequence[bytes]]], count: int) -> list[Reply]:
    packed = (b"".join([read.pack(keys) for read, keys in reads]),)
    pool = client.connection_pool
    kept = _kept_of(pool)
    # redis-py's connections are untyped.
    connection: Any = kept.pop() if kept else None
    may_be_stale = connection is not None
    if connection is None:
        connection = pool.get_connection()

    def attempt() -> list[Reply]:
        nonlocal may_be_stale
        try:
            connection.send_packed_command(packed)
            receive = connection.read_response
            return [receive() for _ in range(count)]
        except exceptions.ConnectionError:
            if not may_be_stale:
                raise
        # The server dropped it while it was idle, which is no failure yet.
        may_be_stale = False
        connection.disconnect()
        return attempt()

    # Replies that nobody reads would answer the next command of whoever gets the connection then. redis-py closes it
    # on a broken exchange; an error reply (WRONGTYPE, LOADING) leaves the exchange whole and the rest of the replies
    # unread.
    whole = False
    try:
        replies: list[Reply] = connection.retry.call_with_retry(attempt, lambda _: connection.disconnect())
        whole = True
        return replies
    finally:
        if whole and kept is not None:
            kept.append(connection)
        else:
            if not whole:
                connection.disconnect()
            pool.release(connection)


_kept: WeakKeyDictionary[ConnectionPool, tuple[int, list[Any]]] = WeakKeyDictionary()
_UNBOUNDED = 2**31


def _kept_of(pool: ConnectionPool) -> list[Any] | None:
    """Connections lent by ``pool`` for good, ready for the next read; None where the pool must have each back.

    Taking a connection out of redis-py's pool and returning it costs a third of a small read. A bounded pool would miss
    what is kept, and a sentinel's looks at each connection's address, so those are left alone. A child process starts
    anew: a socket shared with the parent would mix their replies.
    """
    if type(pool) is not ConnectionPool or pool.max_connections != _UNBOUNDED:
        return None
    process = os.getpid()
    known = _kept.get(pool)
    if known is None or known[0] != process:
        known = _kept[pool] = (process, [])
    return known[1]
