"""Copying where the engine computes on other machines: whoever has a part of the newest rows writes it to Redis.

A part is all rows of the keys that fall into it. Its writer goes through the same code as a copy from here, so a row is
written only where Redis holds no newer one: a part may be written twice, by a task that is tried again or by two at a
time, and a task that was given up may end late. A part that is online is noted in Redis by its writer, so a copy that
was cut off goes on with the parts that are left. Counts are all that comes back.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from yummy_feast.errors import OnlineStoreError
from yummy_feast.materialization.columns import ViewColumns, gathered
from yummy_feast.materialization.notes import Notes
from yummy_feast.online.destination import Destination
from yummy_feast.online.redis import translated
from yummy_feast.online.writer import Written

if TYPE_CHECKING:
    from yummy_feast.materialization.jobs import Job, Stores
    from yummy_feast.offline.newest import NewestParts
    from yummy_feast.online.progress import Parts
    from yummy_feast.online.writer import Rows

TOLD: Final = pa.schema([(name, pa.int64()) for name in ("view", "written", "equal", "older", "keyless")])
"""What a writer tells of a part: a row per view."""

_LOOK_EVERY: Final = 1.0
"""Seconds between two looks at how far the writers are."""


@dataclass(frozen=True, slots=True)
class PartWriter:
    """Writes parts of one read. Plain data: it pickles, and works wherever this package is installed.

    columns: per view, what is written of the rows. run: under whose name a part is noted. limit: rows of a batch.
    """

    columns: tuple[ViewColumns, ...]
    destination: Destination
    run: str
    limit: int | None

    def __call__(self, part: int, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch:
        """Write all rows of a part, then note it. Returns what became of them, see ``TOLD``.

        Raises OnlineStoreError when Redis cannot be used, ColumnTypeError and ValueTypeError for a value that does not
        fit: then what was acknowledged stays, and the part is not noted.
        """
        destination = self.destination
        destination.check_within_reach()
        written = destination.write(self._rows(batches))
        with translated(destination.settings):
            names = [view.stored_as for view in destination.views]
            destination.progress().part_done(self.run, part, written[0].rows, names)
        told = [(at, one.written, one.equal, one.older, one.keyless) for at, one in enumerate(written)]
        return pa.record_batch(list(map(list, zip(*told, strict=True))), TOLD)

    def _rows(self, batches: Iterator[pa.RecordBatch]) -> Iterator[Rows]:
        everyone = range(len(self.columns))
        for table in gathered(batches):
            for each in zip(*(columns.batches(table, self.limit) for columns in self.columns), strict=True):
                yield everyone, each


def copy_parts(
    stores: Stores, jobs: Sequence[Job], number: int, members: Sequence[Sequence[int]], parts: NewestParts
) -> None:
    """Copy one window of every job. members: the indices of the jobs of each read of ``parts``."""
    with parts as found:
        noted: dict[int, tuple[str, Parts]] = {}
        for read, indices in enumerate(members):
            division = found.divisions[read]
            for index in indices:
                # Whoever changed the source since it was looked at may have changed the rows of any part.
                same = jobs[index].state == found.state
                noted[index] = (division, jobs[index].parts_of(number, division) if same else {})
        notes = Notes(stores, jobs, number, found.state, dict.fromkeys(noted, 0), noted)
        notes.begin()
        with _bar(stores, jobs, members, found, notes.run) as bar:
            for read, indices in enumerate(members):
                some = [jobs[index] for index in indices]
                writer = PartWriter(
                    tuple(job.columns for job in some),
                    stores.online.destination(stores.config, [job.timed for job in some]),
                    notes.run,
                    stores.config.materialization_config.online_write_batch_size,
                )
                online = set.intersection(*(set(noted[index][1]) for index in indices))
                bar.skip(read, online)
                told = found.run(read, writer, TOLD, online)
                for view, *counts in zip(*told.to_pydict().values(), strict=True):
                    written = Written(*counts)
                    jobs[indices[view]].outcome.written += written
                    bar.settle(written.rows)
        notes.finish()


@contextmanager
def _bar(
    stores: Stores, jobs: Sequence[Job], members: Sequence[Sequence[int]], found: NewestParts, run: str
) -> Iterator[_Bar]:
    """A progress bar that looks at the notes of the writers, which are elsewhere."""
    firsts = [jobs[indices[0]].stored_as for indices in members]
    book, settings = stores.online.progress(stores.config), stores.online.settings(stores.config)
    over = threading.Event()
    with stores.bar(None) as shown:
        shown.unit = "row"
        shown.set_description(", ".join(job.task.view.name for job in jobs))
        bar = _Bar(shown, [len(indices) for indices in members], found.counts)

        def look() -> None:
            while not over.wait(_LOOK_EVERY):
                # Whoever writes will say why Redis cannot be used.
                with suppress(OnlineStoreError), translated(settings):
                    bar.show(book.parts(run, firsts))

        watcher = threading.Thread(target=look, name="yummy-progress", daemon=True)
        watcher.start()
        try:
            yield bar
        finally:
            over.set()
            watcher.join()
            bar.close()


class _Bar:
    """Rows that are online, and how many there may be, told from the parts that are: nobody has counted them."""

    def __init__(self, shown: Any, views: Sequence[int], counts: Sequence[int]) -> None:
        self._shown, self._views, self._counts = shown, views, counts
        self._skipped: list[set[int]] = [set() for _ in views]
        self._rows = self._settled = 0

    def skip(self, read: int, parts: set[int]) -> None:
        """These were online before."""
        self._skipped[read] = parts

    def settle(self, rows: int) -> None:
        """So many more are known to be online."""
        self._settled += rows

    def show(self, noted: Sequence[Parts]) -> None:
        """What the writers noted."""
        rows, expected = 0, 0.0
        for read, parts in enumerate(noted):
            fresh = [of for part, of in parts.items() if part not in self._skipped[read]]
            left = self._counts[read] - len(self._skipped[read])
            rows += self._views[read] * sum(fresh)
            expected += self._views[read] * sum(fresh) * left / max(1, len(fresh))
        if expected:
            self._shown.total = max(rows, round(expected))
        self._to(rows)

    def close(self) -> None:
        """The writers are done."""
        self._to(self._settled)

    def _to(self, rows: int) -> None:
        if rows > self._rows:
            self._shown.update(rows - self._rows)
            self._rows = rows
