"""The point-in-time rule, written to be checked by eye. Slow on purpose: every entity row looks at every source row.

All times are integers of nanoseconds since 1970-01-01 UTC, so no unit, zone or rounding can hide in here; whoever calls
converts. A null is None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class View:
    """One feature view: its source rows in the source's order, and what to do with them.

    keys: entity column -> source column. features: column of the answer -> source column.
    event, created: source columns (created None: the source has none). ttl: nanoseconds; 0 and None are no limit.
    """

    rows: Sequence[Row]
    keys: Mapping[str, str]
    features: Mapping[str, str]
    event: str = "event_timestamp"
    created: str | None = None
    ttl: int | None = None


def point_in_time(
    entity_rows: Iterable[Row], views: Iterable[View], *, time: str = "event_timestamp", created_cutoff: bool = False
) -> list[dict[str, Any]]:
    """The entity rows, in order, each with the features that were known at its ``time``; None where nothing was."""
    views = list(views)
    answer = []
    for entity_row in entity_rows:
        line = dict(entity_row)
        for view in views:
            row = winner(entity_row, view, time=time, created_cutoff=created_cutoff)
            for name, column in view.features.items():
                line[name] = None if row is None else row[column]
        answer.append(line)
    return answer


def winner(entity_row: Row, view: View, *, time: str = "event_timestamp", created_cutoff: bool = False) -> Row | None:
    """The row of ``view`` that answers ``entity_row``: the newest candidate, None if there is no candidate."""
    best = None
    for row in view.rows:
        # At equal rank the later row of the source replaces the earlier one.
        if is_candidate(row, entity_row, view, time, created_cutoff) and (
            best is None or rank(row, view) >= rank(best, view)
        ):
            best = row
    return best


def is_candidate(row: Row, entity_row: Row, view: View, time: str, created_cutoff: bool) -> bool:
    """Whether ``row`` has the entity's keys and ``entity_ts - ttl <= event_ts <= entity_ts``, both ends included."""
    for entity_column, source_column in view.keys.items():
        if entity_row[entity_column] is None or row[source_column] != entity_row[entity_column]:
            return False
    now, event = entity_row[time], row[view.event]
    if now is None or event is None:
        return False
    if event > now:
        return False
    if view.ttl and event < now - view.ttl:
        return False
    if created_cutoff and view.created is not None:
        created = row[view.created]
        return created is not None and created <= now
    return True


def rank(row: Row, view: View) -> tuple[int, bool, int]:
    """Newest event first, then newest created; a missing created loses against any other."""
    created = None if view.created is None else row[view.created]
    return (row[view.event], created is not None, created or 0)
