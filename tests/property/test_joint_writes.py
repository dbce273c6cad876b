"""Views of one entity written in one script end up as if each had been written by itself, whatever lies there."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from yummy_feast.online.keys import KeyEncoder
from yummy_feast.online.layouts.rows import ROWS
from yummy_feast.online.retention import expires_fields
from yummy_feast.online.schemas import SchemaBook
from yummy_feast.online.writer import Stream, Target, Written, write_streams
from yummy_feast.values import BY_NAME

INT64 = BY_NAME["INT64"].number
VIEWS = (b"first", b"second", b"third")
MICROS = pa.timestamp("us", "UTC")

# Few of each, so that keys repeat, times tie and values are the same.
ROWS_OF_A_BATCH = st.lists(
    st.tuples(
        st.none() | st.integers(0, 3),  # key
        st.integers(0, 3),  # event time
        st.none() | st.integers(0, 1),  # created time
        st.tuples(*[st.none() | st.integers(0, 1) for _ in VIEWS]),  # a value per view
    ),
    min_size=1,
    max_size=12,
)
# Which views a batch is of: one is written the old way, several together.
BATCHES = st.lists(st.tuples(st.sets(st.sampled_from(range(3)), min_size=1), ROWS_OF_A_BATCH), min_size=1, max_size=4)
KEPT = st.tuples(*[st.sampled_from([0, 100, 5000]) for _ in VIEWS])


def streams(client: Any, project: str, kept: tuple[int, ...]) -> list[Stream]:
    book = SchemaBook(client, project)
    encoder = KeyEncoder(project, [("id", INT64)])
    return [
        Stream(
            Target(ROWS, book, view, (("n", INT64),), seconds, field_expiry=expires_fields(client, project)),
            encoder,
            "at",
            "made",
        )
        for view, seconds in zip(VIEWS, kept, strict=True)
    ]


def batch(rows: list[Any], view: int) -> pa.RecordBatch:
    keys, events, created, values = zip(*rows, strict=True)
    return pa.record_batch(
        {
            "id": pa.array(keys, pa.int64()),
            "at": pa.array(events, MICROS),
            "made": pa.array(created, MICROS),
            "n": pa.array([value[view] for value in values], pa.int64()),
        }
    )


def content(client: Any, project: str) -> dict[bytes, Any]:
    """Per entity key its rows and whether each is kept for long, shortly or for ever."""
    found = {}
    for key in client.scan_iter(match=project.encode() + b"\0*", count=1000):
        if client.type(key) == b"hash" and not key.endswith(b"\0schemas"):
            rows = client.hgetall(key)
            left = client.execute_command("HTTL", key, "FIELDS", len(rows), *rows)
            lives = ["ever" if seconds < 0 else "long" if seconds > 100 else "short" for seconds in left]
            found[key.split(b"\0", 1)[1]] = dict(zip(rows, zip(rows.values(), lives, strict=True), strict=True))
    return found


@settings(max_examples=150)
@given(batches=BATCHES, kept=KEPT)
def test_together_as_one_by_one(client_of_session: Any, batches: list[Any], kept: tuple[int, ...]) -> None:
    client = client_of_session
    together, apart = f"together-{uuid4().hex}", f"apart-{uuid4().hex}"
    heard: list[list[Written]] = []
    for project, split in ((together, False), (apart, True)):
        targets = streams(client, project, kept)
        parts: list[tuple[list[int], list[pa.RecordBatch]]] = []
        for views, rows in batches:
            chosen = sorted(views)
            each = [[view] for view in chosen] if split else [chosen]
            parts += [(some, [batch(rows, view) for view in some]) for some in each]
        heard.append(write_streams(client, targets, parts))
    assert heard[0] == heard[1]
    assert content(client, together) == content(client, apart)


def test_many_views_and_keys_in_few_round_trips(client_of_session: Any) -> None:
    client, project, count = client_of_session, f"wide-{uuid4().hex}", 2000
    book, encoder = SchemaBook(client, project), KeyEncoder(project, [("id", INT64)])
    views = [f"view{number}".encode() for number in range(25)]
    many = [Stream(Target(ROWS, book, view, (("n", INT64),)), encoder, "at") for view in views]
    rows = pa.record_batch({"id": range(count), "at": pa.array([1] * count, MICROS), "n": range(count)})
    acknowledged: dict[int, int] = dict.fromkeys(range(25), 0)

    def heard(index: int, part: Written) -> None:
        acknowledged[index] += part.rows

    before = client.info("commandstats")
    for expected in (Written(written=count), Written(equal=count)):
        everything = [(range(25), [rows] * 25)]
        assert write_streams(client, many, everything, heard) == [expected] * 25
    after = client.info("commandstats")
    assert acknowledged == dict.fromkeys(range(25), 2 * count)
    calls = {
        name: after[f"cmdstat_{name}"]["calls"] - before.get(f"cmdstat_{name}", {"calls": 0})["calls"]
        for name in ("hmget", "hset")
    }
    # One look per key and run; one write per key in the first run, and the schemas with every trip.
    assert calls["hmget"] == 2 * count
    assert count <= calls["hset"] <= 1.1 * count
    [key] = encoder.encode_columns({"id": [7]})
    assert len(client.hgetall(key)) == 25
