"""What a fetch means, before any engine computes it.

The point-in-time rule, which every engine only carries out. For an entity row at time ``t`` and one feature view, a
source row is a candidate if and only if

- every join key is equal (a null key equals nothing), and its event time is not null;
- ``t - ttl <= event time <= t``, both ends included; no ttl (or a ttl of zero) leaves the lower end open;
- with the created cut-off, and a source that has created times, its created time is not null and not after ``t``.

Of the candidates the newest event time wins, then the newest created time (a missing one loses), then the last row in
the source's order. The winner's values are the answer, nulls included; without a winner all features of the view are
null. Every entity row yields exactly one row, in the order given.

This module touches no file: sources are carried, not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from yummy_feast.errors import EntityRowsError, NameCollisionError, RetrievalError, nearest
from yummy_feast.sources.adapt import as_yummy_source
from yummy_feast.values import arrow_type_of

if TYPE_CHECKING:
    from feast import FeatureView, OnDemandFeatureView
    from feast.infra.registry.base_registry import BaseRegistry

    from yummy_feast.sources.base import YummySource

EVENT_TIMESTAMP = "event_timestamp"


@dataclass(frozen=True, slots=True)
class FeatureColumn:
    """A source column and what it becomes: its name in the answer and its declared Arrow type."""

    source: str
    output: str
    declared: pa.DataType


@dataclass(frozen=True, slots=True)
class ViewPlan:
    """One feature view of a fetch.

    name: as in feature references. join_keys: (column of the entity rows, column of the source). time, created:
    source columns. ttl: microseconds, 0 = no limit. cutoff: created times bound visibility too.
    """

    name: str
    source: YummySource
    join_keys: tuple[tuple[str, str], ...]
    features: tuple[FeatureColumn, ...]
    time: str
    created: str | None
    ttl: int
    cutoff: bool


@dataclass(frozen=True, slots=True)
class RetrievalPlan:
    """A whole fetch. outputs: feature columns that an engine answers, in the order of the request; computed: those
    that on-demand views add afterwards.
    """

    views: tuple[ViewPlan, ...]
    outputs: tuple[str, ...]
    on_demand: tuple[OnDemandFeatureView, ...]
    references: tuple[str, ...]
    full_feature_names: bool
    computed: tuple[str, ...] = ()

    @property
    def join_keys(self) -> tuple[str, ...]:
        """Every join key of the entity rows, each once, in the order of the views."""
        return tuple(dict.fromkeys(key for view in self.views for key, _ in view.join_keys))

    @property
    def request_data(self) -> tuple[str, ...]:
        """Columns that on-demand views expect in the entity rows."""
        names: dict[str, None] = {}
        for view in self.on_demand:
            names.update(dict.fromkeys(view.get_request_data_schema()))
        return tuple(names)

    def check(self, entity_columns: Sequence[str]) -> None:
        """Whether entity rows with these columns can be answered.

        Raises:
            EntityRowsError: a join key or request data is missing.
            NameCollisionError: a feature would have the name of an entity column.
        """
        present = set(entity_columns)
        for view in self.views:
            for key, _ in view.join_keys:
                if key not in present:
                    raise EntityRowsError(
                        f"the entity rows lack the join key '{key}' of feature view '{view.name}'",
                        hint=nearest(key, present),
                    )
        for name in self.request_data:
            if name not in present:
                raise EntityRowsError(f"the entity rows lack the request data '{name}'", hint=nearest(name, present))
        for name in (*self.outputs, *self.computed):
            if name in present:
                raise NameCollisionError(
                    f"the entity rows already have a column named like the feature '{name}'",
                    hint="drop or rename that column, or ask with full_feature_names=True",
                )


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """Rows of one source inside a time range, as materialization and saved datasets read them; names are the source's
    own.

    start, end: microseconds since 1970 UTC, both included, None = open. seen, seen_start: as in ``Prune``.
    """

    source: YummySource
    join_keys: tuple[str, ...]
    features: tuple[str, ...]
    time: str
    created: str | None
    start: int | None
    end: int | None
    seen: str = ""
    seen_start: int | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the answer, each once: join keys, features, times."""
        times = (self.time, self.created) if self.created else (self.time,)
        return tuple(dict.fromkeys((*self.join_keys, *self.features, *times)))


def ttl_micros(ttl: timedelta | None) -> int:
    """A feature view's ttl in microseconds; 0 where it has none."""
    return 0 if ttl is None else (ttl.days * 86_400 + ttl.seconds) * 1_000_000 + ttl.microseconds


def is_plain(view: FeatureView) -> bool:
    """Whether a view's rows are its source's rows: no transformation, aggregation, filter, other view or validation in
    between.
    """
    return view.batch_source is not None and not any(
        getattr(view, name, None)
        for name in ("feature_transformation", "aggregations", "filter", "source_views", "enable_validation")
    )


def source_names(view: FeatureView) -> dict[str, str]:
    """From the names Feast uses to the source's columns, where a field mapping makes them differ."""
    mapping = (view.batch_source.field_mapping if view.batch_source else None) or {}
    return {feast: column for column, feast in mapping.items()}


def build(
    feature_views: Sequence[FeatureView],
    references: Sequence[str],
    registry: BaseRegistry,
    project: str,
    *,
    full_feature_names: bool,
    cutoff: bool,
) -> RetrievalPlan:
    """The plan of a fetch from what Feast hands an offline store.

    Raises:
        RetrievalError: a view without a batch source. NameCollisionError: two features of one name.
    """
    from feast.on_demand_feature_view import OnDemandFeatureView
    from feast.utils import _get_requested_feature_views_to_features_dict, _parse_feature_ref

    on_demand = OnDemandFeatureView.get_requested_odfvs(list(references), project, registry)
    by_view, by_on_demand = _get_requested_feature_views_to_features_dict(
        list(references), list(feature_views), on_demand
    )
    views = tuple(
        _view(view, list(dict.fromkeys(names)), full_feature_names, cutoff) for view, names in by_view.items()
    )
    for view, names in by_on_demand.items():
        _refuse_shadowed_inputs(view, names)
    owner_of: dict[str, str] = {}
    for reference in dict.fromkeys(references):
        name, version, feature = _parse_feature_ref(reference)
        owner = name if version is None else f"{name}@v{version}"
        output = f"{owner}__{feature}" if full_feature_names else feature
        if output in owner_of:
            raise NameCollisionError(
                f"feature '{output}' is asked of {owner_of[output]} and {owner}",
                hint="ask with full_feature_names=True",
            )
        owner_of[output] = owner
    computed = {view.projection.name_to_use() for view in by_on_demand}
    return RetrievalPlan(
        views,
        tuple(output for output, owner in owner_of.items() if owner not in computed),
        tuple(on_demand),
        tuple(references),
        full_feature_names,
        tuple(output for output, owner in owner_of.items() if owner in computed),
    )


def _refuse_shadowed_inputs(view: OnDemandFeatureView, names: Sequence[str]) -> None:
    """Feast drops an on-demand feature that is named like one of its inputs, or answers two columns of that name
    (on_demand_feature_view.py, _preprocess_arrow_table).
    """
    for projection in view.source_feature_view_projections.values():
        for field in projection.features:
            if field.name in names:
                raise NameCollisionError(
                    f"on-demand feature view '{view.name}' computes '{field.name}', the name of its input too, "
                    f"from '{projection.name}'",
                    hint="rename the computed feature",
                )


def _view(view: FeatureView, names: Sequence[str], full_feature_names: bool, cutoff: bool) -> ViewPlan:
    from feast.feature_view import DUMMY_ENTITY_ID

    projection = view.projection
    shown = projection.name_to_use()
    if view.batch_source is None:
        raise RetrievalError(
            f"feature view '{shown}' has no batch source", hint="give its push or stream source a batch_source"
        )
    columns = source_names(view)
    join_keys = tuple(
        (projection.join_key_map.get(entity.name, entity.name), columns.get(entity.name, entity.name))
        for entity in view.entity_columns
        if entity.name != DUMMY_ENTITY_ID
    )
    types: dict[str, Any] = {field.name: field.dtype for field in [*view.schema, *projection.features]}
    features = tuple(
        FeatureColumn(
            columns.get(name, name), f"{shown}__{name}" if full_feature_names else name, arrow_type_of(types[name])
        )
        for name in names
    )
    source = view.batch_source
    created = source.created_timestamp_column or None
    return ViewPlan(
        name=shown,
        source=as_yummy_source(source),
        join_keys=join_keys,
        features=features,
        time=columns.get(source.timestamp_field, source.timestamp_field),
        created=columns.get(created, created) if created else None,
        ttl=ttl_micros(view.ttl),
        cutoff=bool(cutoff and created),
    )
