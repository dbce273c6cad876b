"""The registry as requests see it: one whole content at a time, replaced in one step."""

from __future__ import annotations

import asyncio
import threading
from copy import copy
from pathlib import Path
from typing import Any

import pytest
from feast.errors import FeatureServiceNotFoundException, FeatureViewNotFoundException
from feast.feature_view import FeatureViewState

from tests.unit.online.reading import PROJECT, World, driver_stats
from yummy_feast.errors import ConfigError, FeatureNotFoundError
from yummy_feast.serving.features import snapshot as module
from yummy_feast.serving.features.request import Selection
from yummy_feast.serving.features.snapshot import Registries

TRIPS = Selection(None, ("driver_stats:trips",), False)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World.at(tmp_path)
    world.serve("both", [driver_stats[["trips", "name"]]])
    world.registry.refresh()
    return world


def registries(world: World, poll: float = 0) -> Registries:
    return Registries(world.registry, world.config, poll)


def test_a_plan_is_compiled_once(world: World) -> None:
    snapshot = registries(world).current
    assert snapshot.known(TRIPS) is None
    served = snapshot.compile(TRIPS)
    assert snapshot.compile(TRIPS) is served
    assert snapshot.known(TRIPS) is served
    service = snapshot.compile(Selection("both", (), True))
    assert [column.name for column in service.plan.columns] == ["driver_stats__trips", "driver_stats__name"]
    assert (service.width, service.on_demand, service.is_slow) == (2, [], False)


def test_how_answers_are_written_is_kept_per_kind_of_request(world: World) -> None:
    served = registries(world).current.compile(TRIPS)
    binding = served.plan.bind(("driver_id",))
    assert served.rendering(binding) is served.rendering(served.plan.bind(("driver_id",)))
    for number in range(200):
        served.rendering(served.plan.bind(("driver_id", f"column {number}")))
    assert len(served._renderings) == module._MOST_RENDERINGS


def test_on_demand_views_in_pandas_are_known_to_be_slow(world: World) -> None:
    snapshot = registries(world).current
    in_python = snapshot.compile(Selection(None, ("in_python:conv_plus",), False))
    in_pandas = snapshot.compile(Selection(None, ("in_pandas:conv_times",), False))
    assert (in_python.on_demand, in_python.is_slow) == (["in_python"], False)
    assert (in_pandas.on_demand, in_pandas.is_slow) == (["in_pandas"], True)


def test_plans_have_a_bound_and_those_in_use_stay(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_PLANS", 3)
    snapshot = registries(world).current
    used = snapshot.compile(TRIPS)
    for number in range(8):
        assert snapshot.known(TRIPS) is used
        snapshot.compile(Selection(None, ("driver_stats:trips", "driver_stats:name")[: 1 + number % 2], number < 4))
    assert snapshot.known(TRIPS) is used
    assert len(snapshot.selections()) == 3


@pytest.mark.parametrize(
    ("selection", "error"),
    [
        (Selection("nothing", (), False), FeatureServiceNotFoundException),
        (Selection(None, ("nothing:x",), False), FeatureViewNotFoundException),
        (Selection(None, ("driver_stats:x",), False), FeatureNotFoundError),
        (Selection(None, ("driver_stats",), False), ValueError),
        (Selection(None, ("driver_stats@v2:trips",), False), ValueError),
    ],
)
def test_what_cannot_be_compiled_is_not_kept(world: World, selection: Selection, error: type[Exception]) -> None:
    snapshot = registries(world).current
    with pytest.raises(error):
        snapshot.compile(selection)
    assert snapshot.selections() == []


def test_a_snapshot_does_not_see_what_happens_to_the_registry(world: World) -> None:
    snapshot = registries(world).current
    world.registry.delete_feature_view("driver_stats", PROJECT)
    assert snapshot.compile(TRIPS).width == 1
    with pytest.raises(FeatureViewNotFoundException):
        registries(world).current.compile(TRIPS)


def test_gates_of_the_configuration_are_kept(world: World) -> None:
    view = copy(driver_stats)
    view.state = FeatureViewState.MATERIALIZING
    proto = world.registry.proto()
    [stored] = [each for each in proto.feature_views if each.spec.name == "driver_stats"]
    stored.CopyFrom(view.to_proto())
    stored.spec.project = PROJECT
    with pytest.raises(ValueError, match="MATERIALIZING"):
        registries(world).current.compile(TRIPS)
    world.config.registry.serve_features_while_materializing = True
    assert registries(world).current.compile(TRIPS).width == 1


def test_a_registry_without_the_project_is_refused(world: World) -> None:
    proto = world.registry.proto()
    del proto.projects[:]
    with pytest.raises(ConfigError, match=r"knows no project 'trips' \(run `feast apply` first\)"):
        registries(world)


def test_a_new_content_takes_the_place_of_the_old_one_with_its_plans(world: World) -> None:
    kept = registries(world)
    old = kept.current
    old.compile(TRIPS)
    gone = Selection(None, ("driver_more:rating",), False)
    old.compile(gone)
    assert not kept.refresh()
    assert kept.current is old
    other = World(world.config, type(world.registry)(PROJECT, world.config.registry, None))
    other.registry.delete_feature_view("driver_more", PROJECT)
    other.serve("later", [driver_stats])
    assert kept.refresh()
    assert kept.current is not old
    assert kept.current.known(TRIPS) is not None
    assert kept.current.known(gone) is None
    assert kept.current.compile(Selection("later", (), False)).width == 3
    with pytest.raises(FeatureServiceNotFoundException):
        old.compile(Selection("later", (), False))


class Flickering:
    """A registry that answers one content after the other, the last one for ever."""

    def __init__(self, *contents: Any) -> None:
        self.contents = list(contents)
        self.looks = 0

    def refresh(self, project: str) -> None:
        self.looks += 1
        if len(self.contents) > 1:
            self.contents.pop(0)
        if isinstance(self.contents[0], Exception):
            raise self.contents[0]

    def proto(self) -> Any:
        return self.contents[0]


def contents(world: World) -> tuple[Any, Any, Any]:
    """A whole content, a later one, and the later one half written."""
    whole = type(world.registry.proto())()
    whole.CopyFrom(world.registry.proto())
    later, half = type(whole)(), type(whole)()
    later.CopyFrom(whole)
    later.version_id = "later"
    half.CopyFrom(later)
    del half.feature_views[:]
    return whole, later, half


def test_a_registry_that_is_being_written_is_not_served_half(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SECOND_LOOK", 0)
    whole, later, half = contents(world)
    empty = type(whole)()
    source: Any = Flickering(whole, empty, half, later, later)
    kept = Registries(source, world.config, 0)
    assert kept.refresh()
    assert kept.current.content == later
    unsteady: Any = Flickering(whole, *[later, half] * 100)
    kept = Registries(unsteady, world.config, 0)
    with pytest.raises(ConfigError, match="another one at each look"):
        kept.refresh()
    assert kept.current.content == whole
    gone: Any = Flickering(whole, empty)
    kept = Registries(gone, world.config, 0)
    with pytest.raises(ConfigError, match="knows no project"):
        kept.refresh()
    assert kept.current.content == whole


def test_a_registry_that_fails_is_looked_at_again(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_SECOND_LOOK", 0)
    whole, later, _ = contents(world)
    away = ConnectionResetError("the bucket is away")
    source: Any = Flickering(whole, away, away, later)
    kept = Registries(source, world.config, 0.001)

    async def main() -> None:
        task = asyncio.create_task(kept.keep_current())
        while kept.current.content != later:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(asyncio.wait_for(main(), 30))
    # Said once, however long it lasts.
    assert [record.message for record in caplog.records] == [
        "the registry cannot be read, the last content is served: the bucket is away"
    ]


def test_requests_do_not_wait_for_a_look(world: World) -> None:
    whole, later, _ = contents(world)
    looking, go_on = threading.Event(), threading.Event()

    class Slow(Flickering):
        def refresh(self, project: str) -> None:
            super().refresh(project)
            looking.set()
            go_on.wait(30)

    source: Any = Slow(whole, later)
    kept = Registries(source, world.config, 0.001)

    async def main() -> None:
        task = asyncio.create_task(kept.keep_current())
        await asyncio.to_thread(looking.wait, 30)
        assert kept.current.compile(TRIPS).width == 1
        assert kept.current.content == whole
        go_on.set()
        while kept.current.content != later:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(asyncio.wait_for(main(), 30))
