"""Each command to the node that serves its key, also while slots move and nodes go away."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from redis import exceptions
from redis.crc import key_slot

from tests import places
from tests.unit.online.links import encoded
from tests.unit.online.scripted import Scripted
from tests.unit.online.servers import free_port, valkey
from yummy_feast.errors import ServerUnavailableError
from yummy_feast.online.address import RedisSettings
from yummy_feast.online.loops import mux_for
from yummy_feast.online.mux_cluster import ClusterMux
from yummy_feast.online.redis import translated
from yummy_feast.online.wire import command

parse = RedisSettings.parse
KEYS = [b"key%d" % number for number in range(60)]


def settings_of(cluster: places.Cluster) -> RedisSettings:
    return parse(f"127.0.0.1:{free_port()},{cluster.address}", redis_type="redis_cluster")


async def execute(settings: RedisSettings, commands: list[tuple[Any, ...]]) -> list[Any]:
    with translated(settings):
        return await mux_for(settings).execute([command(*words) for words in commands])


def sets(value: bytes = b"") -> list[tuple[Any, ...]]:
    return [("SET", key, key + value) for key in KEYS]


GETS: list[tuple[Any, ...]] = [("GET", key) for key in KEYS]


def test_every_node_is_asked_for_its_own(cluster: places.Cluster) -> None:
    async def main() -> None:
        settings = settings_of(cluster)
        assert await execute(settings, sets()) == [b"OK"] * len(KEYS)
        assert await execute(settings, GETS) == KEYS
        assert await execute(settings, []) == []
        replies = await asyncio.gather(*(execute(settings, GETS[at : at + 5]) for at in range(50)))
        assert replies == [KEYS[at : at + 5] for at in range(50)]

    asyncio.run(main())
    assert all(node.ask("DBSIZE") for node in cluster.nodes)


def test_slots_that_move_are_followed(tmp_path: Path) -> None:
    async def main(cluster: places.Cluster) -> None:
        settings = settings_of(cluster)
        await execute(settings, sets(b"!"))
        done = False

        async def use() -> None:
            while not done:
                assert await execute(settings, GETS) == [key + b"!" for key in KEYS]

        using = asyncio.ensure_future(use())
        for key in KEYS[:8]:
            owner = await asyncio.to_thread(cluster.owner, key)
            # ASK while a slot is on its way, MOVED when it is there.
            next_one = cluster.nodes[cluster.nodes.index(owner) - 1]
            await asyncio.to_thread(cluster.move, key_slot(key), next_one)
        done = True
        await using
        assert await execute(settings, sets(b"?")) == [b"OK"] * len(KEYS)
        assert await execute(settings, GETS) == [key + b"?" for key in KEYS]

    with places.cluster(tmp_path) as cluster:
        asyncio.run(main(cluster))


class Made:
    """A cluster of scripted nodes, all of which tell that node 0 serves every slot."""

    def __init__(self, *answers: Any) -> None:
        self.asked: list[tuple[int, bytes]] = []
        self.nodes = [Scripted(self._of(number, answer)) for number, answer in enumerate(answers)]

    def _of(self, number: int, answer: Any) -> Any:
        def respond(_connection: int, data: bytes) -> bytes | None:
            self.asked.append((number, data))
            if b"SLOTS" in data:
                return encoded([[0, 16383, [b"", self.nodes[0].port]]])
            reply: bytes | None = answer(data)
            return reply

        return respond

    def run(self, count: int = 1, retries: int = 2) -> Any:
        async def main() -> Any:
            async with AsyncExitStack() as stack:
                for node in self.nodes:
                    await stack.enter_async_context(node.running())
                settings = parse(f"127.0.0.1:{self.nodes[0].port}", redis_type="redis_cluster", retries=retries)
                try:
                    return await execute(settings, [("GET", "key")] * count)
                finally:
                    await mux_for(settings).aclose()

        return asyncio.run(main())


def error(text: str) -> bytes:
    return encoded(Exception(text))


def test_moved_for_ever_is_told() -> None:
    made: Made = Made(lambda data: error(f"MOVED 12539 127.0.0.1:{made.nodes[0].port}"))
    with pytest.raises(ServerUnavailableError, match=r"^redis cluster at .* answers MOVED for ever.*\(look at CLUSTER"):
        made.run()
    assert sum(b"GET" in data for _, data in made.asked) == 9


def test_a_moved_slot_is_asked_of_whom_it_moved_to_and_the_topology_anew() -> None:
    made: Made = Made(
        lambda data: error(f"MOVED 12539 :{made.nodes[1].port}") * data.count(b"GET"),
        lambda data: encoded(b"there") * data.count(b"GET"),
    )
    assert made.run(3) == [b"there"] * 3
    assert [(node, b"SLOTS" in data) for node, data in made.asked] == [(0, True), (0, False), (0, True), (1, False)]


def test_asking_goes_ahead_of_the_one_command() -> None:
    made: Made = Made(
        lambda data: encoded(b"here") + error(f"ASK 12539 127.0.0.1:{made.nodes[1].port}") + encoded(b"here"),
        lambda data: encoded(b"OK") + encoded(b"there"),
    )
    assert made.run(3) == [b"here", b"there", b"here"]
    assert [data.count(b"ASKING") for node, data in made.asked if node == 1] == [1]


@pytest.mark.parametrize("text", ["TRYAGAIN in a moment", "CLUSTERDOWN the cluster is down"])
def test_a_cluster_in_between_is_asked_again_and_no_more_than_that(text: str) -> None:
    replies = iter([error(text)] * 2 + [encoded(b"fine")])
    made = Made(lambda data: next(replies))
    assert made.run() == [b"fine"]
    made = Made(lambda data: error(text))
    with pytest.raises(ServerUnavailableError if "DOWN" in text else Exception, match=r"moment|does not serve all"):
        made.run(retries=1)
    assert sum(b"GET" in data for _, data in made.asked) == 2


def test_other_errors_are_values() -> None:
    made = Made(lambda data: error("WRONGTYPE no") + encoded(b"fine"))
    wrong, fine = made.run(2)
    assert isinstance(wrong, exceptions.ResponseError)
    assert fine == b"fine"


def test_a_node_that_hangs_up_is_asked_again_after_a_look_at_the_topology() -> None:
    # The first time it may have been idle for too long.
    replies = iter([None, None, encoded(b"fine")])
    made = Made(lambda data: next(replies))
    assert made.run() == [b"fine"]
    assert sum(b"SLOTS" in data for _, data in made.asked) == 2
    made = Made(lambda data: None)
    with pytest.raises(ServerUnavailableError, match="closed the connection"):
        made.run(retries=1)


def test_slots_without_an_owner_are_told(tmp_path: Path) -> None:
    with valkey(tmp_path, "--cluster-enabled", "yes", "--cluster-port", str(free_port())) as port:
        settings = parse(f"127.0.0.1:{port}", redis_type="redis_cluster", retries=1)
        with pytest.raises(ServerUnavailableError, match=r"does not serve all its slots.*CLUSTER INFO"):
            asyncio.run(execute(settings, GETS))


def test_what_is_no_cluster_is_told(tmp_path: Path) -> None:
    with valkey(tmp_path) as port:
        settings = parse(f"127.0.0.1:{port}", redis_type="redis_cluster")
        with pytest.raises(
            ServerUnavailableError, match=r"cluster.*\(is it a cluster \(else set .*redis_type: redis\)"
        ):
            asyncio.run(execute(settings, GETS))
    away = parse(f"127.0.0.1:{free_port()}", redis_type="redis_cluster", retries=1)
    with pytest.raises(ServerUnavailableError, match="Connection refused"):
        asyncio.run(execute(away, GETS))


def test_a_paused_node_costs_its_timeout_and_the_others_answer(cluster: places.Cluster) -> None:
    async def main() -> None:
        settings = parse(cluster.address, redis_type="redis_cluster", retries=1, read_timeout="200ms")
        await execute(settings, sets())
        asleep = cluster.owner(KEYS[1])
        awake = next(key for key in KEYS if cluster.owner(key) is not asleep)
        with asleep.paused():
            started = time.monotonic()
            slow = asyncio.ensure_future(execute(settings, [("GET", KEYS[1])]))
            assert await execute(settings, [("GET", awake)]) == [awake]
            with pytest.raises(ServerUnavailableError, match="does not answer in time"):
                await slow
            assert 0.4 <= time.monotonic() - started < 2
        assert await execute(settings, GETS) == KEYS

    asyncio.run(main())


def test_addresses_that_are_gone_are_forgotten() -> None:
    async def main() -> None:
        async with Scripted(lambda number, data: encoded([[0, 16383, [b"127.0.0.1", 1]]])).running() as server:
            settings = parse(f"127.0.0.1:{server.port}", redis_type="redis_cluster", retries=0)
            mux = mux_for(settings)
            assert isinstance(mux, ClusterMux)
            for port in (1, 2, 3):
                server.answer = lambda number, data, port=port: encoded([[0, 16383, [b"127.0.0.1", port]]])
                with pytest.raises(exceptions.ConnectionError):
                    await mux.execute([command("GET", "key")])
            await mux.connect()
            assert {node.port for node in mux._muxes} <= {server.port, 3}
            await mux.aclose()

    asyncio.run(main())
