"""Rows as round trips to Redis: which commands, how many rows they carry, and what the replies say became of them.

Pure: whoever holds a connection sends the trips, a thread (``writer``) or an event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from yummy_feast.errors import ColumnNotFoundError, ValueTypeError, nearest
from yummy_feast.online.arrow_numbers import microseconds
from yummy_feast.online.columns import Column, convert, of_messages, of_stored
from yummy_feast.online.keys import NO_JOIN_KEY, KeyEncoder
from yummy_feast.online.layouts.base import Command, Joined, Packed, Target, Times

if TYPE_CHECKING:
    from feast.protos.feast.types.Value_pb2 import Value

# Enough keys to make a call cheap, few enough that other clients are served in between.
_KEYS_PER_SCRIPT = 128
_JOINT_ROWS_PER_SCRIPT = 1024
_BYTES_PER_SCRIPT = 1024 * 1024
_SCRIPTS_PER_TRIP = 16
_BYTES_PER_TRIP = 8 * 1024 * 1024
_BATCH_ROWS = 16 * 1024

_Pair = tuple[bytes, tuple[bytes, ...]]
"""A key, and a row of each view."""

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
class Trip:
    """One round trip.

    commands: each names its keys as EVAL does; all may go down one connection at once, or each to the node of a cluster
    that has its keys.
    rows: how many rows they carry.
    first: a command that must have taken effect before any of ``commands`` does: ahead of them down the same
    connection, or acknowledged before them where nodes answer independently. Its reply means nothing.
    settled: rows that need no command. A trip may have no other.
    tags: for who made it, to tell views apart: one, or one per view where a command carries a row of each. ``rows`` and
    ``settled`` are those of a single view.
    """

    commands: list[Command]
    rows: int
    first: Command | None = None
    settled: Written = Written()
    tags: tuple[int, ...] = (0,)

    @property
    def is_small(self) -> bool:
        """Whether it is over sooner than a thread is started: a push."""
        return self.rows * len(self.tags) <= _KEYS_PER_SCRIPT

    def outcome(self, replies: Iterable[Any]) -> Written:
        """What became of all its rows, ``settled`` included; ``replies`` to ``commands``, in any order."""
        return self.outcomes(replies)[0]

    def outcomes(self, replies: Iterable[Any]) -> list[Written]:
        """The same per tag."""
        totals = [sum(column) for column in zip(*replies, strict=True)] or [0, 0] * len(self.tags)
        return [
            self.settled + Written(written=written, equal=equal, older=self.rows - written - equal)
            for written, equal in zip(totals[::2], totals[1::2], strict=True)
        ]


def arrow_trips(
    target: Target,
    encoder: KeyEncoder,
    batches: Iterable[pa.RecordBatch],
    timestamp_field: str,
    created_timestamp_column: str | None = None,
) -> Iterator[Trip]:
    """Every row of ``batches``, which have the join keys, the features and the timestamps as columns.

    Raises:
        ColumnNotFoundError: a column is missing. Only Feast's stand-in for no join key may be.
        ValueTypeError: a value that its Feast type cannot hold (names the column), a row without an event timestamp.
    """
    for batch in batches:
        for start in range(0, batch.num_rows, _BATCH_ROWS):
            part = batch.slice(start, _BATCH_ROWS)
            keys = encoder.encode_arrow({name: _column(part, name) for name in encoder.join_keys})
            columns = [convert(name, number, _column(part, name)) for name, number in target.features]
            created = _column(part, created_timestamp_column) if created_timestamp_column else None
            yield from _trips(target, keys, columns, _times(_column(part, timestamp_field), created))


def joint_trips(
    targets: Sequence[Target], encoder: KeyEncoder, batches: Sequence[pa.RecordBatch], times: tuple[str, str | None]
) -> Iterator[Trip]:
    """Rows of several views of the same entities, one of ``batches`` per target: the same keys and times row by row.

    times: the columns of the event and created timestamps. Where the layout cannot join them, each view goes by itself.
    Raises as ``arrow_trips``.
    """
    event, created = times
    for start in range(0, batches[0].num_rows, _BATCH_ROWS):
        parts = [batch.slice(start, _BATCH_ROWS) for batch in batches]
        keys = encoder.encode_arrow({name: _column(parts[0], name) for name in encoder.join_keys})
        moments = _times(_column(parts[0], event), _column(parts[0], created) if created else None)
        packs = [
            target.layout.pack(
                target, [convert(name, number, _column(part, name)) for name, number in target.features], moments
            )
            for target, part in zip(targets, parts, strict=True)
        ]
        joined = targets[0].layout.joined(targets, packs)
        if joined is None:
            for number, (target, packed) in enumerate(zip(targets, packs, strict=True)):
                for trip in _trips_of(target, packed, keys, moments):
                    yield replace(trip, tags=(number,))
            continue
        rows = list(zip(*(pack.rows for pack in packs), strict=True))
        pairs = [(key, row) for key, row in zip(keys, rows, strict=True) if key is not None]
        settled = Written(keyless=len(keys) - len(pairs))
        yield from _cut(targets[0], joined, pairs, settled, tuple(range(len(targets))))


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    position = batch.schema.get_field_index(name)
    if position >= 0:
        return batch.column(position)
    if name == NO_JOIN_KEY:
        return pa.array([""] * batch.num_rows)
    raise ColumnNotFoundError(f"the rows to write have no column {name!r}", hint=nearest(name, batch.schema.names))


def proto_trips(
    target: Target,
    keys: Sequence[bytes | None],
    data: Sequence[tuple[Mapping[str, Value], datetime, datetime | None]],
) -> Iterator[Trip]:
    """Rows as Feast hands them over: per Redis key values by feature name, event and created timestamp.

    A feature that a row lacks is null in it. Naive datetimes mean UTC. Raises as ``arrow_trips``.
    """
    for start in range(0, len(data), _BATCH_ROWS):
        values, events, created = zip(*data[start : start + _BATCH_ROWS], strict=True)
        columns = [of_messages(name, number, [row.get(name) for row in values]) for name, number in target.features]
        times = _times(_moments(events), _moments(created))
        yield from _trips(target, keys[start : start + _BATCH_ROWS], columns, times)


def stored_trips(
    target: Target, keys: Sequence[bytes | None], rows: Sequence[Sequence[Any]], event_us: Sequence[int]
) -> Iterator[Trip]:
    """Rows as a layout's reader answers them: stored values in the order of the features, without created timestamps.

    Raises ValueTypeError for a value that cannot be stored as its declared type.
    """
    columns = [
        of_stored(name, number, [row[position] for row in rows])
        for position, (name, number) in enumerate(target.features)
    ]
    yield from _trips(target, keys, columns, Times(np.array(event_us, np.int64)))


def _moments(values: Sequence[datetime | None]) -> pa.Array:
    aware = [value if value is None or value.tzinfo else value.replace(tzinfo=UTC) for value in values]
    # Exact integers: datetime.timestamp() would round microseconds through a float.
    ticks = [None if value is None else _ticks(value) for value in aware]
    return pa.array(ticks, pa.timestamp("us", tz="UTC"))


def _ticks(value: datetime) -> int:
    passed = value - _EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


def _times(event: pa.Array, created: pa.Array | None) -> Times:
    """From timestamps or dates of any unit and zone, naive = UTC."""
    event_us, event_null = microseconds(event, "event timestamp")
    if event_null is not None:
        raise ValueTypeError(
            f"row {int(np.flatnonzero(event_null)[0])} of {len(event)} has no event timestamp",
            hint="every online row needs one: fix or filter the source",
        )
    return Times(event_us, *((None, None) if created is None else microseconds(created, "created timestamp")))


def _trips(target: Target, keys: Sequence[bytes | None], columns: Sequence[Column], times: Times) -> Iterator[Trip]:
    return _trips_of(target, target.layout.pack(target, columns, times), keys, times)


def _trips_of(target: Target, packed: Packed, keys: Sequence[bytes | None], times: Times) -> Iterator[Trip]:
    pairs = [(key, (row,)) for key, row in zip(keys, packed.rows, strict=True) if key is not None]
    keyless = len(keys) - len(pairs)
    if not (target.newer_wins and target.layout.compares_created):
        pairs = [(key, (packed.rows[row],)) for key, row in _newest(keys, times).items()]
    settled = Written(keyless=keyless, older=len(keys) - keyless - len(pairs))
    return _cut(target, Joined(packed.script, packed.arguments, packed.first), pairs, settled, (0,))


def _cut(
    target: Target, joined: Joined, pairs: Sequence[_Pair], settled: Written, tags: tuple[int, ...]
) -> Iterator[Trip]:
    """Scripts and round trips, neither so many rows nor so large that others wait."""
    # Rows of one key cost less together.
    most = max(1, min(_KEYS_PER_SCRIPT, _JOINT_ROWS_PER_SCRIPT // len(tags)))
    groups: list[tuple[int, int]] = []
    start = stop = size = trip_size = 0
    for stop, (_, rows) in enumerate(pairs, 1):
        size += sum(map(len, rows))
        if stop - start < most and size < _BYTES_PER_SCRIPT and stop < len(pairs):
            continue
        groups.append((start, stop))
        trip_size += size
        start, size = stop, 0
        if len(groups) == _SCRIPTS_PER_TRIP or trip_size >= _BYTES_PER_TRIP or stop == len(pairs):
            # With the last trip: whoever counts acknowledged rows may go on after so many of them.
            last = settled if stop == len(pairs) else Written()
            yield _trip(target, joined, pairs[groups[0][0] : stop], groups, last, tags)
            groups, trip_size = [], 0
    if not pairs:
        yield Trip([], 0, None, settled, tags)


def _newest(keys: Sequence[bytes | None], times: Times) -> dict[bytes, int]:
    """The newest row of each key (the later one of a tie), where nobody on the server will compare them."""
    event = times.event.tolist()
    created: list[int | None] = [None] * len(event) if times.created is None else times.created.tolist()
    if times.created_null is not None:
        created = [None if null else value for value, null in zip(created, times.created_null.tolist(), strict=True)]
    newest: dict[bytes, int] = {}
    for row, key in enumerate(keys):
        if key is None:
            continue
        known = newest.setdefault(key, row)
        if known != row and _age(event[row], created[row]) >= _age(event[known], created[known]):
            newest[key] = row
    return newest


def _age(event: int, created: int | None) -> tuple[int, bool, int]:
    return event, created is not None, created or 0


def _trip(
    target: Target,
    joined: Joined,
    pairs: Sequence[_Pair],
    groups: Sequence[tuple[int, int]],
    settled: Written,
    tags: tuple[int, ...],
) -> Trip:
    """``groups``: the ranges of rows, counted from wherever, that each share a script."""
    if target.one_key_scripts:
        # Keys of one script must share a slot, and hardly any two do.
        groups = [(at, at + 1) for at in range(len(pairs))]
    offset = groups[0][0]
    commands: list[Command] = []
    for start, stop in groups:
        keys, rows = zip(*pairs[start - offset : stop - offset], strict=True)
        commands.append(("EVAL", joined.script, len(keys), *keys, *joined.arguments, *chain.from_iterable(rows)))
    return Trip(commands, len(pairs), joined.first, settled, tags)
