"""Many HMGETs in one round trip.

redis-py spends more time on packing the commands of a pipeline and on looking at each reply than Redis spends on
answering them. A plan reads the same hash fields for every key, so all of a command but its key is packed once, here;
the connection, its pool, health check and retry policy stay redis-py's. A cluster, where keys live on different nodes,
uses redis-py's pipeline.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from redis import Redis

if TYPE_CHECKING:
    from redis.cluster import RedisCluster

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
    replies = _exchange(client, reads, count) if isinstance(client, Redis) else _pipeline(client, reads)
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
    # redis-py's connections are untyped.
    connection: Any = pool.get_connection()

    def attempt() -> list[Reply]:
        connection.send_packed_command(packed)
        receive = connection.read_response
        return [receive() for _ in range(count)]

    # Replies that nobody reads would answer the next command of whoever gets the connection then. redis-py closes it on
    # a broken
    # exchange; an error reply (WRONGTYPE, LOADING) leaves the exchange whole and the rest of the replies unread.
    whole = False
    try:
        replies: list[Reply] = connection.retry.call_with_retry(attempt, lambda _: connection.disconnect())
        whole = True
        return replies
    finally:
        if not whole:
            connection.disconnect()
        pool.release(connection)


def _pipeline(client: Any, reads: Sequence[tuple[HashRead, Sequence[bytes]]]) -> list[Reply]:
    pipeline = client.pipeline(transaction=False)
    for read, keys in reads:
        for key in keys:
            pipeline.hmget(key, read.fields)
    replies: list[Reply] = pipeline.execute()
    return replies
