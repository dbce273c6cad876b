"""A registry and rows in plain dicts: what plans and answers are tested with, without any server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, FileSource, RepoConfig, RequestSource
from feast.feature_view import DUMMY_ENTITY, DUMMY_ENTITY_FIELD
from feast.infra.registry.registry import Registry
from feast.on_demand_feature_view import OnDemandFeatureView, on_demand_feature_view
from feast.repo_config import RegistryConfig
from feast.types import Array, Bytes, Float32, Float64, Int32, Int64, String, UnixTimestamp
from feast.value_type import ValueType

from yummy_feast.online.answer import OnlineFeatures
from yummy_feast.online.columns import of_stored
from yummy_feast.online.compile import compile_plan
from yummy_feast.online.keys import KeyEncoder
from yummy_feast.online.plan import OnlinePlan
from yummy_feast.online.request import to_columns
from yummy_feast.online.retrieval import answer, ask
from yummy_feast.online.rows import RowSchema, encode, tombstone

PROJECT = "trips"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def source(name: str) -> FileSource:
    return FileSource(name=name, path=f"{name}.parquet", timestamp_field="event_timestamp")


driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.STRING)
hour = Entity(name="hour", join_keys=["hour_start"], value_type=ValueType.UNIX_TIMESTAMP)

driver_stats = FeatureView(
    name="driver_stats",
    entities=[driver],
    ttl=timedelta(days=1),
    schema=[
        Field(name="driver_id", dtype=Int64),
        Field(name="conv_rate", dtype=Float64),
        Field(name="trips", dtype=Int64),
        Field(name="name", dtype=String),
    ],
    source=source("driver_stats"),
)
driver_more = FeatureView(
    name="driver_more",
    entities=[driver],
    ttl=timedelta(0),
    schema=[
        Field(name="driver_id", dtype=Int64),
        Field(name="rating", dtype=Float32),
        Field(name="tags", dtype=Array(String)),
        Field(name="last_seen", dtype=UnixTimestamp),
    ],
    source=source("driver_more"),
)
pair_stats = FeatureView(
    name="pair_stats",
    entities=[driver, customer],
    ttl=None,
    schema=[
        Field(name="driver_id", dtype=Int64),
        Field(name="customer_id", dtype=String),
        Field(name="score", dtype=Int32),
        Field(name="blob", dtype=Bytes),
    ],
    source=source("pair_stats"),
)
hour_stats = FeatureView(
    name="hour_stats",
    entities=[hour],
    ttl=timedelta(0),
    schema=[Field(name="hour_start", dtype=UnixTimestamp), Field(name="load", dtype=Float64)],
    source=source("hour_stats"),
)
world_stats = FeatureView(
    name="world_stats", entities=[], ttl=timedelta(0), schema=[Field(name="total", dtype=Int64)], source=source("world")
)
# What `feast apply` makes of a view without entities.
world_stats.entity_columns = [DUMMY_ENTITY_FIELD]
VIEWS = [driver_stats, driver_more, pair_stats, hour_stats, world_stats]

request_source = RequestSource(name="extra", schema=[Field(name="bonus", dtype=Float64)])


@on_demand_feature_view(
    sources=[driver_stats, request_source],
    schema=[Field(name="conv_plus", dtype=Float64), Field(name="trips_text", dtype=String)],
    mode="python",
)
def in_python(inputs: dict[str, Any]) -> dict[str, Any]:
    rates = zip(inputs["conv_rate"], inputs["bonus"], strict=True)
    return {
        "conv_plus": [None if rate is None else rate + bonus for rate, bonus in rates],
        "trips_text": [str(trips) for trips in inputs["driver_stats__trips"]],
    }


@on_demand_feature_view(
    sources=[driver_stats, request_source], schema=[Field(name="conv_times", dtype=Float64)], mode="pandas"
)
def in_pandas(inputs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"conv_times": inputs["conv_rate"] * inputs["bonus"]})


@on_demand_feature_view(
    sources=[driver_stats], schema=[Field(name="twice", dtype=Int64)], mode="python", singleton=True
)
def one_by_one(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"twice": 2 * inputs["trips"]}


ON_DEMAND: list[OnDemandFeatureView] = [in_python, in_pandas, one_by_one]


@dataclass
class World:
    """A registry, and Redis as a dict: key -> hash field -> row."""

    config: RepoConfig
    registry: Registry
    hashes: dict[bytes, dict[bytes, bytes]] = field(default_factory=dict)
    known: dict[tuple[bytes, bytes], RowSchema] = field(default_factory=dict)
    asked: list[tuple[bytes, tuple[bytes, ...]]] = field(default_factory=list)

    @classmethod
    def at(cls, folder: Path, **registry_options: Any) -> World:
        config = RepoConfig(
            project=PROJECT,
            provider="local",
            registry=RegistryConfig(path=str(folder / "registry.db"), **registry_options),
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            entity_key_serialization_version=3,
        )
        world = cls(config, Registry(PROJECT, config.registry, None))
        for entity in (driver, customer, hour, DUMMY_ENTITY):
            world.registry.apply_entity(entity, PROJECT)
        for view in (*VIEWS, *ON_DEMAND):
            world.registry.apply_feature_view(view, PROJECT)
        return world

    def serve(self, name: str, features: list[Any]) -> FeatureService:
        service = FeatureService(name=name, features=features)
        self.registry.apply_feature_service(service, PROJECT)
        return service

    def get(self, view: bytes, fingerprint: bytes) -> RowSchema:
        return self.known[view, fingerprint]

    def key_of(self, view: FeatureView, keys: Mapping[str, Any]) -> bytes:
        kinds = [(column.name, column.dtype.to_value_type()) for column in view.entity_columns]
        given = {name: [value] for name, value in (keys or {"__dummy_id": ""}).items()}
        [key] = KeyEncoder(PROJECT, kinds).encode_columns(given)
        assert key is not None
        return key

    def put(
        self,
        view: FeatureView,
        keys: Mapping[str, Any],
        stored: Mapping[str, Any],
        event: datetime = NOW,
        name: str | None = None,
    ) -> None:
        """Write one row of stored values; features that are left out are not in its schema."""
        numbers = {column.name: column.dtype.to_value_type().value for column in view.features}
        schema = RowSchema.of([(feature, numbers[feature]) for feature in stored])
        columns = [of_stored(feature, numbers[feature], [value]) for feature, value in stored.items()]
        [row] = encode(schema, columns, np.array([microseconds(event)]))
        hash_field = (name or view.name).encode()
        self.known[hash_field, schema.fingerprint] = schema
        self.hashes.setdefault(self.key_of(view, keys), {})[hash_field] = row

    def delete(self, view: FeatureView, keys: Mapping[str, Any]) -> None:
        self.hashes.setdefault(self.key_of(view, keys), {})[view.name.encode()] = tombstone(microseconds(NOW))

    def plan(self, features: list[str] | FeatureService, full_feature_names: bool = False) -> OnlinePlan:
        return compile_plan(self.registry, PROJECT, self.config, features, full_feature_names)

    def read(
        self,
        features: list[str] | FeatureService,
        entity_rows: Sequence[Mapping[str, Any]] | Mapping[str, Any],
        *,
        full_feature_names: bool = False,
        strict: bool = False,
        now: datetime = NOW,
    ) -> OnlineFeatures:
        plan = self.plan(features, full_feature_names)
        question = ask(plan, *to_columns(entity_rows), strict=strict)
        self.asked = [(key, read.fields) for read, keys in question.reads for key in keys]
        replies = [
            [[self.hashes.get(key, {}).get(name) for name in read.fields] for key in keys]
            for read, keys in question.reads
        ]
        return answer(question, replies, self, microseconds(now))
