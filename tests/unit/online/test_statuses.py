"""One row and many rows have the same statuses; reading both ways is what ``test_retrieval`` shows in full."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.unit.online.reading import NOW, World, driver_more, driver_stats, microseconds
from yummy_feast.errors import RowDecodeError
from yummy_feast.online.answer import Status
from yummy_feast.online.plan import OnlinePlan
from yummy_feast.online.request import to_columns
from yummy_feast.online.retrieval import ask
from yummy_feast.online.statuses import as_columns, named, views_of_many, views_of_one

FEATURES = ["driver_more:rating", "driver_stats:trips", "driver_stats:conv_rate"]


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World.at(tmp_path)
    world.put(driver_stats, {"driver_id": 1}, {"conv_rate": 0.5, "trips": None, "name": "d1"})
    world.put(driver_more, {"driver_id": 1}, {"rating": 0.25, "tags": [], "last_seen": 1})
    world.put(driver_stats, {"driver_id": 2}, {"conv_rate": 0.5, "trips": 2, "name": ""}, NOW - timedelta(days=2))
    world.put(driver_stats, {"driver_id": 3}, {"trips": 3})
    world.delete(driver_stats, {"driver_id": 3})
    return world


def both_ways(world: World, plan: OnlinePlan, drivers: list[Any]) -> tuple[Any, Any]:
    """Per driver and view (columns, statuses, times): asked for one by one, and all together."""

    def replies_to(question: Any) -> list[list[list[bytes | None]]]:
        return [
            [[world.hashes.get(key, {}).get(name) for name in read.fields] for key in keys]
            for read, keys in question.reads
        ]

    def turned(by_view: Any, rows: Any, at: int) -> list[Any]:
        return [
            ([column[at] for column in columns], view.statuses[at], view.event_times[at])
            for columns, view in zip(by_view, rows[1:], strict=True)
        ]

    now = microseconds(NOW)
    alone = []
    for driver in drivers:
        question = ask(plan, *to_columns([{"driver_id": driver}]))
        alone.append(turned(*as_columns(plan, *views_of_one(plan, replies_to(question), world, now)), 0))
    question = ask(plan, *to_columns([{"driver_id": driver} for driver in drivers]))
    found = views_of_many(plan, question.orders, replies_to(question), world, now, len(drivers))
    return alone, [turned(*found, at) for at in range(len(drivers))]


@pytest.mark.parametrize("on_stale", ["serve", "hide"])
@pytest.mark.parametrize("drivers", [[1, 2, 3, 4, None], [1, 1], [None, None, 2], [2, 4] * 9])
def test_one_by_one_is_all_together(world: World, on_stale: str, drivers: list[Any]) -> None:
    world.config._online_store = type("Store", (), {"on_stale": on_stale})()
    alone, together = both_ways(world, world.plan(FEATURES), drivers)
    assert alone == together


def test_what_each_status_comes_with(world: World) -> None:
    now = microseconds(NOW)
    alone, _ = both_ways(world, world.plan(FEATURES), [1, 2, 3])
    missing = ([None], Status.NOT_FOUND, 0)
    assert alone == [
        [([0.25], Status.PRESENT, now), ([None, 0.5], Status.PRESENT, now)],
        [missing, ([2, 0.5], Status.OUTSIDE_MAX_AGE, now - 2 * 86_400_000_000)],
        [missing, ([None, None], Status.NOT_FOUND, 0)],
    ]


def test_an_error_names_its_view() -> None:
    error = named("driver_stats", RowDecodeError("a row is damaged", hint="mend it"))
    assert (error.message, error.hint) == ("feature view 'driver_stats': a row is damaged", "mend it")
