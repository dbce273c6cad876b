"""From Feast's registry to a retrieval plan, and the plans that were compiled already.

Feast's own functions resolve what is asked for, so its gates hold here too: disabled views, views that are not served
yet, versioned references, names that collide, features and views that do not exist.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from feast import FeatureService, utils
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.online_stores.helpers import compute_versioned_name
from feast.value_type import ValueType

from yummy_feast.errors import FeatureNotFoundError, OnlineRequestError, nearest
from yummy_feast.online.answer import finisher_of
from yummy_feast.online.hmget import HashRead
from yummy_feast.online.keys import field_name
from yummy_feast.online.layouts import layout_of
from yummy_feast.online.layouts.base import Layout
from yummy_feast.online.on_demand import OnDemandPlan
from yummy_feast.online.plan import DUMMY_COLUMNS, Group, KeyColumn, OnlinePlan, OutputColumn, ViewPlan, taker

if TYPE_CHECKING:
    from feast import FeatureView, OnDemandFeatureView, RepoConfig
    from feast.infra.registry.base_registry import BaseRegistry

_MICROSECOND = timedelta(microseconds=1)
_DUMMY_KEY = KeyColumn(DUMMY_ENTITY_ID, DUMMY_ENTITY_ID, ValueType.STRING.value)


def compile_plan(
    registry: BaseRegistry,
    project: str,
    config: RepoConfig,
    features: list[str] | FeatureService,
    full_feature_names: bool,
) -> OnlinePlan:
    """What ``features`` mean for a read.

    Raises what Feast raises for them (FeatureViewNotFoundException, FeatureServiceNotFoundException,
    FeatureNameCollisionError, ValueError for a view that must not be served), FeatureNotFoundError for an unknown
    feature, OnlineRequestError for none at all.
    """
    if isinstance(features, list) and not features:
        raise OnlineRequestError("no features were asked for", hint="name them as 'feature_view:feature'")
    try:
        resolved = utils._get_online_request_context(registry, project, features, full_feature_names)
    except KeyError as error:
        raise _feature_not_found(registry, project, features) or error from error
    refs, on_demand_views, join_key_of, kind_of_column, join_keys, grouped, _, request_data, _ = resolved

    tables = {table.projection.name_to_use(): (table, set(names)) for table, names in grouped}
    asked = [_split(ref) for ref in refs]
    views = [_view_plan(key, table, names, asked, config) for key, (table, names) in tables.items()]
    computed = {view.projection.name_to_use(): view for view in on_demand_views if not view.write_to_online_store}
    columns, outputs = _columns(asked, views, computed, full_feature_names)
    groups = _groups([table for table, _ in tables.values()], views, join_key_of, config.project, layout_of(config))
    # Feast forgets the keys of stored on-demand views here.
    kinds = {key.column: key.kind for group in groups for key in group.keys}
    kinds |= {name: _number(value_type) for name, value_type in kind_of_column.items()}
    return OnlinePlan(
        views=tuple(views),
        groups=groups,
        columns=tuple(columns),
        take=taker(
            [column.position for column in columns],
            sum(len(view.features) for view in views) + sum(map(len, outputs.values())),
        ),
        on_demand=tuple(
            _on_demand_plan(computed[name], outputs[name], views, tables, full_feature_names) for name in outputs
        ),
        join_keys={name: kinds.get(name, 0) for name in join_keys},
        entity_names=dict(join_key_of),
        request_data=frozenset(request_data),
        versions=_versions(table for table, _ in tables.values()),
        hide_stale=getattr(config.online_store, "on_stale", "serve") == "hide",
    )


def _feature_not_found(
    registry: BaseRegistry, project: str, features: list[str] | FeatureService
) -> FeatureNotFoundError | None:
    """Which feature Feast's bare KeyError was about; None when it was about something else."""
    refs = utils._get_features(registry, project, features, allow_cache=True)
    for ref in refs:
        name, version, feature = utils._parse_feature_ref(ref)
        if version is None:
            view = registry.get_any_feature_view(name, project, allow_cache=True)
        else:
            view = registry.get_feature_view_by_version(name, project, version, allow_cache=True)
        known = [field.name for field in view.features]
        if feature not in known:
            return FeatureNotFoundError(
                f"feature view {_split(ref)[0]!r} has no feature {feature!r}", hint=nearest(feature, known)
            )
    return None


def _split(ref: str) -> tuple[str, str]:
    """``view@v2:feature`` -> (``view@v2``, ``feature``), the view spelled as Feast's ``projection.name_to_use()``."""
    name, version, feature = utils._parse_feature_ref(ref)
    return (name if version is None else f"{name}@v{version}"), feature


def _number(value_type: ValueType) -> int:
    return int(value_type.value)


def _view_plan(
    key: str, table: FeatureView, names: set[str], asked: Sequence[tuple[str, str]], config: RepoConfig
) -> ViewPlan:
    kinds = {field.name: _number(field.dtype.to_value_type()) for field in table.features}
    unknown = sorted(names - kinds.keys())
    if unknown:
        raise FeatureNotFoundError(
            f"feature view {key!r} has no feature {unknown[0]!r}", hint=nearest(unknown[0], kinds)
        )
    first = [feature for view, feature in asked if view == key]
    features = tuple(dict.fromkeys([*first, *(name for name in kinds if name in names)]))
    ttl = getattr(table, "ttl", None) or timedelta(0)
    return ViewPlan(
        name=key,
        stored_as=field_name(compute_versioned_name(table, config.registry.enable_online_feature_view_versioning)),
        features=features,
        kinds=tuple(kinds[name] for name in features),
        ttl=ttl // _MICROSECOND,
    )


def _groups(
    tables: Sequence[FeatureView],
    views: Sequence[ViewPlan],
    join_key_of: dict[str, str],
    project: str,
    layout: Layout,
) -> tuple[Group, ...]:
    members: dict[tuple[KeyColumn, ...], list[int]] = {}
    for index, table in enumerate(tables):
        members.setdefault(_keys(table, join_key_of), []).append(index)
    groups = []
    for keys, indices in members.items():
        fields_of = {index: layout.fields(views[index].stored_as, views[index].features) for index in indices}
        # Two projections of one view read the same field once.
        fields = tuple(dict.fromkeys(name for names in fields_of.values() for name in names))
        place = {name: position for position, name in enumerate(fields)}
        encoder = layout.key_encoder(project, [(key.join_key, key.kind) for key in keys or (_DUMMY_KEY,)])
        only_key = None if keys else encoder.encode_columns({_DUMMY_KEY.join_key: [DUMMY_ENTITY_VAL]})[0]
        readers = tuple(
            (index, layout.reader(views[index].stored_as, views[index].wanted, [place[name] for name in names]))
            for index, names in fields_of.items()
        )
        groups.append(Group(keys, encoder, only_key, HashRead(fields), readers))
    return tuple(groups)


def _keys(table: FeatureView, join_key_of: dict[str, str]) -> tuple[KeyColumn, ...]:
    """The join keys of a view, sorted as Feast sorts them in a key; none for a view without entities."""
    kinds = {column.name: _number(column.dtype.to_value_type()) for column in table.entity_columns}
    join_keys = [join_key_of[name] for name in table.entities or () if name not in DUMMY_COLUMNS]
    aliases = table.projection.join_key_map
    return tuple(
        KeyColumn(name, aliases.get(name, name), kinds.get(name, ValueType.STRING.value)) for name in sorted(join_keys)
    )


def _columns(
    asked: Sequence[tuple[str, str]],
    views: Sequence[ViewPlan],
    computed: dict[str, OnDemandFeatureView],
    full_feature_names: bool,
) -> tuple[list[OutputColumn], dict[str, list[tuple[str, str, int]]]]:
    """The answer's features in the order asked for, and per on-demand view its outputs: (name, feature, kind)."""
    places = [(view.name, feature) for view in views for feature in view.features]
    kinds = {
        (view.name, feature): kind for view in views for feature, kind in zip(view.features, view.kinds, strict=True)
    }
    outputs: dict[str, list[tuple[str, str, int]]] = {}
    names = {}
    for key, feature in asked:
        names[key, feature] = name = f"{key}__{feature}" if full_feature_names else feature
        if key in computed:
            field = next(field for field in computed[key].features if field.name == feature)
            kinds[key, feature] = _number(field.dtype.to_value_type())
            outputs.setdefault(key, []).append((name, feature, kinds[key, feature]))
    places += [(key, feature) for key, listed in outputs.items() for _, feature, _ in listed]
    position_of = {place: position for position, place in enumerate(places)}
    rows_of = {view.name: 1 + index for index, view in enumerate(views)}
    columns = [
        OutputColumn(names[place], kinds[place], rows_of.get(place[0], 0), position_of[place]) for place in asked
    ]
    return columns, outputs


def _on_demand_plan(
    view: OnDemandFeatureView,
    outputs: list[tuple[str, str, int]],
    views: Sequence[ViewPlan],
    tables: dict[str, tuple[Any, set[str]]],
    full_feature_names: bool,
) -> OnDemandPlan:
    if view.aggregations:
        raise OnlineRequestError(
            f"on-demand feature view {view.name!r} aggregates, which has no meaning for single entities",
            hint="leave its features out; Feast's own retrieval leaves them out silently",
        )
    declared = {projection.name for projection in view.source_feature_view_projections.values()}
    sources = [
        (index, plan)
        for index, plan in enumerate(views)
        # Stored on-demand views (they alone know write_to_online_store) are visible to every transformation.
        if plan.name in declared or hasattr(tables[plan.name][0], "write_to_online_store")
    ]
    short = [feature for _, plan in sources for feature in plan.features]
    inputs = []
    for index, plan in sources:
        for position, feature in enumerate(plan.features):
            # Two sources may have a feature of the same name: then only the full name says which.
            full = full_feature_names or short.count(feature) > 1
            name = f"{plan.name}__{feature}" if full else feature
            inputs.append((name, index, position, finisher_of(plan.kinds[position])))
    return OnDemandPlan(view, tuple(inputs), tuple(outputs), full_feature_names)


def _versions(tables: Iterable[FeatureView]) -> tuple[tuple[str, int], ...]:
    found: dict[str, int] = {}
    for table in tables:
        name = table.projection.name_alias or table.projection.name
        found.setdefault(name, getattr(table, "current_version_number", 0) or 0)
    return tuple(found.items())


class PlanCache:
    """The last plans of one online store, thrown away whenever the registry's cached content changes.

    Reads of one store come from many threads; a plan may be compiled twice, never mixed up.
    """

    def __init__(self, size: int = 256) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._plans: OrderedDict[object, OnlinePlan] = OrderedDict()
        # Telling what a service selects takes longer than finding its plan: services met as the same object skip it.
        self._met: OrderedDict[tuple[int, bool, str], tuple[FeatureService, object]] = OrderedDict()
        self._state: tuple[object, ...] | None = None
        # The state holds ids: whoever they belong to must stay alive.
        self._owners: tuple[object, ...] = ()

    def get(
        self,
        registry: BaseRegistry,
        project: str,
        config: RepoConfig,
        features: list[str] | FeatureService,
        full_feature_names: bool,
    ) -> OnlinePlan:
        """The plan for ``features``, compiled at need. Raises as ``compile_plan``."""
        # As Feast's own cache does: a registry whose content has expired is asked again, which renews it.
        known = _state_of(registry, config) if registry.is_cache_valid() else None
        key = self._key(project, features, full_feature_names)
        if known is not None:
            with self._lock:
                plan = self._plans.get(key) if self._state == known else None
                if plan is not None:
                    self._plans.move_to_end(key)
                    self._meet(features, full_feature_names, project, key)
                    return plan
        plan = compile_plan(registry, project, config, features, full_feature_names)
        now = _state_of(registry, config)
        # A registry that was renewed halfway through may have answered with both its contents.
        if now is not None and known in (None, now):
            with self._lock:
                if self._state != now:
                    self._plans.clear()
                    self._met.clear()
                    self._state, self._owners = now, (registry, config)
                self._plans[key] = plan
                if len(self._plans) > self._size:
                    self._plans.popitem(last=False)
                self._meet(features, full_feature_names, project, key)
        return plan

    def _key(self, project: str, features: list[str] | FeatureService, full_feature_names: bool) -> object:
        if not isinstance(features, FeatureService):
            return project, full_feature_names, tuple(features)
        met = self._met.get((id(features), full_feature_names, project))
        return met[1] if met is not None and met[0] is features else (project, full_feature_names, _selection(features))

    def _meet(self, features: list[str] | FeatureService, full_feature_names: bool, project: str, key: object) -> None:
        if isinstance(features, FeatureService):
            self._met[id(features), full_feature_names, project] = features, key
            if len(self._met) > self._size:
                self._met.popitem(last=False)


def _state_of(registry: BaseRegistry, config: RepoConfig) -> tuple[object, ...] | None:
    """What a plan depends on besides its features; None for a registry that keeps no cache, and so never says that it
    changed.
    """
    created = getattr(registry, "cached_registry_proto_created", None)
    if created is None:
        return None
    # Changes made by this very process replace the version, not the time.
    proto = getattr(registry, "cached_registry_proto", None)
    return id(registry), id(config), created, getattr(proto, "version_id", "")


def _selection(service: FeatureService) -> object:
    """What a service selects: callers often fetch a new object per request, and one name may stand for two services."""
    return service.name, tuple(
        (
            projection.name,
            projection.name_alias,
            projection.version_tag,
            tuple(sorted(projection.join_key_map.items())) if projection.join_key_map else (),
            tuple([feature.name for feature in projection.features]),
        )
        for projection in service.feature_view_projections
    )
