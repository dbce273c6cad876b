"""Layout `feast` on a real server: who wins, what is found, what is removed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from feast.infra.online_stores.helpers import _mmh3
from feast.protos.feast.types.Value_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from tests.online_server import address, client, client_of_session, server
from yummy_feast.errors import ConfigError, RowDecodeError
from yummy_feast.online.columns import of_stored
from yummy_feast.online.layouts.base import Target, Times
from yummy_feast.online.layouts.feast import FeastLayout, feature_field, timestamp_field
from yummy_feast.online.schemas import SchemaBook
from yummy_feast.values import BY_NAME

__all__ = ["address", "client", "client_of_session", "server"]

LAYOUT = FeastLayout()
INT64 = BY_NAME["INT64"].number
VIEW = b"stats"
FEATURES = (("a", INT64), ("b", INT64))
SECONDS = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3) | st.sampled_from([2**28 - 1, 2**28, -(2**28), 2**62])
NANOS = st.integers(-(2**31), 2**31 - 1) | st.integers(0, 999_999_999)


def write(
    client: Any, key: bytes, *rows: tuple[int, int | None], features: Any = FEATURES, newer_wins: bool = True
) -> list[int]:
    """Rows of one key: event timestamp in microseconds, value of every feature."""
    target = Target(LAYOUT, SchemaBook(client, "p"), VIEW, features, newer_wins=newer_wins)
    columns = [of_stored(name, number, [value for _, value in rows]) for name, number in features]
    packed = LAYOUT.pack(target, columns, Times(np.array([event for event, _ in rows])))
    counts: list[int] = client.execute_command(
        "EVAL", packed.script, len(rows), *[key] * len(rows), *packed.arguments, *packed.rows
    )
    return counts


def read(client: Any, key: bytes, features: Any = FEATURES) -> tuple[tuple[Any, ...] | None, int]:
    fields = LAYOUT.fields(VIEW, [name for name, _ in features])
    [row], [event] = LAYOUT.reader(VIEW, features, range(len(fields))).rows(
        [client.hmget(key, fields)], SchemaBook(client, "p")
    )
    return row, event


def test_the_fields_are_feasts() -> None:
    assert feature_field(b"view", "tr\u010d") == _mmh3("view:tr\u010d")
    assert LAYOUT.fields(b"v", ["x", "y", "x"]) == (b"_ts:v", _mmh3("v:x"), _mmh3("v:y"))


def test_only_versions_two_and_three() -> None:
    with pytest.raises(ConfigError, match="entity_key_serialization_version: 1 is not known"):
        FeastLayout(1)


@pytest.mark.parametrize(
    ("first", "second", "counts"),
    [
        ((10, 1), (11, 2), [1, 0]),
        ((10, 1), (9, 2), [0, 0]),
        ((10, 1), (10, 2), [1, 0]),
        ((10, 1), (10, None), [1, 0]),
        ((10, 1), (10, 1), [0, 1]),
        ((10, None), (10, None), [0, 1]),
        ((-1, 1), (0, 2), [1, 0]),
        ((0, 1), (-1, 2), [0, 0]),
        ((0, 1), (0, 1), [0, 1]),
        ((-(10**13), 1), (-(10**13) - 1, 2), [0, 0]),
        ((2**28 * 10**6 - 1, 1), (2**28 * 10**6, 2), [1, 0]),
    ],
)
def test_newer_wins_and_ties_overwrite(client: Any, first: Any, second: Any, counts: list[int]) -> None:
    assert write(client, b"k", first) == [1, 0]
    assert write(client, b"k", second) == counts
    event, value = first if counts == [0, 0] else second
    assert read(client, b"k") == ((value, value), event)


@given(st.tuples(SECONDS, NANOS), st.integers(-62_135_596_800 * 10**6, 253_402_300_799 * 10**6))
def test_any_timestamp_that_somebody_may_have_written(client_of_session: Any, old: tuple[int, int], new: int) -> None:
    """The script compares what Lua's numbers cannot hold."""
    client_of_session.delete(b"any")
    stamp = Timestamp(seconds=old[0], nanos=old[1]).SerializeToString()
    client_of_session.hset(b"any", timestamp_field(VIEW), stamp)
    seconds, micros = divmod(new, 10**6)
    counts = write(client_of_session, b"any", (new, 1))
    assert counts == [int((seconds, micros * 1000) >= old), 0]


_marks = itertools.count()


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 3)), min_size=1, max_size=12))
def test_many_rows_of_one_key_against_a_model(client_of_session: Any, rows: list[tuple[int, int]]) -> None:
    key = b"model %d" % next(_marks)
    held: tuple[int, int] | None = None
    written = equal = 0
    for row in rows:
        if row == held:
            equal += 1
        elif held is None or row[0] >= held[0]:
            held, written = row, written + 1
    assert held is not None
    assert write(client_of_session, key, *rows) == [written, equal]
    assert read(client_of_session, key) == ((held[1], held[1]), held[0])


@pytest.mark.parametrize("junk", [b"\xff", b"\x08", b"\x08\x80", b"\x0a\x01x", b"\x1a\x00", b"\x08" + b"\xff" * 12])
def test_what_is_no_timestamp_is_overwritten(client: Any, junk: bytes) -> None:
    client.hset(b"k", timestamp_field(VIEW), junk)
    with pytest.raises(RowDecodeError, match="is no event timestamp"):
        read(client, b"k")
    assert write(client, b"k", (-(10**12), 1)) == [1, 0]
    assert read(client, b"k") == ((1, 1), -(10**12))


def test_overwriting_without_looking(client: Any) -> None:
    write(client, b"k", (10, 1))
    assert write(client, b"k", (9, 2), newer_wins=False) == [1, 0]
    assert read(client, b"k") == ((2, 2), 9)


def test_a_feature_that_is_not_there_is_null(client: Any) -> None:
    write(client, b"k", (10, 1))
    more = (*FEATURES, ("c", INT64))
    assert read(client, b"k", more) == ((1, 1, None), 10)
    # The same values and a new, null feature are not the same row.
    assert write(client, b"k", (10, 1), features=FEATURES) == [0, 1]
    assert client.hlen(b"k") == 3
    # Without its timestamp a row is not there.
    client.hdel(b"k", timestamp_field(VIEW))
    assert read(client, b"k") == (None, 0)
    assert read(client, b"nobody") == (None, 0)


def test_thousands_of_features(client: Any) -> None:
    features = tuple((f"f{number}", INT64) for number in range(7000))
    assert write(client, b"k", (10, 5), features=features) == [1, 0]
    assert write(client, b"k", (10, 5), features=features) == [0, 1]
    assert read(client, b"k", features) == ((5,) * 7000, 10)
    client.hset(b"k", feature_field(VIEW, "f6999"), b"")
    assert write(client, b"k", (10, 5), features=features) == [1, 0]
    assert client.execute_command(*LAYOUT.removal(b"k", [(VIEW, [name for name, _ in features])])) == 1
    assert not client.exists(b"k")


def test_views_are_removed_and_others_stay(client: Any) -> None:
    def fields(view: bytes, features: Sequence[str]) -> dict[bytes, bytes]:
        cells = dict.fromkeys([feature_field(view, name) for name in features], Value(int64_val=1).SerializeToString())
        return {timestamp_field(view): b"\x08\x01", **cells}

    client.hset(b"k", mapping=fields(b"one", ["a", "had once"]) | fields(b"two", ["a"]) | fields(b"three", []))
    assert client.execute_command(*LAYOUT.removal(b"k", [(b"one", ["a"]), (b"three", []), (b"none", ["x"])])) == 2
    assert set(client.hkeys(b"k")) == {b"_ts:two", feature_field(b"two", "a"), feature_field(b"one", "had once")}
    assert client.execute_command(*LAYOUT.removal(b"k", [(b"none", ["x"])])) == 0
    assert client.execute_command(*LAYOUT.removal(b"k", [(b"two", ["a"])])) == 1
    # Nobody knows the feature any more, and no view is left that it could belong to.
    assert not client.exists(b"k")
    assert client.execute_command(*LAYOUT.removal(b"nobody", [(b"two", ["a"])])) == 0
