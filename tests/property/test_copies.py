"""materialize-incremental, cut off anywhere, over a source that changes at any time: what is online, noted and sent.

The stores are in memory; what is copied, and how it is noted, is the package's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.materialization.memory_stores import Lab, StoppedError, moment, view
from yummy_feast.materialization import notes
from yummy_feast.materialization.copying import Task, copy
from yummy_feast.offline.store import micros

TABLE = view()
LATE = 20
TTL = 30
"""How far back a first run looks, and so how late its rows may be."""

DELAYS = st.lists(st.integers(0, LATE + 5), min_size=1, max_size=7)


@dataclass
class Run:
    """One command. cut: rows after which it is killed; noted: which of the counts reach the server before; forgets:
    it ends before the registry knows; meanwhile: rows that come each time the source is about to be opened.
    """

    cut: int | None = None
    noted: list[bool] = field(default_factory=list)
    forgets: bool = False
    meanwhile: list[list[int]] = field(default_factory=list)
    again: bool = False
    """Not what is new, but the last window once more, as a scheduler does."""


RUNS = st.builds(
    Run,
    st.none() | st.integers(0, 12),
    st.lists(st.booleans(), max_size=12),
    st.booleans(),
    st.lists(DELAYS, max_size=2),
    st.sampled_from([False, False, False, True]),
)
STEPS = st.one_of(
    st.tuples(st.just("add"), DELAYS),
    st.tuples(st.just("wait"), st.integers(1, 15)),
    st.tuples(st.just("run"), RUNS),
    st.tuples(st.just("run"), RUNS),
    st.tuples(st.just("compact"), st.none()),
)


class World:
    """A source, a clock in microseconds, and the registry's windows of one view."""

    def __init__(self) -> None:
        self.lab = Lab(lateness=LATE / 1e6)
        self.clock = 1000
        self.registry: list[tuple[int, int]] = []
        self.rows: list[tuple[int, int, int]] = []
        """(id, event time, arrival)."""
        self.first_start: int | None = None
        self.began = self.clock
        self.registry_is_behind = False

    def add(self, delays: list[int]) -> None:
        """A new part; time passes, so that rows of the future are none."""
        self.clock += 1
        new = [(len(self.rows) + number, self.clock - delay, self.clock) for number, delay in enumerate(delays)]
        self.rows += new
        self.lab.source.add((key, event) for key, event, _ in new)

    def window(self, run: Run) -> tuple[int, int]:
        if not self.registry:
            return self.clock - TTL, self.clock
        if run.again:
            start, end = self.registry[-1]
            return start, end
        return max(end for _, end in self.registry), self.clock

    def run(self, run: Run) -> bool:
        """Whether it came to its end."""
        online, book = self.lab.online, self.lab.online.book
        start, end = self.window(run)
        if not self.registry:
            self.first_start = start
        table = TABLE
        table.materialization_intervals = [(moment(first), moment(last)) for first, last in self.registry]
        coming: Iterator[list[int]] = iter(run.meanwhile)
        noted = iter(run.noted)

        def change() -> None:
            if delays := next(coming, None):
                self.add(delays)

        self.lab.source.before_open = change
        book.keeps = lambda: next(noted, True)
        online.left = run.cut

        def done(_: int, until: datetime) -> None:
            self.check_done(start, micros(until) or 0)
            self.registry_is_behind = run.forgets
            if run.forgets:
                raise StoppedError
            self.registry.append((start, micros(until) or 0))

        ended = False
        with suppress(StoppedError), mock.patch.object(notes, "_NOTE_EVERY", 0.0):
            [outcome] = copy(self.lab.stores, [Task(table, moment(start), moment(end))], done)
            assert outcome.error is None
            ended = True
        online.left = None
        self.lab.source.before_open = lambda: None
        return ended

    # -------------------------------------------------------------------------------------------- what must be true

    @property
    def online(self) -> set[int]:
        return self.lab.online.rows.get("stats", set())

    def check_done(self, start: int, end: int) -> None:
        """A window that is about to be marked: what was in the source before the run and lies in it is online."""
        missing = [row for row in self.rows if start <= row[1] <= end and row[0] not in self.online]
        # What came while the run was at work may wait for the next. Where the registry is behind, a part of the window
        # was done before, and nobody waits any more for what is too late for that part.
        assert all(
            arrival > self.began or (self.registry_is_behind and arrival - event > LATE)
            for _, event, arrival in missing
        )

    def check_end(self) -> None:
        start = self.first_start
        assert start is not None
        wanted = {key for key, event, arrival in self.rows if arrival - event <= LATE and event >= start}
        assert wanted <= self.online


def play(steps: list[tuple[str, Any]]) -> World:
    world = World()
    for what, given_to in steps:
        world.began = world.clock
        if what == "add":
            world.add(given_to)
        elif what == "wait":
            world.clock += given_to
        elif what == "compact":
            world.lab.source.compact()
        else:
            world.run(given_to)
    return world


@settings(max_examples=150)
@given(steps=st.lists(STEPS, max_size=14))
def test_whatever_happens_rows_that_are_not_too_late_come_online(steps: list[tuple[str, Any]]) -> None:
    world = play(steps)
    world.clock += 1
    world.began = world.clock
    assert world.run(Run())
    assert world.run(Run())
    world.check_end()


@settings(max_examples=100)
@given(
    steps=st.lists(STEPS, max_size=10),
    cuts=st.lists(st.integers(0, 6), max_size=5),
    gap=st.integers(0, 9),
    forgets=st.integers(0, 5),
)
def test_what_was_acknowledged_is_not_sent_again_when_nothing_changed(
    steps: list[tuple[str, Any]], cuts: list[int], gap: int, forgets: int
) -> None:
    world = play(steps)
    # A row at the very end of a window begins the next one too.
    world.clock += 1
    world.run(Run())
    world.add([0, 3, LATE, 1, 7])
    world.clock += 1
    world.began = world.clock
    sent = world.lab.online.sent
    before = len(sent)
    for number, cut in enumerate(cuts):
        # Twice in a row between the last row and the registry is more than a record of one copy can tell.
        world.run(Run(cut=cut, forgets=number == forgets))
        world.clock += gap
    assert world.run(Run())
    keys = [key for _, key in sent[before:]]
    assert len(keys) == len(set(keys))
    # And then there is nothing left to do.
    before = len(sent)
    world.clock += gap
    assert world.run(Run())
    assert [key for _, key in sent[before:]] == []
