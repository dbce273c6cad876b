"""Sends rows to Redis, the server busy while the next rows are encoded: round trips made by ``trips``, one thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from redis import Redis

from yummy_feast.online.keys import KeyEncoder
from yummy_feast.online.layouts.base import Target
from yummy_feast.online.pipeline import execute
from yummy_feast.online.trips import Trip, Written, arrow_trips, joint_trips, proto_trips

if TYPE_CHECKING:
    from feast.protos.feast.types.Value_pb2 import Value

    from yummy_feast.online.redis import Client

__all__ = ["Progress", "Stream", "Target", "Written", "send", "write_batches", "write_protos", "write_streams"]

Progress = Callable[[int], Any]
Rows = tuple[Sequence[int], Sequence[pa.RecordBatch]]
"""Which streams, and a batch for each of them; see ``write_streams``."""

_TRIPS_IN_FLIGHT = 2


@dataclass(frozen=True, slots=True)
class Stream:
    """The rows of one feature view as Arrow: where they go, how their keys are made, the columns of their times."""

    target: Target
    encoder: KeyEncoder
    timestamp_field: str
    created_timestamp_column: str | None = None


def write_batches(
    client: Client,
    target: Target,
    encoder: KeyEncoder,
    batches: Iterable[pa.RecordBatch],
    timestamp_field: str,
    created_timestamp_column: str | None = None,
    progress: Progress | None = None,
) -> Written:
    """Write every row of ``batches``, which have the join keys, the features and the timestamps as columns.

    Returns what became of them; ``progress`` is called with numbers of rows that Redis has acknowledged.

    Raises as ``trips.arrow_trips``, and what redis-py raises.
    """
    stream = Stream(target, encoder, timestamp_field, created_timestamp_column)
    return write_streams(client, [stream], (((0,), (batch,)) for batch in batches), _counting(progress))[0]


def _counting(progress: Progress | None) -> Callable[[int, Written], Any] | None:
    return None if progress is None else lambda _, part: progress(part.rows) if part.rows else None


def write_streams(
    client: Client,
    streams: Sequence[Stream],
    batches: Iterable[Rows],
    acknowledged: Callable[[int, Written], Any] | None = None,
) -> list[Written]:
    """Write every row of ``batches``: (indices of streams, per stream rows with its join keys, features and times as
    columns). Streams that come together are of the same entities and times, row by row: where they lie in one hash, one
    look and one write do for all of them.

    Returns what became of the rows of each stream. ``acknowledged`` is called with the index of a stream and what
    became of its next rows once Redis has answered; a stream's rows are acknowledged in the order they were given.

    Raises as ``write_batches``.
    """
    totals = [Written()] * len(streams)

    def trips() -> Iterator[Trip]:
        for indices, parts in batches:
            some = [streams[index] for index in indices]
            for trip in _trips_of(some, parts):
                yield replace(trip, tags=tuple(indices[tag] for tag in trip.tags))

    def account(index: int, part: Written) -> None:
        totals[index] += part
        if acknowledged is not None:
            acknowledged(index, part)

    send(client, trips(), account)
    return totals


def _trips_of(streams: Sequence[Stream], batches: Sequence[pa.RecordBatch]) -> Iterator[Trip]:
    first = streams[0]
    times = (first.timestamp_field, first.created_timestamp_column)
    if len(streams) > 1 and all(stream.encoder.makes_the_same(first.encoder) for stream in streams):
        yield from joint_trips([stream.target for stream in streams], first.encoder, batches, times)
        return
    for tag, (stream, batch) in enumerate(zip(streams, batches, strict=True)):
        for trip in arrow_trips(stream.target, stream.encoder, [batch], *times):
            yield replace(trip, tags=(tag,))


def write_protos(
    client: Client,
    target: Target,
    keys: Sequence[bytes | None],
    data: Sequence[tuple[Mapping[str, Value], datetime, datetime | None]],
    progress: Progress | None = None,
) -> Written:
    """Write rows as Feast hands them over: per Redis key values by feature name, event and created timestamp.

    ``progress`` is called with numbers of rows that Redis has acknowledged. Raises as ``write_batches``.
    """
    total = Written()
    tell = _counting(progress)

    def account(tag: int, part: Written) -> None:
        nonlocal total
        total += part
        if tell is not None:
            tell(tag, part)

    send(client, proto_trips(target, keys, data), account)
    return total


def send(client: Client, trips: Iterable[Trip], acknowledged: Callable[[int, Written], Any]) -> None:
    """Send ``trips`` in the background, a bounded number ahead, and wait for all of them.

    One thread sends, so rows reach Redis in the order they were given, and ``acknowledged`` hears of each trip in that
    order: its tags, and what became of the rows of each. After an error, what was acknowledged stays.
    """
    in_flight: deque[tuple[Trip, Future[list[Written]]]] = deque()
    pool: ThreadPoolExecutor | None = None

    def tell(trip: Trip, outcomes: list[Written]) -> None:
        for tag, outcome in zip(trip.tags, outcomes, strict=True):
            acknowledged(tag, outcome)

    def wait() -> None:
        trip, sent = in_flight.popleft()
        tell(trip, sent.result())

    try:
        for trip in trips:
            if pool is None and trip.is_small:
                # A push: a thread would cost more than it hides.
                tell(trip, _send(client, trip))
                continue
            pool = pool or ThreadPoolExecutor(1, thread_name_prefix="yummy-writer")
            while len(in_flight) >= _TRIPS_IN_FLIGHT:
                wait()
            in_flight.append((trip, pool.submit(_send, client, trip)))
        while in_flight:
            wait()
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def _send(client: Client, trip: Trip) -> list[Written]:
    if not trip.commands:
        return [trip.settled] * len(trip.tags)
    # Nodes of a cluster answer independently: what must come first has to be acknowledged first.
    if trip.first is not None and not isinstance(client, Redis):
        execute(client, [trip.first])
    first = [trip.first] if trip.first is not None and isinstance(client, Redis) else []
    return trip.outcomes(execute(client, [*first, *trip.commands])[-len(trip.commands) :])
