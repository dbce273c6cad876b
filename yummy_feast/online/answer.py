"""What a read of online features answers: columns of stored values, and per view who was found and when.

Statuses and event timestamps belong to a row of a view, not to a cell: they are kept once per view, and whoever renders
them (the SDK, a server) does so once per view too. Only a null turns the status of a single cell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple, Self

from yummy_feast.values import Encoding, kind_of, python_finisher


class Status(IntEnum):
    """How a cell came to its value. The numbers are Feast's ``FieldStatus``."""

    PRESENT = 1
    NULL_VALUE = 2
    """The row exists, and the feature in it is null (or younger than the row)."""
    NOT_FOUND = 3
    """No row for that entity and view."""
    OUTSIDE_MAX_AGE = 4
    """The row is older than the view's ttl."""


class Rows(NamedTuple):
    """One view's rows, aligned with the rows of the request.

    statuses: PRESENT, NOT_FOUND or OUTSIDE_MAX_AGE.
    event_times: microseconds since 1970; 0 where there is no row.
    """

    statuses: Sequence[int]
    event_times: Sequence[int]

    @classmethod
    def given(cls, length: int) -> Self:
        """Rows that came with the request or were computed: present, without a time."""
        return cls((Status.PRESENT,) * length, (0,) * length)


@dataclass(frozen=True, slots=True)
class Heading:
    """The columns of an answer, compiled once per plan and set of request columns.

    names: join keys first, then features in the order they were asked for.
    kinds: Feast ``ValueType`` numbers.
    rows_of: which of the answer's ``Rows`` a column belongs to.
    finishers: from a stored value to Feast's Python value; None where they are the same.
    views: (name, version) of every view that was read.
    """

    names: tuple[str, ...]
    kinds: tuple[int, ...]
    rows_of: tuple[int, ...]
    finishers: tuple[Callable[[Any], Any] | None, ...]
    views: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(cls, columns: Sequence[tuple[str, int, int]], views: tuple[tuple[str, int], ...] = ()) -> Self:
        """From (name, kind, index of its ``Rows``) per column."""
        names, kinds, rows_of = zip(*columns, strict=True) if columns else ((), (), ())
        return cls(names, kinds, rows_of, tuple(finisher_of(kind) for kind in kinds), views)


def finisher_of(kind: int) -> Callable[[Any], Any] | None:
    """``values.python_finisher``, except that a list is copied: the caller may change it, the answer must not.

    Kind 0 is a join key of no known type, whose values are Python's already.
    """
    if kind == 0:
        return None
    finisher = python_finisher(kind)
    return list if finisher is None and kind_of(kind).encoding is Encoding.PACKED else finisher


def finish_all(stored: Sequence[Any], finisher: Callable[[Any], Any] | None) -> list[Any]:
    """A column of stored values as Python values."""
    if finisher is None:
        return list(stored)
    return [None if value is None else finisher(value) for value in stored]


@dataclass(frozen=True, slots=True)
class OnlineFeatures:
    """An answer of ``length`` rows: ``values[i]`` are the stored values (None for null) of column
    ``heading.names[i]``.
    """

    heading: Heading
    values: Sequence[Sequence[Any]]
    rows: Sequence[Rows]
    length: int

    def to_python(self) -> dict[str, list[Any]]:
        """Column name -> Python values, as Feast's SDK spells them."""
        return {
            name: list(stored) if finisher is None else finish_all(stored, finisher)
            for name, finisher, stored in zip(self.heading.names, self.heading.finishers, self.values, strict=True)
        }

    def statuses_of(self, column: int) -> list[int]:
        """The ``Status`` of every row of one column."""
        found = self.rows[self.heading.rows_of[column]].statuses
        values = self.values[column]
        if None not in values:
            return list(found)
        present, null = Status.PRESENT.value, Status.NULL_VALUE.value
        return [
            null if value is None and status == present else status for value, status in zip(values, found, strict=True)
        ]

    def event_times_of(self, column: int) -> Sequence[int]:
        """The event timestamps of one column: microseconds since 1970, 0 where there is none."""
        return self.rows[self.heading.rows_of[column]].event_times
