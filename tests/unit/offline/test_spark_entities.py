"""Entity rows that Spark takes from sources itself: never on the driver, and as the embedded engine has them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.contract.engine_kit import Kit, MemorySource, micros, rows_of, view
from yummy_feast import ParquetSource
from yummy_feast.errors import EntityRowsError, RetrievalError
from yummy_feast.offline.engines.base import Engine
from yummy_feast.offline.engines.spark import SparkEngine
from yummy_feast.offline.entity_rows import EntityRows
from yummy_feast.offline.every_entity import every_entity
from yummy_feast.offline.frame_rows import FrameRows
from yummy_feast.offline.plan import RetrievalPlan, ViewPlan

pytestmark = [pytest.mark.slow, pytest.mark.spark]

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ASKED = pa.table(
    {
        "k": pa.array([3, 1, None, 2, 2**64 - 1, 1], pa.uint64()),
        "event_timestamp": pa.array([9_001, 1, 9, None, 9_999, 5_000], pa.timestamp("ns")),
        "small": pa.array([1, None, 3, 4, 5, 6], pa.uint8()),
        "price": pa.array(
            [Decimal("1.50"), None, Decimal(2), Decimal(3), Decimal(4), Decimal(5)], pa.decimal128(10, 2)
        ),
        "day": pa.array([date(2026, 1, 1), None, *[date(1, 1, 1)] * 4]),
        "other": pa.array([NOON] * 6, pa.timestamp("ms", "Asia/Tokyo")),
        "tags": pa.array([["a"], None, [], ["b", None], ["c"], ["d"]]),
        "void": pa.nulls(6),
    }
)


@pytest.fixture(params=["UTC", "Europe/Warsaw"])
def kits(request: pytest.FixtureRequest, spark_session: Any, tmp_path: Path) -> Iterator[tuple[Kit, Kit]]:
    """The embedded engine and Spark, in sessions of two zones."""
    key = "spark.sql.session.timeZone"
    before = spark_session.conf.get(key)
    spark_session.conf.set(key, request.param)
    yield Kit("duckdb", "memory", tmp_path), Kit("spark", "memory", tmp_path)
    spark_session.conf.set(key, before)


def answered(engine: Engine, rows: EntityRows, seen: ViewPlan) -> Any:
    outputs = tuple(feature.output for feature in seen.features)
    return engine.point_in_time(RetrievalPlan((seen,), outputs, (), (), full_feature_names=False), rows)


def test_a_file_of_entity_rows_stays_in_spark(kits: tuple[Kit, Kit], tmp_path: Path) -> None:
    (tmp_path / "asked").mkdir()
    # The second file is read first: it is the larger one.
    pq.write_table(ASKED.slice(0, 2), tmp_path / "asked" / "0.parquet")
    pq.write_table(ASKED.slice(2), tmp_path / "asked" / "1.parquet", row_group_size=1)
    asked = ParquetSource(path="asked", timestamp_field="event_timestamp")
    stored = pa.table({"k": pa.array([1, 2**64 - 1, 3], pa.uint64()), "t": micros(1, 10, 9), "v": [1, 2, 3]})
    seen = view(kits[0].source(stored), ttl=8)
    here, there = (kit.engine.source_rows(asked, kit.engine.settings.context) for kit in kits)
    assert isinstance(there, FrameRows)
    assert not isinstance(here, FrameRows)
    assert (there.names, there.time_unit, there.span()) == (here.names, here.time_unit, here.span())
    features = answered(kits[0].engine, here, seen).table()
    assert features.column("v").to_pylist() == [3, None, None, None, None, 1]
    together = answered(kits[1].engine, there, seen).together()
    assert together.equals(here.table().append_column("v", features.column("v")))
    # Only now do they come here.
    assert not there._held
    assert there.table().equals(here.table())
    frame = answered(kits[1].engine, there, seen).frame()
    assert dict(frame.dtypes)["event_timestamp"] == "timestamp"
    assert sorted((row.small, row.v) for row in frame.where("small > 0").collect()) == [
        (1, 3),
        (3, None),
        (4, None),
        (5, None),
        (6, 1),
    ]


def test_a_file_that_spark_cannot_hold_comes_here(kits: tuple[Kit, Kit]) -> None:
    intervals = pa.array([(1, 2, 3)], pa.month_day_nano_interval())
    source = MemorySource([pa.table({"k": [1], "event_timestamp": micros(1), "i": intervals})])
    rows = kits[1].engine.source_rows(source, kits[1].engine.settings.context)
    assert not isinstance(rows, FrameRows)
    assert rows.column("i").to_pylist() == intervals.to_pylist()


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (pa.table({"k": [1], "event_timestamp": ["2026-01-01"]}), "holds string, not timestamps"),
        (pa.table({"k": [1]}), "no time column"),
        (pa.table({"a": micros(1), "b": micros(1)}), r"several time columns \(a, b\)"),
    ],
)
def test_files_without_a_time(kits: tuple[Kit, Kit], table: pa.Table, told: str) -> None:
    for kit in kits:
        with pytest.raises(EntityRowsError, match=told):
            kit.engine.source_rows(MemorySource([table]), kit.engine.settings.context)


@pytest.mark.parametrize("as_of", [None, NOON], ids=["range", "moment"])
def test_every_entity_never_comes_here(
    kits: tuple[Kit, Kit], as_of: datetime | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> Any:
        raise AssertionError("the entities were brought here")

    source = kits[0].source(rows_of(k=[2, 1, 2, 2, None, 1], t=[5, 3, 5, 4, 4, None], v=[0, 1, 2, 3, 4, 5]), 3)
    plan = RetrievalPlan((view(source),), ("v",), (), (), full_feature_names=False)
    here, there = (kit.engine for kit in kits)
    expected = every_entity(here, plan, 3, 5, as_of=as_of)
    for name in ("between", "latest", "newest"):
        monkeypatch.setattr(SparkEngine, name, never)
    rows = every_entity(there, plan, 3, 5, as_of=as_of)
    together = there.point_in_time(plan, rows).together()
    assert isinstance(rows, FrameRows)
    assert not rows._held
    features = here.point_in_time(plan, expected).table()
    assert together.equals(expected.table().append_column("v", features.column("v")))
    assert len(together) == (2 if as_of else 3)


def test_entities_of_one_time_are_in_the_order_of_the_source(kits: tuple[Kit, Kit]) -> None:
    keys = [5, 3, 9, 1, 3, 7, 5, 0]
    source = kits[0].source(rows_of(k=keys, t=[4, 4, 4, 4, 4, 4, 3, 4], v=keys), 3, 5)
    plan = RetrievalPlan((view(source), view(source, name="again")), (), (), (), full_feature_names=False)
    tables = [every_entity(kit.engine, plan, 0, 9).table() for kit in kits]
    assert tables[1].column("k").to_pylist() == [5, 5, 3, 9, 1, 7, 0]
    assert tables[0].equals(tables[1])


KINDS = {
    "int": (pa.array([2, 1], pa.int32()), pa.array([1, 2**40])),
    "unsigned": (pa.array([2, 1], pa.uint8()), pa.array([1, -1])),
    "all null": (pa.nulls(2), pa.array([1, 2])),
    "times": (pa.array([2, 1], pa.timestamp("s", "UTC")), pa.array([10**9, 5], pa.timestamp("ns", "UTC"))),
    "texts": (pa.array(["b", "a"]), pa.array(["a", "c"])),
    "large texts": (pa.array(["b", "a"], pa.large_string()), pa.array(["a", "c"])),
    "floats": (pa.array([0.5, None]), pa.array([1, 2])),
}


@pytest.mark.parametrize("case", KINDS)
def test_keys_of_several_types_become_one(kits: tuple[Kit, Kit], case: str) -> None:
    sources = [kits[0].source(pa.table({"k": keys, "t": micros(1, 2), "v": [0, 0]})) for keys in KINDS[case]]
    views = tuple(view(source, name=f"v{number}") for number, source in enumerate(sources))
    plan = RetrievalPlan(views, (), (), (), full_feature_names=False)
    tables = [every_entity(kit.engine, plan, 0, 9).table() for kit in kits]
    assert tables[0].equals(tables[1])


def test_a_time_beyond_the_finest_unit_fails(kits: tuple[Kit, Kit]) -> None:
    times = (pa.array([253_402_214_400], pa.timestamp("s")), pa.array([1], pa.timestamp("ns")))
    sources = [kits[0].source(pa.table({"k": [1], "t": time, "v": [0]})) for time in times]
    views = tuple(view(source, name=f"v{number}") for number, source in enumerate(sources))
    plan = RetrievalPlan(views, (), (), (), full_feature_names=False)
    for kit, kind in zip(kits, (EntityRowsError, RetrievalError), strict=True):
        with pytest.raises(kind):
            every_entity(kit.engine, plan, 0, 2**62).table()
