"""The places where Redis runs, as real processes on this machine: a node, a cluster, sentinels.

All are the server that is embedded; ``tests.tls_node`` has another. Each is a context manager over a folder for its
files; nothing of it outlives the block, however it ends.
"""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry

from tests.unit.online.servers import free_port, wait_for_port
from yummy_feast.online import valkey_process

SLOTS = 16_384
# Long enough for a stalled machine not to be taken for a dead node, short enough for a test to wait for.
NODE_TIMEOUT_MS = 2_000
_starts = itertools.count()


def wait_until(true: Callable[[], bool], seconds: float = 30, what: str = "it") -> None:
    """Return as soon as ``true()``; TimeoutError if that takes longer than ``seconds``."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {seconds:g} s")
        time.sleep(0.02)


@dataclass
class Node:
    """One server process with a TCP port (plain or TLS), which can be ended, paused and started again."""

    folder: Path
    port: int
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / f"{self.port}.log").read_text(errors="replace")

    def start(self) -> None:
        with (self.folder / f"{self.port}.log").open("ab") as log:
            self.process = subprocess.Popen(self.command, cwd=self.folder, env={"LC_ALL": "C"}, stdout=log, stderr=log)
        process = self.process

        def is_up() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"the server at port {self.port} ended: {self.log[-2000:]}")
            try:
                wait_for_port(self.port, 0.2)
            except TimeoutError:
                return False
            return "--tls-port" in self.command or not self._is_loading()

        wait_until(is_up, what=f"a server at port {self.port}")

    def _is_loading(self) -> bool:
        """Whether it takes connections and is not done with its files."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(100).startswith(b"-LOADING")

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """kill -9; also of a paused server. Returns when it is gone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        self.kill()
        self.start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Alive, connected, and silent."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    @contextmanager
    def client(self, **options: Any) -> Iterator[redis.Redis]:
        """A client that does not retry: a test that breaks servers wants to see it."""
        with redis.Redis(port=self.port, retry=Retry(NoBackoff(), 0), **options) as connected:
            yield connected

    def ask(self, *command: object) -> Any:
        """The reply of one command."""
        with self.client() as client:
            return client.execute_command(*command)


@contextmanager
def node(folder: Path, *arguments: str, port: int | None = None, binary: str | None = None) -> Iterator[Node]:
    """A server with its own ``arguments``, which keeps nothing on disk unless they say so."""
    port = port or free_port()
    own = folder / f"node{next(_starts)}"
    own.mkdir()
    command = [binary or str(valkey_process.find_binary()), *arguments]
    if "--tls-port" not in arguments and "--sentinel" not in arguments:
        command += ["--port", str(port), "--bind", "127.0.0.1"]
    if "--save" not in arguments and "--sentinel" not in arguments:
        command += ["--save", ""]
    running = Node(own, port, command)
    try:
        running.start()
        yield running
    finally:
        if running.process is not None:
            running.kill()


# ------------------------------------------------------------------------------------------------- cluster


@dataclass(frozen=True)
class Cluster:
    """Primaries that share the slots evenly; no replicas."""

    nodes: tuple[Node, ...]

    @property
    def address(self) -> str:
        return ",".join(node.address for node in self.nodes)

    def owner(self, key: bytes) -> Node:
        """The node that has ``key``'s slot now."""
        return self._node_with(key_slot(key))

    def _node_with(self, slot: int) -> Node:
        for first, last, (_, port, *_rest), *_others in self.nodes[0].ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == port)
        raise LookupError(f"nobody has slot {slot}")

    def empty(self) -> None:
        for node in self.nodes:
            node.ask("FLUSHALL")

    def move(self, slot: int, target: Node) -> None:
        """Move a slot and its keys to ``target`` while it is being used, as redis-cli's reshard does."""
        ids = {node.port: _text(node.ask("CLUSTER", "MYID")) for node in self.nodes}
        source = self._node_with(slot)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source.port])
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target.port])
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "KEYS", *keys)
        for node in (target, source, *self.nodes):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", ids[target.port])

    def wait(self) -> None:
        """Until every node serves and knows of every other."""
        wait_until(lambda: all(_is_ready(node, len(self.nodes)) for node in self.nodes), what="a whole cluster")

    def confuse(self) -> None:
        """Each of two empty nodes holds the other for the owner of every slot, which no gossip mends."""
        one, other = self.nodes
        ids = [_text(node.ask("CLUSTER", "MYID")) for node in self.nodes]
        for node, owner in ((one, ids[1]), (other, ids[0])):
            with node.client() as client:
                pipeline = client.pipeline(transaction=False)
                for slot in range(SLOTS):
                    pipeline.execute_command("CLUSTER", "SETSLOT", slot, "NODE", owner)
                pipeline.execute()


@contextmanager
def cluster(folder: Path, *arguments: str, nodes: int = 3) -> Iterator[Cluster]:
    """``nodes`` servers that are one cluster, ready for commands."""
    common = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS), *arguments)
    # A node that gave its slots away stays a primary, and is not demoted to a replica.
    common += ("--cluster-allow-replica-migration", "no")
    with ExitStack() as stack:
        # The bus would else take port + 10000, which may be no port at all.
        buses = [free_port() for _ in range(nodes)]
        running = [stack.enter_context(node(folder, *common, "--cluster-port", str(bus))) for bus in buses]
        for number, member in enumerate(running):
            first, last = number * SLOTS // nodes, (number + 1) * SLOTS // nodes - 1
            member.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            member.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
        for member, bus in zip(running[1:], buses[1:], strict=True):
            running[0].ask("CLUSTER", "MEET", "127.0.0.1", member.port, bus)
        made = Cluster(tuple(running))
        made.wait()
        yield made


def _is_ready(member: Node, nodes: int) -> bool:
    info = _text(member.ask("CLUSTER", "INFO"))
    return "cluster_state:ok" in info and len({owner[1] for _, _, owner, *_ in member.ask("CLUSTER", "SLOTS")}) == nodes


def _text(reply: Any) -> str:
    return reply.decode() if isinstance(reply, bytes) else str(reply)


# ------------------------------------------------------------------------------------------------ sentinel


@dataclass(frozen=True)
class Sentinels:
    """One sentinel that watches ``primary`` under the name `main` and promotes ``replica`` when it is gone."""

    primary: Node
    replica: Node
    sentinel: Node

    @property
    def address(self) -> str:
        return self.sentinel.address

    def wait_for_promotion(self) -> None:
        """Until the sentinel is done with the failover and names the former replica alone."""

        def is_promoted() -> bool:
            reply = self.sentinel.ask("SENTINEL", "MASTER", "main")
            state = dict(zip(reply[::2], reply[1::2], strict=True))
            return int(state[b"port"]) == self.replica.port and state[b"flags"] == b"master"

        wait_until(is_promoted, 60, "a failover")


@contextmanager
def sentinels(folder: Path, *arguments: str, down_after_ms: int = 300) -> Iterator[Sentinels]:
    """A primary, its replica in step with it, and the sentinel of both."""
    with (
        node(folder, *arguments) as primary,
        node(folder, "--replicaof", f"127.0.0.1 {primary.port}", "--repl-diskless-sync-delay", "0") as replica,
    ):
        port = free_port()
        configuration = folder / "sentinel.conf"
        configuration.write_text(
            f"port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {primary.port} 1\n"
            f"sentinel down-after-milliseconds main {down_after_ms}\nsentinel failover-timeout main 5000\n"
        )
        wait_until(lambda: replica.ask("INFO", "replication")["master_link_status"] == "up", 60, "a replica in step")
        with node(folder, str(configuration), "--sentinel", port=port) as watch:
            # A sentinel hears of replicas from the primary, and can promote none before.
            wait_until(lambda: len(watch.ask("SENTINEL", "REPLICAS", "main")) == 1, 60, "a sentinel that knows both")
            yield Sentinels(primary, replica, watch)
