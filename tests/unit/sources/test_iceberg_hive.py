"""The client of a Hive metastore: several servers, servers that do not answer, and addresses that are none.

What it does with a metastore is in ``tests/contract/test_spark_catalogs.py``.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
from hive_metastore.ttypes import LockState
from pyiceberg.schema import Schema
from pyiceberg.types import NestedField, TimestamptzType
from thrift.transport.TTransport import TTransportException

from yummy_feast.errors import ConfigError
from yummy_feast.sources import iceberg_hive
from yummy_feast.sources.iceberg_hive import Metastore, servers_of

ZONED = "timestamp with local time zone"
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


class Puresasl:
    """A client of Kerberos that keeps for which hosts it was made."""

    hosts: ClassVar[list[str]] = []
    mechanism, complete = "GSSAPI", True

    def __init__(self, host: str, *_: object) -> None:
        self.hosts.append(host)

    def process(self, *_: object) -> bytes:
        return b"ticket of " + self.hosts[-1].encode()

    def dispose(self) -> None:
        pass


def test_kerberos_is_told_of_the_server_that_was_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("puresasl.client")
    module.SASLClient = Puresasl
    monkeypatch.setitem(sys.modules, "puresasl", ModuleType("puresasl"))
    monkeypatch.setitem(sys.modules, "puresasl.client", module)
    heard: list[bytes] = []

    def answer() -> None:
        server.accept()[0].close()
        for _ in range(2):
            with server.accept()[0] as one:
                one.settimeout(10)
                said = b""
                while not said.endswith((b"localhost", b"127.0.0.1")):
                    said += one.recv(100)
                heard.append(said)
                one.sendall(struct.pack(">BI", 5, 0))

    with listening() as (alive, server), ThreadPoolExecutor(1) as pool:
        done = pool.submit(answer)
        uri = f"{DEAD},{alive.replace('127.0.0.1', 'localhost')}"
        catalog = Metastore("lake", uri=uri, **{"hive.kerberos-authentication": "true"})
        with pytest.raises((TTransportException, OSError)), catalog._client:
            pass
        for _ in range(2):
            with catalog._client:
                pass
        done.result()
    assert [said.rpartition(b"of ")[2] for said in heard] == [b"localhost"] * 2


class Memory:
    """As much of a metastore as makes tables and takes commits."""

    def __init__(self) -> None:
        self.table: Any = None

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def lock(self, _: object) -> Any:
        return SimpleNamespace(state=LockState.ACQUIRED, lockid=1)

    def unlock(self, _: object) -> None:
        pass

    def create_table(self, table: Any) -> None:
        self.table = table

    def get_table(self, **_: str) -> Any:
        return self.table

    def alter_table_with_environment_context(self, *, new_tbl: Any, **_: object) -> None:
        self.table = new_tbl

    def types(self) -> list[str]:
        return [column.type for column in self.table.sd.cols]


@pytest.mark.parametrize(
    ("keys", "made", "changed"),
    [
        ({}, "timestamp", ZONED),
        ({"hive.hive2-compatible": "true"}, "timestamp", "timestamp"),
        ({"hive.hive2-compatible": "false"}, ZONED, ZONED),
    ],
)
def test_tables_keep_the_types_of_their_hive(tmp_path: Path, keys: dict[str, str], made: str, changed: str) -> None:
    catalog: Any = Metastore("lake", uri=DEAD, **keys)
    catalog._client = memory = Memory()
    schema = Schema(NestedField(1, "ts", TimestamptzType()))
    table = catalog.create_table("ns.rows", schema, location=f"file://{tmp_path}/rows")
    assert memory.types() == [made]
    table.transaction().set_properties(a="1").commit_transaction()
    assert memory.types() == [made]
    # As Hive 3 or 4 has it.
    memory.table.sd.cols[0].type = ZONED
    table.refresh().transaction().set_properties(a="2").commit_transaction()
    assert memory.types() == [changed]
    catalog.create_table("ns.other", schema, location=f"file://{tmp_path}/other")
    assert memory.types() == [made]


def test_servers() -> None:
    assert servers_of("thrift://a:1,thrift://b.example.org:9083/") == [("a", 1), ("b.example.org", 9083)]
    assert servers_of("thrift://[::1]:9083") == [("::1", 9083)]
    for uri in ("", "meta:9083", "thrift://meta", "thrift://meta:port", "thrift://a:1,", "http://a:1"):
        with pytest.raises(ConfigError, match=r"^catalog 'lake': uri is '.*' \(name servers: thrift://"):
            Metastore("lake", uri=uri)


def test_its_locks_are_looked_at_often() -> None:
    assert Metastore("lake", uri=DEAD)._lock_check_max_wait_time == 0.5
    assert Metastore("lake", uri=DEAD, **{"lock-check-retries": "3"})._lock_check_retries == 3
