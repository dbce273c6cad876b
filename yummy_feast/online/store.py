"""YummyOnlineStore: what Feast sees of the online room.

Wiring only: keys, rows, writing and reading are the modules beside this one.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
from feast.infra.online_stores.helpers import compute_versioned_name
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.supported_async_methods import SupportedAsyncMethods

from yummy_feast.errors import ConfigError, OnlineRequestError, ServerUnavailableError, nearest
from yummy_feast.online import sdk
from yummy_feast.online.cleaning import remove_project, remove_views
from yummy_feast.online.compile import PlanCache
from yummy_feast.online.config import YummyOnlineStoreConfig
from yummy_feast.online.entity_keys import EntityKeys
from yummy_feast.online.keys import field_name
from yummy_feast.online.loops import aclose, mux_for
from yummy_feast.online.redis import Client, RedisSettings, client_for, translated
from yummy_feast.online.retrieval import StoredRow, read_rows, read_rows_async
from yummy_feast.online.schemas import SchemaBook
from yummy_feast.online.writer import Progress, Target, Written, write_batches, write_protos
from yummy_feast.values import kind_of, proto_finisher

if TYPE_CHECKING:
    from feast import Entity, FeatureService, FeatureView, RepoConfig
    from feast.infra.registry.base_registry import BaseRegistry
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    from yummy_feast.online.response import YummyOnlineResponse

__all__ = ["YummyOnlineStore", "YummyOnlineStoreConfig"]

logger = logging.getLogger(__name__)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
            written = write_protos(self._target(config, table), keys, [row[1:] for row in data], progress)
        _warn_of_keyless(table, written)

    async def online_write_batch_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[tuple[EntityKey, dict[str, Value], datetime, datetime | None]],
        progress: Progress | None,
    ) -> None:
        """The same, in a thread."""
        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    def write_arrow(
        self,
        config: RepoConfig,
        table: FeatureView,
        batches: Iterable[pa.RecordBatch],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        progress: Progress | None = None,
    ) -> Written:
        """Write Arrow as materialization streams it: join keys, features and timestamps as columns, no protobuf.

        Returns what became of the rows. Raises ColumnNotFoundError for a column that is missing.
        """
        encoder = _entity_keys(config, table).encoder()
        with translated(self.settings(config)):
            written = write_batches(
                self._target(config, table), encoder, batches, timestamp_field, created_timestamp_column, progress
            )
        _warn_of_keyless(table, written)
        return written

    def _target(self, config: RepoConfig, table: FeatureView) -> Target:
        online: YummyOnlineStoreConfig = config.online_store
        return Target(
            client=self.client(config),
            book=self.schemas(config),
            view=_field_of(config, table),
            features=tuple((field.name, kind_of(field.dtype.to_value_type()).number) for field in table.features),
            ttl=online.key_ttl_seconds or 0,
            newer_wins=not online.skip_dedup,
        )

    # ------------------------------------------------------------------------------------------------ reading

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """Per entity key its event timestamp and values (an empty ``Value`` for null), (None, None) where no row is."""
        wanted, keys = _rows_to_read(config, table, entity_keys, requested_features)
        with translated(self.settings(config)):
            rows = read_rows(self.client(config), self.schemas(config), _field_of(config, table), wanted, keys)
        return _as_protos(wanted, rows)

    async def online_read_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """The same over the running loop's connection."""
        wanted, keys = _rows_to_read(config, table, entity_keys, requested_features)
        settings = self.settings(config)
        with translated(settings):
            field = _field_of(config, table)
            rows = await read_rows_async(mux_for(settings), self.schemas(config), field, wanted, keys)
        return _as_protos(wanted, rows)

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
        kept = {_field_of(config, table) for table in tables_to_keep}
        gone = sorted({field for table in tables_to_delete for field in _all_fields_of(config, table)} - kept)
        if not gone or not config.online_store.full_scan_for_deletion:
            return
        with translated(self.settings(config)):
            removed = remove_views(self.client(config), config.project, gone)
            self.schemas(config).forget(gone)
        logger.info("removed %d rows of %s", removed, ", ".join(field.decode() for field in gone))

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Remove every key of this project, and no other's."""
        with translated(self.settings(config)):
            removed = remove_project(self.client(config), config.project)
        self._books.clear()
        logger.info("removed %d entity keys of project %s", removed, config.project)


def _field_of(config: RepoConfig, table: FeatureView) -> bytes:
    return field_name(compute_versioned_name(table, config.registry.enable_online_feature_view_versioning))


def _all_fields_of(config: RepoConfig, table: FeatureView) -> set[bytes]:
    """The fields of a view in every version it has had."""
    newest = getattr(table, "current_version_number", None) or 0
    if not config.registry.enable_online_feature_view_versioning:
        newest = 0
    older = {field_name(f"{table.name}_v{version}") for version in range(1, newest + 1)}
    return {field_name(table.name), _field_of(config, table)} | older


def _rows_to_read(
    config: RepoConfig, table: FeatureView, entity_keys: list[EntityKey], requested_features: list[str] | None
) -> tuple[tuple[tuple[str, int], ...], list[bytes | None]]:
    """(feature, Feast type number) of what is read, and where."""
    kinds = {field.name: kind_of(field.dtype.to_value_type()).number for field in table.features}
    names = tuple(requested_features) if requested_features else tuple(kinds)
    for name in names:
        if name not in kinds:
            raise OnlineRequestError(f"feature view {table.name!r} has no feature {name!r}", hint=nearest(name, kinds))
    return tuple((name, kinds[name]) for name in names), _entity_keys(config, table).encode(entity_keys)


def _as_protos(
    wanted: tuple[tuple[str, int], ...], rows: list[StoredRow | None]
) -> list[tuple[datetime | None, dict[str, Value] | None]]:
    from feast.protos.feast.types.Value_pb2 import Value

    finishers = [(name, proto_finisher(number)) for name, number in wanted]
    answer: list[tuple[datetime | None, dict[str, Value] | None]] = []
    for row in rows:
        if row is None:
            answer.append((None, None))
            continue
        moment, values = row
        messages = {
            name: Value() if value is None else finish(value)
            for (name, finish), value in zip(finishers, values, strict=True)
        }
        answer.append((_EPOCH + timedelta(microseconds=moment), messages))
    return answer


def _entity_keys(config: RepoConfig, table: FeatureView) -> EntityKeys:
    types = {field.name: kind_of(field.dtype.to_value_type()).number for field in table.entity_columns}
    return EntityKeys(config.project, types)


def _warn_of_keyless(table: FeatureView, written: Written) -> None:
    if written.keyless:
        logger.warning("feature view %s: left out %d rows whose join key is null", table.name, written.keyless)
