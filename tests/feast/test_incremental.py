"""materialize-incremental: late rows, what is new of a source, runs that were cut off, views of one source."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import feast.feature_store
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field
from feast.types import Int64
from feast.value_type import ValueType
from tqdm import tqdm

from tests.feast.repo import FORMATS, at, feature_store
from tests.online_server import address, client, server
from tests.unit.online.servers import python
from yummy_feast import ParquetSource
from yummy_feast.sources.base import context_of
from yummy_feast.sources.parquet_pieces import ParquetPiece

__all__ = ["address", "client", "server"]

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
REGION = Entity(name="region", join_keys=["region_id"], value_type=ValueType.INT64)
TRIPS = [Field(name="trips", dtype=Int64)]


def rows(*given: tuple[int, datetime, int]) -> pa.Table:
    """(driver, event time, trips)."""
    drivers, times, trips = zip(*given, strict=True)
    return pa.table({"driver_id": drivers, "known_at": pa.array(times, pa.timestamp("us", "UTC")), "trips": trips})


def view(source: Any, name: str = "stats", **options: Any) -> FeatureView:
    return FeatureView(
        **{"name": name, "entities": [DRIVER], "schema": TRIPS, "source": source, "ttl": timedelta(0), **options}
    )


class Counting(tqdm):  # type: ignore[type-arg]
    """A bar that counts what was acknowledged."""

    sent = 0

    def update(self, n: float | None = 1) -> bool | None:
        type(self).sent += int(n or 0)
        return super().update(n)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], int]:
    """How many rows a run sends to Redis."""
    monkeypatch.setattr(feast.feature_store, "tqdm", Counting)

    def counted(run: Callable[[], object]) -> int:
        Counting.sent = 0
        run()
        return Counting.sent

    return counted


def trips(store: FeatureStore, *drivers: int, feature: str = "stats:trips") -> list[Any]:
    answer = store.get_online_features([feature], {"driver_id": list(drivers)}).to_dict()
    return list(answer[feature.split(":")[1]])


# ---------------------------------------------------------------------------------------------------- late rows


@pytest.mark.parametrize("kind", FORMATS)
def test_late_rows_of_new_parts_come_online_and_old_parts_are_left_alone(
    tmp_path: Path, address: str, kind: str, sent: Any
) -> None:
    store = feature_store(tmp_path, online=at(address), lateness="30m")
    first = rows(*((driver, NOON - MINUTE * driver, driver) for driver in range(1, 21)))
    source = FORMATS[kind](tmp_path, "rows", first, timestamp_field="known_at")
    store.apply([DRIVER, view(source)])
    assert sent(lambda: store.materialize(NOON - HOUR, NOON)) == 20
    assert sent(lambda: store.materialize_incremental(NOON + MINUTE)) == 0
    # In time, 10 minutes late, and later than anybody waits for.
    late = rows((21, NOON + 2 * MINUTE, 21), (22, NOON - 9 * MINUTE, 22), (23, NOON - HOUR, 23))
    source.append(late, context_of(store.config))
    count = sent(lambda: store.materialize_incremental(NOON + 3 * MINUTE))
    assert trips(store, 21, 22, 23, 1) == [21, 22, None, 1]
    if kind == "csv":
        # One file, which is new as a whole: the 20 rows that are less than half an hour old go once more.
        assert count == 22
    else:
        assert count == 2
    assert sent(lambda: store.materialize_incremental(NOON + 4 * MINUTE)) == 0


def test_a_late_row_loses_to_a_newer_one(tmp_path: Path, address: str) -> None:
    store = feature_store(tmp_path, online=at(address))
    (tmp_path / "rows").mkdir()
    source = ParquetSource("rows", name="rows", timestamp_field="known_at")
    pq.write_table(rows((1, NOON, 5)), tmp_path / "rows" / "a.parquet")
    store.apply([DRIVER, view(source)])
    store.materialize(NOON - HOUR, NOON)
    pq.write_table(rows((1, NOON - MINUTE, 4), (2, NOON - MINUTE, 6)), tmp_path / "rows" / "b.parquet")
    store.materialize_incremental(NOON + MINUTE)
    assert trips(store, 1, 2) == [5, 6]


@pytest.mark.parametrize(
    ("lateness", "tags", "found"),
    [("0s", {}, None), ("2h", {}, 2), ("0s", {"lateness": "2h"}, 2), ("2h", {"lateness": "1m"}, None)],
)
def test_how_late_is_the_repositorys_or_the_views_choice(
    tmp_path: Path, address: str, lateness: str, tags: dict[str, str], found: int | None
) -> None:
    store = feature_store(tmp_path, online=at(address), lateness=lateness)
    (tmp_path / "rows").mkdir()
    pq.write_table(rows((1, NOON, 1)), tmp_path / "rows" / "a.parquet")
    store.apply([DRIVER, view(ParquetSource("rows", name="rows", timestamp_field="known_at"), tags=tags)])
    store.materialize(NOON - HOUR, NOON)
    pq.write_table(rows((2, NOON - HOUR, 2)), tmp_path / "rows" / "b.parquet")
    store.materialize_incremental(NOON + MINUTE)
    assert trips(store, 1, 2) == [1, found]


# ------------------------------------------------------------------------------------------------ runs cut off

CUT_OFF = """
import os, signal, sys
import feast.feature_store
from datetime import datetime
from pathlib import Path
from tqdm import tqdm
from tests.feast.repo import at, feature_store
from yummy_feast.materialization import notes

class Deadly(tqdm):
    sent = 0
    def update(self, n=1):
        Deadly.sent += n
        if Deadly.sent > int(sys.argv[4]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().update(n)

feast.feature_store.tqdm = Deadly
notes._NOTE_EVERY = 0.0
store = feature_store(Path(sys.argv[1]), online=at(sys.argv[2]))
store.materialize_incremental(datetime.fromisoformat(sys.argv[3]))
"""
MANY = 60_000


@pytest.fixture
def cut_off(tmp_path: Path, address: str) -> FeatureStore:
    """A run of ``MANY`` rows was killed after half of them."""
    store = feature_store(tmp_path, online=at(address))
    (tmp_path / "rows").mkdir()
    write_many(tmp_path, "a")
    source = ParquetSource("rows", name="rows", timestamp_field="known_at")
    # A ttl of many years: the first incremental run begins so long ago.
    store.apply([DRIVER, view(source, ttl=timedelta(days=36500))])
    process = python(CUT_OFF, str(tmp_path), address, NOON.isoformat(), str(MANY // 2))
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert store.get_feature_view("stats").most_recent_end_time is None
    return store


def write_many(folder: Path, name: str, trips: int = 0) -> None:
    times = pa.array(np.full(MANY, int(NOON.timestamp()) * 10**6), pa.timestamp("us", "UTC"))
    table = pa.table({"driver_id": np.arange(MANY), "known_at": times, "trips": np.arange(MANY) + trips})
    pq.write_table(table, folder / "rows" / f"{name}.parquet", row_group_size=10_000)


def all_trips(store: FeatureStore) -> list[Any]:
    return [trip for start in range(0, MANY, 10_000) for trip in trips(store, *range(start, start + 10_000))]


def rest(store: FeatureStore, end: datetime) -> Callable[[], None]:
    # A first incremental run counts its ttl from now; what was cut off began a moment earlier.
    [start] = {int(part) for part in starts(store)}
    return lambda: store.materialize(datetime.fromtimestamp(start / 1e6, UTC), end)


def starts(store: FeatureStore) -> list[int]:
    provider: Any = store._get_provider()
    last, _ = provider.online_store.progress(store.config).last(b"stats")
    return [last.start]


def test_a_run_that_was_killed_goes_on_where_it_stopped(cut_off: FeatureStore, sent: Any) -> None:
    count = sent(rest(cut_off, NOON))
    # One round trip was acknowledged and not noted any more.
    assert 0 < count <= MANY // 2 + 4096
    assert all_trips(cut_off) == list(range(MANY))
    assert cut_off.get_feature_view("stats").most_recent_end_time == NOON


def test_a_later_end_is_reached_after_what_was_left(cut_off: FeatureStore, tmp_path: Path, sent: Any) -> None:
    count = sent(rest(cut_off, NOON + HOUR))
    # The rows at noon end the first window and begin the second.
    assert count <= MANY // 2 + 4096 + MANY
    assert all_trips(cut_off) == list(range(MANY))
    assert sent(lambda: cut_off.materialize_incremental(NOON + 2 * HOUR)) == 0


def test_after_the_source_changed_everything_is_copied(cut_off: FeatureStore, tmp_path: Path, sent: Any) -> None:
    write_many(tmp_path, "b", trips=7)
    assert sent(rest(cut_off, NOON)) == MANY
    assert all_trips(cut_off) == list(range(7, MANY + 7))


def test_a_server_that_forgot_has_forgotten_the_progress(cut_off: FeatureStore, client: Any, sent: Any) -> None:
    begin = rest(cut_off, NOON)
    client.flushall()
    assert sent(begin) == MANY
    assert all_trips(cut_off) == list(range(MANY))


def test_after_the_view_changed_everything_is_copied(cut_off: FeatureStore, sent: Any) -> None:
    begin = rest(cut_off, NOON)
    source = ParquetSource("rows", name="rows", timestamp_field="known_at")
    fields = [*TRIPS, Field(name="driver_id", dtype=Int64)]
    cut_off.apply([DRIVER, view(source, schema=[*fields, Field(name="missing", dtype=Int64)])])
    with pytest.raises(LookupError, match="missing"):
        begin()
    more = ParquetSource("rows", name="rows", timestamp_field="known_at", field_mapping={"trips": "rides"})
    cut_off.apply([DRIVER, view(more, schema=[Field(name="rides", dtype=Int64)])])
    assert sent(begin) == MANY
    assert trips(cut_off, 0, MANY - 1, feature="stats:rides") == [0, MANY - 1]


# -------------------------------------------------------------------------------------------- views of one source


def test_views_of_one_source_are_read_once(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch, sent: Any
) -> None:
    store = feature_store(tmp_path, online=at(address))
    columns = {name: np.arange(6) + base for base, name in enumerate(("a", "b", "c"))}
    times = pa.array([NOON + MINUTE * at for at in range(6)], pa.timestamp("us", "UTC"))
    table = pa.table({"driver_id": [1, 2, 3, 1, 2, 3], "region_id": [1] * 5 + [2], "known_at": times, **columns})
    pq.write_table(table, tmp_path / "rows.parquet")
    source = ParquetSource("rows.parquet", name="rows", timestamp_field="known_at")
    views = [
        view(source, "first", schema=[Field(name="a", dtype=Int64), Field(name="b", dtype=Int64)]),
        view(source, "second", schema=[Field(name="b", dtype=Int64), Field(name="c", dtype=Int64)]),
        view(source, "regional", schema=[Field(name="c", dtype=Int64)], entities=[REGION]),
    ]
    store.apply([DRIVER, REGION, *views])
    read: list[tuple[str, ...]] = []
    original = ParquetPiece.read

    def watched(self: ParquetPiece, names: Any) -> Any:
        read.append(tuple(names))
        return original(self, names)

    monkeypatch.setattr(ParquetPiece, "read", watched)
    assert sent(lambda: store.materialize(NOON, NOON + HOUR)) == 3 + 3 + 2
    keys, features = read
    assert set(keys) == {"driver_id", "region_id", "known_at"}
    assert sorted(features) == ["a", "b", "c", "driver_id", "known_at", "region_id"]
    assert trips(store, 1, 2, 3, feature="first:a") == [3, 4, 5]
    assert trips(store, 1, 2, 3, feature="second:c") == [5, 6, 7]
    regional = store.get_online_features(["regional:c"], {"region_id": [1, 2]}).to_dict()
    assert regional["c"] == [6, 7]
    for name in ("first", "second", "regional"):
        assert store.get_feature_view(name).most_recent_end_time == NOON + HOUR


def test_first_incremental_runs_of_views_with_one_ttl_are_read_together(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch, sent: Any
) -> None:
    """Feast counts the ttl back from now for each view, a moment later each time."""
    store = feature_store(tmp_path, online=at(address))
    now = datetime.now(UTC)
    pq.write_table(rows((1, now - HOUR, 5)), tmp_path / "rows.parquet")
    source = ParquetSource("rows.parquet", name="rows", timestamp_field="known_at")
    store.apply([DRIVER, *(view(source, name, ttl=timedelta(days=2)) for name in ("first", "second", "third"))])
    reads = []
    original = ParquetPiece.read
    monkeypatch.setattr(ParquetPiece, "read", lambda self, names: reads.append(names) or original(self, names))
    assert sent(lambda: store.materialize_incremental(now)) == 3
    assert len(reads) == 2
    assert trips(store, 1, feature="third:trips") == [5]


def test_one_view_that_cannot_be_read_fails_alone(tmp_path: Path, address: str) -> None:
    store = feature_store(tmp_path, online=at(address))
    pq.write_table(rows((1, NOON, 5)), tmp_path / "rows.parquet")
    source = ParquetSource("rows.parquet", name="rows", timestamp_field="known_at")
    wrong = view(source, "wrong", schema=[Field(name="distance", dtype=Int64)])
    store.apply([DRIVER, view(source), wrong])
    with pytest.raises(LookupError, match=r"rows.parquet has no column 'distance'"):
        store.materialize(NOON, NOON + HOUR)
    assert trips(store, 1) == [5]
    assert store.get_feature_view("stats").most_recent_end_time == NOON + HOUR
    assert store.get_feature_view("wrong").most_recent_end_time is None


def test_the_machine_has_a_second_process() -> None:
    """What the tests above rely on: the code that is cut off is the code under test."""
    process = python("import yummy_feast; print(yummy_feast.__file__)")
    out, _ = process.communicate(timeout=60)
    assert Path(out.strip()).parent.parent == Path(os.path.realpath(__file__)).parents[2]
