"""Many commands to a cluster: one round trip per node, and one retry policy for all of them.

redis-py's pipeline sends whatever failed again command by command, each with retries and timeouts of its own: of two
thousand rows, those of a node that hangs would take hundreds of timeouts. Here a round sends every node its share, and
what did not arrive goes into the next round; rounds are bounded, and so is the time of all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from redis import exceptions
from redis.cluster import ClusterNode, RedisCluster
from redis.crc import key_slot

from yummy_feast.online.redis import HOPELESS, backoff
from yummy_feast.online.redis_errors import ENDLESS_MOVES
from yummy_feast.online.wire import Command, pack

_MOST_MOVES: Final = 8
_ASKING: Final = pack("ASKING")
_LOST: Final = (exceptions.ConnectionError, exceptions.TimeoutError)
# What time may mend.
_UNSETTLED: Final = (exceptions.TryAgainError, exceptions.ClusterDownError)


def execute_all(client: RedisCluster, commands: Sequence[Command]) -> list[Any]:
    """One reply per command, in order.

    A command may be sent again whose reply was lost: each must do the same the second time.

    Raises the first error reply; redis-py's ConnectionError, TimeoutError, ClusterDownError or TryAgainError once the
    retries of ``client`` are used up; ClusterError when redirections do not end.
    """
    errand = _Errand(client, commands)
    failures = moves = 0
    while errand.left:
        trouble = errand.round()
        if not errand.left:
            break
        if trouble is None:
            moves += 1
            if moves > _MOST_MOVES:
                raise exceptions.ClusterError(ENDLESS_MOVES)
            if moves == 1:
                # The redirection itself says where to go: no reason to wait.
                continue
        else:
            failures += 1
            if failures > client.retry.get_retries() or isinstance(trouble, HOPELESS):
                raise trouble
        time.sleep(backoff().compute(failures + moves))
        # Raises where no node can be asked; then the next round says what is wrong.
        with suppress(exceptions.RedisClusterException):
            client.nodes_manager.initialize()
    for reply in errand.replies:
        if isinstance(reply, Exception):
            raise reply
    return errand.replies


class _Errand:
    """Commands under way: what was answered, what is left, and who is to be asked instead of a slot's owner."""

    def __init__(self, client: RedisCluster, commands: Sequence[Command]) -> None:
        self.replies: list[Any] = [None] * len(commands)
        self.left = list(range(len(commands)))
        self._client = client
        self._commands = commands
        self._asking: dict[int, ClusterNode] = {}
        self._trouble: Exception | None = None

    def round(self) -> Exception | None:
        """Send each node its share of what is left, then hear all of them; afterwards ``left`` must go again.

        Returns why, if that is more than redirections.
        """
        self._trouble = None
        routes = self._routes()
        self.left = []
        shares = [_Share(self._client, node, part) for node, part in routes.items()]
        try:
            for share in shares:
                self._attempt(share, lambda share: share.send([self._wire(index) for index in share.part]))
            for share in shares:
                self._attempt(share, self._hear)
        finally:
            # Also of an interrupted round: replies that nobody read must not answer somebody else.
            for share in shares:
                share.release()
        return self._trouble

    def _routes(self) -> dict[ClusterNode, list[int]]:
        routes: dict[ClusterNode, list[int]] = {}
        for index in self.left:
            node = self._asking.get(index) or self._client.nodes_manager.get_node_from_slot(
                key_slot(self._commands[index].key)
            )
            routes.setdefault(node, []).append(index)
        return routes

    def _wire(self, index: int) -> bytes:
        wire = self._commands[index].packed
        return _ASKING + wire if index in self._asking else wire

    def _attempt(self, share: _Share, act: Callable[[_Share], None]) -> None:
        """Let a share get on, unless it is lost already."""
        if share.is_lost:
            return
        try:
            act(share)
        except _LOST as error:
            self._trouble = error
            share.lose()
            self._again(share.part[share.heard :])
            # Ask another node for the slots next time: this one may take a timeout to say nothing.
            self._client.nodes_manager.move_node_to_end_of_cached_nodes(share.node.name)

    def _hear(self, share: _Share) -> None:
        for index in share.part:
            if index in self._asking:
                share.receive()
            reply = share.receive()
            share.heard += 1
            self._asking.pop(index, None)
            if isinstance(reply, exceptions.MovedError):
                self._client.nodes_manager.move_slot(reply)
                self.left.append(index)
            elif isinstance(reply, exceptions.AskError):
                self._asking[index] = self._node_of(reply)
                self.left.append(index)
            elif isinstance(reply, _UNSETTLED):
                self._trouble = reply
                self.left.append(index)
            else:
                self.replies[index] = reply

    def _node_of(self, redirection: exceptions.AskError) -> ClusterNode:
        # redis-py's nodes are untyped.
        client: Any = self._client
        known: ClusterNode | None = client.get_node(redirection.host, redirection.port)
        return known or ClusterNode(redirection.host, redirection.port)  # type: ignore[no-untyped-call]

    def _again(self, part: Sequence[int]) -> None:
        self.left += part
        for index in part:
            self._asking.pop(index, None)


class _Share:
    """What one node is sent in one round, and the connection that carries it."""

    def __init__(self, client: RedisCluster, node: ClusterNode, part: list[int]) -> None:
        self.node = node
        self.part = part
        self.heard = 0
        self.is_lost = False
        self._pool: Any = client.get_redis_connection(node).connection_pool
        self._connection: Any = None

    def send(self, wires: Sequence[bytes]) -> None:
        self._connection = self._pool.get_connection()
        self._connection.send_packed_command((b"".join(wires),))

    def receive(self) -> Any:
        """The next reply, an error reply as the exception that redis-py makes of it."""
        try:
            return self._connection.read_response()
        except exceptions.ResponseError as error:
            return error

    def lose(self) -> None:
        self.is_lost = True
        if self._connection is not None:
            self._connection.disconnect()

    def release(self) -> None:
        if self._connection is None:
            return
        if self.heard < len(self.part):
            self._connection.disconnect()
        self._pool.release(self._connection)
