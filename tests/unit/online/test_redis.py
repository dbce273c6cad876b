"""Clients of real servers of every kind, and of things that are none."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis

from tests.unit.online.servers import free_port, output, python, running_pid, valkey, wait_for_port
from yummy_feast.errors import ServerUnavailableError
from yummy_feast.online import embedded, valkey_process
from yummy_feast.online.redis import RedisSettings, client_for, connect, ping, translated

parse = RedisSettings.parse


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with valkey(tmp_path) as port:
        yield port


def test_replies_are_bytes_parsed_by_hiredis(port: int) -> None:
    with connect(parse(f"localhost:{port},db=2")) as client:
        client.hset("key", "field", b"\xff\x00")
        assert client.hmget("key", ["field", "none"]) == [b"\xff\x00", None]
        connection = client.connection_pool.get_connection()
        assert type(connection._parser).__name__ == "_HiredisParser"
        assert connection.protocol == 2
        client.connection_pool.release(connection)
    with connect(parse(f"redis://localhost:{port}/0")) as client:
        assert client.keys() == []


def test_a_unix_socket_is_one_more_address(repo: Path) -> None:
    path = embedded.ensure(repo).socket_path
    with connect(parse(f"unix://{path}?db=1")) as client:
        client.set("key", "value")
    with connect(parse("embedded", repo_path=repo)) as client:
        assert client.info("keyspace")["db1"]["keys"] == 1
    gone = parse("unix:///nowhere/redis.sock", retries=0)
    with pytest.raises(ServerUnavailableError, match=r"^redis at /nowhere/redis\.sock does not answer"):
        ping(gone)


def test_the_embedded_server_heals_under_a_client_that_never_notices(repo: Path) -> None:
    with connect(parse("embedded", repo_path=repo)) as client:
        for number in range(3):
            client.set(f"key{number}", number)
            os.kill(running_pid(repo), signal.SIGKILL)
        assert client.mget("key0", "key1", "key2") == [b"0", b"1", b"2"]
        embedded.stop(repo)
        pipe = client.pipeline(transaction=False)
        assert pipe.get("key2").set("after", 1).execute() == [b"2", True]


def test_a_right_password_is_accepted_and_a_wrong_one_tried_once(tmp_path: Path) -> None:
    with valkey(tmp_path, "--requirepass", "right-one") as port:
        settings = parse(f"localhost:{port},password=right-one")
        ping(settings)
        before = client_for(settings).info("stats")["total_connections_received"]
        with pytest.raises(ServerUnavailableError) as caught:
            ping(parse(f"redis://:wrong-one@localhost:{port}"))
        assert "does not accept the user name or password" in caught.value.message
        assert f"redis at localhost:{port}" in caught.value.message
        assert "check username and password in online_store.connection_string" in caught.value.hint
        assert "wrong-one" not in str(caught.value)
        with pytest.raises(ServerUnavailableError, match=r"asks for a password.*\(add password="):
            ping(parse(f"localhost:{port}"))
        # One connection for each of the two; a retry would have made more.
        assert client_for(settings).info("stats")["total_connections_received"] == before + 2


def test_missing_rights_are_named(port: int) -> None:
    with connect(parse(f"localhost:{port}")) as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">pw", "~*", "+hmget", "+ping")
    settings = parse(f"localhost:{port},username=reader,password=pw")
    with pytest.raises(ServerUnavailableError, match=r"forbids this: .*hset.*\(ACL SETUSER name \+@read"):
        run(settings, "HSET", "key", "field", "value")


def test_a_full_memory_and_a_replica_are_named(tmp_path: Path, port: int) -> None:
    with (
        valkey(tmp_path, "--maxmemory", "1") as full,
        pytest.raises(ServerUnavailableError, match=r"is out of memory.*\(raise its maxmemory"),
    ):
        run(parse(f"localhost:{full}"), "SET", "key", "value")
    with (
        valkey(tmp_path, "--replicaof", f"127.0.0.1 {port}") as replica,
        pytest.raises(ServerUnavailableError, match=r"is a replica and takes no writes.*\(name the primary"),
    ):
        run(parse(f"localhost:{replica}"), "SET", "key", "value")


def run(settings: RedisSettings, *command: str) -> object:
    with translated(settings), connect(settings) as client:
        result: object = client.execute_command(*command)
        return result


@contextmanager
def listener(answer: bytes | None) -> Iterator[tuple[int, list[float]]]:
    """Something that is no Redis: answers every connection's first bytes with ``answer`` and hangs up; None: never.

    Yields its port and the times of the connections it got.
    """
    times: list[float] = []
    kept: list[socket.socket] = []

    def serve(server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                times.append(time.monotonic())
                if answer is None:
                    kept.append(connection)
                    continue
                connection.recv(100)
                connection.sendall(answer)
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        try:
            yield server.getsockname()[1], times
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in kept:
                connection.close()


def test_no_answer_costs_the_timeouts_and_no_more() -> None:
    with listener(None) as (port, times):
        started = time.monotonic()
        with pytest.raises(ServerUnavailableError, match=r"does not answer in time \(2 s to connect, 0\.1 s to read\)"):
            ping(parse(f"127.0.0.1:{port}", read_timeout="100ms", retries=2))
        # Three attempts of 0.1 s and two pauses of at most half a second.
        assert 0.3 <= time.monotonic() - started < 1.5
        assert len(times) == 3


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_lost_connection_is_retried_as_often_as_configured(retries: int) -> None:
    with listener(b"") as (port, times):
        with pytest.raises(ServerUnavailableError, match=r"closed the connection.*\(if it speaks TLS, add ssl=true"):
            ping(parse(f"127.0.0.1:{port}", retries=retries))
        assert len(times) == retries + 1


def test_nobody_there_is_told_with_the_address() -> None:
    port = free_port()
    with pytest.raises(ServerUnavailableError) as caught:
        ping(parse(f"127.0.0.1:{port},password=not-shown", retries=1))
    assert caught.value.message.startswith(f"redis at 127.0.0.1:{port} does not answer")
    assert "Connection refused" in caught.value.message
    assert "is online_store.connection_string right?" in caught.value.hint
    assert "not-shown" not in str(caught.value)


def test_something_else_at_the_port_is_told() -> None:
    with (
        listener(b"HTTP/1.1 400 Bad Request\r\n\r\n") as (port, _),
        pytest.raises(ServerUnavailableError, match=r"does not speak Redis.*\(is the port in .* the right one"),
    ):
        ping(parse(f"127.0.0.1:{port}", retries=0))


def test_a_cluster_is_used_and_a_wrong_kind_is_told(tmp_path: Path, port: int) -> None:
    with pytest.raises(ServerUnavailableError, match=r"cluster.*\(is it a cluster \(else set .*redis_type: redis\)"):
        ping(parse(f"127.0.0.1:{port}", redis_type="redis_cluster", retries=0))
    with valkey(tmp_path, "--cluster-enabled", "yes", "--cluster-port", str(free_port())) as node:
        single = parse(f"127.0.0.1:{node}")
        with pytest.raises(ServerUnavailableError, match="is a cluster that does not serve all its slots"):
            run(single, "GET", "key")
        run(single, "CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        deadline = time.monotonic() + 20
        while "cluster_state:ok" not in str(run(single, "CLUSTER", "INFO")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        settings = parse(f"127.0.0.1:{node},127.0.0.1:{free_port()}", redis_type="redis_cluster")
        ping(settings)
        with connect(settings) as client:
            assert isinstance(client, redis.RedisCluster)
            client.hset("key", "field", b"\xff")
            assert client.hget("key", "field") == b"\xff"


def test_a_sentinel_leads_to_its_master(tmp_path: Path, port: int) -> None:
    configuration = tmp_path / "sentinel.conf"
    sentinel = free_port()
    configuration.write_text(f"port {sentinel}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {port} 1\n")
    command = [valkey_process.find_binary(), configuration, "--sentinel"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, env={"LC_ALL": "C"})
    try:
        wait_for_port(sentinel)
        nodes = f"127.0.0.1:{free_port()},127.0.0.1:{sentinel}"
        settings = parse(nodes, redis_type="redis_sentinel", sentinel_master="main")
        ping(settings)
        with connect(settings) as client:
            client.set("key", "value")
        with connect(parse(f"127.0.0.1:{port}")) as client:
            assert client.get("key") == b"value"
        other = parse(nodes, redis_type="redis_sentinel", sentinel_master="other", retries=0)
        with pytest.raises(ServerUnavailableError) as caught:
            ping(other)
        assert "No master found for 'other', and not every sentinel answers" in caught.value.message
        assert "is online_store.sentinel_master right" in caught.value.hint
    finally:
        process.kill()
        process.wait()


def test_a_process_has_one_client_for_equal_settings(port: int) -> None:
    settings = parse(f"localhost:{port}")
    clients = []
    threads = [
        threading.Thread(target=lambda: clients.append(client_for(parse(f"localhost:{port}")))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {id(client) for client in clients} == {id(client_for(settings))}
    assert client_for(parse(f"localhost:{port},db=1")) is not client_for(settings)


def test_a_fork_makes_connections_of_its_own(port: int) -> None:
    code = """
import os, sys
from yummy_feast.online.redis import RedisSettings, client_for
settings = RedisSettings.parse(sys.argv[1])
before = client_for(settings).client_id()
child = os.fork()
if child == 0:
    mine = client_for(settings).client_id()
    os._exit(0 if mine != before else 1)
_, status = os.waitpid(child, 0)
print(status, client_for(settings).client_id() == before)
"""
    assert output(python(code, f"localhost:{port}")) == "0 True"


@pytest.mark.skipif(sys.platform == "win32", reason="unix sockets")
def test_a_timeout_on_a_unix_socket_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        with pytest.raises(ServerUnavailableError, match="does not answer in time"):
            ping(parse(f"unix://{tmp_path / 's'}", read_timeout=0.1, retries=0))
