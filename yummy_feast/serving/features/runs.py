"""Materializations of one server: at most one at a time over all its workers, and how far each has come.

A lock on a file is what the workers share; the kernel frees it when a worker dies. Beside it lies one file per run, so
that any worker can tell of a run that another one does.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, Literal

import msgspec

_ID: Final = re.compile(r"[0-9a-f]{16}")
_LOCK: Final = "materialization.lock"
_SUFFIX: Final = ".run"
_KEPT: Final = 100
_NOTE_EVERY: Final = 0.2
_ATTEMPTS: Final = 4
_PAUSE: Final = 0.01
_LOST: Final = "the worker that did it has ended"


class ViewRun(msgspec.Struct):
    """One feature view of a run, and why it failed if it did."""

    state: Literal["waiting", "running", "done", "failed"] = "waiting"
    error: str | None = None


class Run(msgspec.Struct):
    """A materialization.

    rows, rows_expected: written so far, and found so far to be written; null where the stores do not tell.
    error: code, message and hint, as a refusal has them. Times are ISO 8601.
    """

    id: str
    kind: Literal["materialize", "materialize-incremental"]
    views: dict[str, ViewRun]
    start_ts: str | None
    end_ts: str
    started: str
    state: Literal["running", "done", "failed"] = "running"
    ended: str | None = None
    seconds: float = 0.0
    rows: int | None = None
    rows_expected: int | None = None
    rows_per_second: float | None = None
    error: dict[str, str] | None = None


class BusyError(Exception):
    """Another run has the lock. ``running`` is its id, "" if it is not known."""

    def __init__(self, running: str) -> None:
        super().__init__(running)
        self.running = running


class Runs:
    """The runs of this server.

    Args:
        folder: where all workers keep them; None for a server of one process, which makes one.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._given = folder
        self._made: Path | None = None
        self._guard = threading.Lock()

    @contextmanager
    def locked(self, run: str) -> Iterator[None]:
        """Hold the lock in the name of ``run``. BusyError while another holds it, in whatever process."""
        for attempt in range(_ATTEMPTS):
            try:
                with self._flocked() as descriptor:
                    os.pwrite(descriptor, run.encode(), 0)
                    yield
                    return
            except BusyError:
                # Whoever only looks holds it for a moment.
                if attempt + 1 == _ATTEMPTS:
                    raise
                time.sleep(_PAUSE)

    @contextmanager
    def _flocked(self) -> Iterator[int]:
        import fcntl

        descriptor = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BusyError(os.pread(descriptor, 16, 0).decode("ascii", "replace")) from None
            yield descriptor
        finally:
            os.close(descriptor)

    def note(self, run: Run) -> None:
        """Keep ``run`` as it is now."""
        target = self._folder / f"{run.id}{_SUFFIX}"
        temporary = target.with_suffix(".new")
        # Where the server has stopped, the folder is gone; a run may outlive it by a moment, and nobody asks for it.
        with suppress(FileNotFoundError):
            temporary.write_bytes(msgspec.json.encode(run))
            temporary.replace(target)

    def find(self, run: str) -> Run | None:
        """The run of that id."""
        if not _ID.fullmatch(run):
            return None
        found = self._read(run)
        if found is None or found.state != "running" or self._is_held_by(run):
            return found
        # It may have ended between the two looks.
        found = self._read(run)
        if found is not None and found.state == "running":
            found.state = "failed"
            found.error = {"error": "MATERIALIZATION_LOST", "message": _LOST, "hint": "materialize again: it goes on"}
        return found

    def latest(self) -> list[Run]:
        """Those that are kept, newest first."""
        found = [self.find(path.stem) for path in self._folder.glob(f"*{_SUFFIX}")]
        return sorted((run for run in found if run is not None), key=lambda run: run.started, reverse=True)

    def make_room(self) -> None:
        """Forget the oldest."""
        for run in self.latest()[_KEPT:]:
            (self._folder / f"{run.id}{_SUFFIX}").unlink(missing_ok=True)

    def close(self) -> None:
        """Remove what was made for this process alone."""
        if self._made is not None:
            shutil.rmtree(self._made, ignore_errors=True)

    @property
    def _folder(self) -> Path:
        if self._given is not None:
            return self._given
        with self._guard:
            if self._made is None:
                self._made = Path(tempfile.mkdtemp(prefix="yummy-runs-"))
            return self._made

    def _read(self, run: str) -> Run | None:
        try:
            return msgspec.json.decode((self._folder / f"{run}{_SUFFIX}").read_bytes(), type=Run)
        except FileNotFoundError:
            return None

    def _is_held_by(self, run: str) -> bool:
        try:
            with self._flocked():
                return False
        except BusyError as busy:
            return busy.running == run


class Progress:
    """Keeps the record of one run while it goes on. Safe in threads."""

    def __init__(
        self, runs: Runs, kind: Any, views: list[str], start: datetime | None, end: datetime, run: str = ""
    ) -> None:
        self._runs = runs
        self._began = time.monotonic()
        self._noted = 0.0
        self._lock = threading.Lock()
        self.run = Run(
            id=run or new_id(),
            kind=kind,
            views={name: ViewRun() for name in views},
            start_ts=None if start is None else start.isoformat(),
            end_ts=end.isoformat(),
            started=_now(),
        )

    def expect(self, rows: int) -> None:
        """So many more rows are there to be written."""
        with self._lock:
            self.run.rows = self.run.rows or 0
            self.run.rows_expected = (self.run.rows_expected or 0) + rows
        self._note()

    def add(self, rows: int) -> None:
        """So many more rows are written."""
        with self._lock:
            self.run.rows = (self.run.rows or 0) + rows
        if time.monotonic() - self._noted >= _NOTE_EVERY:
            self._note()

    def view(self, name: str, state: Any, error: BaseException | None = None) -> None:
        """A view has come that far. What has failed stays so."""
        with self._lock:
            view = self.run.views.setdefault(name, ViewRun())
            if view.state == "failed" or (view.state == "done" and state == "running"):
                return
            view.state = state
            view.error = None if error is None else str(error)
        self._note()

    def end(self, error: dict[str, str] | None) -> None:
        """The run is over; views that nobody spoke of are as it is."""
        with self._lock:
            self.run.state = "done" if error is None else "failed"
            self.run.ended = _now()
            self.run.error = error
            for view in self.run.views.values():
                if error is None:
                    view.state = "done"
                elif view.state == "running":
                    view.state = "failed"
        self._note()

    def _note(self) -> None:
        with self._lock:
            self._noted = time.monotonic()
            self.run.seconds = round(self._noted - self._began, 3)
            if self.run.rows is not None:
                self.run.rows_per_second = round(self.run.rows / max(self.run.seconds, 0.001), 1)
            self._runs.note(self.run)


def new_id() -> str:
    """An id that no other run has."""
    return token_hex(8)


def _now() -> str:
    return datetime.now(UTC).isoformat()
