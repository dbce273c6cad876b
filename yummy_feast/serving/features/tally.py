"""What was read with one plan, counted in passing and added up now and then.

A request of one row adds one to a number kept for its combination of statuses: what that means feature by feature is
worked out once a second, for all requests with that combination together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from yummy_feast.online.answer import Rows, Status

if TYPE_CHECKING:
    from yummy_feast.online.plan import OnlinePlan

STATUSES: Final = tuple(Status)
_MOST_COMBINATIONS: Final = 1000
_READ: Final = (Status.PRESENT, Status.NOT_FOUND, Status.OUTSIDE_MAX_AGE)


class Tally:
    """Counts since the last `take`.

    views: names of the views that are read. nulls: features that are null in a row that is there, which whoever writes
    the answer comes across. is_noted: for whoever collects tallies.
    """

    __slots__ = ("_combinations", "_computed", "_counts", "_last", "_length", "_widths", "is_noted", "nulls", "views")

    def __init__(self, plan: OnlinePlan) -> None:
        self.views = tuple(view.name for view in plan.views)
        of = [column.rows for column in plan.columns]
        # Features of the answer: of each view, and computed ones.
        self._widths = tuple(of.count(1 + each) for each in range(len(self.views)))
        self._computed = of.count(0)
        self.is_noted = False
        self._start()

    def _start(self) -> None:
        self.nulls = 0
        self._length = 0
        self._combinations: dict[tuple[int, ...], int] = {}
        # (rows, features) by status, of requests with many rows.
        self._counts = {status: [0, 0] for status in _READ}
        self._last: Sequence[int | Rows] = ()

    def add_row(self, statuses: Sequence[int], times: Sequence[int]) -> None:
        """A request of one row was answered; per view its status and event timestamp."""
        seen, combination = self._combinations, tuple(statuses)
        seen[combination] = seen.get(combination, 0) + 1
        self._length += 1
        self._last = times
        if len(seen) > _MOST_COMBINATIONS:
            self._settle()

    def add_rows(self, views: Sequence[Rows], length: int) -> None:
        """A request of ``length`` rows was answered. ``views`` may go on with what was computed."""
        self._length += length
        self._last = views
        for (statuses, _), width in zip(views, self._widths, strict=False):
            left = length
            for status in _READ:
                count = statuses.count(status)
                if count:
                    self._count(status, count, width)
                    left -= count
                    if not left:
                        break

    def take(self) -> tuple[dict[Status, int], dict[Status, int]]:
        """Rows of views, and features of answers, by status; begins anew."""
        self._settle()
        rows = {status: counted for status, (counted, _) in self._counts.items()}
        features = {status: counted for status, (_, counted) in self._counts.items()}
        features[Status.PRESENT] += self._computed * self._length - self.nulls
        features[Status.NULL_VALUE] = self.nulls
        self._start()
        return rows, features

    def newest(self) -> Iterator[tuple[str, int]]:
        """(view, newest event timestamp in microseconds) of the last request, for views of which it found a row."""
        for view, last in zip(self.views, self._last, strict=False):
            time = max(last.event_times, default=0) if isinstance(last, Rows) else last
            if time:
                yield view, time

    def _settle(self) -> None:
        for combination, times in self._combinations.items():
            for status, width in zip(combination, self._widths, strict=True):
                self._count(Status(status), times, width)
        self._combinations.clear()

    def _count(self, status: Status, rows: int, width: int) -> None:
        counts = self._counts[status]
        counts[0] += rows
        counts[1] += rows * width
