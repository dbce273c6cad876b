"""Rows as round trips: how many, what is in each, and what the replies mean; no server."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from yummy_feast.online.keys import KeyEncoder
from yummy_feast.online.layouts.base import Command, Target
from yummy_feast.online.layouts.rows import ROWS
from yummy_feast.online.rows import RowSchema
from yummy_feast.online.trips import Trip, Written, arrow_trips, proto_trips
from yummy_feast.values import BY_NAME

INT64, BYTES = BY_NAME["INT64"].number, BY_NAME["BYTES"].number
ENCODER = KeyEncoder("prod", [("id", INT64)])


class Book:
    """Knows nothing, and says so."""

    def get(self, view: bytes, fingerprint: bytes) -> RowSchema:
        raise NotImplementedError

    def known(self, view: bytes) -> list[RowSchema]:
        return []

    def registration(self, view: bytes, schema: RowSchema) -> Command:
        return ("HSET", "schemas", view, schema.to_json())


def target_of(*features: tuple[str, int], **options: Any) -> Target:
    return Target(ROWS, Book(), b"stats", features or (("n", INT64),), **options)


def trips_of(ids: list[int | None], target: Target | None = None, **columns: Any) -> list[Trip]:
    rows = len(ids)
    batch = pa.RecordBatch.from_pydict(
        {
            "id": pa.array(ids, pa.int64()),
            "event": pa.array([1] * rows, pa.timestamp("s")),
            **(columns or {"n": list(range(rows))}),
        }
    )
    return list(arrow_trips(target or target_of(), ENCODER, [batch], "event"))


def keys_of(command: Command) -> tuple[bytes, ...]:
    return command[3 : 3 + command[2]]


def test_a_push_is_one_command() -> None:
    [trip] = trips_of([1, 2])
    assert trip.is_small
    assert trip.rows == 2
    assert trip.first == ("HSET", "schemas", b"stats", b'[["n",4,"b"]]')
    [command] = trip.commands
    assert command[0] == "EVAL"
    assert keys_of(command) == tuple(ENCODER.encode_columns({"id": [1, 2]}))
    assert command[5:8] == (b"stats", 0, 0)
    assert len(command) == 3 + 2 + 3 + 2


def test_every_row_goes_once_and_in_order() -> None:
    trips = trips_of(list(range(5000)))
    assert not any(trip.is_small for trip in trips)
    assert [trip.rows for trip in trips] == [2048, 2048, 904]
    assert [command[2] for command in trips[2].commands] == [128] * 7 + [8]
    sent = [key for trip in trips for command in trip.commands for key in keys_of(command)]
    assert sent == ENCODER.encode_columns({"id": list(range(5000))})


def test_large_rows_go_in_smaller_groups() -> None:
    target = target_of(("blob", BYTES))
    trips = trips_of(list(range(30)), target, blob=[b"x" * 700_000] * 30)
    assert [[command[2] for command in trip.commands] for trip in trips] == [[2] * 6, [2] * 6, [2] * 3]


def test_in_a_cluster_every_script_has_one_key() -> None:
    trips = trips_of(list(range(3000)), target_of(one_key_scripts=True))
    assert [len(trip.commands) for trip in trips] == [2048, 952]
    assert {command[2] for trip in trips for command in trip.commands} == {1}
    sent = [key for trip in trips for command in trip.commands for key in keys_of(command)]
    assert sent == ENCODER.encode_columns({"id": list(range(3000))})


def test_what_needs_no_command_is_settled_once() -> None:
    [trip] = trips_of([None, 1, None])
    assert trip.settled == Written(keyless=2)
    assert trip.outcome([[0, 1]]) == Written(equal=1, keyless=2)
    [trip] = trips_of([None])
    assert (trip.commands, trip.rows, trip.outcome([])) == ([], 0, Written(keyless=1))
    [trip] = trips_of([7, 7, 7, 8], target_of(newer_wins=False))
    assert trip.outcome([[2, 0]]) == Written(written=2, older=2)
    # Only then are as many rows from the start done as are counted.
    *others, last = trips_of([None, *range(5000)])
    assert last.settled == Written(keyless=1)
    assert {trip.settled for trip in others} == {Written()}
    assert trips_of([]) == []


@pytest.mark.parametrize(
    ("replies", "outcome"),
    [
        ([[3, 0]], Written(written=3)),
        ([[1, 1]], Written(written=1, equal=1, older=1)),
        ([[0, 0], [1, 0], [0, 1]], Written(written=1, equal=1, older=1)),
    ],
)
def test_replies_count_rows(replies: list[Any], outcome: Written) -> None:
    assert Trip([], 3).outcome(replies) == outcome
    assert outcome.rows == 3


def test_no_data_is_no_trip() -> None:
    assert list(proto_trips(target_of(), [], [])) == []
