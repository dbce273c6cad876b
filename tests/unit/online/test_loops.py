"""One connection per process, loop and Redis, and nothing left behind when a loop ends."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import warnings
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest
import uvloop

from tests.unit.online.links import GET
from tests.unit.online.servers import output, python
from yummy_feast.online import loops
from yummy_feast.online.address import RedisSettings
from yummy_feast.online.loops import aclose, mux_for
from yummy_feast.online.wire import pack

PING = pack("PING")


@pytest.fixture
def settings(address: str) -> RedisSettings:
    return RedisSettings.parse(address)


def test_a_loop_has_one_for_equal_settings(settings: RedisSettings, address: str) -> None:
    async def main() -> object:
        mux = mux_for(settings)
        assert mux_for(RedisSettings.parse(address)) is mux
        assert mux_for(replace(settings, db=settings.db + 8)) is not mux
        return mux

    assert asyncio.run(main()) is not asyncio.run(main())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_loop_that_ends_closes_its_connections(
    run: Callable[[Coroutine[Any, Any, Any]], Any], settings: RedisSettings, client: Any
) -> None:
    async def main() -> None:
        await asyncio.gather(*(mux_for(settings).exchange(PING, 1) for _ in range(10)))
        # One is under way when the loop ends.
        task = asyncio.ensure_future(mux_for(settings).exchange(GET, 1))
        await asyncio.sleep(0)
        assert not task.done()

    # A loop of this kind keeps files of its own from its first use on.
    run(asyncio.sleep(0))
    before = client.info("stats")["total_connections_received"]
    # What earlier tests dropped must not be closed in between.
    gc.collect()
    files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            run(main())
            gc.collect()
    assert client.info("stats")["total_connections_received"] == before + 3
    assert loops._by_loop == {}
    if files:
        assert len(os.listdir("/proc/self/fd")) <= files


def test_a_loop_closed_without_notice_is_forgotten(settings: RedisSettings) -> None:
    async def use() -> None:
        await mux_for(settings).exchange(PING, 1)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(use())
    # What asyncio.run would do, and this owner does not: the link's socket is his to complain about.
    loop.close()
    assert len(loops._by_loop) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        asyncio.run(use())
        del loop
        gc.collect()
    assert loops._by_loop == {}


def test_closing_makes_room_for_a_new_one(settings: RedisSettings) -> None:
    async def main() -> None:
        mux = mux_for(settings)
        await mux.exchange(PING, 1)  # type: ignore[union-attr]
        await aclose(settings)
        await aclose(settings)
        assert mux.is_closed
        assert await mux_for(settings).exchange(PING, 1) == [b"PONG"]  # type: ignore[union-attr]

    asyncio.run(main())


def test_loops_in_threads_do_not_share(settings: RedisSettings) -> None:
    wrong: list[Any] = []

    async def main(number: int) -> None:
        words = [b"%d.%d" % (number, turn) for turn in range(300)]
        found = await asyncio.gather(*(mux_for(settings).exchange(pack("ECHO", word), 1) for word in words))  # type: ignore[union-attr]
        if found != [[word] for word in words]:
            wrong.append(number)

    threads = [threading.Thread(target=asyncio.run, args=(main(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_fork_makes_a_connection_of_its_own(address: str) -> None:
    code = """
import asyncio, os, sys
from yummy_feast.online.address import RedisSettings
from yummy_feast.online.loops import mux_for
from yummy_feast.online.wire import pack
settings = RedisSettings.parse(sys.argv[1])
async def number():
    return (await mux_for(settings).exchange(pack("CLIENT", "ID"), 1))[0]
async def main():
    before = await number()
    child = os.fork()
    if child == 0:
        # A forked loop counts as running, which asyncio notices by the process id.
        mine = asyncio.run(number())
        os._exit(0 if mine != before else 1)
    _, status = os.waitpid(child, 0)
    print(status, await number() == before)
asyncio.run(main())
"""
    assert output(python(code, address)) == "0 True"
