"""Lockfiles through Feast's FeatureStore: what a fetch read is read again after the tables moved on, or said to be gone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64
from feast.value_type import ValueType

from tests.feast.repo import FORMATS, feature_store, iceberg_keys
from yummy_feast import Lockfile, select_all
from yummy_feast.errors import LockfileError, RetrievalError, SourceMovedError
from yummy_feast.offline.job import YummyRetrievalJob

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
COUNT = 40


def history(first: int = 0, count: int = COUNT, scale: float = 1.0) -> pa.Table:
    numbers = range(first, first + count)
    return pa.table(
        {
            "driver_id": pa.array([number % 5 for number in numbers], pa.int64()),
            "event_timestamp": pa.array([START + number * HOUR for number in numbers], pa.timestamp("us", "UTC")),
            "rate": pa.array([None if number % 7 == 0 else number * scale / 8 for number in numbers], pa.float64()),
        }
    )


def questions() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "driver_id": [number % 6 for number in range(30)],
            "event_timestamp": [START + number * 3 * HOUR for number in range(30)],
            "label": [f"question {number}" for number in range(30)],
        }
    )


def view(source: Any, name: str = "stats", ttl: timedelta | None = 6 * HOUR) -> FeatureView:
    return FeatureView(
        name=name, entities=[DRIVER], schema=[Field(name="rate", dtype=Float64)], source=source, ttl=ttl, online=False
    )


def applied(folder: Path, *views: Any, **settings: Any) -> FeatureStore:
    store = feature_store(folder, **settings)
    store.apply([DRIVER, *views])
    return store


def fetch(store: FeatureStore, entity_df: Any = None, *features: str, **asked: Any) -> YummyRetrievalJob:
    rows = questions() if entity_df is None and not asked.get("end_date") else entity_df
    job: Any = store.get_historical_features(rows, list(features) or ["stats:rate"], **asked)
    return job  # type: ignore[no-any-return]


def locked(job: YummyRetrievalJob, folder: Path, **how: Any) -> Lockfile:
    """The lockfile after its way through a file."""
    job.lockfile(**how).save(folder / "train.lock.json")
    return Lockfile.load(folder / "train.lock.json")


# ------------------------------------------------------------------------------------- tables that move on


def append(kind: str, folder: Path) -> None:
    more = history(COUNT - 8, 20, scale=100)
    if kind == "parquet":
        pq.write_table(more, folder / "stats" / "later.parquet")
    elif kind == "delta":
        import deltalake

        deltalake.write_deltalake(folder / "stats", more, mode="append")
    else:
        iceberg(folder, lambda table: table.append(more))


def overwrite(kind: str, folder: Path) -> None:
    if kind == "delta":
        import deltalake

        other = history(scale=5).append_column("more", pa.array([1] * COUNT))
        deltalake.write_deltalake(folder / "stats", other, mode="overwrite", schema_mode="overwrite")
    else:
        iceberg(folder, lambda table: table.overwrite(history(scale=5)))


def evolve(kind: str, folder: Path) -> None:
    """New columns, another order of files, fewer files."""
    append(kind, folder)
    if kind == "delta":
        import deltalake

        deltalake.DeltaTable(folder / "stats").optimize.compact()
        return

    def rename(table: Any) -> None:
        with table.update_schema() as change:
            change.rename_column("rate", "old_rate")

    iceberg(folder, rename)


def iceberg(folder: Path, change: Callable[[Any], object]) -> None:
    from pyiceberg.catalog import load_catalog

    catalog: Any = load_catalog("local", **iceberg_keys(folder))
    change(catalog.load_table("lake.stats"))
    catalog.engine.dispose()


MOVES = [
    ("parquet", append),
    ("delta", append),
    ("delta", overwrite),
    ("delta", evolve),
    ("iceberg", append),
    ("iceberg", overwrite),
    ("iceberg", evolve),
]


@pytest.mark.parametrize(("kind", "move"), MOVES, ids=lambda item: getattr(item, "__name__", item))
def test_a_replay_reads_what_was_read(tmp_path: Path, kind: str, move: Callable[[str, Path], None]) -> None:
    store = applied(tmp_path, view(FORMATS[kind](tmp_path, "stats", history(), timestamp_field="event_timestamp")))
    job = fetch(store)
    before = job.to_arrow()
    lock = locked(job, tmp_path)
    move(kind, tmp_path)
    if move is not evolve:
        assert not fetch(store).to_arrow().equals(before), "the move has to change the answer"

    with lock.replay():
        again = fetch(store)
    assert again.to_arrow().equals(before)
    pd.testing.assert_frame_equal(lock.get_historical_features(store, questions()).to_df(), before_df(before))
    rewritten = again.lockfile()
    assert rewritten.sources == lock.sources
    assert rewritten.answer == lock.answer


def before_df(table: pa.Table) -> pd.DataFrame:
    frame = questions()
    frame["event_timestamp"] = frame["event_timestamp"].dt.tz_convert("UTC")
    return frame.assign(rate=table.column("rate").to_pandas())


@pytest.mark.parametrize("kind", FORMATS)
def test_the_file_says_what_was_read(tmp_path: Path, kind: str) -> None:
    store = applied(tmp_path, view(FORMATS[kind](tmp_path, "stats", history(), timestamp_field="event_timestamp")))
    job = fetch(store)
    job.to_df()
    lock = locked(job, tmp_path)
    assert replace(lock, written="") == replace(job.lockfile(), written="")
    document = json.loads((tmp_path / "train.lock.json").read_text())
    assert document["lockfile"] == 1
    assert document["request"]["features"] == ["stats:rate"]
    assert document["views"]["stats"]["ttl_seconds"] == 6 * 3600
    assert document["entity_rows"]["rows"] == 30
    assert document["answer"]["columns"].keys() == {"rate"}
    assert document["packages"]["feast"].startswith("0.67")
    read = document["sources"]["stats"]["read"]
    expected = {"delta": "version", "iceberg": "snapshot_id"}
    if kind in expected:
        assert isinstance(read[expected[kind]], int)
    else:
        assert all(len(file["sha256"]) == 64 and file["size"] > 0 for file in read["files"])
        assert all(file["path"].startswith("stats") for file in read["files"]), "paths start at the repo"


# ------------------------------------------------------------------------------------------ what moved


def test_a_changed_file_is_named(tmp_path: Path) -> None:
    store = applied(tmp_path, view(FORMATS["parquet"](tmp_path, "stats", history(), timestamp_field="event_timestamp")))
    job = fetch(store)
    job.to_df()
    lock = locked(job, tmp_path)
    append("parquet", tmp_path)
    pq.write_table(history(20, 20, scale=2), tmp_path / "stats" / "1.parquet", row_group_size=3)
    (tmp_path / "stats" / "0.parquet").unlink()
    with (
        lock.replay(),
        pytest.raises(SourceMovedError, match=r"source 'stats' moved: stats/0\.parquet is gone; stats/1") as caught,
    ):
        fetch(store).to_df()
    assert "1 file is new" in str(caught.value)


def test_equal_content_under_other_stamps_is_the_same(tmp_path: Path) -> None:
    source = FORMATS["csv"](tmp_path, "stats", history(), timestamp_field="event_timestamp")
    store = applied(tmp_path, view(source))
    job = fetch(store)
    before = job.to_arrow()
    lock, unsure = locked(job, tmp_path), job.lockfile(checksums=False)
    shutil.copy(tmp_path / "stats.csv", tmp_path / "copy")
    (tmp_path / "copy").replace(tmp_path / "stats.csv")
    assert lock.get_historical_features(store, questions()).to_arrow().equals(before)
    with pytest.raises(SourceMovedError, match=r"stats\.csv was written anew \(no checksum was kept"):
        unsure.get_historical_features(store, questions()).to_arrow()


def test_a_file_of_the_same_size_and_time_is_not_the_same(tmp_path: Path) -> None:
    source = FORMATS["csv"](tmp_path, "stats", history(), timestamp_field="event_timestamp")
    store = applied(tmp_path, view(source))
    job = fetch(store)
    job.to_arrow()
    lock = locked(job, tmp_path)
    path = tmp_path / "stats.csv"
    stamp, text = path.stat(), path.read_text()
    path.write_text(text.replace("4.875", "9.875"))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert path.stat().st_size == stamp.st_size
    with pytest.raises(SourceMovedError, match=r"stats\.csv has SHA-256 \w+ instead of"):
        lock.get_historical_features(store, questions()).to_arrow()


def test_a_file_that_changed_before_the_lockfile_was_written(tmp_path: Path) -> None:
    store = applied(tmp_path, view(FORMATS["csv"](tmp_path, "stats", history(), timestamp_field="event_timestamp")))
    job = fetch(store)
    job.to_df()
    pacsv.write_csv(history(scale=3), tmp_path / "stats.csv")
    with pytest.raises(SourceMovedError, match=r"stats\.csv changed after the fetch"):
        job.lockfile()


def test_a_vacuumed_version_is_told(tmp_path: Path) -> None:
    import deltalake

    store = applied(tmp_path, view(FORMATS["delta"](tmp_path, "stats", history(), timestamp_field="event_timestamp")))
    job = fetch(store)
    job.to_df()
    lock = locked(job, tmp_path)
    overwrite("delta", tmp_path)
    deltalake.DeltaTable(tmp_path / "stats").vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(SourceMovedError, match=r"source 'stats' moved: files of version 1 are gone.*vacuum"):
        lock.get_historical_features(store, questions()).to_df()


@pytest.mark.parametrize("kind", ["delta", "iceberg"])
def test_another_table_at_the_same_place_is_told(tmp_path: Path, kind: str) -> None:
    store = applied(tmp_path, view(FORMATS[kind](tmp_path, "stats", history(), timestamp_field="event_timestamp")))
    job = fetch(store)
    job.to_df()
    lock = locked(job, tmp_path)
    if kind == "delta":
        shutil.rmtree(tmp_path / "stats")
    else:
        from pyiceberg.catalog import load_catalog

        catalog: Any = load_catalog("local", **iceberg_keys(tmp_path))
        catalog.drop_table("lake.stats")
        catalog.engine.dispose()
    with pytest.raises(SourceMovedError, match="source 'stats' moved"):
        lock.get_historical_features(store, questions()).to_df()
    FORMATS[kind](tmp_path, "stats", history(), timestamp_field="event_timestamp")
    with pytest.raises(SourceMovedError, match="another table is there now"):
        lock.get_historical_features(store, questions()).to_df()


def test_an_expired_snapshot_is_told(tmp_path: Path) -> None:
    store = applied(tmp_path, view(FORMATS["iceberg"](tmp_path, "stats", history(), timestamp_field="event_timestamp")))
    job = fetch(store)
    job.to_df()
    lock = locked(job, tmp_path)
    append("iceberg", tmp_path)
    iceberg(
        tmp_path,
        lambda table: table.maintenance.expire_snapshots().by_id(lock.sources["stats"].read["snapshot_id"]).commit(),
    )
    with pytest.raises(SourceMovedError, match=r"snapshot \d+ cannot be read any more"):
        lock.get_historical_features(store, questions()).to_df()


# ------------------------------------------------------------------------------------ the rest of a fetch


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
