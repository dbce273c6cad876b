"""The servers that tests start are what they claim to be."""

from __future__ import annotations

import sys
from io import StringIO
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import redis

from tests import online_server, places
from yummy_feast.online.redis import RedisSettings, connect, ping

parse = RedisSettings.parse


def test_the_rule_that_chooses_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(online_server.VARIABLE, "redis:6379,db=4")
    assert online_server.choice(wants_containers=True)[0] == "address"
    with online_server.started("address") as address:
        assert address == "redis:6379,db=4"
    monkeypatch.delenv(online_server.VARIABLE)
    assert online_server.choice(wants_containers=False)[0] == "embedded"


def test_a_docker_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(online_server.VARIABLE, raising=False)
    pretend_testcontainers(monkeypatch)
    docker = sys.modules["docker"]

    def nobody() -> None:
        raise docker.errors.DockerException("Connection\nrefused")

    monkeypatch.setattr(docker, "from_env", nobody, raising=False)
    assert online_server.choice(wants_containers=True) == ("embedded", "Docker does not answer: Connection refused")
    monkeypatch.setattr(docker, "from_env", StringIO)  # it only has to be closed
    assert online_server.choice(wants_containers=True)[0] == "container"
    monkeypatch.setitem(sys.modules, "testcontainers.core.container", None)
    assert "pip install testcontainers" in online_server.choice(wants_containers=True)[1]


def test_a_container_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with places.node(tmp_path) as node:
        asked = pretend_testcontainers(monkeypatch, node.port)
        with online_server.started("container") as address:
            assert parse(address).nodes[0].port == node.port
        assert asked == [online_server.IMAGE, 6379, 6379, "stopped"]


def pretend_testcontainers(monkeypatch: pytest.MonkeyPatch, port: int = 0) -> list[object]:
    """The part of testcontainers that is used, with a server that runs already."""
    asked: list[object] = []

    class DockerContainer:
        def __init__(self, image: str) -> None:
            asked.append(image)

        def with_exposed_ports(self, port: int) -> DockerContainer:
            asked.append(port)
            return self

        def __enter__(self) -> DockerContainer:
            return self

        def __exit__(self, *_: object) -> None:
            asked.append("stopped")

        def get_container_host_ip(self) -> str:
            return "127.0.0.1"

        def get_exposed_port(self, inside: int) -> int:
            asked.append(inside)
            return port

    for name in ("testcontainers", "testcontainers.core", "testcontainers.core.container"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    docker: Any = ModuleType("docker")
    docker.errors = SimpleNamespace(DockerException=type("DockerException", (Exception,), {}))
    monkeypatch.setitem(sys.modules, "docker", docker)
    sys.modules["testcontainers.core.container"].DockerContainer = DockerContainer  # type: ignore[attr-defined]
    return asked


@pytest.mark.parametrize("address", ["h:1,password=p,db=2", "redis://:p@h:1/2", "redis://h:1/2?max_connections=3"])
def test_workers_that_share_a_server_have_a_database_each(address: str) -> None:
    assert online_server.of_worker(address, "gw0") == address
    mine = parse(online_server.of_worker(address, "gw3"))
    assert mine.db == 5
    assert (mine.password, mine.nodes, mine.options) == (
        parse(address).password,
        parse(address).nodes,
        parse(address).options,
    )


def test_a_cluster_of_three(cluster: places.Cluster) -> None:
    with connect(parse(cluster.address, redis_type="redis_cluster")) as client:
        for number in range(100):
            client.set(f"key{number}", number)
        sizes = [node.ask("DBSIZE") for node in cluster.nodes]
        assert sum(sizes) == 100
        assert min(sizes) > 0
        slot = redis.crc.key_slot(b"key1")
        source = cluster.owner(b"key1")
        target = next(node for node in cluster.nodes if node is not source)
        cluster.move(slot, target)
        assert cluster.owner(b"key1") is target
        assert client.get("key1") == b"1"
        cluster.move(slot, source)
    cluster.empty()
    assert [node.ask("DBSIZE") for node in cluster.nodes] == [0, 0, 0]


def test_sentinels_promote_the_replica(tmp_path: Path) -> None:
    with places.sentinels(tmp_path) as watched:
        settings = parse(watched.address, redis_type="redis_sentinel", sentinel_master="main")
        with connect(settings) as client:
            client.set("key", "value")
            assert client.wait(1, 10_000) == 1
        watched.primary.kill()
        watched.wait_for_promotion()
        with connect(settings) as client:
            assert client.get("key") == b"value"


def test_a_node_that_is_paused_killed_and_started_again(tmp_path: Path) -> None:
    with places.node(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as node:
        node.ask("SET", "key", "value")
        with node.paused(), node.client(socket_timeout=0.1) as client, pytest.raises(redis.TimeoutError):
            client.ping()
        node.restart()
        assert node.ask("GET", "key") == b"value"
        ping(parse(node.address))
