"""The retrieval plan: everything about a request for online features that does not depend on its rows, worked out once.

Views, versions, aliases and the gates (enabled, state, versioning, names that collide) are resolved by Feast's own
functions; this module only lays out what they answer so that a read is one HMGET per entity: views with the same join
keys, read from the same request columns, share one Redis hash and therefore one *group*.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from yummy_feast.online.answer import Heading
from yummy_feast.online.hmget import HashRead
from yummy_feast.online.keys import KeyEncoder
from yummy_feast.online.layouts.base import Reader
from yummy_feast.online.on_demand import OnDemandPlan
from yummy_feast.online.request import missing_join_key, missing_request_data, unknown_columns

_MAX_BINDINGS = 64

DUMMY_COLUMNS = frozenset({"__dummy_id", "__dummy"})
"""Feast's stand-in for the entity of views without entities: its join key and its name. Nobody asks for it, nobody sees
it.
"""


@dataclass(frozen=True, slots=True, eq=False)
class ViewPlan:
    """What is read of one feature view.

    name: as a reference spells it (alias and ``@vN`` included).
    stored_as: the view's own name, with ``_vN`` where the project versions its views.
    features, kinds: feature names and Feast ``ValueType`` numbers, in the order in which rows are decoded.
    ttl: microseconds; 0 means that rows never age.
    """

    name: str
    stored_as: bytes
    features: tuple[str, ...]
    kinds: tuple[int, ...]
    ttl: int

    @property
    def wanted(self) -> tuple[tuple[str, int], ...]:
        """(feature name, Feast ``ValueType`` number), in order."""
        return tuple(zip(self.features, self.kinds, strict=True))


@dataclass(frozen=True, slots=True)
class KeyColumn:
    """One join key: its name in the key, the request column that fills it, and its Feast ``ValueType`` number."""

    join_key: str
    column: str
    kind: int


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Views whose rows lie in the same Redis hash.

    keys: empty for views without entities, whose only hash has the key ``only_key``.
    views: per view its index in ``OnlinePlan.views`` and what finds its rows in the replies to ``read``.
    """

    keys: tuple[KeyColumn, ...]
    encoder: KeyEncoder
    only_key: bytes | None
    read: HashRead
    views: tuple[tuple[int, Reader], ...]


@dataclass(frozen=True, slots=True)
class OutputColumn:
    """One feature of the answer.

    rows: 0 for what is computed, 1 + index of the view for what is read.
    position: among the features of all views, one view after the other, followed by the outputs of all on-demand views.
    """

    name: str
    kind: int
    rows: int
    position: int


@dataclass(frozen=True, slots=True, eq=False)
class Binding:
    """How the columns of one kind of request are used.

    echoes: (request column, kind) of each join key that the answer repeats; kind 0: inferred from the values.
    request_data: columns that on-demand views read.
    heading: the answer's columns.
    unused: request columns that are neither join key nor request data of what is asked for.
    """

    echoes: tuple[tuple[str, int], ...]
    request_data: tuple[str, ...]
    heading: Heading
    unused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class OnlinePlan:
    """What one list of features, or one feature service, means for a read.

    take: from all values, in the order of ``OutputColumn.position``, those of ``columns``.
    join_keys: every join key the registry and the requested views know -> Feast ``ValueType`` number (0: unknown).
    entity_names: entity name -> join key, for callers who still use names.
    request_data: columns that on-demand views need; versions: (name, version) of each view that is read.
    """

    views: tuple[ViewPlan, ...]
    groups: tuple[Group, ...]
    columns: tuple[OutputColumn, ...]
    take: Callable[[Sequence[Any]], Sequence[Any]]
    on_demand: tuple[OnDemandPlan, ...]
    join_keys: dict[str, int]
    entity_names: dict[str, str]
    request_data: frozenset[str]
    versions: tuple[tuple[str, int], ...]
    hide_stale: bool
    bindings: dict[tuple[str, ...], Binding] = field(default_factory=dict)

    def bind(self, names: tuple[str, ...], *, strict: bool = False) -> Binding:
        """How a request with the columns ``names`` is used.

        Columns that nothing uses are ignored, as Feast does, unless ``strict``; join keys of other entities are echoed,
        as Feast does.

        Raises: MissingJoinKeyError, MissingRequestDataError, and under ``strict`` OnlineRequestError for columns that
        nothing uses.
        """
        binding = self.bindings.get(names)
        if binding is None:
            binding = self._bind(names)
            # Callers may invent column names without end.
            if len(self.bindings) < _MAX_BINDINGS:
                self.bindings[names] = binding
        if strict and binding.unused:
            raise unknown_columns(binding.unused, sorted(self.needed_columns() | self.request_data))
        return binding

    def needed_columns(self) -> set[str]:
        """The request columns that hold join keys of what is asked for."""
        return {key.column for group in self.groups for key in group.keys}

    def _bind(self, names: tuple[str, ...]) -> Binding:
        for group in self.groups:
            for key in group.keys:
                if key.column not in names:
                    raise missing_join_key(key.column, names, [self.views[index].name for index, _ in group.views])
        absent = sorted(self.request_data.difference(names))
        if absent:
            raise missing_request_data(absent, names)
        needed = self.needed_columns()
        echoes = tuple(
            (name, self.join_keys[name])
            for name in names
            if name in self.join_keys
            and name not in DUMMY_COLUMNS
            and (name in needed or name not in self.request_data)
        )
        columns = [(name, kind, 0) for name, kind in echoes]
        columns += [(column.name, column.kind, column.rows) for column in self.columns]
        request_data = tuple(name for name in names if name in self.request_data)
        known = needed | self.request_data | DUMMY_COLUMNS
        unused = tuple(name for name in names if name not in known)
        return Binding(echoes, request_data, Heading.of(columns, self.versions), unused)


def taker(positions: Sequence[int], width: int) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """A function from ``width`` values to those at ``positions``."""
    if list(positions) == list(range(width)):
        return lambda values: values
    if len(positions) == 1:
        only = positions[0]
        return lambda values: (values[only],)
    return itemgetter(*positions)
