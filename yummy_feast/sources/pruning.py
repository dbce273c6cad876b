"""Which parts of a source can be left out, decided from the bounds of their columns. Pure: no file is touched here.

Everything is compared in one of three domains: ``time`` (microseconds since 1970 UTC), ``int`` and ``bytes`` (text as
UTF-8, whose byte order is Parquet's). A column that fits none, and bounds that are unknown, never lead to pruning.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from yummy_feast.sources.base import Piece, Prune, SeenPiece
from yummy_feast.values.kinds import PER_SECOND

DAY = 86_400_000_000
"""Microseconds."""
_EXACT_KEYS = 10_000
"""Up to so many wanted values, each is looked up; of more, only the smallest and largest count."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The values of a column in a part lie within ``[low, high]``; None is open. Both in the column's domain."""

    low: Any
    high: Any


BoundsOf = Callable[[str], Bounds | None]
"""Bounds of a column in a part, None if nothing is known."""


def domain_of(column_type: pa.DataType) -> str | None:
    """``time``, ``int`` or ``bytes``; None for types whose bounds are not compared (floats: NaN; decimals; nested)."""
    if pt.is_timestamp(column_type) or pt.is_date(column_type):
        return "time"
    if pt.is_integer(column_type):
        return "int"
    text = pt.is_string(column_type) or pt.is_large_string(column_type)
    return "bytes" if text or pt.is_binary(column_type) or pt.is_large_binary(column_type) else None


def comparable(value: Any, column_type: pa.DataType) -> Any:
    """A Python value of a column in the column's domain; None if it has none. Nanoseconds round down."""
    domain = domain_of(column_type)
    if value is None or domain is None:
        return None
    if domain == "time":
        return _micros(value)
    if domain == "bytes":
        return value.encode() if isinstance(value, str) else bytes(value)
    return int(value)


def comparable_values(values: pa.Array) -> list[Any]:
    """All values of an array in their domain, None for nulls; the array's type must have a domain."""
    if domain_of(values.type) != "time":
        return [comparable(value, values.type) for value in values.to_pylist()]
    # By way of integers, because a year past 9999 is no Python datetime.
    unit = values.type.unit if pt.is_timestamp(values.type) else "us"
    counts = values.cast(pa.timestamp(unit)).cast(pa.int64()).to_pylist()
    return [None if count is None else micros_of_count(count, unit) for count in counts]


def _micros(value: Any) -> int | None:
    if isinstance(value, datetime):
        aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        # Whole numbers only: a float of seconds loses microseconds.
        delta = aware - datetime(1970, 1, 1, tzinfo=UTC)
        return delta.days * DAY + delta.seconds * 10**6 + delta.microseconds
    if isinstance(value, date):
        return (value - date(1970, 1, 1)).days * DAY
    return None


def micros_of_count(count: int, unit: str) -> int:
    """Microseconds of a count of ``s``, ``ms``, ``us`` or ``ns``, rounded down."""
    return count * 10**6 // PER_SECOND[unit]


@dataclass(frozen=True, slots=True)
class _Range:
    """Wanted values of one column: an interval, and all of them in order where they are few."""

    column: str
    low: Any
    high: Any
    exact: list[Any] | None = None

    def may_meet(self, bounds: Bounds) -> bool:
        if self.low is not None and bounds.high is not None and bounds.high < self.low:
            return False
        if self.high is not None and bounds.low is not None and bounds.low > self.high:
            return False
        if self.exact is None or bounds.low is None or bounds.high is None:
            return True
        position = bisect_left(self.exact, bounds.low)
        return position < len(self.exact) and bool(self.exact[position] <= bounds.high)


@dataclass(frozen=True, slots=True)
class _TextDays(_Range):
    """Wanted days of a column that holds them as text: only a part with one single day in ISO form is ever left out."""

    def may_meet(self, bounds: Bounds) -> bool:
        if bounds.low is None or bounds.low != bounds.high:
            return True
        try:
            day = _micros(date.fromisoformat(bounds.low.decode()[:10]))
        except ValueError:
            return True
        return _Range(self.column, self.low, self.high).may_meet(Bounds(day, day))


class Wanted:
    """A Prune made ready for many questions about one schema.

    date_partition: a column that holds the day of the event time. Its zone is unknown, so a day more on each side is
    kept.
    """

    def __init__(self, prune: Prune | None, schema: pa.Schema, date_partition: str = "") -> None:
        self._ranges: list[_Range] = []
        self._nothing = False
        if prune is None:
            return
        self._add_times(prune, schema, date_partition)
        for column, keys in prune.keys.items():
            if column in schema.names:
                self._add_keys(column, keys, schema.field(column).type)

    def _add_times(self, prune: Prune, schema: pa.Schema, date_partition: str) -> None:
        if prune.start is None and prune.end is None:
            return
        if prune.time_field in schema.names and is_time(schema, prune.time_field):
            self._ranges.append(_Range(prune.time_field, prune.start, prune.end))
        if date_partition in schema.names:
            low = None if prune.start is None else prune.start - 2 * DAY
            high = None if prune.end is None else prune.end + DAY
            if domain_of(schema.field(date_partition).type) == "bytes":
                self._ranges.append(_TextDays(date_partition, low, high))
            elif is_time(schema, date_partition):
                self._ranges.append(_Range(date_partition, low, high))

    def _add_keys(self, column: str, keys: pa.Array, column_type: pa.DataType) -> None:
        domain = domain_of(column_type)
        if domain not in ("int", "bytes") or domain_of(keys.type) != domain:
            return
        distinct = pc.unique(keys).drop_null()
        if len(distinct) == 0:
            self._nothing = True
            return
        if len(distinct) > _EXACT_KEYS:
            edges = pc.min_max(distinct).as_py()
            low, high = (comparable(edges[side], keys.type) for side in ("min", "max"))
            self._ranges.append(_Range(column, low, high))
        else:
            exact = sorted(comparable(value, keys.type) for value in distinct.to_pylist())
            self._ranges.append(_Range(column, exact[0], exact[-1], exact))

    @property
    def nothing(self) -> bool:
        """Whether no row at all is wanted."""
        return self._nothing

    def may_hold(self, bounds_of: BoundsOf) -> bool:
        """Whether a part with these bounds can hold a wanted row."""
        if self._nothing:
            return False
        for wanted in self._ranges:
            bounds = bounds_of(wanted.column)
            if bounds is not None and not wanted.may_meet(bounds):
                return False
        return True


class WantedParts:
    """A Prune for parts that are new and for parts that an earlier read saw. Arguments as for ``Wanted``."""

    def __init__(self, prune: Prune | None, schema: pa.Schema, date_partition: str = "") -> None:
        self.new = Wanted(prune, schema, date_partition)
        self.seen = self.new
        self._start: int | None = None
        self.state = ""
        """The state to ask which parts were seen; empty if the answer makes no difference."""
        if prune is not None and prune.seen and prune.seen_start is not None:
            self.seen = Wanted(replace(prune, start=prune.seen_start), schema, date_partition)
            self.state = prune.seen
            self._start = prune.seen_start

    def of(self, *, seen: bool) -> Wanted:
        """What is wanted of one part."""
        return self.seen if seen else self.new

    def marked(self, piece: Piece, wanted: Wanted) -> Piece:
        """The piece, so that whoever reads it knows whether an earlier read saw it."""
        return SeenPiece(piece, self._start) if wanted is not self.new and self._start is not None else piece


def is_time(schema: pa.Schema, column: str) -> bool:
    """Whether ``column`` is compared as a time."""
    return domain_of(schema.field(column).type) == "time"
