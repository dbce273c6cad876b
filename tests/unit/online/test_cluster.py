"""Commands to a cluster in bounded rounds: order, redirections, and no reply left for the next caller."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis import exceptions
from redis.crc import key_slot

from tests import places
from yummy_feast.online.cluster import execute_all
from yummy_feast.online.redis import RedisSettings, connect
from yummy_feast.online.wire import command

KEYS = [b"key\r\n%d" % number for number in range(60)]


@pytest.fixture
def client(cluster: places.Cluster) -> Iterator[Any]:
    settings = RedisSettings.parse(
        cluster.address, redis_type="redis_cluster", read_timeout=0.3, connect_timeout=0.3, retries=1
    )
    with connect(settings) as connected:
        execute_all(connected, [command(*("HSET", key, "n", number)) for number, key in enumerate(KEYS)])
        yield connected


def numbers(client: Any) -> list[int]:
    return [int(value) for value in execute_all(client, [command(*("HGET", key, "n")) for key in KEYS])]


def test_replies_come_in_order(client: Any, cluster: places.Cluster) -> None:
    assert min(node.ask("DBSIZE") for node in cluster.nodes) > 0
    assert numbers(client) == list(range(60))
    assert execute_all(client, []) == []
    script = "return redis.call('HGET', KEYS[1], ARGV[1])"
    scripts = [command(*("EVAL", script, 1, key, "n")) for key in KEYS[:3]]
    assert execute_all(client, scripts) == [b"0", b"1", b"2"]


def test_an_error_reply_leaves_nothing_behind(client: Any) -> None:
    for _ in range(3):
        with pytest.raises(exceptions.ResponseError, match="WRONGTYPE"):
            execute_all(client, [command(*(name, key)) for key in KEYS for name in ("HLEN", "LLEN")])
        assert numbers(client) == list(range(60))


def test_a_slot_that_moved_is_followed_and_remembered(client: Any, cluster: places.Cluster) -> None:
    slot = key_slot(KEYS[0])
    source = cluster.owner(KEYS[0])
    target = next(node for node in cluster.nodes if node is not source)
    cluster.move(slot, target)
    try:
        assert numbers(client) == list(range(60))
        before = source.ask("INFO", "stats")["total_error_replies"]
        assert numbers(client) == list(range(60))
        assert source.ask("INFO", "stats")["total_error_replies"] == before
    finally:
        cluster.move(slot, source)


def test_a_slot_on_the_move_is_asked_for_where_its_keys_are(client: Any, cluster: places.Cluster) -> None:
    """ASK: half of a slot's keys are here, half there."""
    slot = key_slot(b"{tag}")
    there, here = b"{tag}moved", b"{tag}stayed"
    execute_all(client, [command(*("HSET", key, "n", 7)) for key in (there, here)])
    source = cluster.owner(there)
    target = next(node for node in cluster.nodes if node is not source)
    ids = {node.port: node.ask("CLUSTER", "MYID") for node in (source, target)}
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source.port])
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target.port])
    source.ask("MIGRATE", "127.0.0.1", target.port, there, 0, 5_000)
    try:
        commands = [command(*("HGET", key, "n")) for key in (here, there, here, there)]
        assert execute_all(client, commands) == [b"7"] * 4
        # Not remembered: until the whole slot has moved, the old owner is the one to ask.
        assert execute_all(client, commands) == [b"7"] * 4
        assert numbers(client) == list(range(60))
    finally:
        cluster.move(slot, target)
        cluster.move(slot, source)


def test_many_commands_wait_once_for_a_node_that_hangs(client: Any, cluster: places.Cluster) -> None:
    hung = cluster.owner(KEYS[0])
    commands = [command(*("HGET", key, "n")) for key in KEYS * 20]
    with hung.paused():
        started = time.monotonic()
        with pytest.raises(exceptions.TimeoutError):
            execute_all(client, commands)
        # Two rounds, each at worst a wait to read and a wait for the slots.
        assert time.monotonic() - started < 3
    assert numbers(client) == list(range(60))


def test_an_interrupted_round_leaves_nothing_behind(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from yummy_feast.online import cluster as module

    receive = module._Share.receive
    left = iter(range(10))

    def interrupted(share: Any) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return receive(share)

    with monkeypatch.context() as patch:
        patch.setattr(module._Share, "receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            numbers(client)
    assert numbers(client) == list(range(60))


def test_a_wrong_password_is_tried_once(cluster: places.Cluster) -> None:
    for node in cluster.nodes:
        node.ask("ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all")
    settings = RedisSettings.parse(f"{cluster.address},username=app,password=pw", redis_type="redis_cluster", retries=5)
    with connect(settings) as client:
        for node in cluster.nodes:
            node.ask("ACL", "SETUSER", "app", "resetpass", ">other")
            node.ask("CLIENT", "KILL", "USER", "app")
        started = time.monotonic()
        with pytest.raises(exceptions.AuthenticationError):
            numbers(client)
        assert time.monotonic() - started < 2
