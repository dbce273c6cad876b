"""A connection that is logged in, to servers of every kind; when it cannot be, the words of the blocking path."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from tests import places, tls_node
from tests.unit.online.servers import free_port, running_pid, valkey
from yummy_feast.errors import ServerUnavailableError
from yummy_feast.online import embedded
from yummy_feast.online.address import RedisSettings
from yummy_feast.online.loops import mux_for
from yummy_feast.online.redis import ping, translated
from yummy_feast.online.wire import Command, pack

parse = RedisSettings.parse


async def ask(settings: RedisSettings, *words: str) -> Any:
    """One command; its error reply raised, in our words."""
    with translated(settings):
        [reply] = await mux_for(settings).execute([Command(b"", pack(*words))])
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


def test_a_unix_socket_and_none(repo: Path) -> None:
    path = embedded.ensure(repo).socket_path
    assert run(parse(f"unix://{path}"), "PING") == b"PONG"
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


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tls_node.Tls]:
    with tls_node.tls(tmp_path_factory.mktemp("tls")) as running:
        yield running


def test_tls(tls: tls_node.Tls) -> None:
    feast_form = f"{tls.address},ssl_ca_certs={tls.certificate}"
    for text in (feast_form, f"rediss://:pw@{tls.node.address}?ssl_cert_reqs=none"):
        assert run(parse(text), "PING") == b"PONG"


def test_a_client_certificate_is_shown_where_it_is_asked_for(tmp_path: Path) -> None:
    with tls_node.tls(tmp_path, client_certificates="yes") as strict:
        trusting = f"{strict.address},ssl_ca_certs={strict.certificate}"
        assert run(parse(f"{trusting},ssl_certfile={strict.certificate},ssl_keyfile={strict.certificate}"), "PING")
        with pytest.raises(ServerUnavailableError, match=r"client certificate.*add ssl_certfile and ssl_keyfile"):
            run(parse(trusting, retries=0), "PING")


def test_what_is_wrong_with_tls_is_told(tls: tls_node.Tls, tmp_path: Path) -> None:
    stranger = parse(f"rediss://:pw@{tls.node.address}", retries=0)
    with pytest.raises(
        ServerUnavailableError, match=r"shows a certificate nobody here trusts.*\(add ssl_ca_certs=FILE"
    ):
        run(stranger, "PING")
    with places.node(tmp_path) as plain:
        settings = parse(f"rediss://:pw@{plain.address}", retries=0, connect_timeout=0.2)
        with pytest.raises(ServerUnavailableError, match=r"does not answer in time.*does it speak TLS at this port\?"):
            run(settings, "PING")
    with pytest.raises(ServerUnavailableError, match=r"closed the connection.*\(if it speaks TLS, add ssl=true"):
        run(parse(f"redis://:pw@{tls.node.address}", retries=0), "PING")


def test_a_sentinel_leads_to_its_master_and_to_the_next_one(tmp_path: Path) -> None:
    with places.sentinels(tmp_path) as watched:
        nodes = f"127.0.0.1:{free_port()},{watched.address}"
        settings = parse(nodes, redis_type="redis_sentinel", sentinel_master="main")

        async def main() -> None:
            await ask(settings, "SET", "key", "one")
            await asyncio.to_thread(watched.primary.kill)
            await asyncio.to_thread(watched.wait_for_promotion)
            await ask(settings, "SET", "key", "two")
            assert await asyncio.to_thread(watched.replica.ask, "GET", "key") == b"two"

        asyncio.run(main())
        unknown = parse(nodes, redis_type="redis_sentinel", sentinel_master="other", retries=0)
        with pytest.raises(ServerUnavailableError, match="No master found for 'other', and not every sentinel answers"):
            run(unknown, "PING")


def fail_over(sentinel: places.Node) -> bool:
    """Whether the sentinel has begun to: it wants to have heard of the replica lately."""
    try:
        sentinel.ask("SENTINEL", "FAILOVER", "main")
    except ResponseError as error:
        if "NOGOODSLAVE" not in str(error):
            raise
        return False
    return True


def is_replica(server: places.Node) -> bool:
    """Whether it says so; a server that steps back hangs up on its clients first."""
    try:
        return bool(server.ask("ROLE")[0] == b"slave")
    except RedisConnectionError:
        return False


def test_a_master_that_steps_back_is_left(tmp_path: Path) -> None:
    with places.sentinels(tmp_path) as watched:
        settings = parse(watched.address, redis_type="redis_sentinel", sentinel_master="main", retries=5)

        async def main() -> None:
            await ask(settings, "SET", "key", "one")
            await asyncio.to_thread(places.wait_until, lambda: fail_over(watched.sentinel), what="a failover")
            await asyncio.to_thread(watched.wait_for_promotion)
            # Until it hears of it, the old one takes writes that are lost, whoever sends them.
            await asyncio.to_thread(places.wait_until, lambda: is_replica(watched.primary), what="stepping back")
            await ask(settings, "SET", "key", "two")
            assert await asyncio.to_thread(watched.replica.ask, "GET", "key") == b"two"

        asyncio.run(main())
