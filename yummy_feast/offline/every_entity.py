"""Entity rows nobody wrote down: every entity of the views asked for.

For a time range: each distinct (join keys, event time) inside it, so that every recorded moment of every entity is
one row, as in Feast's Postgres and Spark stores. For ``select_all``: each distinct entity known by then, once, as of
that moment.

Views may differ in their join keys as long as one view (or several) has all of them; its entities are the rows.
"""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from yummy_feast.errors import EntityRowsError, first_line
from yummy_feast.offline.engines.base import Engine, EntityList
from yummy_feast.offline.entity_rows import EntityRows, distinct, drop_null_rows
from yummy_feast.offline.plan import EVENT_TIMESTAMP, ReadPlan, RetrievalPlan, ViewPlan
from yummy_feast.offline.times import utc


def every_entity(
    engine: Engine, plan: RetrievalPlan, start: int | None, end: int | None, *, as_of: datetime | None = None
) -> EntityRows:
    """The entity rows of a range (microseconds, both ends included), sorted by time; or, with ``as_of``, one row per
    entity.

    Raises:
        EntityRowsError: no view has all the join keys.
    """
    keys = plan.join_keys
    whole = [view for view in plan.views if {key for key, _ in view.join_keys} == set(keys)]
    if not whole:
        sets = "; ".join(f"{view.name}: {', '.join(key for key, _ in view.join_keys)}" for view in plan.views)
        raise EntityRowsError(
            f"no feature view has all the join keys, so its entities cannot be listed ({sets})", hint="pass entity rows"
        )
    lists = [_list_of(view, keys, start, end) for view in whole]
    try:
        listed = engine.listed_rows(lists, as_of)
        if listed is not None:
            return listed
        found = distinct([_entities(engine, one, timed=as_of is None) for one in lists])
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        names = ", ".join(view.name for view in whole)
        raise EntityRowsError(
            f"the entities of {names} cannot be listed together: {first_line(error)}", hint="pass entity rows"
        ) from error
    if as_of is not None:
        # Without join keys there is one entity: the empty one.
        count = len(found) if keys else 1
        moment = pa.repeat(pa.scalar(as_of, pa.timestamp("us", "UTC")), count)
        found = found.append_column(EVENT_TIMESTAMP, moment) if keys else pa.table({EVENT_TIMESTAMP: moment})
    else:
        found = found.sort_by(EVENT_TIMESTAMP)
    return EntityRows.of_arrow(found)


def _list_of(view: ViewPlan, keys: tuple[str, ...], start: int | None, end: int | None) -> EntityList:
    source_of = dict(view.join_keys)
    read = ReadPlan(view.source, tuple(source_of[key] for key in keys), (), view.time, None, start, end)
    return EntityList(read, tuple((key, source_of[key]) for key in keys))


def _entities(engine: Engine, one: EntityList, *, timed: bool) -> pa.Table:
    rows = engine.between(one.read) if timed else engine.latest(one.read)
    table = rows.read_all()
    columns = {key: table.column(source) for key, source in one.keys}
    if timed:
        columns[EVENT_TIMESTAMP] = utc(_as_timestamp(table.column(one.read.time)))
    return drop_null_rows(pa.table(columns))


def _as_timestamp(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column if pa.types.is_timestamp(column.type) else column.cast(pa.timestamp("us", "UTC"))
