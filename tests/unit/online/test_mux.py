"""Links that are lost and made again: how often, how fast, and that nobody notices who need not."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from redis import exceptions

from tests.unit.online.links import GET
from tests.unit.online.scripted import Scripted, ok
from tests.unit.online.servers import free_port
from yummy_feast.online.address import RedisSettings
from yummy_feast.online.dial import dial
from yummy_feast.online.mux import Mux

parse = RedisSettings.parse


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_lost_connection_is_retried_as_often_as_configured(retries: int) -> None:
    async def main() -> None:
        async with Scripted(lambda number, data: None).running() as server:
            mux = server.mux(retries)
            with pytest.raises(exceptions.ConnectionError, match="closed by server"):
                await mux.exchange(GET, 1)
            assert len(server.times) == retries + 1
            await mux.aclose()

    asyncio.run(main())


def test_a_hundred_waiters_make_no_hundred_attempts() -> None:
    async def main() -> None:
        async with Scripted(lambda number, data: None).running() as server:
            mux = server.mux(2)
            found = await asyncio.gather(*(mux.exchange(GET, 1) for _ in range(100)), return_exceptions=True)
            assert {type(error) for error in found} == {exceptions.ConnectionError}
            assert len(server.times) == 3
            await mux.aclose()

    asyncio.run(main())


def test_a_server_that_hangs_up_in_the_middle_of_a_reply_is_asked_again() -> None:
    script = iter([b"+OK\r\n$10\r\nhalf", None])

    async def main() -> None:
        async with Scripted(lambda number, data: next(script) if number == 1 else ok(number, data)).running() as server:
            mux = server.mux(0)
            assert await mux.exchange(GET, 1) == [b"OK"]
            assert await asyncio.gather(*(mux.exchange(GET, 1) for _ in range(3))) == [[b"OK"]] * 3
            assert len(server.times) == 2
            await mux.aclose()

    asyncio.run(main())


def test_a_connection_dropped_while_idle_is_no_failure() -> None:
    async def main() -> None:
        asked = 0

        def every_other(number: int, data: bytes) -> bytes | None:
            nonlocal asked
            asked += 1
            return None if asked % 2 == 0 else ok(number, data)

        async with Scripted(every_other).running() as server:
            mux = server.mux(0)
            for _ in range(4):
                assert await mux.exchange(GET, 1) == [b"OK"]
            assert len(server.times) == 4
            await mux.aclose()

    asyncio.run(main())


def test_nobody_there_is_tried_with_pauses_and_heals() -> None:
    async def main() -> None:
        port = free_port()
        loop = asyncio.get_running_loop()
        mux = Mux(partial(dial, parse(f"127.0.0.1:{port}")), 1)
        with pytest.raises(
            exceptions.ConnectionError, match=rf"Error connecting to 127.0.0.1:{port}. Connection refuse"
        ):
            await mux.exchange(GET, 1)
        started = loop.time()
        waiting = [asyncio.ensure_future(mux.exchange(GET, 1)) for _ in range(10)]
        async with Scripted(ok).running(port):
            assert await asyncio.gather(*waiting) == [[b"OK"]] * 10
            assert loop.time() - started < 1
            await mux.aclose()

    asyncio.run(main())


def test_a_slow_server_costs_every_attempt_its_timeout_and_no_more() -> None:
    async def main() -> None:
        async with Scripted(lambda number, data: b"").running() as server:
            mux = server.mux(2, read_timeout="100ms")
            loop = asyncio.get_running_loop()
            started = loop.time()
            found = await asyncio.gather(*(mux.exchange(GET, 1) for _ in range(5)), return_exceptions=True)
            assert {type(error) for error in found} == {exceptions.TimeoutError}
            # Three attempts of 0.1 s, two pauses of at most half a second.
            assert 0.3 <= loop.time() - started < 2
            assert len(server.times) == 3
            await mux.aclose()

    asyncio.run(main())


def test_what_no_attempt_mends_is_tried_once() -> None:
    async def main(reply: bytes, kind: type[Exception], **settings: Any) -> None:
        async with Scripted(lambda number, data: reply).running() as server:
            mux = Mux(partial(dial, parse(f"127.0.0.1:{server.port}{settings.pop('more', '')}")), 2)
            with pytest.raises(kind):
                await mux.exchange(GET, 1)
            assert len(server.times) == 1
            await mux.aclose()

    asyncio.run(main(b"HTTP/1.1 400 Bad Request\r\n\r\n", exceptions.InvalidResponse))
    asyncio.run(main(b"-WRONGPASS no\r\n", exceptions.AuthenticationError, more=",password=x"))
    asyncio.run(main(b"-ERR DB index is out of range\r\n", exceptions.ResponseError, more=",db=99"))


def test_a_server_that_loads_is_asked_again() -> None:
    def answer(number: int, data: bytes) -> bytes | None:
        return b"-LOADING soon\r\n" if number < 3 else ok(number, data)

    async def main() -> None:
        async with Scripted(answer).running() as server:
            mux = server.mux(2)
            assert await mux.exchange(GET, 1) == [b"OK"]
            await mux.aclose()
            other = server.mux(0)
            server.times.clear()
            with pytest.raises(exceptions.BusyLoadingError):
                await other.exchange(GET, 1)
            await other.aclose()

    asyncio.run(main())


def test_other_error_replies_are_values() -> None:
    async def main() -> None:
        async with Scripted(lambda number, data: b"-READONLY no\r\n+OK\r\n").running() as server:
            mux = server.mux(2)
            error, fine = await mux.exchange(GET * 2, 2)
            assert isinstance(error, exceptions.ReadOnlyError)
            assert fine == b"OK"
            assert len(server.times) == 1
            await mux.aclose()

    asyncio.run(main())


def test_a_master_that_has_become_a_replica_is_left() -> None:
    def answer(number: int, data: bytes) -> bytes | None:
        return b"-READONLY no\r\n" if number == 1 else ok(number, data)

    async def main() -> None:
        async with Scripted(answer).running() as server:
            mux = Mux(partial(dial, parse(f"127.0.0.1:{server.port}")), 1, follows_master=True)
            assert await mux.exchange(GET, 1) == [b"OK"]
            assert len(server.times) == 2
            await mux.aclose()

    asyncio.run(main())


def test_cancelling_whoever_waits_for_a_connection_cancels_nobody_else() -> None:
    async def main() -> None:
        async with Scripted(ok).running() as server:
            mux = server.mux()
            first, second = (asyncio.ensure_future(mux.exchange(GET, 1)) for _ in range(2))
            await asyncio.sleep(0)
            first.cancel()
            assert await second == [b"OK"]
            assert first.cancelled()
            await mux.aclose()

    asyncio.run(main())


def test_a_closed_mux_stays_closed() -> None:
    async def main() -> None:
        async with Scripted(ok).running() as server:
            mux = server.mux(0)
            waiting = asyncio.ensure_future(mux.exchange(GET, 1))
            await asyncio.sleep(0)
            await mux.aclose()
            for attempt in (waiting, mux.exchange(GET, 1)):
                with pytest.raises(exceptions.ConnectionError, match="this process closed the connection"):
                    await attempt
            assert mux.is_closed
            assert not mux.is_connected

    asyncio.run(main())
