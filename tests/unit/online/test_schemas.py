"""Schemas outlive the process that wrote them, and come back when somebody removed them."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from yummy_feast.errors import OnlineStoreError, RowDecodeError
from yummy_feast.online.keys import schemas_key
from yummy_feast.online.rows import RowSchema
from yummy_feast.online.schemas import SchemaBook, UnmetSchemaError
from yummy_feast.online.wire import command

FIRST = RowSchema((("a", 4),), ("b",))
SECOND = RowSchema((("a", 4), ("ü:b", 2)), ("q", "I"))


def register(book: SchemaBook, client: redis.Redis, view: bytes, schema: RowSchema) -> None:
    client.execute_command(*book.registration(view, schema))


def test_another_process_finds_a_schema_and_keeps_it(client: redis.Redis) -> None:
    register(SchemaBook(client, "prod"), client, b"stats", FIRST)
    reader = SchemaBook(client, "prod")
    assert reader.get(b"stats", FIRST.fingerprint) == FIRST
    client.delete(schemas_key("prod"))
    assert reader.get(b"stats", FIRST.fingerprint) == FIRST


def test_schemas_belong_to_a_view_and_a_project(client: redis.Redis) -> None:
    book = SchemaBook(client, "prod")
    register(book, client, b"stats", FIRST)
    for project, view in (("prod", b"other"), ("prod", b"sta"), ("nonprod", b"stats")):
        with pytest.raises(RowDecodeError, match="unknown schema"):
            SchemaBook(client, project).get(view, FIRST.fingerprint)
    with pytest.raises(RowDecodeError, match=r"'stats' has rows of an unknown schema 00000000.*materialize"):
        book.get(b"stats", bytes(4))


def test_known_schemas_of_a_view(client: redis.Redis) -> None:
    writer = SchemaBook(client, "prod")
    register(writer, client, b"stats", FIRST)
    register(writer, client, b"stats", SECOND)
    register(writer, client, b"stats:x", SECOND)
    register(writer, client, b"other", SECOND)
    book = SchemaBook(client, "prod")
    assert sorted(book.known(b"stats"), key=repr) == sorted([FIRST, SECOND], key=repr)
    assert book.known(b"stats:x") == [SECOND]
    assert book.known(b"none") == []
    later = RowSchema((("c", 4),), ("h",))
    register(book, client, b"stats", later)
    assert later in book.known(b"stats")


def test_many_views_are_asked_about_at_once(client: redis.Redis) -> None:
    writer = SchemaBook(client, "lab")
    register(writer, client, b"stats", FIRST)
    register(writer, client, b"other", SECOND)
    book = SchemaBook(client, "lab")
    client.config_resetstat()
    book.meet([b"stats", b"other", b"none"])
    assert (book.known(b"stats"), book.known(b"other"), book.known(b"none")) == ([FIRST], [SECOND], [])
    book.meet([b"stats", b"none"])
    assert client.info("commandstats")["cmdstat_hgetall"]["calls"] == 1


def test_a_removed_schema_is_written_again_with_the_next_rows(client: redis.Redis) -> None:
    book = SchemaBook(client, "prod")
    register(book, client, b"stats", FIRST)
    client.flushdb()
    register(book, client, b"stats", FIRST)
    assert SchemaBook(client, "prod").get(b"stats", FIRST.fingerprint) == FIRST


def test_forgetting_views_leaves_the_others(client: redis.Redis) -> None:
    book = SchemaBook(client, "prod")
    for view in (b"stats", b"stats_v1", b"other"):
        register(book, client, view, FIRST)
    book.known(b"stats")
    book.forget([b"stats", b"never"])
    assert list(client.hkeys(schemas_key("prod"))) == [
        b"stats_v1:" + FIRST.fingerprint.hex().encode(),
        b"other:" + FIRST.fingerprint.hex().encode(),
    ]
    assert book.known(b"stats") == []
    with pytest.raises(RowDecodeError):
        book.get(b"stats", FIRST.fingerprint)
    assert book.get(b"other", FIRST.fingerprint) == FIRST


def test_a_damaged_schema_is_told(client: redis.Redis) -> None:
    client.hset(schemas_key("prod"), b"stats:" + FIRST.fingerprint.hex().encode(), b"{")
    with pytest.raises(RowDecodeError, match="damaged"):
        SchemaBook(client, "prod").get(b"stats", FIRST.fingerprint)
    client.hset(schemas_key("prod"), b"stats:" + FIRST.fingerprint.hex().encode(), SECOND.to_json())
    with pytest.raises(RowDecodeError, match="damaged"):
        SchemaBook(client, "prod").get(b"stats", FIRST.fingerprint)


def test_two_schemas_with_one_fingerprint_are_never_mixed_up(client: redis.Redis) -> None:
    book = SchemaBook(client, "prod")
    twin = RowSchema((("z", 4),), ("b",))
    object.__setattr__(twin, "fingerprint", FIRST.fingerprint)
    register(book, client, b"stats", FIRST)
    with pytest.raises(OnlineStoreError, match="share the fingerprint"):
        book.registration(b"stats", twin)
    # Other views have schemas of their own.
    book.registration(b"other", twin)


def test_who_asks_redis_in_another_way_is_told_what_to_ask(client: redis.Redis) -> None:
    register(SchemaBook(client, "prod"), client, b"stats", FIRST)
    asked: list[int] = []

    def connect() -> redis.Redis:
        asked.append(1)
        return client

    book = SchemaBook(connect, "prod")
    with pytest.raises(UnmetSchemaError) as unmet:
        book.met.get(b"stats", FIRST.fingerprint)
    assert (unmet.value.view, unmet.value.fingerprint) == (b"stats", FIRST.fingerprint)
    question = book.question(b"stats", FIRST.fingerprint)
    assert question == command("HGET", schemas_key("prod"), b"stats:" + FIRST.fingerprint.hex().encode())
    data: Any = client.hget(schemas_key("prod"), b"stats:" + FIRST.fingerprint.hex().encode())  # type: ignore[arg-type]
    assert book.learn_one(b"stats", FIRST.fingerprint, data) == FIRST
    assert book.met.get(b"stats", FIRST.fingerprint) == FIRST
    with pytest.raises(RowDecodeError, match="unknown schema"):
        book.learn_one(b"stats", SECOND.fingerprint, None)
    with pytest.raises(RowDecodeError, match="is damaged"):
        book.learn_one(b"stats", SECOND.fingerprint, data)
    assert asked == []
