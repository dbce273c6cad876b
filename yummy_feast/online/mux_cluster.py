"""The way to a cluster from an event loop: a Mux per node, and each command to the node that serves its key.

The topology is asked of the cluster when it is first needed, and again when a node says that a key has moved or does
not answer. Of many commands sent together, only those that did not arrive are sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from redis import exceptions
from redis.crc import key_slot

from yummy_feast.online.connection_string import Node
from yummy_feast.online.link import CLOSED, Link, Replies
from yummy_feast.online.mux import LOST, Mux
from yummy_feast.online.redis import HOPELESS, backoff
from yummy_feast.online.redis_errors import ENDLESS_MOVES
from yummy_feast.online.wire import Command, pack

_MOST_MOVES: Final = 8
_SLOTS: Final = pack("CLUSTER", "SLOTS")
_ASKING: Final = pack("ASKING")
# What time may mend.
_UNSETTLED: Final = (exceptions.TryAgainError, exceptions.ClusterDownError)


class _Errand:
    """Commands under way: what was answered, what is left, and where it was redirected to."""

    def __init__(self, commands: Sequence[Command]) -> None:
        self.commands = commands
        self.replies: Replies = [None] * len(commands)
        self.left = list(range(len(commands)))
        self.redirects: dict[int, Node] = {}
        self.asking: set[int] = set()
        self.trouble: Exception | None = None
        self._failures = 0
        self._moves = 0

    def again(self, part: Sequence[int]) -> None:
        """Send these once more, each to the owner of its slot."""
        self.left += part
        for index in part:
            self.redirects.pop(index, None)
        self.asking.difference_update(part)

    def redirect(self, index: int, target: Node, is_moved: bool) -> None:
        """Send this one to ``target``: its slot's new owner, or (ASK) the node that is taking the slot over."""
        self.again([index])
        self.redirects[index] = target
        if not is_moved:
            self.asking.add(index)

    def pause(self, retries: int) -> float:
        """Seconds before the next round; raises when there must be none."""
        if not self.left:
            return 0
        trouble, self.trouble = self.trouble, None
        if trouble is not None:
            self._failures += 1
            if self._failures > retries or isinstance(trouble, HOPELESS):
                raise trouble
        else:
            self._moves += 1
            if self._moves > _MOST_MOVES:
                raise exceptions.ClusterError(ENDLESS_MOVES)
            if self._moves == 1:
                return 0
        seconds: float = backoff().compute(self._failures + self._moves)
        return seconds


class ClusterMux:
    """Exchanges with a cluster, for every task of one event loop.

    Args:
        nodes: to ask for the topology first.
        dial: makes a Link to one node.
        retries: attempts after the first one, when a node is lost or the cluster is not settled.
    """

    def __init__(self, nodes: Sequence[Node], dial: Callable[[Node], Awaitable[Link]], retries: int) -> None:
        self._known_nodes = tuple(nodes)
        self._dial = dial
        self._retries = retries
        self._muxes: dict[Node, Mux] = {}
        self._owners: dict[int, Node] | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self.is_closed = False

    @property
    def reconnects(self) -> int:
        """How often a link to a node was made beyond the first one; of nodes that still are in the cluster."""
        return sum(mux.reconnects for mux in self._muxes.values())

    async def connect(self) -> None:
        """Know the topology. Raises as ``execute``."""
        await self._refresh()

    async def execute(self, commands: Sequence[Command]) -> Replies:
        """One reply per command, in order, error replies as redis-py's exceptions among them.

        Raises redis-py's ConnectionError, TimeoutError, ClusterDownError or TryAgainError once the retries are used
        up, ClusterError when redirections do not end, RedisClusterException when this is no cluster.
        """
        errand = _Errand(commands)
        while errand.left:
            try:
                routes = await self._routes(errand)
            except LOST as error:
                errand.trouble = error
            else:
                answers = await self._ask_all(errand, routes)
                errand.left = []
                for (node, part), answer in zip(routes.items(), answers, strict=True):
                    self._note(errand, node, part, answer)
            pause = errand.pause(self._retries)
            if pause:
                await asyncio.sleep(pause)
        return errand.replies

    async def aclose(self) -> None:
        """Let what is under way end, then close. A closed ClusterMux stays closed."""
        self.is_closed = True
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait([self._refreshing])
        for mux in self._muxes.values():
            await mux.aclose()

    # ------------------------------------------------------------------------------------------------ routing

    async def _routes(self, errand: _Errand) -> dict[Node, list[int]]:
        """Per node the commands that go to it next."""
        while self._owners is None:
            await self._refresh()
        owners = self._owners
        routes: dict[Node, list[int]] = {}
        for index in errand.left:
            node = errand.redirects.get(index) or owners.get(key_slot(errand.commands[index].key))
            if node is None:
                # Somebody may serve it by the next look.
                self._owners = None
                raise exceptions.ConnectionError("Hash slot not served", status_code="CLUSTERDOWN")
            routes.setdefault(node, []).append(index)
        return routes

    async def _ask_all(self, errand: _Errand, routes: dict[Node, list[int]]) -> list[Replies | Exception]:
        """Per route the replies, or why there are none."""
        asked = [self._ask(errand, node, part) for node, part in routes.items()]
        if len(asked) == 1:
            return [await asked[0]]
        return await asyncio.gather(*asked)

    async def _ask(self, errand: _Errand, node: Node, part: list[int]) -> Replies | Exception:
        packed = []
        for index in part:
            if index in errand.asking:
                packed.append(_ASKING)
            packed.append(errand.commands[index].packed)
        try:
            found = await self._mux(node).exchange(b"".join(packed), len(packed))
        except LOST as error:
            return error
        if len(found) == len(part):
            return found
        replies = iter(found)
        return [(next(replies), next(replies))[1] if index in errand.asking else next(replies) for index in part]

    def _note(self, errand: _Errand, node: Node, part: list[int], answer: Replies | Exception) -> None:
        """Keep what was answered, and what must be sent again."""
        if isinstance(answer, Exception):
            # Another may have taken over from it.
            self._owners = None
            errand.trouble = answer
            errand.again(part)
            return
        for index, reply in zip(part, answer, strict=True):
            errand.replies[index] = reply
            if isinstance(reply, exceptions.AskError):
                # An empty host means the one that answered.
                target = Node(reply.host or node.host, reply.port)
                is_moved = isinstance(reply, exceptions.MovedError)
                errand.redirect(index, target, is_moved)
                if is_moved and self._owners is not None and self._owners.get(reply.slot_id) == node:
                    # Others may have moved with it.
                    self._owners = None
            elif isinstance(reply, _UNSETTLED):
                errand.trouble = reply
                errand.again([index])

    def _mux(self, node: Node) -> Mux:
        if self.is_closed:
            raise exceptions.ConnectionError(CLOSED)
        mux = self._muxes.get(node)
        if mux is None:
            mux = self._muxes[node] = Mux(lambda: self._dial(node), 0)
        return mux

    # ------------------------------------------------------------------------------------------------ topology

    async def _refresh(self) -> None:
        """Learn the topology; everybody who needs it waits for the same answer."""
        if self._refreshing is None:
            self._refreshing = asyncio.get_running_loop().create_task(self._learn())
            self._refreshing.add_done_callback(self._learned)
        refreshing = self._refreshing
        try:
            await asyncio.shield(refreshing)
        except asyncio.CancelledError:
            if refreshing.cancelled() and self.is_closed:
                raise exceptions.ConnectionError(CLOSED) from None
            raise

    async def _learn(self) -> None:
        # A node that answered lately first: one that is away costs a timeout.
        nodes = sorted({*self._muxes, *self._known_nodes}, key=lambda node: not self._is_connected(node))
        reason: Exception = exceptions.ConnectionError(CLOSED)
        for node in nodes:
            try:
                [reply] = await self._mux(node).exchange(_SLOTS, 1)
            except LOST as error:
                if isinstance(error, HOPELESS):
                    raise
                reason = error
                continue
            if isinstance(reply, Exception):
                raise exceptions.RedisClusterException(str(reply))  # type: ignore[no-untyped-call]
            self._owners = _owners(reply, node)
            kept = {*self._owners.values(), *self._known_nodes}
            # Addresses that come and go, as those of containers do, must not pile up.
            self._muxes = {node: mux for node, mux in self._muxes.items() if node in kept or not mux.is_idle}
            return
        raise reason

    def _is_connected(self, node: Node) -> bool:
        return node in self._muxes and self._muxes[node].is_connected

    def _learned(self, task: asyncio.Task[None]) -> None:
        self._refreshing = None
        # Looked at, so that asyncio does not complain where everybody who waited has gone.
        if not task.cancelled():
            task.exception()


def _owners(reply: Sequence[Any], asked: Node) -> dict[int, Node]:
    """Slot -> the node that serves it, from the reply to CLUSTER SLOTS."""
    owners: dict[int, Node] = {}
    for first, last, (host, port, *_), *_ in reply:
        owner = Node(host.decode() if host else asked.host, port)
        owners |= dict.fromkeys(range(first, last + 1), owner)
    return owners
