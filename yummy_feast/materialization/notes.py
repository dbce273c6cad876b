"""What is noted in Redis while views are copied, so that a copy that was cut off goes on where it stopped."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from secrets import token_hex
from typing import TYPE_CHECKING

import msgspec

from yummy_feast.online.progress import Copy
from yummy_feast.online.redis import translated

if TYPE_CHECKING:
    from yummy_feast.materialization.jobs import Job, Stores
    from yummy_feast.materialization.window import Window
    from yummy_feast.online.progress import Parts

_NOTE_EVERY = 1.0
"""Seconds between two notes of what was acknowledged."""


class Notes:
    """How far each job has come in one window.

    rows: per job, acknowledged already. parts: per job its division into parts and those that are online already; where
    it is given, whoever writes a part notes it.
    """

    def __init__(
        self,
        stores: Stores,
        jobs: Sequence[Job],
        number: int,
        state: str,
        rows: Mapping[int, int],
        parts: Mapping[int, tuple[str, Parts]] | None = None,
    ) -> None:
        config = stores.config
        self._settings = stores.online.settings(config)
        self._book = stores.online.progress(config)
        self._jobs = jobs
        self._rows = dict(rows)
        self._parts = dict(parts or {})
        self._noted = time.monotonic()
        self.run = token_hex(8)
        self._copies = [self._copy(at, job, job.windows[number], state) for at, job in enumerate(jobs)]

    def _copy(self, index: int, job: Job, window: Window, state: str) -> Copy:
        division, parts = self._parts.get(index, ("", {}))
        # As old as its oldest rows.
        began = window.began if (self._rows[index] or parts) and window.began is not None else time.time()
        return Copy(
            job.digest,
            window.start,
            window.end,
            window.seen_start,
            window.seen,
            state,
            began,
            self.run,
            division=division,
        )

    def begin(self) -> None:
        """Before the first row."""
        with translated(self._settings):
            pairs = zip(self._jobs, self._copies, strict=True)
            self._book.begin((job.stored_as, made, self._rows[index]) for index, (job, made) in enumerate(pairs))
            if self._parts:
                parts = {self._jobs[index].stored_as: online for index, (_, online) in self._parts.items()}
                self._book.begin_parts(self.run, parts)

    def add(self, index: int, rows: int) -> None:
        """So many more rows of a job are acknowledged."""
        self._rows[index] += rows
        if time.monotonic() - self._noted >= _NOTE_EVERY:
            self._noted = time.monotonic()
            with translated(self._settings):
                self._book.advance(self.run, {job.stored_as: self._rows[at] for at, job in enumerate(self._jobs)})

    def finish(self) -> None:
        """After the last one."""
        with translated(self._settings):
            pairs = zip(self._jobs, self._copies, strict=True)
            self._book.finish((job.stored_as, msgspec.structs.replace(made, done=True)) for job, made in pairs)
