"""Sends rows to Redis, the server busy while the next rows are encoded: round trips made by ``trips``, one thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from redis import Redis

from yummy_feast.online.keys import KeyEncoder
from yummy_feast.online.layouts.base import Target
from yummy_feast.online.trips import Trip, Written, arrow_trips, proto_trips

if TYPE_CHECKING:
    from feast.protos.feast.types.Value_pb2 import Value

    from yummy_feast.online.redis import Client

__all__ = ["Progress", "Target", "Written", "send", "write_batches", "write_protos"]

Progress = Callable[[int], Any]

_TRIPS_IN_FLIGHT = 2


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
    return send(client, arrow_trips(target, encoder, batches, timestamp_field, created_timestamp_column), progress)


def write_protos(
    client: Client,
    target: Target,
    keys: Sequence[bytes | None],
    data: Sequence[tuple[Mapping[str, Value], datetime, datetime | None]],
    progress: Progress | None = None,
) -> Written:
    """Write rows as Feast hands them over: per Redis key values by feature name, event and created timestamp.

    Raises as ``write_batches``.
    """
    return send(client, proto_trips(target, keys, data), progress)


def send(client: Client, trips: Iterable[Trip], progress: Progress | None = None) -> Written:
    """Send ``trips`` in the background, a bounded number ahead, and wait for all of them.

    One thread sends, so rows reach Redis in the order they were given. After an error, what was acknowledged stays.
    """
    total = Written()
    in_flight: deque[Future[Written]] = deque()
    pool: ThreadPoolExecutor | None = None

    def account(part: Written) -> None:
        nonlocal total
        total += part
        if progress is not None and part.rows:
            progress(part.rows)

    try:
        for trip in trips:
            if pool is None and trip.is_small:
                # A push: a thread would cost more than it hides.
                account(_send(client, trip))
                continue
            pool = pool or ThreadPoolExecutor(1, thread_name_prefix="yummy-writer")
            while len(in_flight) >= _TRIPS_IN_FLIGHT:
                account(in_flight.popleft().result())
            in_flight.append(pool.submit(_send, client, trip))
        while in_flight:
            account(in_flight.popleft().result())
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)
    return total


def _send(client: Client, trip: Trip) -> Written:
    if not trip.commands:
        return trip.settled
    pipeline: Any = client.pipeline(transaction=False)
    if trip.first is not None and isinstance(client, Redis):
        pipeline.execute_command(*trip.first)
    elif trip.first is not None:
        client.execute_command(*trip.first)  # type: ignore[no-untyped-call]
    for command in trip.commands:
        pipeline.execute_command(*command)
    return trip.outcome(pipeline.execute()[-len(trip.commands) :])
