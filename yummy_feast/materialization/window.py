"""What to copy for a feature view: which window, what of the source is known already, where an earlier copy stopped.

Pure: the records come in, decisions go out.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yummy_feast.settings import parse_duration

if TYPE_CHECKING:
    from feast import FeatureView

    from yummy_feast.materialization.columns import ViewColumns
    from yummy_feast.online.progress import Copy

LATENESS_TAG = "lateness"
"""The tag of a feature view that overrides ``offline_store.lateness``."""

_RESUME_WITHIN = 86_400
"""Seconds after which an interrupted copy is begun anew: what it wrote may have expired meanwhile."""


@dataclass(frozen=True, slots=True)
class Window:
    """Rows with event times in ``[start, end]`` are wanted (microseconds since 1970, both included, None = open).

    seen, seen_start: parts of the source that state ``seen`` covered are wanted from ``seen_start`` on only.
    skip: of the newest rows, in the source's order, so many are online already. division: where they were written in
    parts instead, how the parts were made (see ``progress.Copy``). began: when the first of them were written, in
    seconds since 1970; None = nothing is yet.
    """

    start: int | None
    end: int
    seen: str = ""
    seen_start: int | None = None
    skip: int = 0
    began: float | None = None
    division: str = ""


def digest(columns: ViewColumns, layout: str) -> str:
    """What decides the rows of a view besides time: a copy of another digest is no earlier part of this one."""
    source = columns.source
    facts = [
        type(source).__name__,
        source.payload(),
        source.connection_ref,
        columns.stored,
        [columns.join_keys, columns.time, columns.created],
        [(field.name, str(field.dtype)) for field in columns.view.features],
        layout,
    ]
    return hashlib.blake2b(json.dumps(facts, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()


def lateness(view: FeatureView, default: float) -> int:
    """Microseconds that rows of ``view`` may arrive late: its tag, or the repository's ``default`` (in seconds).

    Raises ConfigError for a tag that is no duration.
    """
    tag = (view.tags or {}).get(LATENESS_TAG)
    seconds = default if tag is None else parse_duration(tag, f"feature view '{view.name}': tag {LATENESS_TAG}")
    return int(seconds * 1_000_000)


def windows(
    start: int | None,
    end: int,
    *,
    newest: int | None,
    late: int,
    last: Copy | None,
    rows: int,
    view: str,
    state: str,
    now: float,
) -> list[Window]:
    """The windows to copy, one after the other; each is online before the next begins.

    start, end: what Feast asks for. newest: where the view's last window ended, None = it has none. If ``start`` is
    there, as for `materialize-incremental`, rows that are up to ``late`` microseconds late are wanted too, but only
    from parts of the source that are new. last, rows: the last copy and how much of it was acknowledged. view: the
    view's digest, and state: its source's, as they are now. now: seconds since 1970.
    """
    wanted = Window(start, end)
    ours = last if last is not None and last.view == view else None
    if start is not None and start == newest:
        start = _reached(ours, start, end)
        seen, seen_start = _known(ours, start, start - late)
        wanted = Window(start - late, end, seen, seen_start)
    if ours is None or not _can_resume(ours, wanted, state, now, is_first=newest is None):
        return [wanted]
    skip = 0 if ours.division else rows
    resumed = Window(ours.start, ours.end, ours.seen, ours.seen_start, skip, ours.began, ours.division)
    if ours.end == end:
        return [resumed]
    # What is left is newer than all that was asked for then, but for rows that come late while the first is copied.
    late_from = ours.end - late if wanted.start is None else max(wanted.start, ours.end - late)
    return [resumed, Window(late_from, end, state, ours.end)]


def _reached(last: Copy | None, start: int, end: int) -> int:
    """Where the windows that are online end: later than at ``start`` where a run ended before the registry knew."""
    known = last is not None and last.done and last.seen_start == start and start <= last.end <= end
    return last.end if last is not None and known else start


def _known(last: Copy | None, start: int, earliest: int) -> tuple[str, int | None]:
    """What of the source was read up to ``start``: by the last copy, or by the one that it went on from."""
    if last is None or (last.start is not None and last.start > earliest):
        # It did not look for rows as late as are wanted now: of what is new to it, some may be missing.
        return "", None
    if last.done and last.end == start and last.state:
        return last.state, start
    if not last.done and last.seen_start == start:
        return last.seen, start
    return "", None


def _can_resume(last: Copy, wanted: Window, state: str, now: float, *, is_first: bool) -> bool:
    same = (last.seen, last.seen_start) == (wanted.seen, wanted.seen_start)
    same &= last.start == wanted.start or (is_first and _has_moved_on(last.start, wanted.start))
    young = 0 <= now - last.began < _RESUME_WITHIN
    return not last.done and same and young and last.end <= wanted.end and bool(state) and last.state == state


def _has_moved_on(before: int | None, start: int | None) -> bool:
    """Whether a first `materialize-incremental`, which counts a ttl back from now, was run again."""
    return before is not None and start is not None and 0 <= start - before < _RESUME_WITHIN * 1_000_000
