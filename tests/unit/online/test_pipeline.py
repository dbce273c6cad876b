"""Commands in one round trip, wherever they go."""

from __future__ import annotations

from typing import Any

from tests import places
from yummy_feast.online.pipeline import execute
from yummy_feast.online.redis import RedisSettings, connect

COMMANDS = [("HSET", b"key%d" % number, "n", number) for number in range(30)]


def test_one_server_gets_them_at_once(client: Any) -> None:
    assert execute(client, COMMANDS) == [1] * 30
    assert execute(client, [("HGET", b"key7", "n"), ("EVAL", "return #KEYS", 2, b"a", b"b")]) == [b"7", 2]


def test_a_cluster_gets_them_node_by_node(cluster: places.Cluster) -> None:
    with connect(RedisSettings.parse(cluster.address, redis_type="redis_cluster")) as client:
        assert execute(client, COMMANDS) == [1] * 30
        assert sum(node.ask("DBSIZE") for node in cluster.nodes) == 30
        assert execute(client, [("EVAL", "return redis.call('HGET', KEYS[1], 'n')", 1, b"key9")]) == [b"9"]
