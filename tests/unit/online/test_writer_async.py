"""The async twins of the store on real servers: what they write and answer is what the blocking calls do."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from feast import FeatureView, RepoConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from tests import places
from tests.unit.online.servers import running_pid
from tests.unit.online.test_store import NOW, key, more, repository, stats
from yummy_feast.errors import OnlineRequestError, RowDecodeError, ServerUnavailableError, ValueTypeError
from yummy_feast.online.keys import schemas_key
from yummy_feast.online.store import YummyOnlineStore

Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]


@pytest.fixture(params=["rows", "feast"])
def config(request: pytest.FixtureRequest, tmp_path: Path, address: str) -> RepoConfig:
    return repository(tmp_path, address, layout=request.param)


def row(number: int | None, trips: int, moment: datetime = NOW) -> Row:
    return key(number), {"trips": Value(int64_val=trips), "label": Value(string_val=f"n{trips}")}, moment, None


async def write(config: RepoConfig, rows: list[Row], view: FeatureView = stats, progress: Any = None) -> None:
    await YummyOnlineStore().online_write_batch_async(config, view, rows, progress)


async def trips(config: RepoConfig, *numbers: int) -> list[int | None]:
    found = await YummyOnlineStore().online_read_async(config, stats, [key(number) for number in numbers], ["trips"])
    return [None if values is None else values["trips"].int64_val for _, values in found]


def test_both_ways_agree_with_the_blocking_calls(config: RepoConfig) -> None:
    rows = [row(number, number) for number in range(300)]
    seen: list[int] = []
    asyncio.run(write(config, rows, progress=seen.append))
    assert sum(seen) == 300
    keys = [key(number) for number in (5, 299, 1000, 5)]
    blocking = YummyOnlineStore().online_read(config, stats, keys)
    assert [values and values["trips"].int64_val for _, values in blocking] == [5, 299, None, 5]
    assert asyncio.run(YummyOnlineStore().online_read_async(config, stats, keys)) == blocking
    YummyOnlineStore().online_write_batch(config, more, [(key(1), {"rating": Value(float_val=2)}, NOW, None)], None)
    [(moment, values)] = asyncio.run(YummyOnlineStore().online_read_async(config, more, [key(1)]))
    assert (moment, values) == (NOW, {"rating": Value(float_val=2)})


def test_newer_wins_whichever_way_it_came(config: RepoConfig) -> None:
    async def main() -> None:
        await write(config, [row(1, 5)])
        await write(config, [row(1, 4, NOW - timedelta(seconds=1))])
        YummyOnlineStore().online_write_batch(config, stats, [row(1, 3, NOW - timedelta(seconds=1))], None)
        assert await trips(config, 1) == [5]
        await asyncio.gather(
            *(write(config, [row(2, number, NOW + timedelta(seconds=number))]) for number in range(50))
        )
        assert await trips(config, 2) == [49]

    asyncio.run(main())


def test_the_later_of_two_rows_wins_where_nobody_compares(tmp_path: Path, address: str) -> None:
    config = repository(tmp_path, address, skip_dedup=True)
    rows = [row(number % 7, number, NOW - timedelta(seconds=number % 3)) for number in range(40_000)]

    async def main() -> None:
        await write(config, rows)
        newest = {}
        for batch in (rows[at : at + 16384] for at in range(0, 40_000, 16384)):
            best: dict[int, Row] = {}
            for entry in batch:
                number = entry[0].entity_values[0].int64_val
                if number not in best or entry[2] >= best[number][2]:
                    best[number] = entry
            newest |= {number: entry[1]["trips"].int64_val for number, entry in best.items()}
        assert await trips(config, *range(7)) == [newest[number] for number in range(7)]

    asyncio.run(main())


def test_rows_without_a_key_are_left_out_aloud(config: RepoConfig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    asyncio.run(write(config, [row(None, 1), row(1, 1)]))
    assert "view stats: left out 1 rows whose join key is null" in caplog.text
    asyncio.run(write(config, []))


def test_errors_are_the_same(config: RepoConfig, client: Any) -> None:
    with pytest.raises(OnlineRequestError, match=r"'stats' has no feature 'trip'"):
        asyncio.run(YummyOnlineStore().online_read_async(config, stats, [key(1)], ["trip"]))
    bad = (key(1), {"trips": Value(string_val="x")}, NOW, None)
    with pytest.raises(ValueTypeError, match="trips"):
        asyncio.run(write(config, [bad]))
    asyncio.run(write(config, [row(1, 1)]))
    [name] = [name for name in client.scan_iter() if name != schemas_key("prod")]
    client.delete(name)
    client.set(name, "no hash")
    with pytest.raises(Exception, match="WRONGTYPE") as other:
        asyncio.run(trips(config, 1))
    with pytest.raises(type(other.value), match="WRONGTYPE"):
        YummyOnlineStore().online_read(config, stats, [key(1)], ["trips"])


def test_a_schema_that_is_gone_is_told(tmp_path: Path, address: str, client: Any) -> None:
    config = repository(tmp_path, address)
    asyncio.run(write(config, [row(1, 1)]))
    client.delete(schemas_key("prod"))
    with pytest.raises(RowDecodeError, match=r"unknown schema"):
        asyncio.run(trips(config, 1))
    asyncio.run(write(config, [row(2, 1)]))
    assert asyncio.run(trips(config, 1)) == [1]


def test_a_thousand_at_once_need_one_connection_and_no_thread(config: RepoConfig, client: Any) -> None:
    async def main() -> None:
        await write(config, [row(number, number) for number in range(100)])
        before, connections = threading.active_count(), client.info("stats")["total_connections_received"]
        store = YummyOnlineStore()

        async def one(number: int) -> int:
            [(_, values)] = await store.online_read_async(config, stats, [key(number % 100)], ["trips"])
            assert values is not None
            return values["trips"].int64_val

        assert await asyncio.gather(*map(one, range(1000))) == [number % 100 for number in range(1000)]
        await asyncio.gather(*(write(config, [row(number, 7, NOW + timedelta(1))]) for number in range(100)))
        assert threading.active_count() == before
        assert client.info("stats")["total_connections_received"] == connections

    # Without threads of the one write that is large.
    threads = threading.active_count()
    asyncio.run(main())
    assert threading.active_count() == threads


def test_cancelled_calls_disturb_nobody(config: RepoConfig) -> None:
    async def main() -> None:
        await write(config, [row(number, number) for number in range(100)])
        tasks = [asyncio.ensure_future(trips(config, number, number + 1)) for number in range(99)]
        for number in range(0, 99, 3):
            asyncio.get_running_loop().call_later(number / 50_000, tasks[number].cancel)
        found = await asyncio.gather(*tasks, return_exceptions=True)
        for number, answer in enumerate(found):
            assert answer == [number, number + 1] or (number % 3 == 0 and isinstance(answer, asyncio.CancelledError))

    asyncio.run(main())


def test_a_server_that_is_killed_and_started_again_loses_no_call(repo: Path) -> None:
    config = repository(repo, "embedded", retries=5)

    async def main() -> None:
        await write(config, [row(number, number) for number in range(10)])
        done = asyncio.Event()
        answers = 0

        async def ask(number: int) -> None:
            nonlocal answers
            while not done.is_set():
                assert await trips(config, number) == [number]
                answers += 1

        async def push() -> None:
            second = 0
            while not done.is_set():
                second += 1
                await write(config, [row(50, second, NOW + timedelta(seconds=second))])
                assert await trips(config, 50) == [second]

        tasks = [asyncio.ensure_future(work) for work in (push(), *(ask(number) for number in range(10)))]
        for _ in range(3):
            await asyncio.sleep(0.2)
            await asyncio.to_thread(os.kill, await asyncio.to_thread(running_pid, repo), signal.SIGKILL)
        await asyncio.sleep(0.5)
        done.set()
        await asyncio.gather(*tasks)
        assert answers > 30

    asyncio.run(main())


def test_nobody_there_warns_at_the_start_and_fails_at_the_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = repository(tmp_path, "unix:///nowhere/redis.sock", retries=0)
    store = YummyOnlineStore()

    async def main() -> None:
        await store.initialize(config)
        assert "redis at /nowhere/redis.sock does not answer" in caplog.text
        with pytest.raises(ServerUnavailableError, match="does not answer"):
            await store.online_read_async(config, stats, [key(1)])
        await store.close()
        await YummyOnlineStore().close()

    asyncio.run(main())


@pytest.mark.parametrize("layout", ["rows", "feast"])
def test_a_cluster(tmp_path: Path, layout: str, cluster: places.Cluster) -> None:
    config = repository(tmp_path, cluster.address, redis_type="redis_cluster", layout=layout)

    async def main() -> None:
        await write(config, [row(number, number) for number in range(500)])
        assert await trips(config, *range(500), 600) == [*range(500), None]
        await write(config, [row(3, 0, NOW - timedelta(1))])
        assert await trips(config, 3) == [3]

    asyncio.run(main())
    assert YummyOnlineStore().online_read(config, stats, [key(7)], ["trips"]) == [(NOW, {"trips": Value(int64_val=7)})]
    assert all(node.ask("DBSIZE") > 50 for node in cluster.nodes)


def test_retention_is_set(tmp_path: Path, address: str, client: Any) -> None:
    config = repository(tmp_path, address, key_ttl_seconds=1000)
    asyncio.run(write(config, [row(1, 1)]))
    [name] = [name for name in client.scan_iter() if name != schemas_key("prod")]
    found = client.ttl(name)
    if found < 0:
        [found] = client.execute_command("HTTL", name, "FIELDS", 1, b"stats")
    assert 900 < found <= 1000
