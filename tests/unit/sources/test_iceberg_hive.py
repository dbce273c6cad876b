"""The client of a Hive metastore: several servers, servers that do not answer, and addresses that are none.

What it does with a metastore is in ``tests/contract/test_spark_catalogs.py``.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from thrift.transport.TTransport import TTransportException

from yummy_feast.errors import ConfigError
from yummy_feast.sources import iceberg_hive
from yummy_feast.sources.iceberg_hive import Metastore, servers_of

DEAD = "thrift://127.0.0.1:9"


@contextmanager
def listening() -> Iterator[tuple[str, socket.socket]]:
    """A server that takes connections and says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(10)
        yield f"thrift://127.0.0.1:{server.getsockname()[1]}", server


def test_the_first_server_that_can_be_reached_is_asked() -> None:
    with listening() as (alive, server):
        catalog = Metastore("lake", uri=f"{DEAD}, {alive}")
        for _ in range(2):
            with catalog._client:
                server.accept()[0].close()
    with pytest.raises(TTransportException, match="Could not connect"):
        catalog.list_namespaces()


def test_a_server_that_says_nothing_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iceberg_hive, "_ANSWER_MS", 50)
    with listening() as (silent, _), pytest.raises(TTransportException, match="timeout"):
        Metastore("lake", uri=silent).list_namespaces()


def test_nor_is_one_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iceberg_hive, "_CONNECT_MS", 50)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            # Nobody takes them, and so the next one is left without an answer.
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        with pytest.raises(TTransportException, match="Could not connect"):
            Metastore("lake", uri=f"thrift://127.0.0.1:{port}").list_namespaces()
        for one in waiting:
            one.close()


def test_servers() -> None:
    assert servers_of("thrift://a:1,thrift://b.example.org:9083/") == [("a", 1), ("b.example.org", 9083)]
    assert servers_of("thrift://[::1]:9083") == [("::1", 9083)]
    for uri in ("", "meta:9083", "thrift://meta", "thrift://meta:port", "thrift://a:1,", "http://a:1"):
        with pytest.raises(ConfigError, match=r"^catalog 'lake': uri is '.*' \(name servers: thrift://"):
            Metastore("lake", uri=uri)


def test_its_locks_are_looked_at_often() -> None:
    assert Metastore("lake", uri=DEAD)._lock_check_max_wait_time == 0.5
    assert Metastore("lake", uri=DEAD, **{"lock-check-retries": "3"})._lock_check_retries == 3
