"""What the suite for online stores needs of one: a layout, a place, and whether calls are awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.feature_view import DUMMY_ENTITY_FIELD
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RegistryConfig
from feast.types import Bytes, Int32, Int64, String, UnixTimestamp
from feast.value_type import ValueType

from yummy_feast.online.keys import schemas_key
from yummy_feast.online.redis import Client
from yummy_feast.online.store import YummyOnlineStore

NOW = datetime(2026, 11, 20, 12, 30, 15, 123_456, UTC)
SECOND, MICRO = timedelta(seconds=1), timedelta(microseconds=1)

KEY_TYPES = {
    "driver_id": (Int64, "int64_val"),
    "customer_id": (String, "string_val"),
    "hour_start": (UnixTimestamp, "unix_timestamp_val"),
    "code_id": (Bytes, "bytes_val"),
    "small_id": (Int32, "int32_val"),
}

Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
Found = tuple[datetime | None, dict[str, Value] | None]
ABSENT: Found = (None, None)


def entity(name: str) -> Entity:
    return Entity(name=name, join_keys=[name], value_type=ValueType[KEY_TYPES[name][0].name])


def view(
    name: str, features: Mapping[str, Any], keys: Sequence[str] = ("driver_id",), ttl: timedelta = timedelta(0)
) -> FeatureView:
    """A view as it is after `feast apply`."""
    entities = [entity(key) for key in keys]
    schema = [Field(name=key, dtype=KEY_TYPES[key][0]) for key in keys]
    schema += [Field(name=feature, dtype=dtype) for feature, dtype in features.items()]
    source = FileSource(name=f"{name}_source", path="nowhere.parquet", timestamp_field="event_timestamp")
    made = FeatureView(name=name, entities=entities, schema=schema, source=source, ttl=ttl)
    if not keys:
        made.entity_columns = [DUMMY_ENTITY_FIELD]
    return made


def key(**values: Any) -> EntityKey:
    """An entity key; a value of None is null."""
    fields: list[dict[str, Any]] = [
        {} if value is None else {KEY_TYPES[name][1]: value} for name, value in values.items()
    ]
    return EntityKey(join_keys=list(values), entity_values=[Value(**item) for item in fields])


NO_KEY = EntityKey(join_keys=["__dummy_id"], entity_values=[Value(string_val="")])


def driver(number: int | None) -> EntityKey:
    return key(driver_id=number)


@dataclass
class OnlineKit:
    """One online store of ours. ``client`` is a plain client of the same, empty place."""

    layout: str
    redis_type: str
    calls: str
    address: str
    client: Client
    folder: Path
    store: YummyOnlineStore = field(default_factory=YummyOnlineStore)
    runner: asyncio.Runner = field(default_factory=asyncio.Runner)

    def config(self, project: str = "prod", versions: bool = False, **online: Any) -> RepoConfig:
        return RepoConfig(
            project=project,
            provider="local",
            registry=RegistryConfig(
                path=str(self.folder / f"{project}.db"), enable_online_feature_view_versioning=versions
            ),
            online_store={
                "type": "yummy_feast.YummyOnlineStore",
                "connection_string": self.address,
                "redis_type": self.redis_type,
                "layout": self.layout,
                **online,
            },
            entity_key_serialization_version=3,
            repo_path=self.folder,
        )

    def write(self, config: RepoConfig, table: FeatureView, *rows: Row, progress: Any = None) -> None:
        if self.calls == "async":
            self.runner.run(self.store.online_write_batch_async(config, table, list(rows), progress))
        else:
            self.store.online_write_batch(config, table, list(rows), progress)

    def read(
        self, config: RepoConfig, table: FeatureView, *keys: EntityKey, features: list[str] | None = None
    ) -> list[Found]:
        if self.calls == "async":
            return self.runner.run(self.store.online_read_async(config, table, list(keys), features))
        return self.store.online_read(config, table, list(keys), features)

    def answer(self, repository: FeatureStore, features: list[str], rows: list[dict[str, Any]]) -> Any:
        """What the SDK answers."""
        if self.calls == "async":
            return self.runner.run(repository.get_online_features_async(features, rows))
        return repository.get_online_features(features, rows)

    def entity_keys(self) -> list[bytes]:
        """The entity keys of every project in the place."""
        schemas = {schemas_key(project) for project in ("prod", "nonprod", "prod2", "pro")}
        return sorted(name for name in self.client.scan_iter(count=1000) if name not in schemas)

    def seconds_left(self, redis_key: bytes, table: FeatureView) -> int:
        """How long the row of a view is kept; -1 for ever."""
        if self.layout == "rows":
            [seconds] = self.client.execute_command("HTTL", redis_key, "FIELDS", 1, table.name)  # type: ignore[no-untyped-call]
            return int(seconds)
        return int(self.client.ttl(redis_key))

    def shorten(self, redis_key: bytes, table: FeatureView, seconds: int) -> None:
        """Let time pass."""
        command = ("EXPIRE", redis_key, seconds)
        if self.layout == "rows":
            command = ("HEXPIRE", redis_key, seconds, "FIELDS", 1, table.name)  # type: ignore[assignment]
        self.client.execute_command(*command)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        if self.calls == "async":
            self.runner.run(self.store.close())
        self.runner.close()
