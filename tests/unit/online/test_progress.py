"""What is noted of copies in Redis, on a real server."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from yummy_feast.online.keys import progress_key
from yummy_feast.online.progress import Copy, ProgressBook

MADE = Copy("digest", 1, 2, None, "", '{"files":"x"}', 1.5, "run1")


@pytest.fixture
def book(client: Any) -> ProgressBook:
    return ProgressBook(client, "lab")


def test_a_copy_from_its_begin_to_its_end(book: ProgressBook) -> None:
    assert book.last(b"stats") == (None, 0)
    book.begin([(b"stats", MADE, 0)])
    assert book.last(b"stats") == (MADE, 0)
    book.advance("run1", {b"stats": 70, b"other": 5})
    assert book.last(b"stats") == (MADE, 70)
    assert book.last(b"other") == (None, 0)
    end = Copy("digest", None, -(2**62), 3, "seen\n€", "", 1e9, "run1", done=True)
    book.finish([(b"stats", end)])
    assert book.last(b"stats") == (end, 70)


def test_a_copy_goes_on_after_its_rows(book: ProgressBook) -> None:
    book.begin([(b"stats", MADE, 12_345_678_901)])
    assert book.last(b"stats") == (MADE, 12_345_678_901)


def test_one_run_does_not_go_on_from_the_count_of_another(book: ProgressBook) -> None:
    """Two at a time, of which the older one counts further: the window of one, the rows of the other."""
    later = Copy("digest", 1, 3, None, "", "", 2.5, "run2")
    book.begin([(b"stats", MADE, 0)])
    book.begin([(b"stats", later, 0)])
    book.advance("run1", {b"stats": 70})
    assert book.last(b"stats") == (later, 0)
    book.advance("run2", {b"stats": 4})
    assert book.last(b"stats") == (later, 4)


def test_projects_and_views_do_not_mix(client: Any, book: ProgressBook) -> None:
    book.begin([(b"stats", MADE, 1)])
    book.begin([(b"stats_v2", MADE, 2)])
    assert ProgressBook(client, "lab2").last(b"stats") == (None, 0)
    assert book.last(b"stats_v2") == (MADE, 2)
    # All there is, in one place.
    assert client.keys() == [progress_key("lab")]
    book.forget([b"stats"])
    assert (book.last(b"stats"), book.last(b"stats_v2")) == ((None, 0), (MADE, 2))
    book.forget([])
    book.forget([b"stats_v2"])
    assert client.dbsize() == 0


def test_many_views_at_once(client: Any, book: ProgressBook) -> None:
    other = Copy("other", 5, 6, None, "", "", 2.5, "run1")
    assert book.lasts([]) == []
    before = client.info("stats")["total_commands_processed"]
    book.begin([(b"a", MADE, 1), (b"b", other, 2)])
    assert book.lasts([b"b", b"c", b"a"]) == [(other, 2), (None, 0), (MADE, 1)]
    ended = Copy("other", 5, 6, None, "", "", 2.5, "run1", done=True)
    book.finish([(b"a", MADE), (b"b", ended)])
    # INFO itself, and one command for each.
    assert client.info("stats")["total_commands_processed"] - before == 4
    assert book.lasts([b"a", b"b"]) == [(MADE, 1), (ended, 2)]


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\xff\x00",
        b"{",
        b"[]",
        b"null",
        b'{"view": "digest"}',
        b'{"view":1,"start":1,"end":2,"seen_start":null,"seen":"","state":"","began":1.5,"done":false}',
        b'{"view":"\xff","start":1,"end":2,"seen_start":null,"seen":"","state":"","began":1.5,"done":false}',
        b'{"view":"d","start":1,"end":1e99,"seen_start":null,"seen":"","state":"","began":1.5,"done":false}',
        b"[" * 100_000,
    ],
    ids=["empty", "bytes", "cut", "list", "null", "short", "type", "utf8", "huge", "deep"],
)
def test_a_copy_that_cannot_be_read_is_not_known(client: Any, book: ProgressBook, garbage: bytes) -> None:
    book.begin([(b"stats", MADE, 9)])
    client.hset(progress_key("lab"), b"stats", garbage)
    assert book.last(b"stats") == (None, 0)


@pytest.mark.parametrize(
    "garbage", [b"", b"run1", b"run1 ", b"run1 -3", b"run1 1.5", b"9", b"run1 9 9", b"run2 9", b"run1 \xff", None]
)
def test_rows_that_cannot_be_read_are_none(client: Any, book: ProgressBook, garbage: bytes | None) -> None:
    book.begin([(b"stats", MADE, 9)])
    if garbage is None:
        client.hdel(progress_key("lab"), b"stats\0rows")
    else:
        client.hset(progress_key("lab"), b"stats\0rows", garbage)
    assert book.last(b"stats") == (MADE, 0)


def test_a_record_of_another_release_has_fields_that_we_do_not_know(client: Any, book: ProgressBook) -> None:
    text = b'{"view":"d","start":1,"end":2,"seen_start":null,"seen":"","state":"","began":1.5,"mood":"good"}'
    client.hset(progress_key("lab"), mapping={b"stats": text, b"stats\0rows": b"9"})
    # Counts without a run, as they were once written, belong to nobody.
    assert book.last(b"stats") == (Copy("d", 1, 2, None, "", "", 1.5), 0)


def test_what_redis_raises_passes(client: Any, book: ProgressBook) -> None:
    client.set(progress_key("lab"), "a string")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        book.last(b"stats")


# ------------------------------------------------------------------------------------------------------ parts


def test_parts_of_a_divided_copy(client: Any, book: ProgressBook) -> None:
    assert book.parts("run1", []) == []
    assert book.parts("run1", [b"stats"]) == [{}]
    book.begin_parts("run1", {b"stats": {3: 50, 12: 0}, b"other": {}})
    book.part_done("run1", 1, 7, [b"stats", b"other"])
    book.part_done("run1", 2, 9, [b"stats"])
    # Told twice, by a task that was tried again and read the source again.
    book.part_done("run1", 1, 8, [b"stats"])
    assert book.parts("run1", [b"stats", b"other", b"third"]) == [{3: 50, 12: 0, 1: 7, 2: 9}, {1: 7}, {}]
    assert client.keys() == [progress_key("lab")]
    book.forget([b"stats", b"other"])
    assert client.dbsize() == 0


def test_a_late_part_of_one_run_is_none_of_another(book: ProgressBook) -> None:
    book.begin_parts("run1", {b"stats": {}})
    book.begin_parts("run10", {b"stats": {}})
    book.part_done("run1", 4, 7, [b"stats", b"never"])
    assert book.parts("run10", [b"stats"]) == [{}]
    assert book.parts("run1", [b"stats"]) == [{}]
    book.part_done("run10", 5, 7, [b"stats"])
    assert book.parts("run10", [b"stats", b"never"]) == [{5: 7}, {}]


@pytest.mark.parametrize("garbage", [b"", b"run1", b"run1 3", b"run1 :", b"run1 3:x -1:2 1.5:2", b"\xff", b"run1  "])
def test_parts_that_cannot_be_read_are_none(client: Any, book: ProgressBook, garbage: bytes) -> None:
    client.hset(progress_key("lab"), b"stats\0parts", garbage)
    assert book.parts("run1", [b"stats"]) == [{}]


def test_parts_in_a_cluster(cluster: Any) -> None:
    from yummy_feast.online.redis import RedisSettings, connect

    with connect(RedisSettings.parse(cluster.address, redis_type="redis_cluster")) as client:
        book = ProgressBook(client, "lab")
        book.begin_parts("run1", {b"stats": {}})
        book.part_done("run1", 4, 7, [b"stats"])
        assert book.parts("run1", [b"stats"]) == [{4: 7}]
