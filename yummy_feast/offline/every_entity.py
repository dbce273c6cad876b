"""Entity rows nobody wrote down: every entity of the views asked for.

For a time range: each distinct (join keys, event time) inside it, so that every recorded moment of every entity is
one row, as in Feast's Postgres and Spark stores. For ``select_all``: each distinct entity known by then, once, as of
that moment.

Views may differ in their join keys as long as one view (or several) has all of them; its entities are the rows.
"""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from yummy_feast.errors import EntityRowsError
from yummy_feast.offline.engines.base import Engine
from yummy_feast.offline.entity_rows import EntityRows, distinct, drop_null_rows
from yummy_feast.offline.plan import EVENT_TIMESTAMP, ReadPlan, RetrievalPlan, ViewPlan
from yummy_feast.offline.times import utc
from yummy_feast.sources.files import first_line


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
    try:
        found = distinct([_entities(engine, view, keys, start, end, timed=as_of is None) for view in whole])
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


def _entities(
    engine: Engine, view: ViewPlan, keys: tuple[str, ...], start: int | None, end: int | None, *, timed: bool
) -> pa.Table:
    source_of = dict(view.join_keys)
    read = ReadPlan(view.source, tuple(source_of[key] for key in keys), (), view.time, None, start, end)
    rows = engine.between(read) if timed else engine.latest(read)
    table = rows.read_all()
    columns = {key: table.column(source_of[key]) for key in keys}
    if timed:
        columns[EVENT_TIMESTAMP] = utc(_as_timestamp(table.column(view.time)))
    return drop_null_rows(pa.table(columns))


def _as_timestamp(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column if pa.types.is_timestamp(column.type) else column.cast(pa.timestamp("us", "UTC"))
