"""What two feature servers serve side by side: definitions that stock Feast registers, without a source file behind."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource
from feast.on_demand_feature_view import OnDemandFeatureView, on_demand_feature_view
from feast.types import Array, Bool, Bytes, Float32, Float64, Int32, Int64, String, UnixTimestamp
from feast.value_type import ValueType

from tests.unit.online.samples import PYTHON

HOUR = timedelta(hours=1)
KEYS = {
    "driver_id": Int64,
    "customer_id": String,
    "hour_start": UnixTimestamp,
    "code_id": Bytes,
    "small_id": Int32,
    "flag_id": Bool,
}

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.STRING)
hour = Entity(name="hour", join_keys=["hour_start"], value_type=ValueType.UNIX_TIMESTAMP)
code = Entity(name="code", join_keys=["code_id"], value_type=ValueType.BYTES)
small = Entity(name="small", join_keys=["small_id"], value_type=ValueType.INT32)
flag = Entity(name="flag", join_keys=["flag_id"], value_type=ValueType.BOOL)
ENTITIES = [driver, customer, hour, code, small, flag]


def view(name: str, entities: list[Entity], fields: Mapping[str, Any], **options: Any) -> FeatureView:
    schema = [Field(name=entity.join_key, dtype=KEYS[entity.join_key]) for entity in entities]
    schema += [Field(name=feature, dtype=dtype) for feature, dtype in fields.items()]
    source = FileSource(name=f"{name}_source", path="nowhere.parquet", timestamp_field="event_timestamp")
    return FeatureView(name=name, entities=entities, schema=schema, source=source, **{"ttl": timedelta(0), **options})


everything = view("everything", [driver], {name: dtype for name, (dtype, _) in PYTHON.items()})
edges = view(
    "edges",
    [driver],
    {"wide": Float64, "narrow": Float32, "many": Array(Float64), "few": Array(Float32), "big": Int64},
)
stats = view("stats", [driver], {"conv": Float64, "trips": Int64, "label": String}, ttl=HOUR)
# A feature of the same name as one of stats.
more = view("more", [driver], {"trips": Int32, "rating": Float32, "seen": UnixTimestamp})
pairs = view("pairs", [driver, customer], {"score": Float32, "note": String})
customers = view("customers", [customer], {"city": String, "spent": Float64}, ttl=24 * HOUR)
hours = view("hours", [hour], {"load": Float64})
codes = view("codes", [code], {"meaning": String})
smalls = view("smalls", [small], {"size": Int64})
flags = view("flags", [flag], {"means": String})
world = view("world", [], {"total": Int64, "motto": String})
off = view("off", [driver], {"never": Int64}, enabled=False)
unready = view("unready", [driver], {"later": Int64})
VIEWS = [everything, edges, stats, more, pairs, customers, hours, codes, smalls, flags, world, off, unready]

bonus = RequestSource(name="bonus_source", schema=[Field(name="bonus", dtype=Float64)])
words = RequestSource(name="words_source", schema=[Field(name="word", dtype=String), Field(name="times", dtype=Int64)])


# Feast stores the code of a transformation, and nothing of the module around it.
@on_demand_feature_view(
    sources=[stats, bonus],
    schema=[Field(name="conv_plus", dtype=Float64), Field(name="is_busy", dtype=Bool)],
    mode="python",
)
def plus(inputs: dict[str, Any]) -> dict[str, Any]:
    sums = [None if a is None else a + b for a, b in zip(inputs["conv"], inputs["bonus"], strict=True)]
    return {"conv_plus": sums, "is_busy": [(trips or 0) > 5 for trips in inputs["trips"]]}


@on_demand_feature_view(
    sources=[stats, bonus],
    schema=[Field(name="conv_times", dtype=Float64), Field(name="loud", dtype=String)],
    mode="pandas",
)
def times(inputs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"conv_times": inputs["conv"] * inputs["bonus"], "loud": inputs["label"].str.upper()})


@on_demand_feature_view(sources=[stats], schema=[Field(name="twice", dtype=Int64)], mode="python", singleton=True)
def single(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"twice": (inputs["trips"] or 0) * 2}


@on_demand_feature_view(
    sources=[words],
    schema=[Field(name="said", dtype=String), Field(name="lengths", dtype=Array(Int64))],
    mode="python",
)
def said(inputs: dict[str, Any]) -> dict[str, Any]:
    pairs_of = list(zip(inputs["word"], inputs["times"], strict=True))
    return {"said": [word * count for word, count in pairs_of], "lengths": [[len(word)] * 2 for word, _ in pairs_of]}


@on_demand_feature_view(sources=[pairs, customers], schema=[Field(name="worth", dtype=Float64)], mode="python")
def worth(inputs: dict[str, Any]) -> dict[str, Any]:
    return {"worth": [(a or 0) * (b or 0) for a, b in zip(inputs["score"], inputs["spent"], strict=True)]}


@on_demand_feature_view(sources=[stats], schema=[Field(name="share", dtype=Int64)], mode="python")
def shares(inputs: dict[str, Any]) -> dict[str, Any]:
    # Driver 0 has no trips, and nobody thought of that.
    return {"share": [100 // trips for trips in inputs["trips"]]}


ON_DEMAND: list[OnDemandFeatureView] = [plus, times, single, said, worth, shares]

SERVICES = [
    FeatureService(name="mixed", features=[pairs, stats[["trips", "conv"]], plus]),
    FeatureService(
        name="aliased",
        features=[
            stats[["trips"]].with_join_key_map({"driver_id": "from_id"}).with_name("origin"),
            stats[["conv"]].with_join_key_map({"driver_id": "to_id"}).with_name("target"),
        ],
    ),
    FeatureService(
        name="twice_aliased",
        features=[
            pairs[["score"]].with_join_key_map({"driver_id": "from_id", "customer_id": "payer"}).with_name("paid"),
            pairs[["note"]].with_join_key_map({"driver_id": "to_id"}).with_name("got"),
            world[["total"]],
        ],
    ),
    FeatureService(name="precomputed", features=[stats[["trips"]]], precompute_online=True),
    FeatureService(name="whole", features=[everything]),
    FeatureService(name="computed", features=[times, said[["said"]]]),
    FeatureService(name="renamed", features=[customers.with_name("buyers")]),
    FeatureService(name="closed", features=[off, stats[["conv"]]]),
]
