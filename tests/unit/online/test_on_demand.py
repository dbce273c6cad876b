"""On-demand views: what a transformation sees, and what is made of what it returns."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from feast import FeatureView, Field
from feast.aggregation import Aggregation
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.transformation.python_transformation import PythonTransformation
from feast.types import Array, Float32, Float64, Int64, String, UnixTimestamp

from tests.unit.online.reading import (
    PROJECT,
    World,
    driver,
    driver_more,
    driver_stats,
    request_source,
    source,
)
from yummy_feast.errors import OnlineRequestError, OnlineStoreError
from yummy_feast.online.answer import Status
from yummy_feast.online.request import MissingRequestDataError


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World.at(tmp_path)
    for number in (1, 2):
        world.put(driver_stats, {"driver_id": number}, {"conv_rate": number / 2, "trips": number, "name": f"d{number}"})
        world.put(driver_more, {"driver_id": number}, {"rating": 0.5, "tags": ["a"], "last_seen": 3600 * number})
    return world


def on_demand(name: str, function: Any, schema: list[Field], sources: list[Any], **options: Any) -> OnDemandFeatureView:
    if options.get("mode", "python") == "python":
        options.setdefault("feature_transformation", PythonTransformation(udf=function, udf_string="..."))
    else:
        options |= {"udf": function, "udf_string": "..."}
    return OnDemandFeatureView(name=name, schema=schema, sources=sources, **{"mode": "python", **options})


def add(world: World, *arguments: Any, **options: Any) -> None:
    world.registry.apply_feature_view(on_demand(*arguments, **options), PROJECT)


ROWS = [{"driver_id": 2, "bonus": 1.0}, {"driver_id": 1, "bonus": 0.25}]


def test_all_modes_in_one_request_in_its_order(world: World) -> None:
    features = [
        "in_pandas:conv_times",
        "driver_stats:trips",
        "in_python:trips_text",
        "one_by_one:twice",
        "in_python:conv_plus",
    ]
    answer = world.read(features, ROWS)
    assert answer.to_python() == {
        "driver_id": [2, 1],
        "conv_times": [1.0, 0.125],
        "trips": [2, 1],
        "trips_text": ["2", "1"],
        "twice": [4, 2],
        "conv_plus": [2.0, 0.75],
    }
    assert {answer.statuses_of(column)[0] for column in range(6)} == {Status.PRESENT}
    assert list(answer.event_times_of(1)) == [0, 0]
    assert len(world.asked) == 2


def test_full_names(world: World) -> None:
    answer = world.read(["in_python:conv_plus", "in_pandas:conv_times"], ROWS, full_feature_names=True)
    assert answer.to_python() == {
        "driver_id": [2, 1],
        "in_python__conv_plus": [2.0, 0.75],
        "in_pandas__conv_times": [1.0, 0.125],
    }


def test_an_alias_renames_a_view_that_is_computed(world: World) -> None:
    [view] = [view for view in world.registry.list_on_demand_feature_views(PROJECT) if view.name == "in_python"]
    service = world.serve("aliased", [view[["conv_plus"]].with_name("plus")])
    assert world.read(service, ROWS).to_python() == {"driver_id": [2, 1], "conv_plus": [2.0, 0.75]}
    full = world.read(service, ROWS, full_feature_names=True)
    assert list(full.to_python()) == ["driver_id", "plus__conv_plus"]


def test_nulls_come_and_go(world: World) -> None:
    answer = world.read(["in_python:conv_plus", "in_pandas:conv_times"], [*ROWS, {"driver_id": 9, "bonus": 1.0}])
    assert answer.to_python()["conv_plus"] == [2.0, 0.75, None]
    assert answer.to_python()["conv_times"] == [1.0, 0.125, None]
    assert answer.statuses_of(1) == [Status.PRESENT, Status.PRESENT, Status.NULL_VALUE]


def test_request_data_must_be_there(world: World) -> None:
    with pytest.raises(MissingRequestDataError, match=r"lack request data 'bonus'.*the rows have driver_id"):
        world.read(["in_python:conv_plus"], [{"driver_id": 1}])


def test_request_data_is_not_an_unused_column(world: World) -> None:
    assert world.read(["in_python:conv_plus"], ROWS, strict=True).to_python()["conv_plus"] == [2.0, 0.75]
    with pytest.raises(OnlineRequestError, match="'bonus'"):
        world.read(["driver_stats:trips"], ROWS, strict=True)


def test_a_transformation_sees_its_sources_and_nothing_else(world: World) -> None:
    seen: list[dict[str, Any]] = []

    def watch(inputs: dict[str, Any]) -> dict[str, Any]:
        seen.append(dict(inputs))
        return {"n": [len(inputs)] * len(inputs["driver_id"])}

    add(world, "watch", watch, [Field(name="n", dtype=Int64)], [driver_more, request_source])
    view = next(v for v in world.registry.list_on_demand_feature_views(PROJECT) if v.name == "watch")
    view.feature_transformation = PythonTransformation(udf=watch, udf_string="...")
    cached = world.registry.get_any_feature_view("watch", PROJECT, allow_cache=True)
    cached.feature_transformation = view.feature_transformation
    world.read(["watch:n", "driver_stats:trips", "driver_more:rating", "in_pandas:conv_times"], ROWS[:1])
    assert seen == [
        {
            "driver_id": [2],
            "bonus": [1.0],
            "rating": [0.5],
            "tags": [["a"]],
            "last_seen": [datetime(1970, 1, 1, 2, tzinfo=UTC)],
            "driver_more__rating": [0.5],
            "driver_more__tags": [["a"]],
            "driver_more__last_seen": [datetime(1970, 1, 1, 2, tzinfo=UTC)],
        }
    ]


def test_sources_with_a_feature_of_the_same_name_keep_apart(world: World) -> None:
    twin = FeatureView(
        name="twin",
        entities=[driver],
        schema=[Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)],
        source=source("twin"),
    )
    world.registry.apply_feature_view(twin, PROJECT)
    world.put(twin, {"driver_id": 1}, {"trips": 100})

    def difference(inputs: dict[str, Any]) -> dict[str, Any]:
        return {
            "more": [a - b for a, b in zip(inputs["twin__trips"], inputs["driver_stats__trips"], strict=True)],
        }

    add(world, "difference", difference, [Field(name="more", dtype=Int64)], [twin, driver_stats])
    assert world.read(["difference:more"], {"driver_id": [1]}).to_python() == {"driver_id": [1], "more": [99]}


def test_results_have_their_declared_type(world: World) -> None:
    def results(inputs: dict[str, Any]) -> dict[str, Any]:
        rows = len(inputs["trips"])
        return {
            "single": [0.1] * rows,
            "whole": [3.0] * rows,
            "when": [datetime(2026, 1, 2, tzinfo=UTC)] * rows,
            "many": [[1.5]] * rows,
            "extra": ["not declared"] * rows,
        }

    schema = [
        Field(name="single", dtype=Float32),
        Field(name="whole", dtype=Int64),
        Field(name="when", dtype=UnixTimestamp),
        Field(name="many", dtype=Array(Float64)),
    ]
    add(world, "results", results, schema, [driver_stats])
    answer = world.read([f"results:{field.name}" for field in schema], {"driver_id": [1]})
    assert answer.to_python() == {
        "driver_id": [1],
        "single": [0.10000000149011612],
        "whole": [3],
        "when": [datetime(2026, 1, 2, tzinfo=UTC)],
        "many": [[1.5]],
    }


@pytest.mark.parametrize("value", [[1.0, 2.0], [[1.0, 2.0]]])
def test_a_singleton_may_return_a_list(world: World, value: list[Any]) -> None:
    def vector(inputs: dict[str, Any]) -> dict[str, Any]:
        assert isinstance(inputs["trips"], int)
        return {"vector": [1.0, 2.0] if inputs["nested"] == 0 else [[1.0, 2.0]], "text": ["x"]}

    nested = 1 if isinstance(value[0], list) else 0
    schema = [Field(name="vector", dtype=Array(Float64)), Field(name="text", dtype=String)]
    from feast import RequestSource

    request = RequestSource(name="how", schema=[Field(name="nested", dtype=Int64)])
    add(world, "vector", vector, schema, [driver_stats, request], singleton=True)
    rows = [{"driver_id": number, "nested": nested} for number in (1, 2)]
    answer = world.read(["vector:vector", "vector:text"], rows)
    assert answer.to_python() == {"driver_id": [1, 2], "vector": [[1.0, 2.0]] * 2, "text": ["x", "x"]}


def test_a_feature_that_is_not_returned_is_an_error(world: World) -> None:
    add(world, "forgetful", lambda inputs: {"b": inputs["trips"]}, [Field(name="a", dtype=Int64)], [driver_stats])
    with pytest.raises(OnlineStoreError, match=r"'forgetful' did not return its feature 'a'.*it returned .*b"):
        world.read(["forgetful:a"], {"driver_id": [1]})


def test_another_number_of_rows_is_an_error(world: World) -> None:
    add(world, "short", lambda inputs: {"a": [1]}, [Field(name="a", dtype=Int64)], [driver_stats])
    with pytest.raises(OnlineStoreError, match="'short' returned 1 values for 2 rows"):
        world.read(["short:a"], {"driver_id": [1, 2]})


def test_what_the_transformation_raises_passes_through(world: World) -> None:
    add(world, "broken", lambda inputs: {"a": [1 / 0]}, [Field(name="a", dtype=Int64)], [driver_stats])
    with pytest.raises(ZeroDivisionError):
        world.read(["broken:a"], {"driver_id": [1]})


def test_aggregations_are_refused(world: World) -> None:
    view = OnDemandFeatureView(
        name="sums",
        sources=[driver_stats],
        schema=[Field(name="sum_trips", dtype=Int64)],
        mode="python",
        aggregations=[Aggregation(column="trips", function="sum")],
    )
    world.registry.apply_feature_view(view, PROJECT)
    with pytest.raises(OnlineRequestError, match="'sums' aggregates"):
        world.read(["sums:sum_trips"], {"driver_id": [1]})


def test_stored_on_demand_views_are_read_and_their_features_visible(world: World) -> None:
    stored = on_demand(
        "stored",
        lambda inputs: {"kept": inputs["trips"]},
        [Field(name="driver_id", dtype=Int64), Field(name="kept", dtype=Int64)],
        [driver_stats],
        entities=[driver],
        write_to_online_store=True,
    )
    world.registry.apply_feature_view(stored, PROJECT)
    world.put(stored, {"driver_id": 1}, {"kept": 41})
    assert world.read(["stored:kept"], {"driver_id": ["1"]}).to_python() == {"driver_id": [1], "kept": [41]}
    answer = world.read(["stored:kept", "driver_stats:trips"], {"driver_id": [1, 3]})
    assert answer.to_python() == {"driver_id": [1, 3], "kept": [41, None], "trips": [1, None]}
    assert [fields for _, fields in world.asked] == [(b"stored", b"driver_stats")] * 2


def test_pandas_sees_a_frame(world: World) -> None:
    def check(frame: pd.DataFrame) -> pd.DataFrame:
        assert list(frame["driver_stats__trips"]) == [2, 1]
        assert frame["name"].tolist() == ["d2", "d1"]
        return pd.DataFrame({"length": frame["name"].str.len() + frame["driver_id"]})

    add(world, "check", check, [Field(name="length", dtype=Int64)], [driver_stats], mode="pandas")
    assert world.read(["check:length"], {"driver_id": [2, 1]}).to_python()["length"] == [4, 3]
