"""Plans: Feast's gates, names and versions; and when a plan that was compiled before may be used again."""

from __future__ import annotations

import copy
from datetime import timedelta
from pathlib import Path

import pytest
from feast import FeatureService, FeatureView, Field
from feast.errors import FeatureNameCollisionError, FeatureViewNotFoundException
from feast.feature_view import FeatureViewState
from feast.types import Int64, Map

from tests.unit.online.reading import PROJECT, World, driver, driver_more, driver_stats, source, world_stats
from yummy_feast.errors import FeatureNotFoundError, OnlineRequestError
from yummy_feast.online.compile import PlanCache


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.at(tmp_path)


def test_what_a_plan_knows_of_a_view(world: World) -> None:
    plan = world.plan(["driver_stats:trips", "driver_more:rating", "driver_stats:name"])
    stats, more = plan.views
    assert (stats.name, stats.stored_as, stats.features, stats.kinds) == (
        "driver_stats",
        b"driver_stats",
        ("trips", "name"),
        (4, 2),
    )
    assert (stats.ttl, more.ttl) == (86_400_000_000, 0)
    [group] = plan.groups
    assert [(key.join_key, key.column, key.kind) for key in group.keys] == [("driver_id", "driver_id", 4)]
    assert group.read.fields == (b"driver_stats", b"driver_more")


def test_unknown_names(world: World) -> None:
    with pytest.raises(FeatureViewNotFoundException, match="driver_stat"):
        world.plan(["driver_stat:trips"])
    with pytest.raises(FeatureNotFoundError, match=r"'driver_stats' has no feature 'trip' \(did you mean 'trips'") as e:
        world.plan(["driver_stats:conv_rate", "driver_stats:trip"])
    assert isinstance(e.value, KeyError)
    with pytest.raises(FeatureNotFoundError, match="'in_python' has no feature 'conv'"):
        world.plan(["in_python:conv"])
    with pytest.raises(ValueError, match="Invalid feature reference 'driver_stats'"):
        world.plan(["driver_stats"])
    with pytest.raises(OnlineRequestError, match="no features were asked for"):
        world.plan([])


def test_names_that_collide(world: World) -> None:
    twin = FeatureView(
        name="twin",
        entities=[driver],
        schema=[Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)],
        source=source("twin"),
    )
    world.registry.apply_feature_view(twin, PROJECT)
    refs = ["driver_stats:trips", "twin:trips"]
    with pytest.raises(FeatureNameCollisionError):
        world.plan(refs)
    names = [column.name for column in world.plan(refs, full_feature_names=True).columns]
    assert names == ["driver_stats__trips", "twin__trips"]


def test_gates(world: World) -> None:
    off = copy.copy(driver_stats)
    off.enabled = False
    world.registry.apply_feature_view(off, PROJECT)
    with pytest.raises(ValueError, match="'driver_stats' is disabled"):
        world.plan(["driver_stats:trips"])
    busy = copy.copy(driver_more)
    busy.state = FeatureViewState.MATERIALIZING
    world.registry.apply_feature_view(busy, PROJECT)
    with pytest.raises(ValueError, match="'driver_more' is in state 'MATERIALIZING'"):
        world.plan(["driver_more:rating"])


def test_serving_while_materializing(tmp_path: Path) -> None:
    world = World.at(tmp_path, serve_features_while_materializing=True)
    busy = copy.copy(driver_more)
    busy.state = FeatureViewState.MATERIALIZING
    world.registry.apply_feature_view(busy, PROJECT)
    assert world.plan(["driver_more:rating"]).views[0].name == "driver_more"


def test_versions_have_stored_ass_of_their_own(tmp_path: Path) -> None:
    world = World.at(tmp_path, enable_online_feature_view_versioning=True)
    assert world.plan(["driver_more:rating"]).views[0].stored_as == b"driver_more"
    changed = copy.copy(driver_more)
    changed.features = [*driver_more.features, Field(name="extra", dtype=Map)]
    changed.projection.features = changed.features
    world.registry.apply_feature_view(changed, PROJECT)
    assert world.plan(["driver_more:extra"]).views[0].stored_as == b"driver_more_v1"
    old = world.plan(["driver_more@v0:rating", "driver_more@v1:extra"], full_feature_names=True)
    assert [view.stored_as for view in old.views] == [b"driver_more", b"driver_more_v1"]
    assert [column.name for column in old.columns] == ["driver_more@v0__rating", "driver_more@v1__extra"]
    assert len(old.groups) == 1
    with pytest.raises(FeatureNotFoundError, match="feature view 'driver_more@v0' has no feature 'extra'"):
        world.plan(["driver_more@v0:extra"])


def test_versions_need_versioning(world: World) -> None:
    with pytest.raises(ValueError, match="online versioning is disabled"):
        world.plan(["driver_more@v1:rating"])


def test_a_view_that_historical_retrieval_stripped_of_its_dummy_entity(world: World) -> None:
    plan = world.plan(["world_stats:total"])
    cached = world.registry.get_any_feature_view("world_stats", PROJECT, allow_cache=True)
    cached.entities, cached.entity_columns = [], []
    again = world.plan(["world_stats:total"])
    assert again.groups[0].only_key == plan.groups[0].only_key == world.key_of(world_stats, {})


# ------------------------------------------------------------------------------------------ the cache


def cached(plans: PlanCache, world: World, features: list[str] | FeatureService, full: bool = False) -> object:
    return plans.get(world.registry, PROJECT, world.config, features, full)


def test_plans_are_kept_by_what_they_select(world: World) -> None:
    plans = PlanCache()
    first = cached(plans, world, ["driver_stats:trips"])
    assert cached(plans, world, ["driver_stats:trips"]) is first
    assert cached(plans, world, ["driver_stats:trips"], True) is not first
    assert cached(plans, world, ["driver_stats:trips", "driver_stats:name"]) is not first
    world.serve("service", [driver_stats[["trips"]]])
    fetched = [world.registry.get_feature_service("service", PROJECT) for _ in range(2)]
    assert fetched[0] is not fetched[1]
    assert cached(plans, world, fetched[0]) is cached(plans, world, fetched[1])


def test_a_service_of_the_same_name_but_other_features_is_another(world: World) -> None:
    plans = PlanCache()
    before = world.serve("service", [driver_stats[["trips"]]])
    plan = cached(plans, world, before)
    after = world.serve("service", [driver_stats[["trips"]].with_join_key_map({"driver_id": "other_id"})])
    assert cached(plans, world, after) is not plan


def test_a_changed_registry_voids_all_plans(world: World) -> None:
    plans = PlanCache()
    first = cached(plans, world, ["driver_stats:trips"])
    off = copy.copy(driver_stats)
    off.enabled = False
    world.registry.apply_feature_view(off, PROJECT)
    with pytest.raises(ValueError, match="disabled"):
        cached(plans, world, ["driver_stats:trips"])
    world.registry.apply_feature_view(driver_stats, PROJECT)
    assert cached(plans, world, ["driver_stats:trips"]) is not first


def test_a_refreshed_registry_voids_all_plans(world: World) -> None:
    plans = PlanCache()
    first = cached(plans, world, ["driver_stats:trips"])
    world.registry.refresh(PROJECT)
    second = cached(plans, world, ["driver_stats:trips"])
    assert second is not first
    assert cached(plans, world, ["driver_stats:trips"]) is second


def test_an_expired_registry_is_asked_again(world: World) -> None:
    plans = PlanCache()
    first = cached(plans, world, ["driver_stats:trips"])
    world.registry.cached_registry_proto_ttl = timedelta(seconds=1)
    world.registry.cached_registry_proto_created -= timedelta(minutes=1)
    second = cached(plans, world, ["driver_stats:trips"])
    assert second is not first
    assert cached(plans, world, ["driver_stats:trips"]) is second


def test_two_registries_do_not_share_plans(world: World, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = World.at(tmp_path / "other")
    other.registry.cached_registry_proto_created = world.registry.cached_registry_proto_created
    plans = PlanCache()
    assert cached(plans, world, ["driver_stats:trips"]) is not cached(plans, other, ["driver_stats:trips"])


def test_the_cache_is_bounded_and_forgets_the_least_used(world: World) -> None:
    plans = PlanCache(size=2)
    first = cached(plans, world, ["driver_stats:trips"])
    cached(plans, world, ["driver_stats:name"])
    assert cached(plans, world, ["driver_stats:trips"]) is first
    cached(plans, world, ["driver_stats:conv_rate"])
    assert cached(plans, world, ["driver_stats:trips"]) is first
    assert len(plans._plans) == 2
