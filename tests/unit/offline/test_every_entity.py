"""Entity rows nobody wrote down, from the views' own sources."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.contract.engine_kit import Kit, micros, rows_of, view
from yummy_feast.errors import EntityRowsError
from yummy_feast.offline.entity_rows import EntityRows
from yummy_feast.offline.every_entity import every_entity
from yummy_feast.offline.frame_rows import FrameRows
from yummy_feast.offline.plan import RetrievalPlan, ViewPlan

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


ENGINES = ["duckdb", pytest.param("spark", marks=[pytest.mark.slow, pytest.mark.spark])]


@pytest.fixture(params=ENGINES)
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Kit:
    if request.param == "spark":
        request.getfixturevalue("spark_session")
    return Kit(request.param, "memory", tmp_path)


def listed(
    kit: Kit, *views: ViewPlan, start: int | None = None, end: int | None = None, as_of: Any = None
) -> EntityRows:
    """By the engine; where they live in Spark, every type and the order are those of the embedded engine."""
    plan = RetrievalPlan(views, (), (), (), full_feature_names=False)
    rows = every_entity(kit.engine, plan, start, end, as_of=as_of)
    if isinstance(rows, FrameRows):
        embedded = every_entity(Kit("duckdb", "memory", kit.folder).engine, plan, start, end, as_of=as_of)
        assert rows.table().equals(embedded.table())
        assert (rows.names, rows.span(), len(rows)) == (embedded.names, embedded.span(), len(embedded))
    return rows


def times(rows: EntityRows) -> list[int]:
    return [int(time) for time in rows.times]


def test_a_range_is_every_moment_of_every_entity_once_by_time(kit: Kit) -> None:
    source = kit.source(rows_of(k=[2, 1, 2, 2, None, 1, 1], t=[5, 3, 5, 4, 4, None, 9], v=[0] * 7), 3)
    rows = listed(kit, view(source), start=3, end=5)
    assert rows.names == ["k", "event_timestamp"]
    assert list(zip(rows.column("k").to_pylist(), times(rows), strict=True)) == [(1, 3), (2, 4), (2, 5)]


def test_views_of_the_same_entities_add_up(kit: Kit) -> None:
    one = kit.source(rows_of(k=pa.array([1, 2], pa.int32()), t=[1, 2], v=[0, 0]))
    days = pa.array([date(1970, 1, 2)], pa.date32())
    two = kit.source(pa.table({"key": pa.array([3]), "t": days, "v": [0]}))
    rows = listed(kit, view(one, name="one"), view(two, keys={"k": "key"}, name="two"))
    assert rows.column("k").to_pylist() == [1, 2, 3]
    assert times(rows) == [1, 2, 86_400_000_000]


def test_times_of_any_kind_are_listed_in_utc(kit: Kit) -> None:
    naive = kit.source(pa.table({"k": [1], "t": pa.array([7_000], pa.timestamp("ns")), "v": [0]}))
    there = kit.source(pa.table({"k": [2], "t": pa.array([1], pa.timestamp("s", "Asia/Tokyo")), "v": [0]}))
    rows = listed(kit, view(naive, name="naive"), view(there, name="there"))
    assert (rows.time_unit, times(rows)) == ("ns", [7_000, 10**9])


def test_only_views_with_all_the_keys_list_entities(kit: Kit) -> None:
    pairs = kit.source(rows_of(k=[1, 1], s=["a", None], t=[1, 1], v=[0, 0]))
    users = kit.source(rows_of(k=[1, 2], t=[1, 1], v=[0, 0]))
    world = kit.source(rows_of(t=[9], v=[0]))
    rows = listed(kit, view(users), view(pairs, keys=("s", "k")), view(world, keys=()))
    assert rows.table().to_pylist() == [{"k": 1, "s": "a", "event_timestamp": datetime(1970, 1, 1, 0, 0, 0, 1, UTC)}]


def test_a_moment_is_every_entity_known_by_then_once(kit: Kit) -> None:
    source = kit.source(rows_of(k=[2, 1, 2, 3, None], t=[5, 3, 6, 8, 1], v=[0] * 5))
    rows = listed(kit, view(source), view(source, name="again"), end=7, as_of=MOMENT)
    assert sorted(rows.column("k").to_pylist()) == [1, 2]
    assert rows.span() == (MOMENT, MOMENT)


def test_without_keys_there_is_one_entity(kit: Kit) -> None:
    source = kit.source(rows_of(t=[5, 3, 5], v=[0] * 3))
    assert len(listed(kit, view(source, keys=()), end=4, as_of=MOMENT)) == 1
    assert listed(kit, view(source, keys=()), end=4, as_of=MOMENT).names == ["event_timestamp"]
    assert times(listed(kit, view(source, keys=()), start=0, end=9)) == [3, 5]


def test_nothing_in_the_range(kit: Kit) -> None:
    source = kit.source(rows_of(k=[1], t=[5], v=[0]))
    for rows in (listed(kit, view(source), start=6, end=9), listed(kit, view(source), end=4, as_of=MOMENT)):
        assert (len(rows), rows.names) == (0, ["k", "event_timestamp"])


def test_entities_that_no_view_can_list(kit: Kit) -> None:
    users, shops = (kit.source(pa.table({key: [1], "t": micros(1), "v": [0]})) for key in ("u", "s"))
    with pytest.raises(EntityRowsError, match=r"no feature view has all the join keys, .* \(one: u; two: s\) \(pass"):
        listed(kit, view(users, keys=("u",), name="one"), view(shops, keys=("s",), name="two"))


def test_keys_that_do_not_go_together_are_named(kit: Kit) -> None:
    numbers, texts = kit.source(rows_of(k=[1], t=[1], v=[0])), kit.source(rows_of(k=["1"], t=[1], v=[0]))
    with pytest.raises(EntityRowsError, match=r"entities of one, two cannot be listed together: .*k.* int64 vs string"):
        listed(kit, view(numbers, name="one"), view(texts, name="two"))
