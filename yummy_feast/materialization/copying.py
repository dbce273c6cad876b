"""Moves the newest rows of feature views online, views of one source together.

Rows travel as Arrow batches and become packed bytes in bulk; nothing holds a whole view. Reading, packing and writing
overlap: the engine reads ahead on a thread, the writer sends on another. What Redis has acknowledged is noted there
every second, so that a copy that was cut off goes on where it stopped. Where the engine computes on other machines,
they write as well: see ``parts``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from yummy_feast.errors import OnlineStoreError, ValueTypeError, YummyError
from yummy_feast.materialization.columns import Gathering, ViewColumns, growing
from yummy_feast.materialization.jobs import Job, Outcome, Stores, Task, read_of
from yummy_feast.materialization.notes import Notes
from yummy_feast.materialization.parts import copy_parts
from yummy_feast.materialization.window import digest, lateness, windows
from yummy_feast.offline.store import micros
from yummy_feast.online.redis import translated
from yummy_feast.online.writer import Written

if TYPE_CHECKING:
    from feast import FeatureView

    from yummy_feast.offline.newest import Newest
    from yummy_feast.online.progress import Copy, Parts

__all__ = ["Outcome", "Stores", "Task", "copy"]

logger = logging.getLogger(__name__)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_MOMENTS = timedelta(minutes=1)


def copy(stores: Stores, tasks: Sequence[Task], done: Callable[[int, datetime], object]) -> list[Outcome]:
    """Copy the newest row per key of each task's window. One outcome per task, in their order; ``done`` hears the
    position of a task and up to when its rows are online, as soon as they are: at the end of the task, and before it
    where an earlier copy, to an earlier end, was finished first.

    A view whose rows cannot be read or stored fails alone: its error names view, source and column. Once Redis cannot
    be used, what is left is not tried. What was acknowledged stays, and running again mends the rest.
    """
    outcomes = [Outcome() for _ in tasks]
    aligned = _aligned(tasks)
    columns: dict[int, ViewColumns] = {}
    groups: dict[object, list[Job]] = {}
    for number, task in enumerate(aligned):
        with _failing(outcomes[number]):
            columns[number] = ViewColumns.of(task.view)
    try:
        noted = _noted(stores, [aligned[number].view for number in columns])
    except OnlineStoreError as error:
        for number in columns:
            outcomes[number].error = error
        return outcomes
    for (number, read), known in zip(columns.items(), noted, strict=True):
        task, outcome = aligned[number], outcomes[number]
        with _failing(outcome):
            job = _job(stores, task, read, known, outcome, partial(_tell, done, number, task))
            groups.setdefault(job.together, []).append(job)
    broken: OnlineStoreError | None = None
    for jobs in groups.values():
        broken = _fail(jobs, broken) if broken else _copy_together(stores, jobs)
    return outcomes


@contextmanager
def _failing(outcome: Outcome) -> Iterator[None]:
    """What goes wrong with one view stays there."""
    try:
        yield
    except YummyError as error:
        outcome.error = error


def _aligned(tasks: Sequence[Task]) -> list[Task]:
    """The tasks with one start where first runs of `materialize-incremental` begin moments apart, because Feast counts
    each view's ttl back from its own now: only equal windows are read together.
    """
    firsts = sorted({task.start for task in tasks if task.view.most_recent_end_time is None})
    common: dict[datetime, datetime] = {}
    for start in firsts:
        earlier = common[max(common)] if common else start
        common[start] = earlier if start - earlier < _MOMENTS else start
    return [
        replace(task, start=common[task.start]) if task.view.most_recent_end_time is None else task for task in tasks
    ]


def _fail(jobs: Sequence[Job], error: OnlineStoreError) -> OnlineStoreError:
    for job in jobs:
        job.outcome.error = error
    return error


def _tell(done: Callable[[int, datetime], object], number: int, task: Task, end: int) -> None:
    # The last end is the task's own, to the letter.
    done(number, task.end if micros(task.end) == end else _EPOCH + timedelta(microseconds=end))


def _noted(stores: Stores, views: Sequence[FeatureView]) -> list[tuple[bytes, Copy | None, int]]:
    """Per view: as what it is stored, its last copy, how many of its rows were acknowledged."""
    if not views:
        return []
    names = [stores.online.stored_as(stores.config, view) for view in views]
    with translated(stores.online.settings(stores.config)):
        found = stores.online.progress(stores.config).lasts(names)
    return [(name, *known) for name, known in zip(names, found, strict=True)]


def _job(
    stores: Stores,
    task: Task,
    columns: ViewColumns,
    known: tuple[bytes, Copy | None, int],
    outcome: Outcome,
    done: Callable[[int], object],
) -> Job:
    config, view = stores.config, task.view
    stored_as, last, rows = known
    parts: Parts = {}
    if last is not None and last.division and not last.done:
        with translated(stores.online.settings(config)):
            [parts] = stores.online.progress(config).parts(last.run, [stored_as])
    fingerprint = digest(columns, config.online_store.layout)
    state = stores.offline.state(config, columns.source) if last is not None and not last.done else ""
    chosen = windows(
        micros(task.start),
        micros(task.end) or 0,
        newest=micros(view.most_recent_end_time),
        late=lateness(view, config.offline_store.lateness),
        last=last,
        rows=rows,
        view=fingerprint,
        state=state,
        now=time.time(),
    )
    return Job(task, columns, stored_as, fingerprint, state, tuple(chosen), parts, outcome, done)


def _copy_together(stores: Stores, jobs: Sequence[Job]) -> OnlineStoreError | None:
    """Copy ``jobs`` in one pass; one by one if that fails, so that each view has its own error.

    Returns the error of a Redis that cannot be used.
    """
    try:
        for number in range(len(jobs[0].windows)):
            _copy_window(stores, jobs, number)
            for job in jobs:
                job.done(job.windows[number].end)
    except OnlineStoreError as error:
        return _fail(jobs, error)
    except YummyError as error:
        if len(jobs) > 1:
            for number, job in enumerate(jobs):
                # It begins again, and so does its count.
                job.outcome.written = Written()
                broken = _copy_together(stores, [job])
                if broken is not None:
                    return _fail(jobs[number:], broken)
            return None
        [job] = jobs
        job.outcome.error = _about(job, error)
        # Feast raises the first error of a run alone.
        logger.error("%s", job.outcome.error)  # noqa: TRY400 - its line is enough
        return None
    for job in jobs:
        _report(job)
    return None


def _about(job: Job, error: YummyError) -> YummyError:
    """Errors name the column, and those of sources their location; the reader also wants to know the view."""
    about = f"feature view '{job.task.view.name}'"
    if isinstance(error, ValueTypeError):
        about += f" from {job.columns.source.location}"
    named = type(error)(f"{about}: {error.message}", hint=error.hint)
    named.__cause__ = error
    return named


def _report(job: Job) -> None:
    written = job.outcome.written
    logger.info(
        "feature view %s: %d rows written, %d already there, %d older than what is there, %d without a join key",
        job.task.view.name,
        written.written,
        written.equal,
        written.older,
        written.keyless,
    )


# ------------------------------------------------------------------------------------------------ one window


def _copy_window(stores: Stores, jobs: Sequence[Job], number: int) -> None:
    """Copy one window of every job."""
    plans: dict[tuple[tuple[str, ...], int, object], list[int]] = {}
    for index, job in enumerate(jobs):
        window = job.windows[number]
        online = (window.division, frozenset(job.parts)) if window.division else ""
        plans.setdefault((job.columns.join_keys, window.skip, online), []).append(index)
    members = list(plans.values())
    reads = [read_of([jobs[index] for index in indices], number) for indices in members]
    parts = stores.offline.newest_parts(stores.config, reads)
    if parts is not None:
        copy_parts(stores, jobs, number, members, parts)
        return
    with stores.offline.newest(stores.config, reads) as found:
        # Whoever changed the source since it was looked at has moved the rows too.
        whole = any(job.windows[number].skip and job.state != found.state for job in jobs)
        skips = [0 if whole else skip for _, skip, _ in plans]
        left = [max(0, rows - skip) for rows, skip in zip(found.rows, skips, strict=True)]
        notes = Notes(stores, jobs, number, found.state, _per_job(members, skips))
        with stores.bar(sum(rows * len(indices) for rows, indices in zip(left, members, strict=True))) as bar:
            bar.unit = "row"
            bar.set_description(", ".join(job.task.view.name for job in jobs))

            def acknowledged(index: int, part: Written) -> None:
                bar.update(part.rows)
                jobs[index].outcome.written += part
                notes.add(index, part.rows)

            notes.begin()
            batches = _batches(stores, jobs, members, found, skips)
            stores.online.write_streams(stores.config, [job.timed for job in jobs], batches, acknowledged)
            notes.finish()


def _per_job(members: Sequence[Sequence[int]], values: Sequence[int]) -> dict[int, int]:
    return {index: value for indices, value in zip(members, values, strict=True) for index in indices}


def _batches(
    stores: Stores, jobs: Sequence[Job], members: Sequence[Sequence[int]], found: Newest, skips: Sequence[int]
) -> Iterator[tuple[Sequence[int], Sequence[pa.RecordBatch]]]:
    """(indices of the jobs of one read, the next rows of each under Feast's names: the same rows of the source)."""
    limit = stores.config.materialization_config.online_write_batch_size
    gathered = [Gathering() for _ in members]
    begun: set[int] = set()

    def out(read: int, rows: pa.Table | None) -> Iterator[tuple[Sequence[int], Sequence[pa.RecordBatch]]]:
        if rows is None:
            return
        tables = (rows,) if read in begun else growing(rows)
        begun.add(read)
        for table in tables:
            views = [jobs[index].columns.batches(table, limit) for index in members[read]]
            for parts in zip(*views, strict=True):
                yield members[read], parts

    for read, batch in found.batches(skips):
        yield from out(read, gathered[read].add(batch))
    for read, rest in enumerate(gathered):
        yield from out(read, rest.rest())
