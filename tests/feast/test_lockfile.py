"""Lockfiles through Feast's FeatureStore: what a fetch read is read again after the tables moved on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from feast import FeatureView, Field
from feast.types import Float64

from tests.feast.lockfiles import (
    DRIVER,
    append,
    applied,
    evolve,
    fetch,
    history,
    iceberg,
    locked,
    overwrite,
    questions,
    view,
)
from tests.feast.repo import FORMATS, iceberg_keys
from yummy_feast import IcebergSource
from yummy_feast.errors import SourceMovedError

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


@pytest.mark.parametrize("way", ["to_df", "to_arrow"])
def test_the_answer_is_gathered_again_only_if_it_is_gone(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = applied(tmp_path, view(FORMATS["csv"](tmp_path, "stats", history(), timestamp_field="event_timestamp")))
    rows = questions().assign(mixed=[1, "two", None] * 10)
    job, asked = fetch(store, rows if way == "to_df" else None), []
    monkeypatch.setattr(
        job.answer, "arrow", lambda of=job.answer.arrow, **how: asked.append(1) or of(**how), raising=True
    )
    kept = getattr(job, way)()
    lock = job.lockfile()
    assert job.lockfile().answer == lock.answer is not None
    assert len(asked) == (2 if way == "to_df" else 1)
    assert len(kept) == 30
    assert lock.get_historical_features(store, rows if way == "to_df" else questions()).to_df() is not None


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


def test_columns_that_a_snapshot_did_not_have_yet(tmp_path: Path) -> None:
    """Iceberg's columns may change without a snapshot: those that were read count, not those of the snapshot."""
    store = applied(tmp_path, view(FORMATS["iceberg"](tmp_path, "stats", history(), timestamp_field="event_timestamp")))

    def renamed(old: str, new: str) -> None:
        def change(table: Any) -> None:
            with table.update_schema() as update:
                update.rename_column(old, new)

        iceberg(tmp_path, change)

    renamed("rate", "speed")
    field = Field(name="speed", dtype=Float64)
    source = store.get_feature_view("stats").batch_source
    store.apply(FeatureView(name="fast", entities=[DRIVER], schema=[field], source=source, online=False))
    job = fetch(store, None, "fast:speed")
    before = job.to_arrow()
    assert before["speed"].null_count < len(before)
    lock = locked(job, tmp_path)
    renamed("speed", "rate")
    append("iceberg", tmp_path)
    assert lock.get_historical_features(store, questions()).to_arrow().equals(before)


def test_a_table_that_had_no_rows_yet(tmp_path: Path) -> None:
    from pyiceberg.catalog import load_catalog

    catalog: Any = load_catalog("local", **iceberg_keys(tmp_path))
    catalog.create_namespace("lake")
    catalog.create_table("lake.stats", schema=history().schema)
    catalog.engine.dispose()
    store = applied(tmp_path, view(IcebergSource(table="local.lake.stats", timestamp_field="event_timestamp")))
    job = fetch(store)
    before = job.to_arrow()
    assert before["rate"].null_count == len(before)
    lock = locked(job, tmp_path)
    assert lock.sources["local.lake.stats"].read["snapshot_id"] is None
    append("iceberg", tmp_path)
    assert fetch(store).to_arrow()["rate"].null_count < len(before)
    assert lock.get_historical_features(store, questions()).to_arrow().equals(before)


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


def test_a_version_that_was_vacuumed_before_the_lockfile_was_written(tmp_path: Path) -> None:
    import deltalake

    store = applied(tmp_path, view(FORMATS["delta"](tmp_path, "stats", history(), timestamp_field="event_timestamp")))
    job = fetch(store)
    job.to_df()
    overwrite("delta", tmp_path)
    deltalake.DeltaTable(tmp_path / "stats").vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(SourceMovedError, match=r"source 'stats' moved: files of version 1 are gone"):
        job.lockfile()


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
