"""A lockfile of one engine is read by the other: both give the same bytes, from what the tables were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureStore
from pyspark.sql import functions

from tests.feast.lockfiles import append, applied, fetch, history, locked, overwrite, questions, view
from tests.feast.repo import FORMATS, feature_store
from yummy_feast.errors import LockfileError, SourceMovedError
from yummy_feast.sources.storage import SavedDatasetYummyStorage
from yummy_feast.spark.arrow_rows import fetched

pytestmark = [pytest.mark.slow, pytest.mark.spark]


@pytest.fixture(params=FORMATS)
def stores(
    request: pytest.FixtureRequest, spark_session: Any, tmp_path: Path
) -> tuple[str, FeatureStore, FeatureStore]:
    """(format, a store on duckdb, the same on spark)."""
    kind = str(request.param)
    source = FORMATS[kind](tmp_path, "stats", history(), timestamp_field="event_timestamp")
    return kind, applied(tmp_path, view(source), source), feature_store(tmp_path, engine="spark")


def test_each_engine_replays_the_other(stores: tuple[str, FeatureStore, FeatureStore], tmp_path: Path) -> None:
    kind, embedded, spark = stores
    jobs = [fetch(store) for store in (embedded, spark)]
    before = [job.to_arrow() for job in jobs]
    locks = [locked(job, tmp_path) for job in jobs]
    assert locks[0].answer == locks[1].answer is not None
    assert locks[0].sources == locks[1].sources
    move = {"parquet": append, "csv": None, "delta": overwrite, "iceberg": overwrite}[kind]
    if move is not None:
        move(kind, tmp_path)
    for lock in locks:
        for store in (embedded, spark):
            assert lock.get_historical_features(store, questions()).to_arrow().column("rate").equals(before[0]["rate"])


def test_rows_that_live_in_spark(spark_session: Any, tmp_path: Path) -> None:
    """They have no order, so none is compared; and the answer stays where it is unless somebody asks for it."""
    source = FORMATS["parquet"](tmp_path, "stats", history(), timestamp_field="event_timestamp")
    spark = applied(tmp_path, view(source), source, engine="spark")
    there = spark_session.createDataFrame(questions())
    job = fetch(spark, there)
    table = job.to_arrow()
    lock = locked(job, tmp_path)
    assert not lock.entity_rows.ordered
    append("parquet", tmp_path)
    shuffled = spark_session.createDataFrame(questions().sample(frac=1, random_state=1)).repartition(3)
    again = lock.get_historical_features(spark, shuffled)
    assert by_label(again.to_arrow()).equals(by_label(table))
    assert by_label(pa.Table.from_pandas(again.to_spark_df().toPandas()))["rate"].equals(by_label(table)["rate"])
    with lock.replay(), pytest.raises(LockfileError, match="other values in 'label'"):
        fetch(spark, spark_session.createDataFrame(questions().assign(label="other")))

    sql = "SELECT driver_id, event_timestamp FROM stats WHERE rate > 1"
    asked = fetch(spark, sql)
    asked.to_df()
    kept = asked.lockfile()
    (tmp_path / "stats" / "0.parquet").unlink()
    with pytest.raises(SourceMovedError, match=r"stats/0\.parquet is gone"):
        kept.get_historical_features(spark)


@pytest.mark.parametrize("in_spark", [False, True], ids=["table", "frame"])
def test_every_result_of_a_replay_is_compared(spark_session: Any, tmp_path: Path, in_spark: bool) -> None:
    source = FORMATS["parquet"](tmp_path, "stats", history(), timestamp_field="event_timestamp")
    spark = applied(tmp_path, view(source), source, engine="spark", staging_location="staged")
    asked: Any = questions()
    if in_spark:
        asked = spark_session.createDataFrame(asked).withColumn("at", functions.expr("timestamp_ntz'2026-01-01 12:00'"))
    job = fetch(spark, asked)
    table = by_label(job.to_arrow())
    lock = locked(job, tmp_path)
    assert lock.answer is not None
    kept = SavedDatasetYummyStorage(path="kept")

    same = lock.get_historical_features(spark, asked)
    frame = same.to_spark_df()
    assert frame.schema == job.to_spark_df().schema
    assert by_label(fetched(frame))["rate"].equals(table["rate"])
    same.persist(kept)
    assert by_label(pq.read_table(tmp_path / "kept"))["rate"].equals(table["rate"])
    assert by_label(pq.read_table(same.to_remote_storage()))["rate"].equals(table["rate"])

    column = replace(lock.answer.columns["rate"], digest="sha256:0")
    forged = replace(lock, answer=replace(lock.answer, columns={"rate": column}))
    other = forged.get_historical_features(spark, asked)
    staged = sorted((tmp_path / "staged").iterdir())
    for use in (other.to_spark_df, lambda: other.persist(kept, allow_overwrite=True), other.to_remote_storage):
        with pytest.raises(LockfileError, match="answer is not that of the lockfile: other values in 'rate'"):
            use()
    assert by_label(pq.read_table(tmp_path / "kept"))["rate"].equals(table["rate"])
    assert sorted((tmp_path / "staged").iterdir()) == staged

    # Without an answer there is nothing to compare with, and rows may stay where they are.
    free = replace(lock, answer=None).get_historical_features(spark, asked)
    free.persist(kept, allow_overwrite=True)
    assert free.lockfile().answer is None


def by_label(table: pa.Table) -> pa.Table:
    frame: pd.DataFrame = table.sort_by("label").to_pandas()
    return pa.Table.from_pandas(frame, preserve_index=False)
