"""YummyOnlineStore: what Feast sees of the online room.

Wiring only: keys, rows, writing and reading are the modules beside this one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from feast.infra.online_stores.helpers import compute_versioned_name
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.supported_async_methods import SupportedAsyncMethods

from yummy_feast.errors import ConfigError, RowDecodeError, ServerUnavailableError
from yummy_feast.online import sdk
from yummy_feast.online.cleaning import remove_project, remove_views
from yummy_feast.online.compile import PlanCache
from yummy_feast.online.config import YummyOnlineStoreConfig
from yummy_feast.online.destination import Destination, StoredView
from yummy_feast.online.entity_keys import EntityKeys
from yummy_feast.online.keys import NO_JOIN_KEY, field_name
from yummy_feast.online.layouts import layout_of
from yummy_feast.online.loops import aclose, mux_for
from yummy_feast.online.progress import ProgressBook
from yummy_feast.online.protos import as_protos, features_of
from yummy_feast.online.redis import Client, RedisSettings, client_for, translated
from yummy_feast.online.retention import expires_fields, expires_fields_async
from yummy_feast.online.retrieval import StoredRow, read_each, read_rows, read_rows_async
from yummy_feast.online.schemas import SchemaBook
from yummy_feast.online.writer import Progress, Rows, Target, Written, write_protos
from yummy_feast.online.writer_async import write_protos_async
from yummy_feast.values import kind_of

if TYPE_CHECKING:
    from feast import Entity, FeatureService, FeatureView, RepoConfig
    from feast.infra.registry.base_registry import BaseRegistry
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    from yummy_feast.online.response import YummyOnlineResponse

__all__ = ["YummyOnlineStore", "YummyOnlineStoreConfig"]

logger = logging.getLogger(__name__)


TimedView = tuple["FeatureView", str, str | None]
"""A feature view with the columns of its event and created timestamps."""


class YummyOnlineStore(OnlineStore):
    """One Redis hash per entity key, one packed row per feature view in it. See docs/online.md.

    What goes wrong with Redis is an OnlineStoreError that names its address; a value its Feast type cannot hold, a
    ValueTypeError that names the feature.
    """

    # Feast asks a list of its own stores otherwise.
    _versioned_read_supported = True

    def __init__(self) -> None:
        self.plans = PlanCache()
        # Connections belong to a process: a server that forks finds none under its own id.
        self._books: dict[tuple[int, RedisSettings, str], SchemaBook] = {}
        self._settings: tuple[YummyOnlineStoreConfig, RedisSettings] | None = None

    @property
    def async_supported(self) -> SupportedAsyncMethods:
        """Both, over one connection per event loop."""
        return SupportedAsyncMethods(read=True, write=True)

    # ------------------------------------------------------------------------------------------- connections

    def settings(self, config: RepoConfig) -> RedisSettings:
        """Where the rows are. ConfigError when the repository's online store is another one."""
        online = config.online_store
        known = self._settings
        if known is not None and known[0] is online:
            return known[1]
        if not isinstance(online, YummyOnlineStoreConfig):
            raise ConfigError(
                f"online_store is {type(online).__name__}", hint="set online_store.type: yummy_feast.YummyOnlineStore"
            )
        settings = online.redis_settings(config.repo_path)
        self._settings = (online, settings)
        return settings

    def client(self, config: RepoConfig) -> Client:
        """This process's client."""
        return client_for(self.settings(config))

    def schemas(self, config: RepoConfig) -> SchemaBook:
        """The schemas of the project's rows."""
        settings = self.settings(config)
        key = (os.getpid(), settings, config.project)
        book = self._books.get(key)
        return (
            book
            if book is not None
            else self._books.setdefault(key, SchemaBook(lambda: client_for(settings), config.project))
        )

    async def initialize(self, config: RepoConfig) -> None:
        """Connect the running loop, so that its first request does not wait for that.

        A server starts without Redis too, and heals when Redis comes: only a warning tells.
        """
        settings = self.settings(config)
        try:
            with translated(settings):
                await mux_for(settings).connect()
        except ServerUnavailableError as error:
            logger.warning("%s", error)

    async def close(self) -> None:
        """Close the running loop's connection. A later call makes a new one."""
        if self._settings is not None:
            await aclose(self._settings[1])

    # ------------------------------------------------------------------------------------------------ writing

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[tuple[EntityKey, dict[str, Value], datetime, datetime | None]],
        progress: Progress | None,
    ) -> None:
        """Write rows, newest wins. Naive datetimes mean UTC; rows with a null join key are left out, with a warning."""
        if not data:
            return
        keys = _entity_keys(config, table).encode([row[0] for row in data])
        with translated(self.settings(config)):
            written = write_protos(
                self.client(config), self._blocking_target(config, table), keys, [row[1:] for row in data], progress
            )
        _warn_of_keyless(table, written)

    async def online_write_batch_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[tuple[EntityKey, dict[str, Value], datetime, datetime | None]],
        progress: Progress | None,
    ) -> None:
        """The same over the running loop's connection."""
        if not data:
            return
        settings, layout = self.settings(config), layout_of(config)
        keys = _entity_keys(config, table).encode([row[0] for row in data])
        with translated(settings):
            mux = mux_for(settings)
            single = layout.expires_fields and await expires_fields_async(mux, config.project)
            target, rows = self._target(config, table, single), [row[1:] for row in data]
            written = await write_protos_async(mux, self.schemas(config), target, keys, rows, progress)
        _warn_of_keyless(table, written)

    def write_arrow(
        self,
        config: RepoConfig,
        table: FeatureView,
        batches: Iterable[pa.RecordBatch],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        progress: Progress | None = None,
    ) -> Written:
        """Write Arrow with join keys, features and timestamps as columns, no protobuf.

        Returns what became of the rows. Raises ColumnNotFoundError for a column that is missing.
        """
        heard = None if progress is None else lambda _, part: progress(part.rows)
        tables = [(table, timestamp_field, created_timestamp_column)]
        return self.write_streams(config, tables, (((0,), (batch,)) for batch in batches), heard)[0]

    def write_streams(
        self,
        config: RepoConfig,
        tables: Sequence[TimedView],
        batches: Iterable[Rows],
        acknowledged: Callable[[int, Written], Any] | None = None,
    ) -> list[Written]:
        """The same for several views at a time, as materialization streams them: (which of ``tables``, rows of each).

        Returns what became of the rows of each view; ``acknowledged`` hears of them in the order they were given.
        """
        results = self.destination(config, tables).write(batches, acknowledged, self.schemas(config))
        for (table, _, _), written in zip(tables, results, strict=True):
            _warn_of_keyless(table, written)
        return results

    def destination(self, config: RepoConfig, tables: Sequence[TimedView]) -> Destination:
        """Where rows of ``tables`` go, for who writes them elsewhere."""
        online: YummyOnlineStoreConfig = config.online_store
        return Destination(
            settings=self.settings(config),
            project=config.project,
            layout=layout_of(config),
            newer_wins=not online.skip_dedup,
            views=tuple(
                StoredView(
                    _stored_as(config, table),
                    features_of(table),
                    tuple(_key_types(table).items()),
                    online.kept_for(getattr(table, "ttl", None)),
                    timestamp_field,
                    created,
                )
                for table, timestamp_field, created in tables
            ),
        )

    def progress(self, config: RepoConfig) -> ProgressBook:
        """How far materialization has come. What it raises about Redis goes through ``translated``."""
        return ProgressBook(self.client(config), config.project)

    def stored_as(self, config: RepoConfig, table: FeatureView) -> bytes:
        """The name under which the rows of a view are stored, ``_vN`` included where views are versioned."""
        return _stored_as(config, table)

    def _blocking_target(self, config: RepoConfig, table: FeatureView) -> Target:
        layout = layout_of(config)
        return self._target(
            config, table, layout.expires_fields and expires_fields(self.client(config), config.project)
        )

    def _target(self, config: RepoConfig, table: FeatureView, field_expiry: bool) -> Target:
        destination = self.destination(config, [(table, "", None)])
        return destination.target(destination.views[0], self.schemas(config), field_expiry)

    # ------------------------------------------------------------------------------------------------ reading

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """Per entity key its event timestamp and values (an empty ``Value`` for null), (None, None) where no row is."""
        wanted, keys = features_of(table, requested_features), _entity_keys(config, table).encode(entity_keys)
        with translated(self.settings(config)):
            rows = read_rows(
                self.client(config), layout_of(config), self.schemas(config), _stored_as(config, table), wanted, keys
            )
        return as_protos(wanted, rows)

    def read_stored(
        self, config: RepoConfig, table: FeatureView, keys: Mapping[str, pa.Array | pa.ChunkedArray]
    ) -> list[StoredRow | RowDecodeError | None]:
        """The rows of a view as they lie in Redis, whatever their age: the reading twin of ``write_arrow``.

        keys: one Arrow column per join key. Per row of them the event timestamp (microseconds since 1970) and the
        stored values in the view's order; None where there is no row, an error where it cannot be read as the view
        declares it.
        """
        wanted = features_of(table)
        encoded = _entity_keys(config, table).encoder().encode_arrow(keys)
        with translated(self.settings(config)):
            return read_each(
                self.client(config), layout_of(config), self.schemas(config), _stored_as(config, table), wanted, encoded
            )

    async def online_read_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """The same over the running loop's connection."""
        wanted, keys = features_of(table, requested_features), _entity_keys(config, table).encode(entity_keys)
        settings = self.settings(config)
        layout, book, stored_as = layout_of(config), self.schemas(config), _stored_as(config, table)
        with translated(settings):
            rows = await read_rows_async(mux_for(settings), layout, book, stored_as, wanted, keys)
        return as_protos(wanted, rows)

    def get_online_features(
        self,
        config: RepoConfig,
        features: list[str] | FeatureService,
        entity_rows: sdk.EntityRows,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        include_feature_view_version_metadata: bool = False,
    ) -> YummyOnlineResponse:
        """See ``sdk.get_online_features``."""
        return sdk.get_online_features(
            self,
            config,
            features,
            entity_rows,
            registry,
            project,
            full_feature_names,
            include_feature_view_version_metadata,
        )

    async def get_online_features_async(
        self,
        config: RepoConfig,
        features: list[str] | FeatureService,
        entity_rows: sdk.EntityRows,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        include_feature_view_version_metadata: bool = False,
    ) -> YummyOnlineResponse:
        """See ``sdk.get_online_features_async``."""
        return await sdk.get_online_features_async(
            self,
            config,
            features,
            entity_rows,
            registry,
            project,
            full_feature_names,
            include_feature_view_version_metadata,
        )

    # --------------------------------------------------------------------------------------- apply and teardown

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Remove the rows of views that are gone, in all their versions; rows of every other view stay readable.

        Nothing to remove asks nothing of Redis, so `feast apply` works without it. Left out under
        ``full_scan_for_deletion: false``.
        """
        kept = {_stored_as(config, table) for table in tables_to_keep}
        gone = {
            name: tuple(field.name for field in table.features)
            for table in tables_to_delete
            for name in _ever_stored_as(config, table) - kept
        }
        if not gone or not config.online_store.full_scan_for_deletion:
            return
        with translated(self.settings(config)):
            layout = layout_of(config)
            join_keys = _join_keys(tables_to_delete)
            removed = remove_views(self.client(config), layout, config.project, list(gone.items()), join_keys)
            self.progress(config).forget(gone)
            if layout.keeps_schemas:
                self.schemas(config).forget(gone)
        logger.info("removed %d rows of %s", removed, ", ".join(name.decode() for name in sorted(gone)))

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Remove every key of this project, and no other's."""
        with translated(self.settings(config)):
            removed = remove_project(self.client(config), layout_of(config), config.project, _join_keys(tables))
        self._books.clear()
        logger.info("removed %d entity keys of project %s", removed, config.project)


def _stored_as(config: RepoConfig, table: FeatureView) -> bytes:
    return field_name(compute_versioned_name(table, config.registry.enable_online_feature_view_versioning))


def _ever_stored_as(config: RepoConfig, table: FeatureView) -> set[bytes]:
    """The names of a view in every version it has had."""
    newest = getattr(table, "current_version_number", None) or 0
    if not config.registry.enable_online_feature_view_versioning:
        newest = 0
    older = {field_name(f"{table.name}_v{version}") for version in range(1, newest + 1)}
    return {field_name(table.name), _stored_as(config, table)} | older


def _join_keys(tables: Iterable[FeatureView]) -> set[tuple[str, ...]]:
    return {tuple(sorted(table.join_keys)) or (NO_JOIN_KEY,) for table in tables}


def _entity_keys(config: RepoConfig, table: FeatureView) -> EntityKeys:
    return EntityKeys(layout_of(config), config.project, _key_types(table))


def _key_types(table: FeatureView) -> dict[str, int]:
    return {field.name: kind_of(field.dtype.to_value_type()).number for field in table.entity_columns}


def _warn_of_keyless(table: FeatureView, written: Written) -> None:
    if written.keyless:
        logger.warning("feature view %s: left out %d rows whose join key is null", table.name, written.keyless)
