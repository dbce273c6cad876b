"""Entity rows that live in Spark: computed once, whatever becomes of caches, and never by way of somebody's object."""

from __future__ import annotations

import gc
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.contract.engine_kit import Kit, micros, rows_of, view
from yummy_feast.errors import EntityRowsError
from yummy_feast.offline.engines.spark import SparkEngine
from yummy_feast.offline.entity_rows import EntityRows
from yummy_feast.offline.frame_rows import FrameRows, is_spark_frame
from yummy_feast.offline.plan import RetrievalPlan, ViewPlan

pytestmark = [pytest.mark.slow, pytest.mark.spark]

DRAWN = "reflect('java.util.UUID', 'randomUUID')"
"""Another text in each run: Spark's own ``rand()`` and ``uuid()`` keep the seed of their plan."""


@pytest.fixture
def kit(spark_session: Any, tmp_path: Path) -> Kit:
    return Kit("spark", "parquet", tmp_path)


@pytest.fixture
def drawn(spark_session: Any) -> Iterator[Any]:
    """Rows with another number in each run of the query; nothing of them is kept by anyone afterwards."""
    yield spark_session.range(8).selectExpr(
        "id AS k", "timestamp_micros(9 + id) AS event_timestamp", f"{DRAWN} AS drawn"
    )
    spark_session.catalog.clearCache()


def features_of(kit: Kit) -> ViewPlan:
    return view(kit.source(rows_of(k=list(range(8)), t=[1] * 8, v=list(range(8)))))


def answer(kit: Kit, rows: FrameRows, seen: ViewPlan) -> Any:
    return kit.engine.point_in_time(RetrievalPlan((seen,), ("v",), (), (), full_feature_names=False), rows)


def forget_all(session: Any) -> None:
    """What happens sooner or later: objects that nobody holds go, and so does what others had cached."""
    gc.collect()
    session._jvm.System.gc()
    session.catalog.clearCache()


def test_a_frame_outlives_the_rows_it_was_made_of(kit: Kit, spark_session: Any, drawn: Any) -> None:
    rows = FrameRows(drawn)
    before = sorted(rows.table().column("drawn").to_pylist())
    frame = answer(kit, rows, features_of(kit)).frame().select("drawn", "v")
    del rows
    forget_all(spark_session)
    assert sorted(row.drawn for row in frame.collect()) == before
    derived = frame.where("v >= 0")
    del frame
    forget_all(spark_session)
    assert sorted(row.drawn for row in derived.collect()) == before


def test_sql_answers_once(kit: Kit, spark_session: Any) -> None:
    source = kit.source(rows_of(k=list(range(50)), t=[1] * 50, v=list(range(50))))
    rows = kit.engine.query_rows(
        f"SELECT pmod(hash({DRAWN}), 50L) AS k, current_timestamp() AS event_timestamp, {DRAWN} AS drawn FROM rows",
        {"rows": source},
    )
    assert isinstance(rows, FrameRows)
    before = set(rows.column("drawn").to_pylist())
    frame = answer(kit, rows, view(source)).frame()
    del rows
    forget_all(spark_session)
    found = frame.collect()
    assert {row.drawn for row in found} == before
    # Rows of one run beside keys of another would have no feature.
    assert [row.v for row in found] == [row.k for row in found]


def test_fetches_leave_each_other_and_the_user_alone(kit: Kit, drawn: Any) -> None:
    first, second = FrameRows(drawn), FrameRows(drawn)
    seen = features_of(kit)
    frame = answer(kit, second, seen).frame()
    ours = {row.drawn for row in frame.collect()}
    first.measured()
    assert not drawn.is_cached
    cached = drawn.cache()
    theirs = {row.drawn for row in cached.collect()}
    del first, second
    gc.collect()
    assert drawn.storageLevel.useMemory
    assert {row.drawn for row in drawn.collect()} == theirs
    assert {row.drawn for row in frame.collect()} == ours
    drawn.unpersist()


def test_what_others_cached_under_another_name_stays(kit: Kit, spark_session: Any, drawn: Any) -> None:
    name = f"drawn_{uuid.uuid4().hex}"
    drawn.createTempView(name)
    spark_session.catalog.cacheTable(name)
    rows = FrameRows(spark_session.table(name))
    assert rows.measured() == (8, 9, 16)
    del rows
    gc.collect()
    assert spark_session.catalog.isCached(name)
    spark_session.catalog.uncacheTable(name)
    spark_session.catalog.dropTempView(name)


def test_rows_in_a_checkpoint_directory(kit: Kit, spark_session: Any, drawn: Any, tmp_path: Path) -> None:
    context = spark_session.sparkContext
    context.setCheckpointDir(str(tmp_path / "checkpoints"))
    try:
        rows = FrameRows(drawn)
        frame = answer(kit, rows, features_of(kit)).frame()
        assert {row.drawn for row in frame.collect()} == set(rows.table().column("drawn").to_pylist())
        assert [path for path in (tmp_path / "checkpoints").rglob("part-*") if path.stat().st_size]
    finally:
        getattr(context._jsc.sc(), "checkpointDir_$eq")(spark_session._jvm.scala.Option.empty())


def test_nothing_is_computed_before_the_columns_are_known(spark_session: Any) -> None:
    broken = spark_session.range(1).selectExpr("raise_error('no day') AS k", "timestamp_micros(1) AS event_timestamp")
    rows = FrameRows(broken)
    assert (rows.names, rows.kind("event_timestamp")) == (["k", "event_timestamp"], pa.timestamp("us", "UTC"))
    with pytest.raises(EntityRowsError, match=r"entity column 'event_timestamp' holds bigint, not timestamps"):
        FrameRows(spark_session.range(1).selectExpr("id AS event_timestamp"))


def test_no_rows_at_all(kit: Kit, drawn: Any) -> None:
    rows = FrameRows(drawn.where("k < 0"))
    assert (len(rows), rows.span()) == (0, (None, None))
    assert answer(kit, rows, features_of(kit)).together().num_rows == 0


def test_the_embedded_engine_takes_them_as_a_table(drawn: Any, tmp_path: Path) -> None:
    kit = Kit("duckdb", "parquet", tmp_path)
    rows = FrameRows(drawn)
    assert is_spark_frame(drawn)
    assert answer(kit, rows, features_of(kit)).table().column("v").to_pylist() == rows.column("k").to_pylist()


def test_sql_leaves_everything_as_it_was(kit: Kit, spark_session: Any, tmp_path: Path) -> None:
    engine = kit.engine
    assert isinstance(engine, SparkEngine)
    # Two files: then a frame of what is in them is made, which makes its session the active one.
    source = kit.source(rows_of(k=[1, 2], t=[1, 1], v=[1, 2]), 1)
    before = {row.database for row in spark_session.sql("SHOW TABLES IN global_temp").collect()}
    rows = engine.query_rows("SELECT k, t AS event_timestamp FROM rows", {"rows": source})
    assert isinstance(rows, FrameRows)
    answered = answer(kit, rows, view(source))
    frame = answered.frame()
    assert answered.explanation().views[0].matched == 2
    assert type(spark_session).active() is spark_session is frame.sparkSession is engine.session
    with pytest.raises(EntityRowsError, match="nothing"):
        engine.query_rows("SELECT nothing FROM rows", {"rows": source})
    assert type(spark_session).active() is spark_session
    assert {row.database for row in spark_session.sql("SHOW TABLES IN global_temp").collect()} == before
    assert "rows" not in {table.name for table in spark_session.catalog.listTables()}


def test_rows_of_another_session_leave_the_active_one(kit: Kit, spark_session: Any) -> None:
    other = spark_session.newSession()
    source = kit.source(rows_of(k=[1, 2], t=[1, 1], v=[1, 2]), 1)
    rows = FrameRows(other.range(3).selectExpr("id AS k", "timestamp_micros(9) AS event_timestamp"))
    answered = answer(kit, rows, view(source))
    assert sorted(answered.together().column("v").to_pylist(), key=str) == [1, 2, None]
    assert answered.frame().sparkSession is other
    assert type(spark_session).active() is spark_session


@pytest.mark.parametrize(("expression", "condition"), [("k / 0", "DIVIDE_BY_ZERO"), ("CAST('x' AS INT)", "CAST_INV")])
def test_sql_that_fails_while_it_runs_is_an_error_in_it(kit: Kit, expression: str, condition: str) -> None:
    source = kit.source(rows_of(k=[1, 2], t=[1, 1], v=[1, 2]))
    sql = f"SELECT {expression} AS k, t AS event_timestamp FROM rows"
    for ask in (kit.engine.query_rows, kit.engine.query):
        with pytest.raises(EntityRowsError, match=rf"the entity rows' SQL failed: \[{condition}") as caught:
            ask(sql, {"rows": source})
        assert "sources: rows" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_times_without_a_zone_come_back_in_utc(kit: Kit, spark_session: Any) -> None:
    key, before = "spark.sql.session.timeZone", spark_session.conf.get("spark.sql.session.timeZone")
    text = "SELECT 1L AS k, TIMESTAMP_NTZ '2026-03-29 02:30:00' AS {}, TIMESTAMP '2026-03-29 12:00:00+00:00' AS other"
    source = kit.source(rows_of(k=[1], t=[1], v=[7]))
    noon = datetime(2026, 3, 29, 12, tzinfo=UTC)
    expected = {"k": 1, "event_timestamp": datetime(2026, 3, 29, 2, 30, tzinfo=UTC), "other": noon, "v": 7}
    try:
        spark_session.conf.set(key, "Europe/Warsaw")
        rows = FrameRows(spark_session.sql(text.format("event_timestamp")))
        answered = answer(kit, rows, view(source))
        assert answered.together().schema.types[1:3] == [pa.timestamp("us", "UTC")] * 2
        assert answered.together().to_pylist() == [expected]
        assert rows.table().to_pylist() == [{name: expected[name] for name in rows.names}]
        frame = answered.frame()
        assert dict(frame.dtypes)["event_timestamp"] == "timestamp"
        assert frame.where("unix_micros(event_timestamp) = 1774751400000000").count() == 1
    finally:
        spark_session.conf.set(key, before)


def test_keys_that_nobody_has(kit: Kit, spark_session: Any, tmp_path: Path) -> None:
    source = kit.source(rows_of(k=[1, None], t=[1, 1], v=[1, 2]))
    rows = kit.engine.query_rows("SELECT NULL AS k, timestamp_micros(9) AS event_timestamp", {})
    assert isinstance(rows, FrameRows)
    answered = answer(kit, rows, view(source))
    assert answered.together().column("v").to_pylist() == [None]
    assert [row.asDict()["v"] for row in answered.frame().collect()] == [None]
    answered.frame().write.parquet(str(tmp_path / "kept"))


def test_unsigned_features_and_keys(kit: Kit, spark_session: Any) -> None:
    big = 2**64 - 1
    source = kit.source(
        pa.table({"k": pa.array([big], pa.uint64()), "t": micros(1), "v": pa.array([big], pa.uint64())})
    )
    asked = EntityRows.of_arrow(pa.table({"k": pa.array([big, 1], pa.uint64()), "event_timestamp": micros(9, 9)}))
    seen = view(source, {"v": pa.int64()})
    plan = RetrievalPlan((seen,), ("v",), (), (), full_feature_names=False)
    found = kit.engine.point_in_time(plan, asked).frame().select("k", "v").collect()
    assert {(row.k, row.v) for row in found} == {(Decimal(big), Decimal(big)), (Decimal(1), None)}
    rows = kit.engine.query_rows("SELECT v, t AS event_timestamp FROM numbers", {"numbers": source})
    assert rows.column("v").to_pylist() == [Decimal(big)]
