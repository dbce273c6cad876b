"""How long rows are kept, on servers that let fields expire and on those that do not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
import redis

from tests.unit.online.servers import valkey
from yummy_feast.online.layouts.base import Layout, Target
from yummy_feast.online.layouts.feast import FeastLayout
from yummy_feast.online.layouts.rows import ROWS
from yummy_feast.online.redis import RedisSettings, connect
from yummy_feast.online.retention import can_expire_fields, expires_fields, retention
from yummy_feast.online.retrieval import read_rows
from yummy_feast.online.schemas import SchemaBook
from yummy_feast.online.writer import Written, write_batches
from yummy_feast.values import BY_NAME

INT64 = BY_NAME["INT64"].number
FEATURES = (("n", INT64),)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("at_least", "ttl", "seconds"),
    [
        (None, DAY, 0),
        (0, DAY, 2 * 86_400),
        (0, None, 0),
        (60, None, 60),
        (60, timedelta(0), 60),
        (60, timedelta(seconds=10), 60),
        (60, timedelta(seconds=40), 80),
        (1, timedelta(milliseconds=1300), 3),
        (60, DAY, 2 * 86_400),
        # Longer than Redis can count, and than anybody waits.
        (60, timedelta(days=365 * 100), 0),
        (2**31 - 1, None, 2**31 - 1),
    ],
)
def test_retention_is_longer_than_the_ttl(at_least: int | None, ttl: timedelta | None, seconds: int) -> None:
    assert retention(None, at_least, ttl) == retention(0, at_least, ttl) == seconds


def test_feasts_own_key_means_what_it_says() -> None:
    assert retention(60, None, DAY) == 60


def target_of(client: Any, view: bytes, seconds: int, layout: Layout = ROWS, **options: Any) -> Target:
    fields = layout.expires_fields and expires_fields(client, "prod")
    return Target(layout, SchemaBook(client, "prod"), view, FEATURES, seconds, field_expiry=fields, **options)


def write(client: Any, target: Target, event: int = 1, value: int = 1) -> Written:
    encoder = target.layout.key_encoder("prod", [("id", INT64)])
    columns = {"id": [1], "n": [value], "event": pa.array([event], pa.timestamp("s"))}
    return write_batches(client, target, encoder, [pa.RecordBatch.from_pydict(columns)], "event")


def key_of(layout: Layout = ROWS) -> bytes:
    (key,) = layout.key_encoder("prod", [("id", INT64)]).encode_columns({"id": [1]})
    assert key is not None
    return key


def field_ttl(client: Any, view: bytes) -> int:
    [seconds] = client.execute_command("HTTL", key_of(), "FIELDS", 1, view)
    return int(seconds)


# -------------------------------------------------------------------------------------- a field by itself


def test_each_view_keeps_its_own_time(client: Any) -> None:
    assert expires_fields(client, "prod")
    write(client, target_of(client, b"short", 100))
    write(client, target_of(client, b"long", 5000))
    write(client, target_of(client, b"ever", 0))
    assert 95 < field_ttl(client, b"short") <= 100
    assert 4995 < field_ttl(client, b"long") <= 5000
    assert field_ttl(client, b"ever") == -1
    assert client.ttl(key_of()) == -1


def test_a_field_that_expires_leaves_the_others(client: Any) -> None:
    write(client, target_of(client, b"short", 1))
    write(client, target_of(client, b"long", 100))
    client.execute_command("HPEXPIRE", key_of(), 30, "FIELDS", 1, b"short")
    deadline = time.monotonic() + 10
    while client.hget(key_of(), b"short") is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    book = SchemaBook(client, "prod")
    assert read_rows(client, ROWS, book, b"short", FEATURES, [key_of()]) == [None]
    assert read_rows(client, ROWS, book, b"long", FEATURES, [key_of()]) == [(10**6, (1,))]


@pytest.mark.parametrize("newer_wins", [True, False])
def test_new_and_equal_rows_refresh_a_field_and_older_ones_do_not(client: Any, newer_wins: bool) -> None:
    target = target_of(client, b"view", 1000, newer_wins=newer_wins)
    for event, value, refreshed in [(10, 1, True), (10, 1, True), (9, 2, not newer_wins), (11, 3, True)]:
        if client.exists(key_of()):
            client.execute_command("HEXPIRE", key_of(), 10, "FIELDS", 1, b"view")
        write(client, target, event, value)
        assert (field_ttl(client, b"view") > 10) == refreshed


@pytest.mark.parametrize("value", [1, 2])
def test_a_view_that_is_to_live_for_ever_now(client: Any, value: int) -> None:
    write(client, target_of(client, b"view", 100))
    client.expire(key_of(), 50)
    # Equal, or another one.
    write(client, target_of(client, b"view", 0), 1, value)
    assert field_ttl(client, b"view") == -1
    assert client.ttl(key_of()) == -1


def test_what_is_left_of_a_keys_expiry_does_not_take_fields_along(client: Any) -> None:
    """The server was updated, and can do more now."""
    write(client, target_of(client, b"view", 0))
    client.expire(key_of(), 50)
    write(client, target_of(client, b"other", 100))
    assert client.ttl(key_of()) == -1


# ------------------------------------------------------------------------------- servers that cannot do that


@pytest.fixture(scope="module")
def old_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    commands = [part for name in ("HEXPIRE", "HPEXPIRE", "HPERSIST") for part in ("--rename-command", name, "")]
    with valkey(tmp_path_factory.mktemp("old"), "--save", "", *commands) as port:
        yield port


@pytest.fixture(params=["no such command", "no permission"])
def old(request: pytest.FixtureRequest, old_port: int, address: str) -> Iterator[Any]:
    """A server without the command, and one that does not let us use it."""
    if request.param == "no such command":
        with redis.Redis(port=old_port) as client:
            client.flushall()
            yield client
        return
    settings = RedisSettings.parse(address)
    with connect(settings) as admin:
        admin.execute_command("ACL", "SETUSER", "plain", "on", ">x", "~*", "+@all", "-hexpire", "-hpersist")
        with connect(replace(settings, username="plain", password="x")) as client:
            yield client
        admin.execute_command("ACL", "DELUSER", "plain")


def test_the_command_is_asked_for_once(old: Any) -> None:
    assert not expires_fields(old, "prod")
    before = old.info("commandstats")["cmdstat_eval"]["calls"]
    assert not expires_fields(old, "prod")
    assert old.info("commandstats")["cmdstat_eval"]["calls"] == before
    assert not old.keys()
    assert not can_expire_fields(b"ERR whatever")


def test_a_key_lives_as_long_as_its_longest_view(old: Any) -> None:
    write(old, target_of(old, b"long", 5000))
    assert 4995 < old.ttl(key_of()) <= 5000
    write(old, target_of(old, b"short", 100))
    assert 4995 < old.ttl(key_of()) <= 5000
    old.delete(key_of())
    write(old, target_of(old, b"short", 100))
    assert 95 < old.ttl(key_of()) <= 100
    write(old, target_of(old, b"long", 5000))
    assert 4995 < old.ttl(key_of()) <= 5000


@pytest.mark.parametrize("newer_wins", [True, False])
def test_new_and_equal_rows_refresh_a_key_and_older_ones_do_not(old: Any, newer_wins: bool) -> None:
    target = target_of(old, b"view", 1000, newer_wins=newer_wins)
    for event, value, refreshed in [(10, 1, True), (10, 1, True), (9, 2, not newer_wins), (11, 3, True)]:
        old.expire(key_of(), 10)
        write(old, target, event, value)
        assert (old.ttl(key_of()) > 10) == refreshed


def test_what_must_live_for_ever_does(old: Any) -> None:
    write(old, target_of(old, b"ever", 0))
    write(old, target_of(old, b"view", 100))
    assert old.ttl(key_of()) == -1
    write(old, target_of(old, b"view", 100), 2)
    assert old.ttl(key_of()) == -1
    # In the other order, too.
    old.delete(key_of())
    write(old, target_of(old, b"view", 100))
    write(old, target_of(old, b"ever", 0))
    assert old.ttl(key_of()) == -1


def test_a_row_alone_in_its_key_may_be_given_an_expiry_later(old: Any) -> None:
    """Retention was set after the first rows were written."""
    write(old, target_of(old, b"view", 0))
    assert old.ttl(key_of()) == -1
    write(old, target_of(old, b"view", 100))
    assert 95 < old.ttl(key_of()) <= 100


# ------------------------------------------------------------------------------------------- layout feast


def test_in_layout_feast_the_key_expires_as_feast_lets_it(client: Any) -> None:
    layout = FeastLayout()
    key = key_of(layout)
    write(client, target_of(client, b"short", 100, layout))
    assert 95 < client.ttl(key) <= 100
    write(client, target_of(client, b"long", 5000, layout))
    write(client, target_of(client, b"short", 100, layout))
    assert 4995 < client.ttl(key) <= 5000
    for event, value, refreshed in [(1, 1, True), (0, 2, False), (2, 3, True)]:
        client.expire(key, 10)
        write(client, target_of(client, b"short", 100, layout), event, value)
        assert (client.ttl(key) > 10) == refreshed
    client.persist(key)
    write(client, target_of(client, b"short", 100, layout), 3)
    assert 95 < client.ttl(key) <= 100
    write(client, target_of(client, b"ever", 0, layout))
    assert client.ttl(key) == -1
