"""A connection that is logged in, to servers of every kind; when it cannot be, the words of the blocking path."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.unit.online.servers import free_port, running_pid, valkey, wait_for_port
from tests.unit.online.test_tls import certificate, plain_port, tls_port
from yummy_feast.errors import ServerUnavailableError
from yummy_feast.online import embedded, valkey_process
from yummy_feast.online.address import RedisSettings
from yummy_feast.online.loops import mux_for
from yummy_feast.online.redis import connect, ping, translated
from yummy_feast.online.wire import command

__all__ = ["certificate", "plain_port", "tls_port"]

parse = RedisSettings.parse


async def ask(settings: RedisSettings, *words: str) -> Any:
    """One command; its error reply raised, in our words."""
    with translated(settings):
        [reply] = await mux_for(settings).execute([command(*words, key_at=0)])
        if isinstance(reply, Exception):
            raise reply
    return reply


def run(settings: RedisSettings, *words: str) -> Any:
    return asyncio.run(ask(settings, *words))


def test_password_user_database_and_name(tmp_path: Path) -> None:
    with valkey(tmp_path, "--requirepass", "right, one") as port:
        owner = parse(f"redis://:right%2C%20one@localhost:{port}/3?client_name=me")
        assert run(owner, "CLIENT", "GETNAME") == b"me"
        run(owner, "SET", "key", "value")
        run(owner, "ACL", "SETUSER", "reader", "on", ">pw", "~*", "+get", "+select")
        assert run(parse(f"localhost:{port},username=reader,password=pw,db=3"), "GET", "key") == b"value"
        assert run(parse(f"redis://:right%2C%20one@localhost:{port}"), "GET", "key") is None


def test_errors_are_those_of_the_blocking_path(tmp_path: Path) -> None:
    with valkey(tmp_path, "--requirepass", "right") as port:
        for text in (f"localhost:{port}", f"localhost:{port},password=wrong", f"127.0.0.1:{free_port()},password=x"):
            settings = parse(text, retries=1)
            with pytest.raises(ServerUnavailableError) as blocking:
                ping(settings)
            with pytest.raises(ServerUnavailableError) as other:
                run(settings, "PING")
            assert other.value.hint == blocking.value.hint
            assert other.value.message.partition(":")[0] == blocking.value.message.partition(":")[0]
            assert "wrong" not in str(other.value).replace("WRONGPASS", "")


def test_a_unix_socket_and_none(socket: str) -> None:
    assert run(parse(f"unix://{socket}"), "PING") == b"PONG"
    with pytest.raises(ServerUnavailableError, match=r"^redis at /nowhere/redis\.sock does not answer.*No such file"):
        run(parse("unix:///nowhere/redis.sock", retries=0), "PING")


def test_the_embedded_server_is_started_and_started_again(repo: Path) -> None:
    settings = parse("embedded", repo_path=repo)

    async def main() -> None:
        for number in range(3):
            await ask(settings, "SET", f"key{number}", str(number))
            await asyncio.to_thread(os.kill, running_pid(repo), signal.SIGKILL)
        assert await ask(settings, "MGET", "key0", "key1", "key2") == [b"0", b"1", b"2"]
        await asyncio.to_thread(embedded.stop, repo)
        assert await ask(settings, "GET", "key2") == b"2"

    asyncio.run(main())


def test_tls(tls_port: int, certificate: Path) -> None:
    for text in (
        f"127.0.0.1:{tls_port},ssl=true,password=pw,ssl_ca_certs={certificate}",
        f"rediss://:pw@127.0.0.1:{tls_port}?ssl_cert_reqs=none",
    ):
        assert run(parse(text), "PING") == b"PONG"


def test_what_is_wrong_with_tls_is_told(tls_port: int, plain_port: int) -> None:
    with pytest.raises(
        ServerUnavailableError, match=r"shows a certificate nobody here trusts.*\(add ssl_ca_certs=FILE"
    ):
        run(parse(f"rediss://:pw@127.0.0.1:{tls_port}", retries=0), "PING")
    plain = parse(f"rediss://:pw@127.0.0.1:{plain_port}", retries=0, connect_timeout=0.2)
    with pytest.raises(ServerUnavailableError, match=r"does not answer in time.*does it speak TLS at this port\?"):
        run(plain, "PING")
    with pytest.raises(ServerUnavailableError, match=r"closed the connection.*\(if it speaks TLS, add ssl=true"):
        run(parse(f"redis://:pw@127.0.0.1:{tls_port}", retries=0), "PING")


@contextmanager
def sentinel_of(folder: Path, port: int) -> Iterator[int]:
    configuration = folder / "sentinel.conf"
    sentinel = free_port()
    configuration.write_text(f"port {sentinel}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {port} 1\n")
    command = [valkey_process.find_binary(), configuration, "--sentinel"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, env={"LC_ALL": "C"})
    try:
        wait_for_port(sentinel)
        yield sentinel
    finally:
        process.kill()
        process.wait()


def test_a_sentinel_leads_to_its_master_and_to_the_next_one(tmp_path: Path) -> None:
    with valkey(tmp_path) as first, valkey(tmp_path) as second, sentinel_of(tmp_path, first) as sentinel:
        nodes = f"127.0.0.1:{free_port()},127.0.0.1:{sentinel}"
        settings = parse(nodes, redis_type="redis_sentinel", sentinel_master="main", retries=5)

        async def main() -> None:
            await ask(settings, "SET", "key", "one")
            with connect(parse(f"127.0.0.1:{second}")) as other, connect(parse(f"127.0.0.1:{first}")) as old:
                # The old master steps back, and the sentinel is told who leads now.
                old.replicaof("127.0.0.1", str(second))
                with connect(parse(f"127.0.0.1:{sentinel}")) as watching:
                    watching.execute_command("SENTINEL", "REMOVE", "main")
                    watching.execute_command("SENTINEL", "MONITOR", "main", "127.0.0.1", str(second), "1")
                await ask(settings, "SET", "key", "two")
                assert other.get("key") == b"two"

        asyncio.run(main())
        unknown = parse(nodes, redis_type="redis_sentinel", sentinel_master="other", retries=0)
        with pytest.raises(ServerUnavailableError, match="No master found for 'other', and not every sentinel answers"):
            run(unknown, "PING")
