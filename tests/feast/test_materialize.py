"""apply, materialize, read online: which row of a range wins, and what stays readable when definitions change."""

from __future__ import annotations

import logging
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field
from feast.types import Array, Bool, Float32, Float64, Int32, Int64, String, UnixTimestamp
from feast.value_type import ValueType

from tests.feast.repo import FORMATS, at, feature_store
from tests.online_server import address, server
from yummy_feast import ParquetSource

__all__ = ["address", "server"]

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR, MICRO = timedelta(hours=1), timedelta(microseconds=1)
MICROS = pa.timestamp("us", "UTC")
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
REGION = Entity(name="region", join_keys=["region_id"], value_type=ValueType.STRING)
TIMES: dict[str, Any] = {"timestamp_field": "known_at"}
SCHEMA = pa.schema([("driver_id", pa.int64()), ("known_at", MICROS), ("written_at", MICROS), ("trips", pa.int64())])

Row = tuple[int | None, datetime | None, datetime | None, int | None]


def table(*rows: Row) -> pa.Table:
    """(driver, event time, created time, trips)."""
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], SCHEMA)


def lay(folder: Path, *rows: Row) -> None:
    pq.write_table(table(*rows), folder / "rows.parquet", row_group_size=2)


def view(*fields: Field, name: str = "stats", entities: list[Entity] | None = None, **options: Any) -> FeatureView:
    source = options.pop("source", None) or ParquetSource("rows.parquet", name=f"{name}_rows", **TIMES)
    keywords: dict[str, Any] = {"ttl": timedelta(0), **options}
    return FeatureView(
        name=name,
        entities=[DRIVER] if entities is None else entities,
        schema=[*(fields or [Field(name="trips", dtype=Int64)])],
        source=source,
        **keywords,
    )


def field(name: str, dtype: Any) -> Field:
    return Field(name=name, dtype=dtype)


@pytest.fixture
def store(tmp_path: Path, address: str) -> FeatureStore:
    return feature_store(tmp_path, online=at(address))


def read(store: FeatureStore, *features: str, drivers: int = 3) -> dict[str, list[Any]]:
    names = [f"stats:{name}" for name in features or ("trips",)]
    answer = store.get_online_features(names, [{"driver_id": number} for number in range(drivers)]).to_dict()
    del answer["driver_id"]
    return answer


def statuses(store: FeatureStore, feature: str, drivers: int = 3) -> list[str]:
    rows = [{"driver_id": number} for number in range(drivers)]
    answer: Any = store.get_online_features([f"stats:{feature}"], rows)
    return list(answer.statuses[feature])


def windows(store: FeatureStore) -> list[tuple[datetime, datetime]]:
    return [tuple(window) for window in store.get_feature_view("stats").materialization_intervals]


# -------------------------------------------------------------------------------------- which row of a range wins


@pytest.mark.parametrize("kind", FORMATS)
def test_the_newest_row_of_the_range_with_both_ends_in_it(store: FeatureStore, tmp_path: Path, kind: str) -> None:
    rows = table(
        (0, NOON - MICRO, None, 1),  # a tick too early
        (1, NOON, None, 2),  # at the start
        (1, NOON + HOUR + MICRO, None, 3),  # a tick too late
        (2, NOON + HOUR, None, 5),  # at the end
        (2, NOON, None, 4),
        (3, NOON + 30 * MICRO, None, None),  # null, and newer than the next
        (3, NOON + 29 * MICRO, None, 6),
        (4, None, None, 7),
    ).drop_columns("written_at")
    store.apply([DRIVER, view(source=FORMATS[kind](tmp_path, "rows", rows, **TIMES))])
    store.materialize(NOON, NOON + HOUR)
    assert read(store, drivers=5) == {"trips": [None, 2, 5, None, None]}
    assert statuses(store, "trips", 5) == ["NOT_FOUND", "PRESENT", "PRESENT", "NULL_VALUE", "NOT_FOUND"]
    assert windows(store) == [(NOON, NOON + HOUR)]


@pytest.mark.parametrize(
    "kind", [pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "Asia/Tokyo")], ids=str
)
def test_event_times_of_any_unit_and_zone(store: FeatureStore, tmp_path: Path, kind: pa.DataType) -> None:
    """Without a zone they are UTC."""
    moments = pa.array([NOON, NOON + HOUR], pa.timestamp(kind.unit, "UTC"))
    times = moments.cast(kind) if kind.tz else moments.cast(pa.int64()).cast(kind)
    pq.write_table(pa.table({"driver_id": [0, 0], "known_at": times, "trips": [1, 2]}), tmp_path / "rows.parquet")
    store.apply([DRIVER, view()])
    for end, number in ((NOON, 1), (NOON + HOUR, 2)):
        store.materialize(NOON, end)
        answer = store.get_online_features(["stats:trips"], [{"driver_id": 0}]).to_dict(include_event_timestamps=True)
        assert (answer["trips"], answer["trips__ts"]) == ([number], [int(end.timestamp())])


def test_a_nanosecond_outside_the_range_is_outside(store: FeatureStore, tmp_path: Path) -> None:
    ticks = pa.array([NOON, NOON], pa.timestamp("ns", "UTC")).cast(pa.int64()).to_pylist()
    times = pa.array([ticks[0] - 1, ticks[1] + 1], pa.timestamp("ns", "UTC"))
    pq.write_table(pa.table({"driver_id": [0, 1], "known_at": times, "trips": [1, 2]}), tmp_path / "rows.parquet")
    store.apply([DRIVER, view()])
    store.materialize(NOON, NOON)
    assert read(store) == {"trips": [None] * 3}


def test_event_times_that_are_days(store: FeatureStore, tmp_path: Path) -> None:
    days = pa.array([NOON.date(), NOON.date() + 24 * HOUR])
    pq.write_table(pa.table({"driver_id": [0, 0], "known_at": days, "trips": [1, 2]}), tmp_path / "rows.parquet")
    store.apply([DRIVER, view()])
    store.materialize(NOON - 12 * HOUR, NOON)
    assert read(store, drivers=1) == {"trips": [1]}


def test_windows_in_any_order_end_with_the_newest_row(store: FeatureStore, tmp_path: Path) -> None:
    seeded = random.Random(5)
    rows: list[Row] = []
    for number in range(300):
        event = NOON + seeded.randrange(100) * HOUR
        created = None if seeded.random() < 0.2 else event + seeded.randrange(3) * HOUR
        rows.append((seeded.randrange(9), event, created, number))
    lay(tmp_path, *rows)
    source = ParquetSource("rows.parquet", created_timestamp_column="written_at", **TIMES)
    store.apply([DRIVER, view(source=source)])
    starts = list(range(0, 100, 20))
    seeded.shuffle(starts)
    for start in starts:
        store.materialize(NOON + start * HOUR, NOON + (start + 20) * HOUR)
    newest: dict[int, tuple[datetime, datetime, int]] = {}
    for driver, event, created, trips in rows:
        # Of equals, the last in the file.
        assert driver is not None
        assert event is not None
        assert trips is not None
        newest[driver] = max(
            newest.get(driver, (event, datetime.min.replace(tzinfo=UTC), -1)),
            (event, created or datetime.min.replace(tzinfo=UTC), trips),
        )
    assert read(store, drivers=9) == {"trips": [newest[number][2] for number in range(9)]}


def test_incremental_goes_on_where_the_last_one_ended_and_loses_nothing_there(
    store: FeatureStore, tmp_path: Path
) -> None:
    lay(tmp_path, (0, NOON, None, 1), (1, NOON + HOUR, None, 2))
    store.apply([DRIVER, view()])
    store.materialize(NOON - HOUR, NOON + HOUR)
    # Rows of the very moment at which the run ended, written after it.
    lay(tmp_path, (0, NOON + HOUR, None, 11), (1, NOON, None, 12), (2, NOON + HOUR, None, 13))
    store.materialize_incremental(NOON + 2 * HOUR)
    assert read(store) == {"trips": [11, 2, 13]}
    lay(tmp_path, (0, NOON + 2 * HOUR, None, 21), (1, NOON + 3 * HOUR, None, 22))
    store.materialize_incremental(NOON + 2 * HOUR + MICRO)
    assert read(store) == {"trips": [21, 2, 13]}
    assert windows(store) == [
        (NOON - HOUR, NOON + HOUR),
        (NOON + HOUR, NOON + 2 * HOUR),
        (NOON + 2 * HOUR, NOON + 2 * HOUR + MICRO),
    ]


@pytest.mark.parametrize(("ttl", "found"), [(timedelta(hours=5), [None, 2]), (timedelta(0), [1, 2])])
def test_the_first_incremental_reaches_back_by_the_ttl(
    store: FeatureStore, tmp_path: Path, ttl: timedelta, found: list[int | None]
) -> None:
    now = datetime.now(UTC)
    lay(tmp_path, (0, now - 9 * HOUR, None, 1), (1, now - 4 * HOUR, None, 2))
    store.apply([DRIVER, view(ttl=ttl)])
    store.materialize_incremental(now)
    assert read(store, drivers=2) == {"trips": found}


def test_everything_there_is(store: FeatureStore, tmp_path: Path) -> None:
    """`disable_event_timestamp` promises all available data up to now, whatever the range."""
    lay(
        tmp_path,
        (0, datetime(1, 1, 1, tzinfo=UTC), None, 1),
        (1, datetime(1969, 1, 1, tzinfo=UTC), None, 2),
        (2, datetime.now(UTC) + HOUR, None, 3),
        (2, NOON - 9000 * HOUR, None, 4),
    )
    store.apply([DRIVER, view()])
    store.materialize(NOON, NOON, disable_event_timestamp=True)
    assert read(store) == {"trips": [1, 2, 4]}


def test_late_and_older_rows_never_win(store: FeatureStore, tmp_path: Path) -> None:
    lay(tmp_path, (0, NOON + HOUR, None, 1), (1, NOON, None, 2))
    store.apply([DRIVER, view()])
    store.materialize(NOON, NOON + HOUR)
    lay(tmp_path, (0, NOON, None, 10), (1, NOON - HOUR, None, 20))
    store.materialize(NOON - 2 * HOUR, NOON + 2 * HOUR)
    assert read(store, drivers=2) == {"trips": [1, 2]}


def test_of_equal_events_the_one_created_last_wins(store: FeatureStore, tmp_path: Path) -> None:
    source = ParquetSource("rows.parquet", created_timestamp_column="written_at", **TIMES)
    lay(tmp_path, (0, NOON, NOON + HOUR, 1), (0, NOON, NOON, 2), (0, NOON, None, 3), (1, NOON, None, 4))
    store.apply([DRIVER, view(source=source)])
    store.materialize(NOON, NOON)
    assert read(store, drivers=2) == {"trips": [1, 4]}
    # An earlier version of the row, and one without a time of creation, do not come back.
    lay(tmp_path, (0, NOON, NOON + HOUR - MICRO, 5), (1, NOON, NOON, 6))
    store.materialize(NOON, NOON)
    assert read(store, drivers=2) == {"trips": [1, 6]}
    lay(tmp_path, (0, NOON, None, 7), (1, NOON, None, 8))
    store.materialize(NOON, NOON)
    assert read(store, drivers=2) == {"trips": [1, 6]}
    # The same version with another value is a correction.
    lay(tmp_path, (0, NOON, NOON + HOUR, 9))
    store.materialize(NOON, NOON)
    assert read(store, drivers=2) == {"trips": [9, 6]}


def test_a_range_without_rows(store: FeatureStore, tmp_path: Path) -> None:
    lay(tmp_path, (0, NOON, None, 1))
    store.apply([DRIVER, view()])
    store.materialize(NOON - 2 * HOUR, NOON - HOUR)
    assert read(store) == {"trips": [None] * 3}
    lay(tmp_path)
    store.materialize_incremental(NOON)
    assert windows(store) == [(NOON - 2 * HOUR, NOON - HOUR), (NOON - HOUR, NOON)]


# -------------------------------------------------------------------------------------- definitions that change


def wide(folder: Path, **columns: Any) -> None:
    count = len(next(iter(columns.values())))
    keys = {"driver_id": range(count), "known_at": pa.array([NOON] * count, MICROS)}
    pq.write_table(pa.table({**keys, **columns}), folder / "rows.parquet")


def test_a_feature_that_is_added_reads_as_null_until_its_rows_are_materialized_again(
    store: FeatureStore, tmp_path: Path
) -> None:
    wide(tmp_path, trips=[1, 2], label=["a", None])
    store.apply([DRIVER, view()])
    store.materialize(NOON, NOON)
    store.apply([DRIVER, view(field("trips", Int64), field("label", String))])
    assert read(store, "label", "trips") == {"label": [None] * 3, "trips": [1, 2, None]}
    assert statuses(store, "label") == ["NULL_VALUE", "NULL_VALUE", "NOT_FOUND"]
    store.materialize(NOON, NOON)
    assert read(store, "label", "trips") == {"label": ["a", None, None], "trips": [1, 2, None]}
    assert statuses(store, "label") == ["PRESENT", "NULL_VALUE", "NOT_FOUND"]


def test_features_removed_reordered_and_widened(store: FeatureStore, tmp_path: Path) -> None:
    before = [field("a", Int32), field("gone", String), field("b", Float32), field("c", Bool), field("d", Array(Int32))]
    after = [field("d", Array(Int64)), field("b", Float64), field("c", Bool), field("a", Int64)]
    wide(tmp_path, a=[1, None], gone=["x", "y"], b=[0.5, 1.5], c=[True, False], d=[[1], []])
    store.apply([DRIVER, view(*before)])
    store.materialize(NOON, NOON)
    store.apply([DRIVER, view(*after)])
    old = {"a": [1, None, None], "b": [0.5, 1.5, None], "c": [True, False, None], "d": [[1], [], None]}
    assert read(store, "a", "b", "c", "d") == old
    wide(tmp_path, a=[2**40], b=[1e300], c=[False], d=[[2**40]])
    store.materialize(NOON, NOON)
    # Driver 0 has a row of the new schema, driver 1 one of the old.
    assert read(store, "a", "b", "c", "d") == {
        "a": [2**40, None, None], "b": [1e300, 1.5, None], "c": [False, False, None], "d": [[2**40], [], None],
    }  # fmt: skip


def test_a_view_with_more_features_than_one_byte_of_nulls(store: FeatureStore, tmp_path: Path) -> None:
    names = [f"f{number}" for number in range(70)]
    wide(tmp_path, **{name: [number, None if number % 3 else -number] for number, name in enumerate(names)})
    store.apply([DRIVER, view(*(field(name, Int64) for name in names))])
    store.materialize(NOON, NOON)
    answer = read(store, *names, drivers=2)
    assert answer == {name: [number, None if number % 3 else -number] for number, name in enumerate(names)}


# ------------------------------------------------------------------------------------------------ names and keys


def test_field_mapping_of_keys_times_and_features(store: FeatureStore, tmp_path: Path) -> None:
    rows = table((0, NOON, NOON, 1), (0, NOON, NOON + HOUR, 2), (1, NOON + HOUR, None, 3))
    pq.write_table(rows.rename_columns(["id", "at", "saved", "n"]), tmp_path / "rows.parquet")
    source = ParquetSource(
        "rows.parquet",
        timestamp_field="known_at",
        created_timestamp_column="written_at",
        field_mapping={"id": "driver_id", "at": "known_at", "saved": "written_at", "n": "trips"},
    )
    store.apply([DRIVER, view(source=source)])
    store.materialize(NOON, NOON)
    assert read(store) == {"trips": [2, None, None]}
    store.materialize_incremental(NOON + HOUR)
    assert read(store) == {"trips": [2, 3, None]}


def test_names_of_their_own(store: FeatureStore, tmp_path: Path) -> None:
    """A column may have the name that another one is mapped to, and a feature may be the event time itself."""
    wide(tmp_path, a=[1], b=[2])
    source = ParquetSource("rows.parquet", field_mapping={"a": "b"}, **TIMES)
    store.apply([DRIVER, view(field("b", Int64), field("known_at", UnixTimestamp), source=source)])
    store.materialize(NOON, NOON)
    assert read(store, "b", "known_at", drivers=1) == {"b": [1], "known_at": [NOON]}


def test_composite_keys(store: FeatureStore, tmp_path: Path) -> None:
    keys = [(1, "a"), (1, "b"), (11, ""), (1, None), (None, "a")]
    rows = [{"driver_id": d, "region_id": r, "known_at": NOON, "n": i} for i, (d, r) in enumerate(keys)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    store.apply([DRIVER, REGION, view(field("n", Int64), entities=[REGION, DRIVER])])
    store.materialize(NOON, NOON)
    asked = [{"driver_id": d, "region_id": r} for d, r in [(1, "a"), (1, "b"), (11, ""), (11, "a"), (1, None)]]
    assert store.get_online_features(["stats:n"], asked).to_dict()["n"] == [0, 1, 2, None, None]


def test_rows_without_a_key_are_left_out(store: FeatureStore, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lay(tmp_path, (None, NOON, None, 1), (0, NOON, None, 2), (None, NOON, None, 3))
    store.apply([DRIVER, view()])
    with caplog.at_level(logging.INFO, "yummy_feast"):
        store.materialize(NOON, NOON)
    assert read(store, drivers=1) == {"trips": [2]}
    assert "rows.parquet: left out 2 rows whose join key driver_id is null" in caplog.text
    assert "feature view stats: 1 rows written" in caplog.text


@pytest.mark.parametrize("kind", FORMATS)
def test_a_view_without_entities(store: FeatureStore, tmp_path: Path, kind: str) -> None:
    rows = table((0, NOON, None, 1), (1, NOON + HOUR, None, 2)).select(["known_at", "trips"])
    store.apply(view(entities=[], source=FORMATS[kind](tmp_path, "rows", rows, **TIMES)))
    store.materialize(NOON, NOON)
    assert store.get_online_features(["stats:trips"], [{}]).to_dict() == {"trips": [1]}
    store.materialize_incremental(NOON + HOUR)
    assert store.get_online_features(["stats:trips"], [{}]).to_dict() == {"trips": [2]}
