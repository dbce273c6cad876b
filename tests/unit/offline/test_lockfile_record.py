"""What only a record knows; the rest of it is seen through Feast, in tests/feast/test_lockfile.py and its neighbour."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from yummy_feast.errors import LockfileError
from yummy_feast.offline.entity_rows import EntityRows
from yummy_feast.offline.lockfile import Lockfile
from yummy_feast.offline.lockfile_record import FetchRecord
from yummy_feast.offline.plan import FeatureColumn, RetrievalPlan, ViewPlan
from yummy_feast.sources.base import SourceContext
from yummy_feast.sources.parquet import ParquetSource

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = pa.table({"k": [1, 2], "event_timestamp": pa.array([MOMENT, MOMENT], pa.timestamp("us", "UTC"))})


def view(name: str = "stats", source: str = "data.parquet") -> ViewPlan:
    feature = FeatureColumn("v", name, pa.int64())
    return ViewPlan(name, ParquetSource(source, timestamp_field="ts"), (("k", "k"),), (feature,), "ts", None, 0, False)


def plan(*views: ViewPlan) -> RetrievalPlan:
    chosen = views or (view(),)
    names = tuple(item.name for item in chosen)
    return RetrievalPlan(chosen, names, (), tuple(f"{name}:v" for name in names), full_feature_names=False)


def record(folder: Path, lock: Lockfile | None = None, *views: ViewPlan) -> FetchRecord:
    path = folder / "data.parquet"
    if not path.exists():
        pq.write_table(pa.table({"k": [1], "v": [2], "ts": ROWS["event_timestamp"][:1]}), path)
    context = SourceContext(folder, {"secret": "hidden"})
    made = FetchRecord(plan(*views), context, project="lab", engine="duckdb", cutoff=False, lock=lock)
    made.repeats_cheaply = True
    return made


def nobody() -> pa.Table:
    raise AssertionError("there is no need to make the answer again")


def finished(folder: Path) -> Lockfile:
    made = record(folder)
    made.asked(EntityRows.of_arrow(ROWS))
    answer = ROWS.append_column("stats", pa.array([1, None], pa.int64()))
    made.answered(answer)
    return made.lockfile(checksums=None, again=nobody)


def test_a_digest_waits_until_it_is_wanted(tmp_path: Path) -> None:
    made, asked = record(tmp_path), []
    made.asked(EntityRows.of_arrow(ROWS))

    def answer() -> pa.Table:
        asked.append(1)
        return ROWS.append_column("stats", pa.array([1, None], pa.int64()))

    assert made.lockfile(checksums=None, again=nobody).answer is None, "nobody has asked yet"
    made.answered(answer())
    locks = [made.lockfile(checksums=None, again=answer) for _ in range(2)]
    assert len(asked) == 2
    assert locks[0].answer == locks[1].answer == finished(tmp_path).answer is not None


def test_a_lockfile_holds_no_secrets(tmp_path: Path) -> None:
    assert b"hidden" not in finished(tmp_path).to_json()


def test_checksums_are_made_as_told(tmp_path: Path) -> None:
    made = record(tmp_path)
    made.asked(EntityRows.of_arrow(ROWS))
    for checksums, expected in ((None, True), (False, False), (True, True)):
        (file,) = made.lockfile(checksums=checksums, again=nobody).sources["data.parquet"].read["files"]
        assert ("sha256" in file) is expected


def test_a_range_is_the_one_of_the_lockfile_unless_another_was_asked_for(tmp_path: Path) -> None:
    first = record(tmp_path)
    start, end = MOMENT, MOMENT + timedelta(days=1, microseconds=1)
    assert first.range(start, end, {}) == (start, end)
    first.asked(EntityRows.of_arrow(ROWS))
    lock = first.lockfile(checksums=None, again=nobody)

    now = datetime.now(UTC)
    asked: list[dict[str, Any]] = [{}, {"end_date": datetime.now()}, {"end_date": now}, {"start_date": start}]  # noqa: DTZ005
    for dates in asked:
        again = record(tmp_path, lock)
        assert again.range(dates.get("start_date", now), now, dates) == (start, end)
    late = end + timedelta(seconds=1)
    for dates in ({"start_date": late}, {"end_date": late}):
        with pytest.raises(LockfileError, match="_date is 2026-01-0"):
            record(tmp_path, lock).range(late, late, dates)


def test_the_engine_and_unknown_reads_are_suspects(tmp_path: Path) -> None:
    lock = finished(tmp_path)
    odd = replace(
        lock, engine="spark", sources={**lock.sources, "mine": replace(lock.sources["data.parquet"], read={})}
    )
    again = record(tmp_path, odd)
    again.asked(EntityRows.of_arrow(ROWS))
    with pytest.raises(LockfileError, match="engine duckdb instead of spark, of source 'mine' nothing tells"):
        again.answered(ROWS.append_column("stats", pa.array([1, 1], pa.int64())))
    same = record(tmp_path, lock)
    same.asked(EntityRows.of_arrow(ROWS))
    with pytest.raises(LockfileError, match="else please report this"):
        same.answered(ROWS.append_column("stats", pa.array([1, 1], pa.int64())))


def test_a_view_that_the_lockfile_lacks(tmp_path: Path) -> None:
    lock = finished(tmp_path)
    asked = replace(lock.request, features=("stats:v", "twin:v"))
    with pytest.raises(LockfileError, match="no feature view 'twin'"):
        record(tmp_path, replace(lock, request=asked), view(), view("twin"))


def test_two_moments_of_one_table_must_stay_apart(tmp_path: Path) -> None:
    made = record(tmp_path, None, view(), view("twin"))
    made.asked(EntityRows.of_arrow(ROWS))
    lock = made.lockfile(checksums=None, again=nobody)
    source = lock.sources["data.parquet"]
    split = replace(
        lock,
        sources={**lock.sources, "other": replace(source, read={"files": []})},
        views={**lock.views, "twin": replace(lock.views["twin"], source="other")},
    )
    with pytest.raises(LockfileError, match="two moments of one table"):
        record(tmp_path, split, view(), view("twin"))
