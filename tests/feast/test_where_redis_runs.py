"""The online store where Redis runs: each of its calls on servers of every kind, and while those fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis.crc import key_slot

from tests import places, tls_node
from tests.feast.store_calls import ALL, KEYS, READS, REMOVALS, WRITES, Calls
from yummy_feast.errors import ServerUnavailableError

NUMBERS = list(range(KEYS))
# Two attempts of half a second each, the pauses, and a machine that is busy with other things.
BOUND = 2 * 0.5 + 2


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[places.Cluster]:
    with places.cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


def in_cluster(folder: Path, cluster: places.Cluster) -> Calls:
    return Calls.of(folder, cluster.address, redis_type="redis_cluster")


def at_sentinels(folder: Path, watched: places.Sentinels) -> Calls:
    return Calls.of(folder, watched.address, redis_type="redis_sentinel", sentinel_master="main")


def refused(call: Callable[[], object], *parts: str) -> float:
    """``call`` fails with one line that has all of ``parts``; the seconds it took."""
    started = time.monotonic()
    with pytest.raises(ServerUnavailableError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    for part in parts:
        assert part in text, text
    return time.monotonic() - started


def all_calls_work(calls: Calls, offset: int = 0) -> None:
    """Every call does what it says, on a store that was empty."""
    calls.online_write_batch(offset)
    assert calls.online_read() == [number + offset for number in NUMBERS]
    calls.write_arrow(offset + 1)
    assert calls.get_online_features() == [number + offset + 1 for number in NUMBERS]
    # Older than what is there: nothing changes.
    calls.online_write_batch(offset)
    assert calls.online_read() == [number + offset + 1 for number in NUMBERS]
    calls.online_write_batch(offset, view="gone")
    calls.update()
    assert calls.online_read("gone") == [None] * KEYS
    assert calls.get_online_features() == [number + offset + 1 for number in NUMBERS]
    calls.teardown()
    assert calls.online_read() == [None] * KEYS


# --------------------------------------------------------------------------------------------- every place


@pytest.mark.parametrize("place", ["single", "db", "acl user", "cluster", "sentinel", "tls"])
def test_every_call_works_in_every_place(tmp_path: Path, cluster: places.Cluster, place: str) -> None:
    with ExitStack() as stack:
        if place == "cluster":
            calls = in_cluster(tmp_path, cluster)
        elif place == "sentinel":
            calls = at_sentinels(tmp_path, stack.enter_context(places.sentinels(tmp_path)))
        elif place == "tls":
            tls = stack.enter_context(tls_node.tls(tmp_path))
            calls = Calls.of(tmp_path, f"{tls.address},db=3,ssl_ca_certs={tls.certificate}")
        else:
            node = stack.enter_context(places.node(tmp_path))
            # The rights that the error about missing ones asks for, and no more.
            node.ask("ACL", "SETUSER", "app", "on", ">pw", "~lab*", *RIGHTS.split())
            login = {"single": "", "db": ",db=7", "acl user": ",username=app,password=pw"}[place]
            calls = Calls.of(tmp_path, node.address + login)
        all_calls_work(calls)
        if place == "db":
            assert "db0" not in node.ask("INFO", "keyspace")
        if place == "cluster":
            assert [node.ask("DBSIZE") for node in cluster.nodes] == [0, 0, 0]


RIGHTS = "+@read +@hash +@keyspace +@connection +eval +cluster"


# ------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("lacking", "command", "calls"),
    [
        ("eval", "eval", WRITES),
        ("hset", "hset", WRITES),
        ("hgetall", "hgetall", WRITES),
        ("hmget", "hmget", READS),
        ("hget", "hget", READS),
        ("scan", "scan", REMOVALS),
        ("hdel", "hdel", {"update": Calls.update}),
        ("unlink", "unlink", {"teardown": Calls.teardown}),
    ],
)
def test_a_missing_right_is_named(
    tmp_path: Path, lacking: str, command: str, calls: dict[str, Callable[[Calls], object]]
) -> None:
    with places.node(tmp_path) as node:
        full = Calls.of(tmp_path, node.address)
        full.online_write_batch()
        full.online_write_batch(view="gone")
        node.ask("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all", f"-{lacking}")
        for call in calls.values():
            # Anew, because what a store knows of its schemas it does not ask again.
            limited = Calls.of(tmp_path / "limited", f"{node.address},username=app,password=secret")
            refused(lambda call=call, limited=limited: call(limited), f"'{command}' command", RIGHTS, "ACL SETUSER")


def test_keys_of_another_project_are_no_right(tmp_path: Path) -> None:
    with places.node(tmp_path) as node:
        node.ask("ACL", "SETUSER", "app", "on", ">pw", "~other*", *RIGHTS.split())
        calls = Calls.of(tmp_path, f"{node.address},username=app,password=pw")
        for call in {**WRITES, **READS}.values():
            refused(lambda call=call: call(calls), "forbids this", "~PROJECT*")


def test_a_replica_reads_and_says_where_to_write(tmp_path: Path) -> None:
    with places.sentinels(tmp_path) as watched:
        Calls.of(tmp_path, watched.primary.address).online_write_batch()
        Calls.of(tmp_path, watched.primary.address).online_write_batch(view="gone")
        with watched.primary.client() as client:
            assert client.wait(1, 10_000) == 1
        replica = Calls.of(tmp_path, watched.replica.address)
        for call in {**WRITES, **REMOVALS}.values():
            refused(lambda call=call: call(replica), "is a replica and takes no writes", "name the primary")
        assert replica.online_read() == replica.get_online_features() == NUMBERS


def test_a_full_memory_takes_no_rows_and_gives_them_up(tmp_path: Path) -> None:
    with places.node(tmp_path, "--maxmemory", "3mb") as node:
        calls = Calls.of(tmp_path, node.address)
        calls.online_write_batch()
        # Some of these rows are written before it is full, and nobody said otherwise.
        refused(lambda: calls.write_arrow(count=200_000), "is out of memory", "raise its maxmemory")
        assert calls.online_read() == calls.get_online_features() == NUMBERS
        calls.update()
        calls.teardown()
        all_calls_work(calls)


# --------------------------------------------------------------------------------- servers that go and come


@pytest.mark.parametrize("name", ALL)
def test_a_server_that_hangs_costs_the_timeouts(tmp_path: Path, name: str) -> None:
    with places.node(tmp_path) as node:
        calls = Calls.of(tmp_path, node.address)
        calls.online_write_batch()
        with node.paused():
            assert refused(lambda: ALL[name](calls), "does not answer in time", "0.5 s to read") < BOUND
        all_calls_work(calls, offset=1)


@pytest.mark.parametrize("name", ALL)
def test_a_server_that_was_restarted_is_found_again(tmp_path: Path, name: str) -> None:
    with places.node(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as node:
        calls = Calls.of(tmp_path, node.address, retries=0)
        calls.online_write_batch()
        assert calls.get_online_features() == NUMBERS
        node.restart()
        if name in READS:
            assert ALL[name](calls) == NUMBERS
        else:
            ALL[name](calls)
        node.kill()
        assert refused(lambda: ALL[name](calls), node.address, "Connection refused") < BOUND
        node.start()
        all_calls_work(calls, offset=1)


def test_a_failover_is_survived(tmp_path: Path) -> None:
    with places.sentinels(tmp_path) as watched:
        calls = at_sentinels(tmp_path, watched)
        calls.online_write_batch()
        calls.online_write_batch(view="gone")
        with watched.primary.client() as client:
            assert client.wait(1, 10_000) == 1
        watched.primary.kill()
        # Nobody is there to answer, for a moment.
        assert refused(calls.online_read, "redis master 'main' of the sentinels") < BOUND
        refused(calls.online_write_batch, "redis master 'main' of the sentinels")
        watched.wait_for_promotion()
        assert calls.online_read() == calls.get_online_features() == NUMBERS
        calls.teardown()
        all_calls_work(calls)
        assert watched.replica.ask("DBSIZE") == 0


# ------------------------------------------------------------------------------------------------- clusters


def test_a_node_of_a_cluster_is_asked_for_its_slots(tmp_path: Path, cluster: places.Cluster) -> None:
    in_cluster(tmp_path, cluster).online_write_batch()
    single = Calls.of(tmp_path, cluster.nodes[0].address)
    for call in {**WRITES, **READS, **REMOVALS}.values():
        refused(lambda call=call: call(single), "is one node of a cluster", "redis_type to redis_cluster")
    in_cluster(tmp_path, cluster).teardown()


def test_rows_are_read_and_written_while_their_slots_move(tmp_path: Path, cluster: places.Cluster) -> None:
    calls = in_cluster(tmp_path, cluster)
    calls.online_write_batch()
    found: list[object] = []
    stop = threading.Event()

    def work() -> None:
        offset = 0
        while not stop.is_set():
            try:
                calls.online_write_batch(offset)
                found.append(calls.online_read() == [number + offset for number in NUMBERS])
            except Exception as error:  # noqa: BLE001 - a test reports whatever it was
                found.append(error)
            offset += 1

    thread = threading.Thread(target=work)
    thread.start()
    with cluster.nodes[0].client() as client:
        slots = sorted({key_slot(name) for name in client.scan_iter(count=10_000)})
    try:
        for number, slot in enumerate(slots[:30]):
            cluster.move(slot, cluster.nodes[1 + number % 2])
    finally:
        stop.set()
        thread.join()
        for slot in slots[:30]:
            cluster.move(slot, cluster.nodes[0])
    assert set(found) == {True}
    assert len(found) > 3
    calls.teardown()
    assert [node.ask("DBSIZE") for node in cluster.nodes] == [0, 0, 0]


@pytest.mark.parametrize("name", ALL)
def test_a_node_of_a_cluster_that_hangs_costs_the_timeouts(tmp_path: Path, cluster: places.Cluster, name: str) -> None:
    """However many of the rows are its."""
    calls = in_cluster(tmp_path, cluster)
    calls.online_write_batch()
    # Shorter than the cluster takes to call a node dead.
    with cluster.nodes[2].paused():
        assert refused(lambda: ALL[name](calls), "does not answer in time", cluster.nodes[2].address) < BOUND
    all_calls_work(calls, offset=1)


def test_a_cluster_without_one_of_its_nodes(tmp_path: Path) -> None:
    with places.cluster(tmp_path) as cluster:
        calls = in_cluster(tmp_path, cluster)
        calls.online_write_batch()
        lost = cluster.nodes[1]
        lost.kill()
        for call in ALL.values():
            assert refused(lambda call=call: call(calls), "redis cluster at") < BOUND
        places.wait_until(lambda: b"cluster_state:fail" in cluster.nodes[0].ask("CLUSTER", "INFO"))
        # Another process, which has not known the cluster before.
        assert refused(lambda: in_cluster(tmp_path, cluster).online_read(), "redis cluster at") < BOUND
        lost.start()
        cluster.wait()
        calls.teardown()
        all_calls_work(calls)


def test_redirections_without_end_are_an_error(tmp_path: Path) -> None:
    with places.cluster(tmp_path, nodes=2) as cluster:
        cluster.confuse()
        calls = in_cluster(tmp_path, cluster)
        for call in ALL.values():
            elapsed = refused(lambda call=call: call(calls), "answers MOVED for ever", "CLUSTER NODES")
            assert elapsed < 10
