"""Who was found, how old, and with which status: decided here and nowhere else.

- NOT_FOUND: no row for that entity and view, a deleted one, or a join key that is null (null matches nothing, as in a
  point-in-time join);
- OUTSIDE_MAX_AGE: the row's event timestamp is older than now minus the view's ttl (both ends inclusive, as offline;
  ttl 0 or None means never). Its values are served, or withheld under `on_stale: hide`;
- NULL_VALUE: the row is there and the feature in it is null, or younger than the row (told cell by cell, see
  ``answer.OnlineFeatures.statuses_of``);
- PRESENT: everything else.

Pure: replies of Redis in, rows and statuses out.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress, count
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from yummy_feast.errors import RowDecodeError
from yummy_feast.online.answer import Rows, Status
from yummy_feast.online.layouts.base import Found

if TYPE_CHECKING:
    from yummy_feast.online.hmget import Reply
    from yummy_feast.online.layouts.base import Row, Schemas
    from yummy_feast.online.plan import OnlinePlan

_FOREVER = -(1 << 63)
_GIVEN = Rows.given(1)
_PRESENT, _NOT_FOUND, _TOO_OLD = Status.PRESENT.value, Status.NOT_FOUND.value, Status.OUTSIDE_MAX_AGE.value


def views_of_one(
    plan: OnlinePlan, replies: Sequence[Sequence[Reply]], schemas: Schemas, now: int
) -> tuple[list[Row | None], list[int], list[int]]:
    """Per view: the row of a question of one row, its status and its event timestamp."""
    width = len(plan.views)
    rows: list[Row | None] = [None] * width
    statuses, times = [_NOT_FOUND] * width, [0] * width
    for group, replied in zip(plan.groups, replies, strict=True):
        # No reply: the join key is null.
        for index, reader in group.views if replied else ():
            try:
                row, event = reader.row(replied[0], schemas)
            except RowDecodeError as error:
                raise named(plan.views[index].name, error) from error
            if row is None:
                continue
            ttl = plan.views[index].ttl
            if ttl and event < now - ttl:
                statuses[index] = _TOO_OLD
                rows[index] = (None,) * len(row) if plan.hide_stale else row
            else:
                statuses[index] = _PRESENT
                rows[index] = row
            times[index] = event
    return rows, statuses, times


def as_columns(
    plan: OnlinePlan, rows: Sequence[Row | None], statuses: Sequence[int], times: Sequence[int]
) -> tuple[list[Sequence[Sequence[Any]]], list[Rows]]:
    """What ``views_of_one`` answers, in the form of ``views_of_many``."""
    by_view: list[Sequence[Sequence[Any]]] = [
        ((None,),) * len(view.features) if row is None else list(zip(row))
        for view, row in zip(plan.views, rows, strict=True)
    ]
    return by_view, [_GIVEN, *(Rows((status,), (time,)) for status, time in zip(statuses, times, strict=True))]


def views_of_many(
    plan: OnlinePlan,
    orders: Sequence[Sequence[int] | None],
    replies: Sequence[Sequence[Reply]],
    schemas: Schemas,
    now: int,
    length: int,
) -> tuple[list[Sequence[Sequence[Any]]], list[Rows]]:
    """Per view: its features as columns in the order of the request's rows, and who was found and when."""
    by_view: list[Sequence[Sequence[Any]]] = [()] * len(plan.views)
    rows = [Rows.given(length)] * (1 + len(plan.views))
    for group, order, replied in zip(plan.groups, orders, replies, strict=True):
        known, places = _without_strangers(replied, order)
        # Nobody is known: no row in any view.
        fields = list(zip(*known, strict=True))
        # Position -1 is the one behind the last.
        pick = None if places is None else itemgetter(*places)
        all_there = [_PRESENT] * len(known)
        picked: Sequence[int] = () if pick is None else pick([*all_there, _NOT_FOUND])
        for index, reader in group.views:
            try:
                found = reader.columns(fields, schemas) if fields else _nothing(reader.width)
            except RowDecodeError as error:
                raise named(plan.views[index].name, error) from error
            columns, view_rows = _aged(plan, index, found, now, all_there)
            if pick is not None:
                columns = [pick([*column, None]) for column in columns]
                statuses, times = view_rows
                # Nearly every view: written down once.
                shared = picked if statuses is all_there else pick([*statuses, _NOT_FOUND])
                view_rows = Rows(shared, pick([*times, 0]))
            by_view[index], rows[1 + index] = columns, view_rows
    return by_view, rows


def _without_strangers(
    replied: Sequence[Reply], order: Sequence[int] | None
) -> tuple[Sequence[Reply], Sequence[int] | None]:
    """The replies that hold anything, and which of them each row of the request wants (-1: none).

    An entity without any row is left out once, and not in every view.
    """
    are_known = [reply.count(None) != len(reply) for reply in replied]
    if all(are_known):
        return replied, order
    known = list(compress(replied, are_known))
    ranks = count()
    places = [next(ranks) if is_known else -1 for is_known in are_known]
    return known, places if order is None else [-1 if at < 0 else places[at] for at in order]


def _nothing(width: int) -> Found:
    return Found([()] * width, (), None)


def _aged(
    plan: OnlinePlan, index: int, found: Found, now: int, all_there: list[int]
) -> tuple[Sequence[Sequence[Any]], Rows]:
    """One view's columns without what is withheld, and its statuses: ``all_there`` itself where that is so."""
    columns, times, there = found
    ttl = plan.views[index].ttl
    oldest = now - ttl if ttl else _FOREVER
    if there is None:
        if not ttl or not times or min(times) >= oldest:
            # Nearly every read: all there, none too old.
            return columns, Rows(all_there, times)
        statuses = [_PRESENT if event >= oldest else _TOO_OLD for event in times]
    else:
        statuses = [
            _NOT_FOUND if not is_there else _PRESENT if event >= oldest else _TOO_OLD
            for is_there, event in zip(there, times, strict=True)
        ]
    if plan.hide_stale and _TOO_OLD in statuses:
        columns = [
            [None if status == _TOO_OLD else value for value, status in zip(column, statuses, strict=True)]
            for column in columns
        ]
    return columns, Rows(statuses, times)


def named(view: str, error: RowDecodeError) -> RowDecodeError:
    """``error`` with the view it is about."""
    return RowDecodeError(f"feature view {view!r}: {error.message}", hint=error.hint)
