"""The connection of an endpoint, and which questions may be asked over it without a task."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.online.reading import World
from tests.unit.serving.kit import config_of
from yummy_feast.online.loops import aclose
from yummy_feast.online.mux import Mux
from yummy_feast.online.request import to_columns
from yummy_feast.online.retrieval import Question, ask
from yummy_feast.serving.features import snapshot
from yummy_feast.serving.features.request import Selection
from yummy_feast.serving.features.snapshot import Registries, Served
from yummy_feast.serving.features.way import Way


@pytest.fixture
def served(tmp_path: Path) -> Served:
    world = World.at(tmp_path)
    registries = Registries(world.registry, config_of(world, "localhost:1"), 0)
    return registries.current.compile(Selection(None, ("driver_stats:trips", "driver_stats:name"), False))


def question(served: Served, ids: list[Any]) -> Question:
    return ask(served.plan, *to_columns({"driver_id": ids}))


def on_a_way(check: Callable[[Way], Awaitable[None]], tmp_path: Path, **settings: Any) -> None:
    async def main() -> None:
        config = config_of(World.at(tmp_path / "other"), "localhost:1", **settings)
        await check(Way(config.online_store.redis_settings(None)))

    (tmp_path / "other").mkdir()
    asyncio.run(main())


def test_the_connection_is_kept_until_it_is_closed(tmp_path: Path) -> None:
    async def check(way: Way) -> None:
        first = way.mux()
        assert way.mux() is first
        await aclose(way._settings)
        assert way.mux() is not first

    on_a_way(check, tmp_path)


def test_what_is_asked_without_a_task(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "_INLINE_CELLS", 4)

    async def check(way: Way) -> None:
        read = way.read(served, question(served, [1, 2]))
        assert read is not None
        assert (read.replies, read.packed.count(b"HMGET"), read.mux) == (2, 2, way.mux())
        # Too many cells; nobody to ask about.
        assert way.read(served, question(served, [1, 2, 3])) is None
        assert way.read(served, question(served, [None])) is None

    on_a_way(check, tmp_path)


def test_a_cluster_is_asked_by_tasks(served: Served, tmp_path: Path) -> None:
    async def check(way: Way) -> None:
        assert not isinstance(way.mux(), Mux)
        assert way.read(served, question(served, [1])) is None

    on_a_way(check, tmp_path, redis_type="redis_cluster")
