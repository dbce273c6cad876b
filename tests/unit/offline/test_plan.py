"""What a fetch means: names, keys and types from Feast's definitions, without touching a file."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pyarrow as pa
import pytest
from feast import Entity, FeatureView, Field, FileSource, PushSource
from feast.infra.registry.base_registry import BaseRegistry
from feast.types import Float32, Int64, String
from feast.value_type import ValueType

from yummy_feast import ParquetSource
from yummy_feast.errors import ConfigError, EntityRowsError, NameCollisionError
from yummy_feast.offline.plan import ReadPlan, RetrievalPlan, build, source_names, ttl_micros

DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
SHOP = Entity(name="shop", join_keys=["shop_id"], value_type=ValueType.STRING)


def source(**options: Any) -> ParquetSource:
    return ParquetSource(path="nowhere.parquet", **{"timestamp_field": "at", **options})


def view(name: str = "stats", *, entities: Any = (DRIVER,), of: Any = None, **options: Any) -> FeatureView:
    keys = {"driver_id": Int64, "shop_id": String}
    return FeatureView(
        name=name,
        entities=list(entities),
        schema=[
            *(Field(name=entity.join_key, dtype=keys[entity.join_key]) for entity in entities),
            Field(name="rate", dtype=Float32),
            Field(name="label", dtype=String),
        ],
        source=of or source(),
        **options,
    )


def plan(views: list[FeatureView], *references: str, full: bool = False, cutoff: bool = False) -> RetrievalPlan:
    registry = Mock(spec=BaseRegistry)
    registry.list_on_demand_feature_views.return_value = []
    return build(views, references, registry, "lab", full_feature_names=full, cutoff=cutoff)


def test_a_view_becomes_source_columns_and_declared_types() -> None:
    (one,) = plan([view(ttl=timedelta(hours=1))], "stats:label", "stats:rate").views
    assert (one.name, one.time, one.created, one.ttl, one.cutoff) == ("stats", "at", None, 3_600_000_000, False)
    assert one.join_keys == (("driver_id", "driver_id"),)
    assert [(f.source, f.output, f.declared) for f in one.features] == [
        ("label", "label", pa.string()),
        ("rate", "rate", pa.float32()),
    ]


def test_only_what_is_asked_for_is_read_and_each_once() -> None:
    found = plan([view()], "stats:rate", "stats:rate")
    assert found.outputs == ("rate",)
    assert [feature.source for feature in found.views[0].features] == ["rate"]


def test_a_field_mapping_renames_features_keys_and_times() -> None:
    mapping = {"drv": "driver_id", "r": "rate", "ts": "at", "made": "created"}
    mapped = view(of=source(field_mapping=mapping, created_timestamp_column="created"))
    (one,) = plan([mapped], "stats:rate", "stats:label", cutoff=True).views
    assert one.join_keys == (("driver_id", "drv"),)
    assert [(feature.source, feature.output) for feature in one.features] == [("r", "rate"), ("label", "label")]
    assert (one.time, one.created, one.cutoff) == ("ts", "made", True)
    assert source_names(mapped) == {feast: stored for stored, feast in mapping.items()}


def test_the_cut_off_needs_created_times() -> None:
    assert not plan([view()], "stats:rate", cutoff=True).views[0].cutoff


def test_full_names_and_the_order_of_the_request() -> None:
    views = [view(), view("other")]
    found = plan(views, "other:label", "stats:rate", "other:rate", full=True)
    assert found.outputs == ("other__label", "stats__rate", "other__rate")
    assert {feature.output for one in found.views for feature in one.features} == set(found.outputs)


def test_an_alias_and_a_key_map() -> None:
    origin = view().with_name("origin").with_join_key_map({"driver_id": "first_driver"})
    found = plan([origin, view()], "origin:rate", "stats:label", full=True)
    assert [one.name for one in found.views] == ["origin", "stats"]
    assert found.views[0].join_keys == (("first_driver", "driver_id"),)
    assert found.join_keys == ("first_driver", "driver_id")
    assert found.outputs == ("origin__rate", "stats__label")


def test_two_versions_of_a_view_are_two_views() -> None:
    old, new = view(), view()
    old.projection.version_tag = 1
    found = plan([old, new], "stats@v1:rate", "stats:rate", full=True)
    assert [one.name for one in found.views] == ["stats@v1", "stats"]
    assert found.outputs == ("stats@v1__rate", "stats__rate")


def test_views_without_entities_have_no_keys() -> None:
    assert plan([view(entities=())], "stats:rate").views[0].join_keys == ()


def test_several_keys_each_once() -> None:
    found = plan([view(entities=(SHOP, DRIVER)), view("other")], "stats:rate", "other:label")
    assert sorted(found.join_keys) == ["driver_id", "shop_id"]


@pytest.mark.parametrize("wrap", [False, True])
def test_feasts_own_file_source_is_read_as_parquet(wrap: bool) -> None:
    files: Any = FileSource(name="files", path="x.parquet", timestamp_field="at", created_timestamp_column="made")
    of = PushSource(name="pushed", batch_source=files) if wrap else files
    (one,) = plan([view(of=of)], "stats:rate").views
    assert isinstance(one.source, ParquetSource)
    assert (one.source.path, one.time, one.created) == ("x.parquet", "at", "made")


def test_a_source_of_another_store_is_refused() -> None:
    from feast.infra.offline_stores.bigquery_source import BigQuerySource

    with pytest.raises(ConfigError, match=r"source 'far' is a BigQuerySource.* \(use ParquetSource"):
        plan([view(of=BigQuerySource(name="far", table="a.b", timestamp_field="at"))], "stats:rate")


def test_one_name_from_two_views_is_refused() -> None:
    with pytest.raises(NameCollisionError, match=r"'rate' is asked of stats and other \(ask with full_feature_names"):
        plan([view(), view("other")], "stats:rate", "other:rate")


def test_a_full_name_may_collide_too() -> None:
    odd = FeatureView(
        name="a", entities=[DRIVER], schema=[Field(name="b__c", dtype=Int64)], source=source(name="one")
    )  # fmt: skip
    other = FeatureView(
        name="a__b", entities=[DRIVER], schema=[Field(name="c", dtype=Int64)], source=source(name="two")
    )
    with pytest.raises(NameCollisionError, match="'a__b__c' is asked of a and a__b"):
        plan([odd, other], "a:b__c", "a__b:c", full=True)


# ------------------------------------------------------------------------------------------------ checks


def test_entity_columns_are_checked() -> None:
    found = plan([view(entities=(SHOP, DRIVER))], "stats:rate")
    found.check(["shop_id", "driver_id", "event_timestamp", "more"])
    with pytest.raises(EntityRowsError, match=r"lack the join key 'driver_id' of feature view 'stats' .*'driver'"):
        found.check(["shop_id", "driver", "event_timestamp"])
    with pytest.raises(NameCollisionError, match=r"feature 'rate' \(drop or rename that column"):
        found.check(["shop_id", "driver_id", "rate"])


def test_request_data_and_computed_names_are_checked() -> None:
    needs = Mock()
    needs.get_request_data_schema.return_value = {"bonus": ValueType.INT64}
    found = RetrievalPlan((), (), (needs,), (), full_feature_names=False, computed=("sum",))
    found.check(["bonus"])
    with pytest.raises(EntityRowsError, match=r"lack the request data 'bonus' \(did you mean 'bonsu'"):
        found.check(["bonsu"])
    with pytest.raises(NameCollisionError, match="feature 'sum'"):
        found.check(["bonus", "sum"])


def test_columns_of_a_read_each_once() -> None:
    read = ReadPlan(source(), ("k", "at"), ("f", "k"), "at", "made", None, None)
    assert read.columns == ("k", "at", "f", "made")


@pytest.mark.parametrize(
    ("ttl", "micros"),
    [
        (None, 0),
        (timedelta(0), 0),
        (timedelta(microseconds=1), 1),
        (timedelta.max, timedelta.max // timedelta.resolution),
    ],
)
def test_ttls_in_microseconds(ttl: timedelta | None, micros: int) -> None:
    assert ttl_micros(ttl) == micros
