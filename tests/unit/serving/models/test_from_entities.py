"""Predictions from entity ids, over a real Redis: features found, ordered, overridden, missing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest

from tests.unit.models.saved import save_booster
from tests.unit.online.reading import World, driver_more, driver_stats, pair_stats
from tests.unit.serving.kit import Answered, config_of, fill
from tests.unit.serving.models.kit import ask
from yummy_feast.errors import ConfigError
from yummy_feast.serving.http import Admission
from yummy_feast.serving.models.endpoint import InvocationsEndpoint
from yummy_feast.serving.models.from_entities import FromEntities
from yummy_feast.serving.models.metrics import ModelMetrics
from yummy_feast.serving.models.options import ModelOptions
from yummy_feast.serving.models.registry import Models

RECENT = datetime.now(UTC).replace(microsecond=0)
INPUTS = [("trips", "long"), ("hour", "double"), ("conv_rate", "double"), ("name", "string")]
NAMES = ["d1", "d2", "d3"]


@pytest.fixture
def world(tmp_path: Path, address: str) -> World:
    world = World.at(tmp_path)
    for number in range(1, 4):
        row = {"conv_rate": number / 2, "trips": number * 10, "name": f"d{number}"}
        world.put(driver_stats, {"driver_id": number}, row, RECENT)
        world.put(driver_more, {"driver_id": number}, {"rating": 0.5, "tags": ["a"], "last_seen": 3600})
    old = RECENT - timedelta(days=3)
    world.put(driver_stats, {"driver_id": 4}, {"conv_rate": 2.0, "trips": None, "name": None}, old)
    world.put(driver_stats, {"driver_id": 5}, {"conv_rate": None, "trips": None, "name": "unheard of"}, RECENT)
    world.serve("drivers", [driver_stats[["conv_rate", "trips", "name"]]])
    world.serve("more", [driver_more, pair_stats[["score"]]])
    fill(world, address)
    return world


def model(prefix: str = "") -> Any:
    """Of ``trips``, ``hour``, ``conv_rate`` and ``name``, a category of pandas."""
    chance = np.random.default_rng(1)
    rows = pd.DataFrame(
        {
            f"{prefix}trips": chance.integers(0, 40, 300),
            "hour": chance.uniform(0, 24, 300),
            f"{prefix}conv_rate": chance.uniform(0, 2, 300),
            f"{prefix}name": pd.Categorical(chance.choice(NAMES, 300), categories=NAMES),
        }
    )
    rows.loc[::5, f"{prefix}conv_rate"] = np.nan
    target = rows[f"{prefix}trips"] + rows["hour"] + rows[f"{prefix}name"].cat.codes * 9
    settings = {"verbosity": -1, "num_leaves": 12, "min_data_in_leaf": 5, "min_data_per_group": 5, "num_threads": 1}
    return lightgbm.train({**settings, "objective": "regression"}, lightgbm.Dataset(rows, target), 12)


def expected(rows: Sequence[Sequence[Any]]) -> list[float]:
    frame = pd.DataFrame(rows, columns=["trips", "hour", "conv_rate", "name"])
    frame["name"] = pd.Categorical(frame["name"], categories=NAMES)
    found: list[float] = model().predict(frame.astype({"trips": float, "hour": float, "conv_rate": float})).tolist()
    return found


def endpoint_of(
    world: World,
    address: str,
    folder: Path,
    service: str = "drivers",
    overrides: tuple[str, ...] = ("hour",),
    **more: Any,
) -> InvocationsEndpoint:
    options = ModelOptions(feature_service=service, overrides=overrides, reload=0, **more)
    metrics = ModelMetrics(["default"])
    features = FromEntities(world.registry, config_of(world, address), options)
    models = Models({"default": str(folder)}, options, metrics, features.check)
    return InvocationsEndpoint(models, features, Admission(100, 0), metrics, 1_000_000)


@pytest.fixture
def endpoint(world: World, address: str, tmp_path: Path) -> InvocationsEndpoint:
    return endpoint_of(world, address, save_booster(model(), tmp_path / "model", INPUTS))


def predict(endpoint: InvocationsEndpoint, ids: list[Any], overrides: Any = None, **more: Any) -> Answered:
    body = {"entities": {"driver_id": ids}, "overrides": {"hour": 7.5} if overrides is None else overrides, **more}
    return asyncio.run(ask(endpoint, body))


def test_one_and_several_entities(endpoint: InvocationsEndpoint) -> None:
    one = predict(endpoint, [2])
    assert (one.status, one.json) == (200, {"predictions": expected([[20, 7.5, 1.0, "d2"]])})
    several = predict(endpoint, [3, 1], {"hour": [1, 23]})
    assert several.json["predictions"] == expected([[30, 1, 1.5, "d3"], [10, 23, 0.5, "d1"]])
    stages = [part.partition(";")[0] for part in several.headers["server-timing"].split(", ")]
    assert stages == ["decode", "features", "score", "encode"]


def test_many_entities(endpoint: InvocationsEndpoint) -> None:
    got = predict(endpoint, [1, 2, 99] * 4000, {"hour": 7.5})
    rows = [[10, 7.5, 0.5, "d1"], [20, 7.5, 1.0, "d2"], [None, 7.5, None, None]]
    assert got.json["predictions"] == expected(rows) * 4000


def test_overrides_come_before_features(endpoint: InvocationsEndpoint) -> None:
    got = predict(endpoint, [2], {"hour": 7.5, "trips": 1, "name": ["d1"]})
    assert got.json["predictions"] == expected([[1, 7.5, 1.0, "d1"]])


def test_what_is_missing_is_null_to_the_model(endpoint: InvocationsEndpoint) -> None:
    got = predict(endpoint, [4, 5, 99], return_features=True)
    rows = [[None, 7.5, 2.0, None], [None, 7.5, None, "unheard of"], [None, 7.5, None, None]]
    assert got.json["predictions"] == expected(rows)
    names = got.json["features"]["metadata"]["feature_names"]
    columns = dict(zip(names, got.json["features"]["results"], strict=True))
    assert names == ["driver_id", "conv_rate", "trips", "name"]
    assert columns["conv_rate"]["values"] == [2.0, None, None]
    assert columns["conv_rate"]["statuses"] == ["OUTSIDE_MAX_AGE", "NULL_VALUE", "NOT_FOUND"]
    assert columns["name"]["event_timestamps"][1] == RECENT.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_what_is_missing_is_an_error_when_it_is_asked_for(
    endpoint: InvocationsEndpoint, world: World, address: str, tmp_path: Path
) -> None:
    got = predict(endpoint, [1, 99], on_missing="error")
    assert (got.status, got.json["error_code"]) == (422, "MISSING_FEATURES")
    assert "'conv_rate' of row 1 is missing: NOT_FOUND" in got.json["message"]
    assert predict(endpoint, [1], on_missing="error").status == 200
    strict = endpoint_of(world, address, tmp_path / "model", on_missing="error")
    assert predict(strict, [99]).status == 422
    assert predict(strict, [99], on_missing="impute_null").status == 200
    assert "did you mean 'error'" in predict(endpoint, [1], on_missing="errors").json["message"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"entities": {"drive": [1]}}, "driver_id"),
        ({"entities": {}}, "driver_id"),
        ({"entities": {"driver_id": []}}, "no entity rows"),
        ({"entities": {"driver_id": ["x"]}}, "'x'"),
        ({"entities": {"driver_id": 1}}, "entities"),
        ({"entities": {"driver_id": [1], "zzz": [2]}}, "zzz"),
        ({"entities": {"driver_id": [1]}}, r"missing inputs \['hour'\]"),
        ({"entities": {"driver_id": [1, 2]}, "overrides": {"hour": [1]}}, "overrides.hour has 1 values for 2"),
        ({"entities": {"driver_id": [1]}, "overrides": {"hour": "word"}}, "'hour', row 0: 'word'"),
        ({"entities": {"driver_id": [1]}, "overrides": 5}, "overrides"),
        ({"entities": {"driver_id": [1]}, "inputs": [[1]]}, "entities and rows"),
    ],
)
def test_requests_that_cannot_be_answered(endpoint: InvocationsEndpoint, body: Any, said: str) -> None:
    got = asyncio.run(ask(endpoint, body))
    assert got.status == 400
    assert re.search(said, got.json["message"])


def test_mlflows_bodies_are_answered_at_the_same_place(endpoint: InvocationsEndpoint) -> None:
    split = {"columns": ["hour", "name", "trips", "conv_rate"], "data": [[7.5, "d2", 20, 1.0]]}
    got = asyncio.run(ask(endpoint, {"dataframe_split": split}))
    assert got.json == {"predictions": expected([[20, 7.5, 1.0, "d2"]])}
    named_so = {"dataframe_split": {"columns": ["entities"], "data": [["entities"]]}}
    assert asyncio.run(ask(endpoint, named_so)).status == 400


def test_full_names_are_found_where_the_model_was_trained_on_them(world: World, address: str, tmp_path: Path) -> None:
    inputs = [(name if name == "hour" else f"driver_stats__{name}", type_) for name, type_ in INPUTS]
    folder = save_booster(model("driver_stats__"), tmp_path / "full", inputs)
    got = predict(endpoint_of(world, address, folder), [2])
    assert got.json["predictions"] == expected([[20, 7.5, 1.0, "d2"]])


@pytest.mark.parametrize(
    ("service", "overrides", "said"),
    [
        ("driver", ("hour",), r"none called 'driver' \(did you mean 'drivers'\?"),
        ("drivers", (), r"lacks the inputs hour \("),
        ("more", ("hour",), r"lacks the inputs trips, conv_rate, name \(the service has 4 features"),
    ],
)
def test_a_service_that_has_not_what_the_model_wants_is_refused_at_the_start(
    world: World, address: str, tmp_path: Path, service: str, overrides: tuple[str, ...], said: str
) -> None:
    folder = save_booster(model(), tmp_path / "model", INPUTS)
    with pytest.raises(ConfigError, match=said):
        endpoint_of(world, address, folder, service, overrides)


def test_a_feature_of_another_type_is_refused_at_the_start(world: World, address: str, tmp_path: Path) -> None:
    x = pd.DataFrame({"tags": np.arange(100.0), "last_seen": np.arange(100.0)})
    booster = lightgbm.train({"verbosity": -1, "num_threads": 1}, lightgbm.Dataset(x, x["tags"]), 2)
    folder = save_booster(booster, tmp_path / "odd", [("tags", "double"), ("last_seen", "double")])
    with pytest.raises(ConfigError, match=r"tags is STRING_LIST.*number; last_seen is UNIX_TIMESTAMP"):
        endpoint_of(world, address, folder, "more", ())


def test_redis_away_is_a_503_in_mlflows_words(world: World, tmp_path: Path) -> None:
    folder = save_booster(model(), tmp_path / "model", INPUTS)
    away = endpoint_of(world, "127.0.0.1:1", folder)
    got = predict(away, [1])
    assert (got.status, got.json["error_code"]) == (503, "FEATURES_UNAVAILABLE")
