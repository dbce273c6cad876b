"""Lockfiles through Feast's FeatureStore: requests, entity rows, feature views and code that must be the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Field, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64

from tests.feast.lockfiles import (
    HOUR,
    START,
    append,
    applied,
    fetch,
    history,
    locked,
    questions,
    view,
)
from tests.feast.repo import FORMATS
from tests.s3_server import S3Server
from yummy_feast import select_all
from yummy_feast.errors import LockfileError, RetrievalError


def test_what_is_asked_and_how_it_is_defined_must_be_the_same(tmp_path: Path) -> None:
    source = FORMATS["parquet"](tmp_path, "stats", history(), timestamp_field="event_timestamp")
    store = applied(tmp_path, view(source))
    job = fetch(store)
    job.to_df()
    lock = locked(job, tmp_path)

    with lock.replay(), pytest.raises(LockfileError, match="the request is not as in the lockfile: full_feature_names"):
        fetch(store, full_feature_names=True)
    with lock.replay(), pytest.raises(LockfileError, match=r"entity rows are not .*: 29 rows instead of 30"):
        fetch(store, questions().head(29))
    with lock.replay(), pytest.raises(LockfileError, match="other values in 'driver_id', 'event_timestamp', 'label'"):
        fetch(store, questions().iloc[::-1])
    with lock.replay(), pytest.raises(LockfileError, match="column 'driver_id' is int32 instead of int64"):
        fetch(store, questions().astype({"driver_id": "int32"}))
    with pytest.raises(LockfileError, match="pass entity_df"):
        lock.get_historical_features(store)

    store.apply(view(source, ttl=2 * HOUR))
    with pytest.raises(
        LockfileError, match=r"feature view 'stats' is not as in .*: ttl_seconds is 7200\.0, it was 21600"
    ):
        lock.get_historical_features(store, questions())


def test_the_forms_of_entity_rows(tmp_path: Path) -> None:
    source = FORMATS["parquet"](tmp_path, "stats", history(), timestamp_field="event_timestamp")
    store = applied(tmp_path, view(source), source)
    pq.write_table(pa.Table.from_pandas(questions()), tmp_path / "asked.parquet")
    sql = "SELECT driver_id, event_timestamp FROM stats WHERE rate > 1 ORDER BY event_timestamp"
    ways: list[tuple[Any, dict[str, Any]]] = [
        (Path("asked.parquet"), {}),
        (sql, {}),
        (select_all(START + 20 * HOUR), {}),
        (None, {"end_date": START + 30 * HOUR}),
        (None, {"start_date": START, "end_date": START + 9 * HOUR}),
    ]
    kept = []
    for entity_df, dates in ways:
        job = fetch(store, entity_df, **dates)
        kept.append((job.to_arrow(), job.lockfile()))
    append("parquet", tmp_path)
    for before, lock in kept:
        assert len(before)
        assert lock.get_historical_features(store).to_arrow().equals(before)
    with kept[0][1].replay():
        assert fetch(store, questions()).to_arrow().equals(kept[0][0]), "the same rows in another form"


def test_entity_rows_of_a_store_are_asked_for_again(tmp_path: Path, s3_server: S3Server) -> None:
    source = FORMATS["parquet"](tmp_path, "stats", history(), timestamp_field="event_timestamp")
    store = applied(tmp_path, view(source), storage_options=s3_server.options)
    place = f"s3://{s3_server.bucket()}/asked/rows.parquet"
    pq.write_table(pa.Table.from_pandas(questions()), place.removeprefix("s3://"), filesystem=s3_server.filesystem())
    job = fetch(store, place)
    before = job.to_arrow()
    lock = locked(job, tmp_path)
    assert lock.request.entities.text == place
    append("parquet", tmp_path)
    assert lock.get_historical_features(store).to_arrow().equals(before)


def test_a_range_without_an_end_ends_when_it_was_asked(tmp_path: Path) -> None:
    source = FORMATS["delta"](tmp_path, "stats", history(), timestamp_field="event_timestamp")
    store = applied(tmp_path, view(source))
    job: Any = store.get_historical_features(features=["stats:rate"], start_date=START)
    before = job.to_arrow()
    lock = locked(job, tmp_path)
    with lock.replay():
        again: Any = store.get_historical_features(features=["stats:rate"], start_date=START)
        assert again.lockfile().request == lock.request
        with pytest.raises(LockfileError, match="end_date is"):
            fetch(store, None, end_date=START + HOUR)
        with pytest.raises(LockfileError, match="start_date is"):
            store.get_historical_features(features=["stats:rate"], start_date=START - HOUR)
    assert again.to_arrow().equals(before)


def test_on_demand_views_are_known_by_their_code(tmp_path: Path) -> None:
    stats = view(FORMATS["parquet"](tmp_path, "stats", history(), timestamp_field="event_timestamp"))
    bonus = RequestSource(name="asked", schema=[Field(name="bonus", dtype=Int64)])

    @on_demand_feature_view(sources=[stats, bonus], schema=[Field(name="paid", dtype=Float64)], mode="pandas")
    def pay(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"paid": inputs["rate"] * inputs["bonus"]})

    store = applied(tmp_path, stats, pay)
    rows = questions().assign(bonus=2)
    job = fetch(store, rows, "pay:paid")
    before = job.to_df()
    lock = locked(job, tmp_path)
    pd.testing.assert_frame_equal(lock.get_historical_features(store, rows).to_df(), before)

    @on_demand_feature_view(
        sources=[stats, bonus], schema=[Field(name="paid", dtype=Float64)], mode="pandas", name="pay"
    )
    def other(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"paid": inputs["rate"] * inputs["bonus"] + 1})

    store.apply(other)
    with pytest.raises(LockfileError, match="on-demand feature view 'pay' is not as in the lockfile: code"):
        lock.get_historical_features(store, rows)


def test_another_answer_is_an_error_that_names_the_columns(tmp_path: Path) -> None:
    store = applied(tmp_path, view(FORMATS["parquet"](tmp_path, "stats", history(), timestamp_field="event_timestamp")))
    job = fetch(store)
    job.to_df()
    lock = job.lockfile()
    assert lock.answer is not None
    column = replace(lock.answer.columns["rate"], digest="sha256:0")
    forged = replace(lock, answer=replace(lock.answer, columns={"rate": column}), packages={"feast": "0.66"})
    with pytest.raises(
        LockfileError, match=r"answer is not .*: other values in 'rate' \(feast 0\.67\S* instead of 0\.66"
    ):
        forged.get_historical_features(store, questions()).to_df()


def test_a_lockfile_before_the_answer_pins_what_will_be_read(tmp_path: Path) -> None:
    store = applied(tmp_path, view(FORMATS["delta"](tmp_path, "stats", history(), timestamp_field="event_timestamp")))
    before = fetch(store).to_arrow()
    job = fetch(store)
    lock = job.lockfile()
    assert lock.answer is None
    append("delta", tmp_path)
    assert job.to_arrow().equals(before), "the job reads what its lockfile says"
    assert lock.get_historical_features(store, questions()).to_arrow().equals(before)


def test_views_of_one_table_see_one_version(tmp_path: Path) -> None:
    source = FORMATS["delta"](tmp_path, "stats", history(), timestamp_field="event_timestamp")
    store = applied(tmp_path, view(source), view(source, "twin"))
    job = fetch(store, None, "stats:rate", "twin:rate", full_feature_names=True)
    table = job.to_arrow()
    lock = job.lockfile()
    assert list(lock.sources) == ["stats"]
    assert [item.source for item in lock.views.values()] == ["stats", "stats"]
    assert lock.get_historical_features(store, questions()).to_arrow().equals(table)


def test_only_historical_features_have_a_lockfile(tmp_path: Path) -> None:
    source = FORMATS["parquet"](tmp_path, "stats", history(), timestamp_field="event_timestamp")
    store = applied(tmp_path, view(source))
    job = store._get_provider().offline_store.pull_latest_from_table_or_query(
        store.config, source, ["driver_id"], ["rate"], "event_timestamp", None, START, START + HOUR
    )
    with pytest.raises(LockfileError, match="historical features"):
        job.lockfile()
    assert not issubclass(LockfileError, RetrievalError)
