"""A project's rows from one layout to the other, in the same Redis, while both are read and written.

The keys of the layouts differ, so a copy stands beside the original. Rows go through the reader of the one layout and
the guarded writer of the other: what is newer there stays. At a tie of event timestamps the layout that
feature_store.yaml names is right, because that is the one that is being written to.

What the layouts do not share is not copied: created timestamps (`feast` has none) and tombstones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from feast.infra.online_stores.helpers import compute_versioned_name

from yummy_feast.errors import ConfigError, RowDecodeError, ValueTypeError, nearest
from yummy_feast.online.cleaning import pages
from yummy_feast.online.keys import KEY_KINDS, NO_JOIN_KEY, KeyEncoder, field_name, schemas_key
from yummy_feast.online.layouts import LAYOUTS
from yummy_feast.online.layouts.base import Layout, Target
from yummy_feast.online.pipeline import execute
from yummy_feast.online.redis import translated
from yummy_feast.online.retention import expires_fields
from yummy_feast.online.retrieval import read_each
from yummy_feast.online.trips import Written, stored_trips
from yummy_feast.online.writer import send
from yummy_feast.values import kind_of

if TYPE_CHECKING:
    from feast import FeatureStore

    from yummy_feast.online.redis import Client
    from yummy_feast.online.schemas import SchemaBook
    from yummy_feast.online.store import YummyOnlineStore

Progress = Callable[[str, int], Any]
"""Called with a feature view and how many more of its rows were dealt with."""
_Row = tuple[int, tuple[Any, ...]]
_JoinKeys = tuple[tuple[str, int], ...]

_EXAMPLES = 5


@dataclass(slots=True)
class Copied:
    """What became of one view's rows.

    view: the name they are stored under, ``_vN`` included. already: the other layout had the row of that event time;
    older: it had a newer one; unreadable: damaged, or of a type that is no longer declared. examples: of the latter.
    """

    view: str
    copied: int = 0
    already: int = 0
    older: int = 0
    unreadable: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Conversion:
    """Per view what became of its rows; keys: entity keys looked at; removed: those taken out of the old layout;
    foreign: those whose join keys no feature view has, which were left alone.
    """

    source: str
    to: str
    views: list[Copied]
    keys: int = 0
    foreign: int = 0
    removed: int = 0

    @property
    def unreadable(self) -> int:
        """Rows that could not be copied."""
        return sum(view.unreadable for view in self.views)


@dataclass(frozen=True, slots=True)
class _View:
    """Rows to copy: where they stand, what is in them, how long they are kept."""

    stored_as: bytes
    features: tuple[tuple[str, int], ...]
    retention: int
    copied: Copied


def convert(
    store: FeatureStore, to: str, *, remove_source: bool = False, progress: Progress | None = None
) -> Conversion:
    """Copy every row of the project that lies in the other layout into layout ``to``. May be run again at any time.

    remove_source: afterwards remove the copied keys from the old layout; nothing is removed when a row was unreadable.

    Raises:
        ConfigError: an unknown layout; the online store is not ours; ``remove_source`` while feature_store.yaml still
        names the old layout. OnlineStoreError about Redis.
    """
    from yummy_feast.online.store import YummyOnlineStore

    online = store.provider.online_store
    if not isinstance(online, YummyOnlineStore):
        raise ConfigError(
            f"online_store is {type(online).__name__}", hint="set online_store.type: yummy_feast.YummyOnlineStore"
        )
    if to not in LAYOUTS:
        raise ConfigError(f"unknown layout {to!r}", hint=nearest(to, LAYOUTS))
    (source,) = set(LAYOUTS) - {to}
    served = store.config.online_store.layout
    if remove_source and served == source:
        raise ConfigError(
            f"layout {source!r} is still the one in feature_store.yaml, so its rows are not removed",
            hint=f"set online_store.layout: {to}, restart what reads and writes, and run this again",
        )
    with translated(online.settings(store.config)):
        return _Converter.of(store, online, source, to).run(remove_source, progress or (lambda *_: None))


@dataclass(frozen=True, slots=True)
class _Converter:
    client: Client
    book: SchemaBook
    project: str
    source: Layout
    to: Layout
    served_by_target: bool
    options: dict[str, Any]
    groups: dict[_JoinKeys, list[_View]]

    @classmethod
    def of(cls, store: FeatureStore, online: YummyOnlineStore, source: str, to: str) -> _Converter:
        config = store.config
        client, book = online.client(config), online.schemas(config)
        groups = _registered(store)
        layouts = LAYOUTS[source](config), LAYOUTS[to](config)
        if layouts[0].keeps_schemas:
            registered = {view.stored_as for views in groups.values() for view in views}
            orphans = _unregistered(client, book, config.project, registered)
            # Only their keys tell which join keys they had.
            groups = {join_keys: [*views, *orphans] for join_keys, views in groups.items()}
        options = {
            "newer_wins": not config.online_store.skip_dedup,
            "field_expiry": layouts[1].expires_fields and expires_fields(client, config.project),
            "one_key_scripts": config.online_store.redis_type == "redis_cluster",
        }
        return cls(client, book, config.project, *layouts, config.online_store.layout == to, options, groups)

    def run(self, remove_source: bool, progress: Progress) -> Conversion:
        names = {view.stored_as: view.copied for views in self.groups.values() for view in views}
        result = Conversion(self.source.name, self.to.name, sorted(names.values(), key=lambda copied: copied.view))
        for found in self._pages():
            page = list(dict.fromkeys(found))
            result.keys += len(page)
            result.foreign += len(page)
            for group, keys, target_keys in self._of_groups(page):
                result.foreign -= len(keys)
                for view in group:
                    self._copy(view, keys, target_keys, progress)
        if remove_source and not result.unreadable:
            result.removed = self._remove()
            if self.source.keeps_schemas and not result.foreign:
                self.client.unlink(schemas_key(self.project))
        return result

    def _pages(self) -> Iterator[Sequence[bytes]]:
        join_keys = {tuple(name for name, _ in names) for names in self.groups}
        return pages(self.client, self.source, self.project, join_keys)

    def _of_groups(self, page: Sequence[bytes]) -> Iterator[tuple[list[_View], list[bytes], list[bytes]]]:
        """The keys of a page by their join keys, in both layouts."""
        left = list(page)
        for join_keys, views in self.groups.items():
            old, new = (layout.key_encoder(self.project, join_keys) for layout in (self.source, self.to))
            known = {key: values for key in left if (values := _decoded(old, key)) is not None}
            if not known:
                continue
            left = [key for key in left if key not in known]
            columns = {name: [values[name] for values in known.values()] for name, _ in join_keys}
            # A key holds no nulls.
            made = [key for key in new.encode_columns(columns) if key is not None]
            yield views, list(known), made

    def _copy(self, view: _View, keys: list[bytes], target_keys: list[bytes], progress: Progress) -> None:
        read = (self.book, view.stored_as, view.features)
        rows = read_each(self.client, self.source, *read, keys)
        there = read_each(self.client, self.to, *read, target_keys)
        chosen: list[tuple[bytes, _Row]] = []
        for key, target_key, row, known in zip(keys, target_keys, rows, there, strict=True):
            if isinstance(row, RowDecodeError):
                self._unreadable(view, key, row)
            elif row is not None and self._is_wanted(row, known, view.copied):
                chosen.append((target_key, row))
        self._write(view, chosen)
        progress(view.copied.view, sum(row is not None for row in rows))

    def _is_wanted(self, row: _Row, known: _Row | RowDecodeError | None, copied: Copied) -> bool:
        if known is None or isinstance(known, RowDecodeError) or known[0] < row[0]:
            return True
        if known[0] > row[0]:
            copied.older += 1
            return False
        if self.served_by_target or known == row:
            copied.already += 1
            return False
        return True

    def _write(self, view: _View, chosen: Sequence[tuple[bytes, _Row]]) -> None:
        if not chosen:
            return
        target = Target(self.to, self.book, view.stored_as, view.features, view.retention, **self.options)
        keys, rows = [key for key, _ in chosen], [row for _, row in chosen]
        try:
            trips = list(stored_trips(target, keys, [row for _, row in rows], [event for event, _ in rows]))
        except ValueTypeError as error:
            if len(chosen) == 1:
                self._unreadable(view, keys[0], error)
                return
            # One value of them all does not fit: the others shall not suffer.
            middle = len(chosen) // 2
            self._write(view, chosen[:middle])
            self._write(view, chosen[middle:])
            return

        def account(_: int, part: Written) -> None:
            view.copied.copied += part.written
            view.copied.already += part.equal
            view.copied.older += part.older

        send(self.client, trips, account)

    def _unreadable(self, view: _View, key: bytes, error: RowDecodeError | ValueTypeError) -> None:
        view.copied.unreadable += 1
        if len(view.copied.examples) < _EXAMPLES:
            for join_keys in self.groups:
                for layout in (self.source, self.to):
                    values = _decoded(layout.key_encoder(self.project, join_keys), key)
                    if values is not None:
                        named = ", ".join(f"{name}={value!r}" for name, value in values.items())
                        view.copied.examples.append(f"{named}: {error.message}")
                        return

    def _remove(self) -> int:
        removed = 0
        for page in self._pages():
            removed += sum(
                execute(self.client, [("UNLINK", key) for _, keys, _ in self._of_groups(page) for key in keys])
            )
        return removed


def _decoded(encoder: KeyEncoder, key: bytes) -> dict[str, Any] | None:
    try:
        return encoder.decode(key)
    except RowDecodeError:
        return None


def _registered(store: FeatureStore) -> dict[_JoinKeys, list[_View]]:
    """The registry's views by their join keys (name, Feast type; sorted), each in all its versions."""
    config, registry = store.config, store.registry
    versioned = config.registry.enable_online_feature_view_versioning
    groups: dict[_JoinKeys, list[_View]] = {}
    met: set[bytes] = set()
    for newest in registry.list_all_feature_views(store.project):
        tables = [newest]
        if versioned:
            for record in registry.list_feature_view_versions(newest.name, store.project):
                number = record["version_number"]
                tables.append(registry.get_feature_view_by_version(newest.name, store.project, number))
        for table in tables:
            # On-demand views have rows where they are written to the online store.
            if not getattr(table, "write_to_online_store", True):
                continue
            stored_as = field_name(compute_versioned_name(table, versioned))
            if stored_as in met:
                continue
            met.add(stored_as)
            columns = getattr(table, "entity_columns", [])
            join_keys = sorted((column.name, kind_of(column.dtype.to_value_type()).number) for column in columns)
            # A view over an entity of type BOOL, say: nobody could ever write a row of it.
            if not all(number in KEY_KINDS for _, number in join_keys):
                continue
            features = tuple((each.name, kind_of(each.dtype.to_value_type()).number) for each in table.features)
            kept = config.online_store.kept_for(getattr(table, "ttl", None))
            view = _View(stored_as, features, kept, Copied(stored_as.decode()))
            groups.setdefault(tuple(join_keys) or _NO_JOIN_KEYS, []).append(view)
    return groups


_NO_JOIN_KEYS: _JoinKeys = ((NO_JOIN_KEY, 2),)


def _unregistered(client: Any, book: SchemaBook, project: str, registered: Collection[bytes]) -> list[_View]:
    """Views that have rows and are in no registry any more: their schemas say what is in them."""
    names = {name.rpartition(b":")[0] for name in client.hkeys(schemas_key(project))}.difference(registered)
    found = []
    for name in sorted(names):
        columns = {column: number for schema in book.known(name) for column, number in schema.columns}
        found.append(_View(name, tuple(columns.items()), 0, Copied(name.decode())))
    return found
