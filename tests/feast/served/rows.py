"""Rows for ``definitions``, written by the repository's own store: Feast's, where its feature_store.yaml is stock."""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import copy
from datetime import UTC, datetime, timedelta
from typing import Any

from feast import FeatureStore, FeatureView
from feast.feature_view import FeatureViewState
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import DoubleList, FloatList, Value

from tests.feast.served import definitions as world
from tests.unit.online.samples import PYTHON, messages

PROJECT = "side"
# Stored as whole seconds, thousandths and millionths, which are written with as many digits.
NOW = datetime.now(UTC).replace(microsecond=0)
THOUSANDTHS, MILLIONTHS = timedelta(milliseconds=250), timedelta(microseconds=1)

Row = tuple[FeatureView, dict[str, Value], dict[str, Value], datetime]
"""View, join key values, feature values, event timestamp."""


def register(store: FeatureStore) -> None:
    """What `feast apply` registers; there are no source files to look into."""
    for entity in world.ENTITIES:
        store.registry.apply_entity(entity, store.project)
    store.apply([*world.ENTITIES, *world.VIEWS, *world.ON_DEMAND, *world.SERVICES])
    unready = copy(store.get_feature_view("unready"))
    unready.state = FeatureViewState.GENERATED
    store.registry.apply_feature_view(unready, store.project)
    store.registry.commit()


def fill(store: FeatureStore) -> None:
    """Write every row, through Feast's provider."""
    for table, join_keys, features, event in rows():
        write(store, table.name, join_keys, features, event)


def write(
    store: FeatureStore, view: str, join_keys: dict[str, Value], features: dict[str, Value], event: datetime
) -> None:
    names = sorted(join_keys)
    key = EntityKey(join_keys=names, entity_values=[join_keys[name] for name in names])
    applied = store.registry.get_any_feature_view(view, store.project, allow_cache=False)
    store._get_provider().online_write_batch(store.config, applied, [(key, features, event, None)], None)


def rows() -> Iterator[Row]:
    """Drivers 0 to 3 and -1, customers a to c and one without a name; stats 3 is older than its ttl."""
    of_type = {name: messages(name) for name in PYTHON}
    for number in range(4):
        row = {name: values[number] for name, values in of_type.items()}
        yield world.everything, _driver(number), row, NOW - number * MILLIONTHS
    yield from _stats()
    yield from _edges()
    for number, text in ((0, "a"), (1, "b"), (1, "a"), (3, "")):
        pair = {**_driver(number), "customer_id": Value(string_val=text)}
        yield world.pairs, pair, {"score": Value(float_val=0.1 * number), "note": Value(string_val=text * 2)}, NOW
    for text, spent in (("a", 0.1), ("b", -3.5), ("c", None), ("", 7.0), ("žluťoučký kůň", 1e300)):
        features = {"city": Value(string_val=text.upper()), "spent": _double(spent)}
        age = timedelta(days=2) if text == "b" else THOUSANDTHS
        yield world.customers, {"customer_id": Value(string_val=text)}, features, NOW - age
    for seconds in (7200, 0, -3600):
        yield world.hours, {"hour_start": Value(unix_timestamp_val=seconds)}, {"load": _double(seconds / 7)}, NOW
    yield world.codes, {"code_id": Value(bytes_val=b"\x00\xff")}, {"meaning": Value(string_val="zero")}, NOW
    for number in (-5, 5):
        yield world.smalls, {"small_id": Value(int32_val=number)}, {"size": Value(int64_val=number)}, NOW
    totals = {"total": Value(int64_val=99), "motto": Value()}
    yield world.world, {"__dummy_id": Value(string_val="")}, totals, NOW


def _stats() -> Iterator[Row]:
    for number, conv, age in (
        (0, 0.5, timedelta(0)),
        (1, 0.25, THOUSANDTHS),
        (2, None, MILLIONTHS),
        (3, 1 / 3, timedelta(hours=2)),
        (-1, 1e-300, timedelta(minutes=5)),
        (2**63 - 1, 1.0, timedelta(minutes=6)),
    ):
        features = {
            "conv": _double(conv),
            "trips": Value(int64_val=10 * (number % 1000)),
            "label": Value(string_val=f"d{number}") if number != 1 else Value(),
        }
        yield world.stats, _driver(number), features, NOW - age
        rest: dict[str, Any] = {
            "trips": Value(int32_val=number % 7),
            "rating": Value(float_val=0.1 * (number % 9)),
            "seen": Value(unix_timestamp_val=number % 10**9) if number != 2 else Value(),
        }
        # What a row was written without.
        if number == 0:
            del rest["rating"]
        yield world.more, _driver(number), rest, NOW - age


def _edges() -> Iterator[Row]:
    for number, value in enumerate((math.nan, math.inf, -math.inf, 5e-324)):
        features = {
            "wide": Value(double_val=value),
            "narrow": Value(float_val=value),
            "many": Value(double_list_val=DoubleList(val=[value, 0.5])),
            "few": Value(float_list_val=FloatList(val=[0.1, value])),
            "big": Value(int64_val=2**53 + number),
        }
        yield world.edges, _driver(number), features, NOW


def _driver(number: int) -> dict[str, Value]:
    return {"driver_id": Value(int64_val=number)}


def _double(value: float | None) -> Value:
    return Value() if value is None else Value(double_val=value)
