"""The feature server over HTTP while Redis or its clients misbehave: 503 in time, and well again by itself."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.feast.served import rows
from tests.feast.served.repositories import Served, one
from tests.feast.served.servers import PATH, Client, Reply
from tests.feast.served.soak import soak
from tests.places import Node, node, wait_until

# A request that Redis does not answer may take one of these for each try, and the pauses between.
TIMEOUT, TRIES = 0.3, 2
SETTINGS = f"connect_timeout: {TIMEOUT}s\nread_timeout: {TIMEOUT}s\nretries: {TRIES - 1}"
IN_TIME = TIMEOUT * TRIES * 2 + 1.0
TRIPS = {0: 0, 1: 10, 2: 20}


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with node(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="module")
def served(redis: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with one(tmp_path_factory.mktemp("faults"), redis.port, SETTINGS, request_timeout=3.0) as served:
        yield served


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.port, timeout=20, hangs_up=True) as client:
        yield client
        assert_well(client)


def trips(*drivers: int) -> dict[str, Any]:
    return {"features": ["stats:trips"], "entities": {"driver_id": list(drivers)}}


def assert_well(client: Client) -> None:
    """Every driver has his own trips."""
    reply = client.post(trips(*TRIPS))
    assert reply.status == 200, reply.body
    assert reply.columns["trips"]["values"] == list(TRIPS.values())


def timed(client: Client, body: Any) -> tuple[Reply, float]:
    started = time.monotonic()
    reply = client.post(body)
    return reply, time.monotonic() - started


def assert_away(client: Client) -> None:
    """503 in time, with the code, when to come again, and the address."""
    reply, seconds = timed(client, trips(1))
    assert (reply.status, reply.code) == (503, "ONLINE_STORE_UNAVAILABLE"), reply.body
    assert seconds < IN_TIME
    assert reply.headers["retry-after"] == "1"
    assert "server-timing" in reply.headers
    assert "\n" not in reply.json["detail"]["message"]
    assert client.get("/health").status == 503


def heals(client: Client, seconds: float = 10) -> None:
    wait_until(lambda: client.post(trips(1)).status == 200, seconds, "an answer")
    wait_until(lambda: client.get("/health").status == 200, seconds, "health")


def test_killed_and_started_again_empty_and_filled(client: Client, redis: Node, served: Served) -> None:
    assert_well(client)
    redis.kill()
    for _ in range(3):
        assert_away(client)
    redis.start()
    heals(client)
    reply = client.post(trips(1, 2))
    assert reply.columns["trips"]["values"] == [None, None]
    assert reply.columns["trips"]["statuses"] == ["NOT_FOUND"] * 2
    rows.fill(served.store)


def test_paused_with_many_waiting(client: Client, redis: Node, served: Served) -> None:
    def ask(driver: int) -> tuple[Reply, float]:
        with Client(served.port, timeout=20) as own:
            return timed(own, trips(driver % 3))

    with redis.paused():
        assert_away(client)
        with ThreadPoolExecutor(30) as pool:
            for reply, seconds in pool.map(ask, range(60)):
                assert (reply.status, reply.code) == (503, "ONLINE_STORE_UNAVAILABLE")
                assert seconds < IN_TIME
    heals(client)


def test_slow_but_in_time_and_too_slow(client: Client, redis: Node) -> None:
    redis.ask("CLIENT", "PAUSE", int(TIMEOUT * 1000 / 2), "ALL")
    reply, seconds = timed(client, trips(1))
    assert reply.columns["trips"]["values"] == [10]
    assert seconds > TIMEOUT / 4
    stages = dict(part.split(";dur=") for part in reply.headers["server-timing"].split(", "))
    assert float(stages["redis"]) > 250 * TIMEOUT
    redis.ask("CLIENT", "PAUSE", int(IN_TIME * 2000), "ALL")
    assert_away(client)
    heals(client)


def test_a_cancelled_request_leaves_its_reply_to_nobody(tmp_path: Path, redis: Node) -> None:
    """The server gives a request up while Redis' reply to it is under way on the connection that all requests share."""
    with one(tmp_path, redis.port, "read_timeout: 5s", request_timeout=0.4) as served:
        with Client(served.port) as client:
            assert_well(client)
            for round_number in range(3):
                redis.ask("CLIENT", "PAUSE", 1000, "ALL")
                gone, seconds = timed(client, trips(1))
                assert (gone.status, gone.code) == (503, "REQUEST_TIMEOUT"), gone.body
                assert seconds < 0.9
                # Behind the reply that nobody wants comes one of the same shape, with other values.
                reply = client.post(trips(round_number % 3, 77))
                while reply.status != 200:
                    assert reply.code == "REQUEST_TIMEOUT"
                    reply = client.post(trips(round_number % 3, 77))
                assert reply.columns["trips"]["values"] == [TRIPS[round_number % 3], None]
                assert_well(client)
        # All on the one connection of the loop: none was thrown away to be rid of a reply.
        connections = [c for c in psutil.Process(served.process.popen.pid).net_connections() if c.raddr]
        assert sum(c.raddr.port == redis.port for c in connections) == 1


# ------------------------------------------------------------------------------------------------- the clients


def message(body: bytes, *, length: int | None = None) -> bytes:
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body) if length is None else length}\r\n\r\n".encode() + body


@contextmanager
def connected(port: int, timeout: float = 20) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        yield connection


def test_thousands_hang_up_at_any_moment(client: Client, served: Served) -> None:
    whole = message(json.dumps(trips(0, 1, 2)).encode())
    process = psutil.Process(served.process.popen.pid)
    before = process.num_fds()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(lambda: [assert_well(client) for _ in range(300)])
        for number in range(10_000):
            with connected(served.port) as connection:
                # Before the head, within it, within the body, right after it.
                connection.sendall(whole[: number % (len(whole) + 1)])
        running.result()
    wait_until(lambda: process.num_fds() <= before + 3, what="the end of all connections")

    def running_now() -> float:
        told = client.get("/metrics").body.decode().splitlines()
        return next(float(line.split()[-1]) for line in told if line.startswith("yummy_features_requests_running "))

    # Sooner than the request's own timeout would end it.
    wait_until(lambda: running_now() == 0, 2, what="the end of all requests")


def answered(connection: socket.socket) -> bytes:
    """All that comes until the server ends the connection."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_fifty_megabytes(client: Client, served: Served, chunked: bool) -> None:
    process = psutil.Process(served.process.popen.pid)
    before = process.memory_info().rss
    block, blocks = b" " * 500_000, 100
    with connected(served.port) as connection:
        if chunked:
            connection.sendall(message(b"").replace(b"content-length: 0", b"transfer-encoding: chunked"))
            parts = [b"%x\r\n%b\r\n" % (len(block), block)] * blocks + [b"0\r\n\r\n"]
        else:
            connection.sendall(message(b"", length=len(block) * blocks))
            parts = [block] * blocks
        try:
            for part in parts:
                connection.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            # It need not be read to be refused.
            pass
        reply = answered(connection)
    assert reply.startswith(b"HTTP/1.1 413"), reply[:200]
    assert b"BODY_TOO_LARGE" in reply
    assert process.memory_info().rss < before + 60_000_000


def test_a_body_that_trickles(client: Client, served: Served) -> None:
    with connected(served.port) as connection:
        connection.sendall(message(b'{"features": [', length=1000))
        started = time.monotonic()
        reply = answered(connection)
    assert reply.startswith(b"HTTP/1.1 408"), reply[:200]
    assert b"BODY_TOO_SLOW" in reply
    # Its three seconds; a busy machine may take its time beside.
    assert 2.5 < time.monotonic() - started < 15


@pytest.mark.slow
def test_memory_is_flat(served: Served) -> None:
    """A minute of every kind of request; ``python -m tests.feast.served.soak`` is the long form."""
    found = soak(served.port, served.process.popen.pid, 60)
    assert found.failures == 0
    assert found.requests > 5_000
    assert found.growth < 4_000_000, found
