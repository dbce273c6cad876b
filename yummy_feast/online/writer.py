"""Rows into Redis: newer wins, many rows per command, the server busy while the next rows are encoded.

``RowWriter`` takes encoded rows; ``write_batches`` takes Arrow, as materialization streams it; ``write_protos`` takes
what Feast hands an online store. All three write through the same encoder and the same script.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
from redis import Redis

from yummy_feast.errors import ColumnNotFoundError, ValueTypeError, nearest
from yummy_feast.online.arrow_numbers import microseconds
from yummy_feast.online.columns import Column, convert, of_messages
from yummy_feast.online.keys import NO_JOIN_KEY, KeyEncoder
from yummy_feast.online.rows import ORDER, encode, fit
from yummy_feast.online.schemas import SchemaBook
from yummy_feast.online.scripts import LAST_WINS, NEWER_WINS

if TYPE_CHECKING:
    from feast.protos.feast.types.Value_pb2 import Value

    from yummy_feast.online.redis import Client

Progress = Callable[[int], Any]
_Command = tuple[Any, ...]
_Pairs = list[tuple[bytes, bytes]]

# Enough keys to make a call cheap, few enough that other clients are served in between.
_KEYS_PER_SCRIPT = 128
_BYTES_PER_SCRIPT = 1024 * 1024
_SCRIPTS_PER_TRIP = 16
_BYTES_PER_TRIP = 8 * 1024 * 1024
_TRIPS_IN_FLIGHT = 2
_BATCH_ROWS = 16 * 1024

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Written:
    """What became of rows.

    written: set in Redis; equal: already there, byte for byte; older: Redis holds a newer one; keyless: a join key was
    null, so nobody could ever ask for them.
    """

    written: int = 0
    equal: int = 0
    older: int = 0
    keyless: int = 0

    @property
    def rows(self) -> int:
        """All of them."""
        return self.written + self.equal + self.older + self.keyless

    def __add__(self, other: Written) -> Written:
        return Written(
            self.written + other.written,
            self.equal + other.equal,
            self.older + other.older,
            self.keyless + other.keyless,
        )


@dataclass(frozen=True, slots=True)
class Target:
    """Where the rows of one feature view go.

    view: its hash field (``keys.field_name``). features: (name, Feast type number) in the view's order. ttl: seconds
    that a key lives after its last write, 0 for ever. newer_wins: False overwrites without looking (Feast's
    ``skip_dedup``).
    """

    client: Client
    book: SchemaBook
    view: bytes
    features: tuple[tuple[str, int], ...]
    ttl: int = 0
    newer_wins: bool = True


def write_batches(
    target: Target,
    encoder: KeyEncoder,
    batches: Iterable[pa.RecordBatch],
    timestamp_field: str,
    created_timestamp_column: str | None = None,
    progress: Progress | None = None,
) -> Written:
    """Write every row of ``batches``, which have the join keys, the features and the timestamps as columns.

    Returns what became of them; ``progress`` is called with numbers of rows that Redis has acknowledged.

    Raises:
        ColumnNotFoundError: a column is missing. Only Feast's stand-in for no join key may be.
        ValueTypeError: a value that its Feast type cannot hold (names the column), a row without an event timestamp.
        And what redis-py raises.
    """
    with RowWriter(target, progress) as writer:
        for batch in batches:
            for start in range(0, batch.num_rows, _BATCH_ROWS):
                part = batch.slice(start, _BATCH_ROWS)
                keys = encoder.encode_arrow({name: _column(part, name) for name in encoder.join_keys})
                columns = [convert(name, number, _column(part, name)) for name, number in target.features]
                created = _column(part, created_timestamp_column) if created_timestamp_column else None
                writer.write(keys, columns, _column(part, timestamp_field), created)
    return writer.result


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    position = batch.schema.get_field_index(name)
    if position >= 0:
        return batch.column(position)
    if name == NO_JOIN_KEY:
        return pa.array([""] * batch.num_rows)
    raise ColumnNotFoundError(f"the rows to write have no column {name!r}", hint=nearest(name, batch.schema.names))


def write_protos(
    target: Target,
    keys: Sequence[bytes | None],
    data: Sequence[tuple[Mapping[str, Value], datetime, datetime | None]],
    progress: Progress | None = None,
) -> Written:
    """Write rows as Feast hands them over: per Redis key values by feature name, event and created timestamp.

    A feature that a row lacks is null in it. Naive datetimes mean UTC. Raises as ``write_batches``.
    """
    with RowWriter(target, progress) as writer:
        for start in range(0, len(data), _BATCH_ROWS):
            values, events, created = zip(*data[start : start + _BATCH_ROWS], strict=True)
            columns = [of_messages(name, number, [row.get(name) for row in values]) for name, number in target.features]
            writer.write(keys[start : start + _BATCH_ROWS], columns, _moments(events), _moments(created))
    return writer.result


def _moments(values: Sequence[datetime | None]) -> pa.Array:
    aware = [value if value is None or value.tzinfo else value.replace(tzinfo=UTC) for value in values]
    # Exact integers: datetime.timestamp() would round microseconds through a float.
    ticks = [None if value is None else _ticks(value) for value in aware]
    return pa.array(ticks, pa.timestamp("us", tz="UTC"))


def _ticks(value: datetime) -> int:
    passed = value - _EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


class RowWriter:
    """Sends rows in the background, a bounded number ahead; leaving the ``with`` block waits for all of them.

    One thread sends, so rows reach Redis in the order they were given. An error shows at a later ``write`` or at the
    end.
    """

    def __init__(self, target: Target, progress: Progress | None = None) -> None:
        self._target = target
        self._progress = progress
        self._pool: ThreadPoolExecutor | None = None
        self._in_flight: deque[Future[Written]] = deque()
        self.result = Written()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            while self._in_flight and error is None:
                self._account(self._in_flight.popleft().result())
        finally:
            if self._pool is not None:
                self._pool.shutdown(cancel_futures=True)

    def write(
        self, keys: Sequence[bytes | None], columns: Sequence[Column], event: pa.Array, created: pa.Array | None
    ) -> None:
        """Encode rows and send them. ``event``, ``created``: timestamps or dates of any unit and zone, naive = UTC."""
        event_us, event_null = microseconds(event, "event timestamp")
        if event_null is not None:
            raise ValueTypeError(
                f"row {int(np.flatnonzero(event_null)[0])} of {len(event)} has no event timestamp",
                hint="every online row needs one: fix or filter the source",
            )
        created_us, created_null = (None, None) if created is None else microseconds(created, "created timestamp")
        target = self._target
        schema = fit(columns, target.book.known(target.view))
        rows = encode(schema, columns, event_us, created_us, created_null)
        pairs = [(key, row) for key, row in zip(keys, rows, strict=True) if key is not None]
        keyless = len(keys) - len(pairs)
        if not target.newer_wins:
            pairs = _newest(pairs)
        self._account(Written(keyless=keyless, older=len(keys) - keyless - len(pairs)))
        registration = target.book.registration(target.view, schema)
        for trip in _trips(pairs):
            self._send_soon(registration, trip)

    def _send_soon(self, registration: _Command, trip: list[_Pairs]) -> None:
        if self._pool is None:
            if len(trip) == 1:
                # A push: a thread would cost more than it hides.
                self._account(_send(self._target, registration, trip))
                return
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="yummy-writer")
        while len(self._in_flight) >= _TRIPS_IN_FLIGHT:
            self._account(self._in_flight.popleft().result())
        self._in_flight.append(self._pool.submit(_send, self._target, registration, trip))

    def _account(self, part: Written) -> None:
        self.result += part
        if self._progress is not None and part.rows:
            self._progress(part.rows)


def _newest(pairs: _Pairs) -> _Pairs:
    """The newest row of each key (the later one of a tie), where nobody on the server will compare them."""
    newest: dict[bytes, bytes] = {}
    for key, row in pairs:
        known = newest.get(key)
        if known is None or row[ORDER] >= known[ORDER]:
            newest[key] = row
    return list(newest.items())


def _trips(pairs: _Pairs) -> Iterator[list[_Pairs]]:
    """Rows in scripts, scripts in round trips: neither so many nor so large that others wait."""
    trip: list[_Pairs] = []
    start = trip_size = 0
    while start < len(pairs):
        stop, size = start, 0
        while stop < len(pairs) and stop - start < _KEYS_PER_SCRIPT and size < _BYTES_PER_SCRIPT:
            size += len(pairs[stop][1])
            stop += 1
        trip.append(pairs[start:stop])
        trip_size += size
        start = stop
        if len(trip) == _SCRIPTS_PER_TRIP or trip_size >= _BYTES_PER_TRIP:
            yield trip
            trip, trip_size = [], 0
    if trip:
        yield trip


def _send(target: Target, registration: _Command, trip: list[_Pairs]) -> Written:
    client = target.client
    pipeline: Any = client.pipeline(transaction=False)
    if isinstance(client, Redis):
        pipeline.execute_command(*registration)
    else:
        # Nodes of a cluster answer independently: the schema must be there before any row is.
        client.execute_command(*registration)  # type: ignore[no-untyped-call]
        # Keys of one script must share a slot, and hardly any two do.
        trip = [[pair] for pairs in trip for pair in pairs]
    script = NEWER_WINS if target.newer_wins else LAST_WINS
    for pairs in trip:
        keys, rows = zip(*pairs, strict=True)
        pipeline.execute_command("EVAL", script, len(keys), *keys, target.view, target.ttl, *rows)
    # The registration's reply, where it is among them, is a number.
    counts = [reply for reply in pipeline.execute() if isinstance(reply, list)]
    written, equal = sum(count[0] for count in counts), sum(count[1] for count in counts)
    return Written(written=written, equal=equal, older=sum(map(len, trip)) - written - equal)
