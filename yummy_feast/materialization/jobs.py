"""What materialization works with: a view's window to copy, where from and where to, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from yummy_feast.errors import YummyError
from yummy_feast.materialization.columns import ViewColumns
from yummy_feast.materialization.window import Window
from yummy_feast.offline.plan import ReadPlan
from yummy_feast.online.writer import Written

if TYPE_CHECKING:
    from feast import FeatureView
    from feast.repo_config import RepoConfig
    from tqdm import tqdm

    from yummy_feast.offline.store import YummyOfflineStore
    from yummy_feast.online.progress import Parts
    from yummy_feast.online.store import TimedView, YummyOnlineStore


@dataclass(frozen=True, slots=True)
class Task:
    """One feature view to copy: rows with event times in ``[start, end]``, aware datetimes, both included."""

    view: FeatureView
    start: datetime
    end: datetime


@dataclass(slots=True)
class Outcome:
    """What became of a task: of its rows, and why it failed if it did."""

    written: Written = field(default_factory=Written)
    error: YummyError | None = None


@dataclass(frozen=True, slots=True)
class Stores:
    """Where rows come from, where they go, and how progress is shown: ``bar(total rows)`` makes a tqdm bar."""

    config: RepoConfig
    offline: YummyOfflineStore
    online: YummyOnlineStore
    bar: Callable[[Any], tqdm[Any]]


@dataclass(frozen=True, slots=True)
class Job:
    """A task that was looked at: what its view reads, its digest, its windows, the state of its source then (not asked
    for where it makes no difference). parts: of its first window, online already, where that was divided. done: hears
    of the end of each window, in microseconds since 1970.
    """

    task: Task
    columns: ViewColumns
    stored_as: bytes
    digest: str
    state: str
    windows: tuple[Window, ...]
    parts: Mapping[int, int]
    outcome: Outcome
    done: Callable[[int], object]

    @property
    def together(self) -> object:
        """Equal for jobs that one pass over one source can serve."""
        source, stored = self.columns.source, self.columns.stored
        times = (stored[self.columns.time], self.columns.created and stored[self.columns.created])
        spans = tuple((window.start, window.end, window.seen, window.seen_start) for window in self.windows)
        where = (type(source), str(source.payload()), str(source.connection_ref))
        return *where, source.date_partition_column, times, spans

    @property
    def timed(self) -> TimedView:
        """The view with the columns of its times."""
        return self.task.view, self.columns.time, self.columns.created

    def parts_of(self, number: int, division: str) -> Parts:
        """The parts of a window that are online, if it was divided like this."""
        return dict(self.parts) if number == 0 and self.windows[0].division == division else {}


def read_of(jobs: Sequence[Job], number: int) -> ReadPlan:
    """One read for a window of jobs that have the same join keys."""
    columns, window = jobs[0].columns, jobs[0].windows[number]
    return ReadPlan(
        source=columns.source,
        join_keys=columns.join_keys,
        features=tuple(dict.fromkeys(name for job in jobs for name in job.columns.features)),
        time=columns.stored[columns.time],
        created=columns.stored[columns.created] if columns.created else None,
        start=window.start,
        end=window.end,
        seen=window.seen,
        seen_start=window.seen_start,
    )
