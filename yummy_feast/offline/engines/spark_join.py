"""The point-in-time join as one lazy Spark plan.

Feature rows and entity rows of one set of join keys are brought together by a single shuffle, and ``spark_walk`` goes
through each partition: every key's history is walked once, however long it is and however many entity rows ask about
it, and a key with most of the rows waits in a file instead of exploding. Views with other join keys follow in a stage
of their own, which the entity rows enter with what they have found so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from yummy_feast.offline import times
from yummy_feast.offline.engines import spark_walk
from yummy_feast.offline.engines.spark_rows import TIME, Asked
from yummy_feast.offline.engines.spark_values import (
    canonical_key,
    instant,
    oldest_allowed,
    own_unit,
    ttl_unit,
    within,
)
from yummy_feast.offline.engines.spark_walk import ENTITY, Walked, walk
from yummy_feast.spark import arrow_rows, workers
from yummy_feast.spark.frames import PLACE

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

    from yummy_feast.offline.plan import ViewPlan
    from yummy_feast.spark.frames import SourceFrame

_MANY = 100_000
"""Rows of a source from which on it pays to drop those whose key no entity row has before the shuffle."""
_FEW = 250_000
"""Entity rows up to which their keys are small enough to be sent to every executor."""


@dataclass(frozen=True, slots=True)
class SparkView:
    """One view of a fetch, ready to be joined. families: how each join key is compared. source: columns as ``columns``
    says, whose Arrow types are ``kinds``.
    """

    number: int
    plan: ViewPlan
    families: tuple[str, ...]
    columns: tuple[str, ...]
    kinds: tuple[pa.DataType, ...]
    source: SourceFrame

    def column(self, name: str) -> Column:
        """A source column, in its carrier."""
        from pyspark.sql import functions as F  # noqa: N812

        return F.col(f"c{self.columns.index(name)}")

    def kind(self, name: str) -> pa.DataType:
        """Its Arrow type."""
        return self.kinds[self.columns.index(name)]

    @property
    def keys(self) -> tuple[tuple[str, str, str], ...]:
        """(entity column, source column, family), in an order that views with the same join keys share."""
        pairs = zip(self.plan.join_keys, self.families, strict=True)
        return tuple(sorted((entity, source, family) for (entity, source), family in pairs))

    @property
    def group(self) -> tuple[tuple[str, str], ...]:
        """Views with the same group share a shuffle."""
        return tuple((entity, family) for entity, _, family in self.keys)


def joined(asked: Asked, views: Sequence[SparkView], *, features: bool = True) -> DataFrame:
    """``asked.frame`` and, per view, either its features (``f{view}_{n}``, in carriers) or, without ``features``,
    whether it matched (``m{view}``) and was expired (``x{view}``).
    """
    groups: dict[tuple[tuple[str, str], ...], list[SparkView]] = {}
    for view in views:
        groups.setdefault(view.group, []).append(view)
    frame = asked.frame
    for group in groups.values():
        frame = _stage(frame, asked, group, features=features)
    return frame


def _stage(frame: DataFrame, asked: Asked, views: Sequence[SparkView], *, features: bool) -> DataFrame:
    from pyspark import cloudpickle
    from pyspark.sql import types as T  # noqa: N812

    keys, slots = _key_names(views[0]), _Slots(views, features)
    rows = _entity_side(frame, asked, views, slots)
    carried_along = rows.schema["e"].dataType
    for view in views:
        rows = rows.unionAll(_feature_side(view, asked, carried_along, slots))
    walked = tuple(Walked(view.number, view.plan.cutoff, slots.of(view)) for view in views)
    found = [
        T.StructField(
            f"b{view.number}",
            T.StructType(
                [
                    T.StructField("event", T.LongType()),
                    *(T.StructField(f"f{number}", slots.types[slot]) for number, slot in enumerate(slots.of(view))),
                ]
            ),
        )
        for view in views
    ]
    # By value: executors then need no package of ours.
    for module in (spark_walk, arrow_rows, workers):
        cast("Any", cloudpickle).register_pickle_by_value(module)
    # All rows of a key meet in one task, and nothing has to be sorted on the way.
    met = rows.repartition(*keys, *(["salt"] if asked.has_nulls else [])).drop("salt")
    answered = met.mapInArrow(
        cast("Any", partial(walk, views=walked, keys=tuple(keys))),
        T.StructType([T.StructField("e", carried_along), *found]),
    )
    return answered.select("e.*", *(column for view in views for column in _judged(view, asked, features=features)))


def _key_names(view: SparkView) -> list[str]:
    return [f"g{number}" for number in range(max(len(view.group), 1))]


class _Slots:
    """The columns in which the features of several views travel: as few as will do, since a row is of one view only.

    types: of each column, by name.
    """

    def __init__(self, views: Sequence[SparkView], features: bool) -> None:
        self.types: dict[str, DataType] = {}
        self._of: dict[int, tuple[str, ...]] = {}
        for view in views:
            own: list[str] = []
            kinds = {field.name: field.dataType for field in view.source.frame.schema.fields}
            for feature in view.plan.features if features else ():
                kind = kinds[f"c{view.columns.index(feature.source)}"]
                free = (name for name, found in self.types.items() if found == kind and name not in own)
                name = next(free, f"s{len(self.types)}")
                self.types[name] = kind
                own.append(name)
            self._of[view.number] = tuple(own)

    def of(self, view: SparkView) -> tuple[str, ...]:
        """Where the view's features travel, in order."""
        return self._of[view.number]


def _judged(view: SparkView, asked: Asked, *, features: bool) -> list[Column]:
    """What came of it, now that the entity row's own limit is known: of rows that are too old nothing."""
    from pyspark.sql import functions as F  # noqa: N812

    best = F.col(f"b{view.number}")
    fresh, oldest = best.isNotNull(), oldest_allowed(F.col(f"e.{TIME}"), asked.unit, view.plan.ttl)
    if oldest is not None:
        event = within(best.getField("event"), own_unit(view.kind(view.plan.time)), ttl_unit(asked.unit))
        fresh = fresh & (event >= oldest)
    if not features:
        return [fresh.alias(f"m{view.number}"), (best.isNotNull() & ~fresh).alias(f"x{view.number}")]
    return [
        F.when(fresh, best.getField(f"f{number}")).alias(f"f{view.number}_{number}")
        for number in range(len(view.plan.features))
    ]


def _entity_side(frame: DataFrame, asked: Asked, views: Sequence[SparkView], slots: _Slots) -> DataFrame:
    from pyspark.sql import functions as F  # noqa: N812

    own = [
        canonical_key(F.col(asked.key(entity)), asked.kinds[entity], family).alias(name)
        for (entity, family), name in zip(views[0].group, _key_names(views[0]), strict=False)
    ] or [F.lit(0).alias("g0")]
    keyed = frame.select("*", *own)
    names = _key_names(views[0])
    salt = []
    if asked.has_nulls:
        # A null key matches nothing; without the salt all such rows would meet in one task. It is made of what a row
        # holds, not of its number: a task that runs again may number its rows otherwise, and none may change sides.
        lost = F.col(TIME).isNull()
        for name in names:
            lost = lost | F.col(name).isNull()
        spread = F.xxhash64(*names, TIME, F.spark_partition_id())
        salt = [F.when(lost, spread).otherwise(F.lit(-1).cast("bigint")).alias("salt")]
    nothing = F.lit(None).cast("bigint")
    return keyed.select(
        *names,
        *salt,
        F.col(TIME).alias("v"),
        F.lit(ENTITY).alias("side"),
        *(nothing.alias(name) for name in ("event", "made", "place")),
        F.struct(*frame.columns).alias("e"),
        *(F.lit(None).cast(kind).alias(name) for name, kind in slots.types.items()),
    )


def _feature_side(view: SparkView, asked: Asked, carried_along: DataType, slots: _Slots) -> DataFrame:
    from pyspark.sql import functions as F  # noqa: N812

    own = {name: view.column(feature.source) for name, feature in zip(slots.of(view), view.plan.features, strict=False)}
    return _candidates(view, asked).select(
        *_key_names(view),
        *([F.lit(-1).cast("bigint").alias("salt")] if asked.has_nulls else []),
        "v",
        F.lit(view.number).alias("side"),
        "event",
        "made",
        "place",
        F.lit(None).cast(carried_along).alias("e"),
        *(own.get(name, F.lit(None).cast(kind)).alias(name) for name, kind in slots.types.items()),
    )


def _candidates(view: SparkView, asked: Asked) -> DataFrame:
    """The view's rows that some entity row may see, with keys, ``v`` (the first entity time that sees them), ``event``,
    ``made`` and ``place``.
    """
    from pyspark.sql import functions as F  # noqa: N812

    plan = view.plan
    unit = own_unit(view.kind(plan.time))
    event = instant(view.column(plan.time), view.kind(plan.time))
    made = instant(view.column(plan.created), view.kind(plan.created)) if plan.created else F.lit(None).cast("bigint")
    visible = within(event, unit, asked.unit, up=True)
    wanted = event.isNotNull()
    if plan.cutoff and plan.created:
        visible = F.greatest(visible, within(made, own_unit(view.kind(plan.created)), asked.unit, up=True))
        wanted = wanted & made.isNotNull()
    if asked.high is None or asked.low is None:
        wanted = F.lit(False)
    else:
        wanted = wanted & (visible <= F.lit(asked.high))
        oldest = _oldest(asked.low, asked.unit, plan.ttl)
        if oldest is not None:
            wanted = wanted & (within(event, unit, ttl_unit(asked.unit)) >= F.lit(oldest))
    rows = view.source.frame.where(wanted)
    names = _key_names(view)
    own = [
        canonical_key(view.column(source), view.kind(source), family).alias(name)
        for (_, source, family), name in zip(view.keys, names, strict=False)
    ] or [F.lit(0).alias("g0")]
    rows = rows.select(
        "*", *own, visible.alias("v"), event.alias("event"), made.alias("made"), F.col(PLACE).alias("place")
    )
    if not view.keys:
        return rows
    rows = rows.where(" AND ".join(f"{name} IS NOT NULL" for name in names))
    return _of_known_keys(rows, view, asked)


def _of_known_keys(rows: DataFrame, view: SparkView, asked: Asked) -> DataFrame:
    from pyspark.sql import functions as F  # noqa: N812

    known = view.source.rows
    if asked.count > _FEW or (known is not None and known < max(_MANY, 4 * asked.count)):
        return rows
    names = _key_names(view)
    keys = asked.frame.select(
        *(
            canonical_key(F.col(asked.key(entity)), asked.kinds[entity], family).alias(name)
            for (entity, family), name in zip(view.group, names, strict=True)
        )
    ).distinct()
    return rows.join(F.broadcast(keys), names, "left_semi")


def _oldest(low: int, unit: str, ttl_us: int) -> int | None:
    """What the oldest entity row may still see; None without a ttl."""
    if not ttl_us:
        return None
    return int(times.oldest_allowed(np.array([low], np.int64), unit, ttl_unit(unit), ttl_us)[0])
