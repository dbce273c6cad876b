"""`yummy verify`: a materialized repository agrees with itself, and each way of spoiling it is told from the others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, PushSource
from feast.types import Array, Float32, Float64, Int64, String, UnixTimestamp
from feast.value_type import ValueType

from tests.feast.repo import FORMATS, at, feature_store
from tests.feast.test_types import CSV_TYPES, THING
from tests.feast.test_types import table as typed_table
from tests.feast.test_types import view as typed_view
from tests.feast.type_cases import ROWS, of_format
from tests.online_server import address, client, server
from yummy_feast import ParquetSource
from yummy_feast.errors import ConfigError, RetrievalError, ValueTypeError
from yummy_feast.verification import Cause, Verification, ViewReport, verify

__all__ = ["address", "client", "server"]

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MICROS = pa.timestamp("us", "UTC")
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
REGION = Entity(name="region", join_keys=["region_id"], value_type=ValueType.STRING)
TRIPS = Field(name="trips", dtype=Int64)
DRIVERS = 20


def lay(folder: Path, *rows: tuple[int, datetime, int], name: str = "rows") -> None:
    """(driver, event time, trips)."""
    drivers, times, trips = zip(*rows, strict=True)
    columns = {"driver_id": pa.array(drivers, pa.int64()), "known_at": pa.array(times, MICROS), "trips": trips}
    pq.write_table(pa.table(columns), folder / f"{name}.parquet", row_group_size=7)


def stats(*fields: Field, name: str = "stats", entities: list[Entity] | None = None, **options: Any) -> FeatureView:
    keywords: dict[str, Any] = {
        "source": ParquetSource("rows.parquet", name=f"{name}_rows", timestamp_field="known_at"),
        "ttl": timedelta(0),
        **options,
    }
    return FeatureView(
        name=name, entities=[DRIVER] if entities is None else entities, schema=[*(fields or [TRIPS])], **keywords
    )


@pytest.fixture
def store(tmp_path: Path, address: str) -> FeatureStore:
    return feature_store(tmp_path, online=at(address))


@pytest.fixture
def materialized(store: FeatureStore, tmp_path: Path) -> FeatureStore:
    """Two rows of each driver; the newer one is the hour of the materialization."""
    lay(tmp_path, *((driver, NOON + at * HOUR, 10 * driver + at) for at in range(2) for driver in range(DRIVERS)))
    store.apply([DRIVER, stats()])
    store.materialize(NOON, NOON + HOUR)
    return store


def write(store: FeatureStore, driver: int, event: datetime, trips: Any) -> None:
    frame = pd.DataFrame({"driver_id": [driver], "known_at": [event], "trips": [trips]})
    store.write_to_online_store("stats", frame)


def forcing(folder: Path, address: str) -> FeatureStore:
    """The same repository, written to without a look at what is there."""
    return feature_store(folder, online=at(address, skip_dedup=True))


def only(found: Verification) -> ViewReport:
    (report,) = found.views
    return report


def key_of(client: Any, driver: int) -> bytes:
    (key,) = [key for key in client.scan_iter() if key.endswith(driver.to_bytes(8, "little"))]
    return bytes(key)


# ------------------------------------------------------------------------------------------------ what agrees


def test_what_was_materialized_agrees(materialized: FeatureStore) -> None:
    report = only(verify(materialized))
    assert report == ViewReport("stats", NOON + HOUR, "", DRIVERS, {}, {}, ())
    assert (report.equal, report.skewed, report.share) == (DRIVERS, 0, 0.0)


@pytest.mark.parametrize(("kind", "layout"), [*((kind, "rows") for kind in FORMATS), ("parquet", "feast")])
def test_every_type_agrees(tmp_path: Path, address: str, kind: str, layout: str) -> None:
    store = feature_store(tmp_path, online=at(address, layout=layout))
    names = of_format(kind)
    options = {"schema": CSV_TYPES} if kind == "csv" else {}
    source = FORMATS[kind](tmp_path, "rows", typed_table(*names), timestamp_field="known_at", **options)
    store.apply([THING, typed_view("things", source, *names)])
    store.materialize(NOON - 24 * HOUR, NOON + 24 * HOUR)
    report = only(verify(store))
    assert (report.entities, report.equal) == (ROWS, ROWS), report.examples


@pytest.mark.parametrize("kind", [pa.timestamp("ns"), pa.timestamp("s", "Asia/Tokyo"), pa.date32()], ids=str)
def test_event_times_of_any_type_agree(store: FeatureStore, tmp_path: Path, kind: pa.DataType) -> None:
    day = datetime(2026, 1, 1, tzinfo=UTC)
    moments = pa.array([day, day - 24 * HOUR], MICROS)
    times = moments.cast(pa.timestamp("us", kind.tz) if getattr(kind, "tz", None) else pa.timestamp("us")).cast(kind)
    if kind == pa.timestamp("ns"):
        times = pa.array([tick + 999 for tick in times.cast(pa.int64()).to_pylist()], pa.int64()).cast(kind)
    pq.write_table(pa.table({"driver_id": [0, 1], "known_at": times, "trips": [1, 2]}), tmp_path / "rows.parquet")
    store.apply([DRIVER, stats()])
    store.materialize(day - 48 * HOUR, NOON)
    assert only(verify(store)).equal == 2


def test_keys_of_several_columns_under_other_names(store: FeatureStore, tmp_path: Path) -> None:
    keys = [(1, "a"), (1, "b"), (11, ""), (1, None), (None, "a")]
    rows = [{"d": d, "r": r, "at": NOON, "n": i} for i, (d, r) in enumerate(keys)]
    schema = pa.schema([("d", pa.int32()), ("r", pa.string()), ("at", MICROS), ("n", pa.int64())])
    pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "rows.parquet")
    mapping = {"d": "driver_id", "r": "region_id", "at": "known_at", "n": "trips"}
    source = ParquetSource("rows.parquet", timestamp_field="known_at", field_mapping=mapping)
    store.apply([DRIVER, REGION, stats(entities=[REGION, DRIVER], source=source)])
    store.materialize(NOON, NOON)
    report = only(verify(store))
    assert (report.entities, report.equal) == (3, 3), report


def test_a_view_without_entities(store: FeatureStore, tmp_path: Path, client: Any) -> None:
    lay(tmp_path, (0, NOON, 1), (1, NOON + HOUR, 2))
    store.apply([stats(entities=[])])
    store.materialize(NOON, NOON + HOUR)
    assert only(verify(store)).equal == 1
    client.delete(next(key for key in client.scan_iter() if b"dummy" in key))
    report = only(verify(store))
    assert report.counts == {Cause.MISSING: 1}
    assert str(report.examples[0]).startswith("missing: the only row: 2026-01-01 13:00:00+00:00 offline, no row online")


def test_a_feature_that_is_the_event_time(store: FeatureStore, tmp_path: Path) -> None:
    lay(tmp_path, (0, NOON, 1))
    store.apply([DRIVER, stats(TRIPS, Field(name="known_at", dtype=UnixTimestamp))])
    store.materialize(NOON, NOON)
    assert only(verify(store)).equal == 1


def test_versions_of_a_view(tmp_path: Path, address: str) -> None:
    registry = {"path": str(tmp_path / "registry.db"), "enable_online_feature_view_versioning": True}
    store = feature_store(tmp_path, online=at(address), top={"registry": registry})
    lay(tmp_path, (0, NOON, 1))
    store.apply([DRIVER, stats()])
    store.apply([DRIVER, stats(Field(name="trips", dtype=Float64))])
    assert store.get_feature_view("stats").current_version_number == 1
    store.materialize(NOON, NOON)
    assert only(verify(store)).equal == 1


def test_rounding_to_the_declared_type_is_no_skew(store: FeatureStore, tmp_path: Path) -> None:
    """A source of doubles for a Float32 feature, alone and in vectors."""
    columns = {"driver_id": [0], "known_at": pa.array([NOON], MICROS), "rate": [0.1], "vector": [[0.1, 1e300]]}
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    store.apply([DRIVER, stats(Field(name="rate", dtype=Float32), Field(name="vector", dtype=Array(Float32)))])
    store.materialize(NOON, NOON)
    assert only(verify(store)).equal == 1


def test_how_far_apart_floats_may_be(store: FeatureStore, tmp_path: Path) -> None:
    def put(rate: float) -> None:
        columns = {"driver_id": [0], "known_at": pa.array([NOON], MICROS), "rate": [rate]}
        pq.write_table(pa.table(columns), tmp_path / "rows.parquet")

    put(1.0)
    store.apply([DRIVER, stats(Field(name="rate", dtype=Float64))])
    store.materialize(NOON, NOON)
    put(1.0 + 1e-15)
    assert only(verify(store)).equal == 1
    put(1.0 + 1e-9)
    assert only(verify(store)).counts == {Cause.VALUE: 1}
    assert only(verify(store, relative=1e-8)).equal == 1


# ------------------------------------------------------------------------------------------------ what does not


def test_a_row_that_is_gone(materialized: FeatureStore, client: Any) -> None:
    client.delete(key_of(client, 3))
    report = only(verify(materialized))
    assert (report.counts, report.share) == ({Cause.MISSING: 1}, 1 / DRIVERS)
    assert str(report.examples[0]) == "missing: driver_id=3: 2026-01-01 13:00:00+00:00 offline, no row online"


def test_an_older_row_behind_the_guard(materialized: FeatureStore, tmp_path: Path, address: str) -> None:
    write(forcing(tmp_path, address), 4, NOON, 40)
    report = only(verify(materialized))
    assert report.counts == {Cause.STALE: 1}
    assert str(report.examples[0]).endswith(
        "driver_id=4: 2026-01-01 13:00:00+00:00 offline, 2026-01-01 12:00:00+00:00 online"
    )


def test_another_value(materialized: FeatureStore, tmp_path: Path, address: str) -> None:
    forced = forcing(tmp_path, address)
    write(forced, 5, NOON + HOUR, 99)
    write(forced, 6, NOON + HOUR, -1)
    report = only(verify(materialized))
    assert (report.counts, report.features) == ({Cause.VALUE: 2}, {"trips": 2})
    assert {str(example) for example in report.examples} == {
        "value: driver_id=5: trips is 51 offline, 99 online",
        "value: driver_id=6: trips is 61 offline, -1 online",
    }


def test_another_type_and_damaged_bytes(materialized: FeatureStore, tmp_path: Path, address: str, client: Any) -> None:
    """A row that cannot be read does not hide the others."""
    other = tmp_path / "other"
    other.mkdir()
    elsewhere = feature_store(other, online=at(address, skip_dedup=True))
    lay(other, (0, NOON, 1))
    elsewhere.apply([DRIVER, stats(Field(name="trips", dtype=String))])
    write(elsewhere, 7, NOON + HOUR, "many")
    client.hset(key_of(client, 8), "stats", client.hget(key_of(client, 8), "stats")[:-1])
    client.delete(key_of(client, 9))
    report = only(verify(materialized))
    assert report.counts == {Cause.TYPE: 2, Cause.MISSING: 1}
    assert report.equal == DRIVERS - 3
    told = sorted(str(example) for example in report.examples if example.cause is Cause.TYPE)
    assert "driver_id=7" in told[0]
    assert "feature 'trips' is declared INT64 and was stored as STRING" in told[0]
    assert "driver_id=8" in told[1]
    assert "a row in Redis is damaged" in told[1]


def test_a_newer_row_is_no_skew(materialized: FeatureStore) -> None:
    write(materialized, 1, NOON + 2 * HOUR, 1000)
    report = only(verify(materialized))
    assert (report.counts, report.skewed, report.equal) == ({Cause.AHEAD: 1}, 0, DRIVERS - 1)


def test_late_rows_and_rows_outside_every_window(materialized: FeatureStore, tmp_path: Path) -> None:
    rows = [(driver, NOON + HOUR, 10 * driver + 1) for driver in range(DRIVERS)]
    # A late one inside the window; one before it; two after it, which nobody asked for.
    late = [
        (50, NOON, 0),
        (51, NOON - HOUR, 0),
        (52, NOON + 2 * HOUR, 0),
        (3, NOON + 2 * HOUR, 0),
    ]
    lay(tmp_path, *rows, *late)
    report = only(verify(materialized))
    assert (report.entities, report.counts) == (DRIVERS + 2, {Cause.MISSING: 1, Cause.UNCOVERED: 1})
    assert report.skewed == 2


def test_rows_beyond_the_ttl_are_not_looked_for(store: FeatureStore, tmp_path: Path) -> None:
    lay(tmp_path, (0, NOON, 1), (1, NOON + 2 * HOUR, 2), (2, NOON - HOUR, 3))
    store.apply([DRIVER, stats(ttl=2 * HOUR)])
    store.materialize(NOON, NOON + 2 * HOUR)
    report = only(verify(store))
    assert (report.entities, report.equal) == (2, 2)


def test_keys_that_have_expired(tmp_path: Path, address: str, client: Any) -> None:
    store = feature_store(tmp_path, online=at(address, key_ttl_seconds=1))
    lay(tmp_path, (0, NOON, 1))
    store.apply([DRIVER, stats()])
    store.materialize(NOON, NOON)
    client.flushdb()
    assert only(verify(store)).counts == {Cause.MISSING: 1}, "it cannot have expired yet"
    view = store.get_feature_view("stats")
    view.last_updated_timestamp = datetime.now(UTC) - timedelta(seconds=2)
    registry: Any = store.registry
    registry.cached_registry_proto.feature_views[0].meta.last_updated_timestamp.FromDatetime(
        view.last_updated_timestamp
    )
    registry.commit()
    report = only(verify(store))
    assert (report.counts, report.share) == ({Cause.EXPIRED: 1}, 0.0)


def test_a_source_that_no_longer_fits_is_an_error_that_names_the_view(
    materialized: FeatureStore, tmp_path: Path
) -> None:
    columns = {"driver_id": [0], "known_at": pa.array([NOON], MICROS), "trips": pa.array([2**63], pa.uint64())}
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    with pytest.raises(ValueTypeError, match="feature view 'stats': column 'trips' is declared INT64"):
        verify(materialized)


# ------------------------------------------------------------------------------------------------ which views


def test_views_that_cannot_be_compared(materialized: FeatureStore, tmp_path: Path) -> None:
    never = stats(
        name="never",
        source=PushSource(name="p", batch_source=ParquetSource("rows.parquet", name="b", timestamp_field="known_at")),
    )
    hidden = stats(name="hidden", online=False)
    materialized.apply([never, hidden])
    found = verify(materialized)
    assert [(view.view, view.skipped) for view in found.views] == [
        ("hidden", "is kept offline only"),
        ("never", "never materialized"),
        ("stats", ""),
    ]
    assert [view.view for view in verify(materialized, views=["stats"]).views] == ["stats"]
    with pytest.raises(RetrievalError, match=r"no feature view 'stat' .did you mean 'stats'"):
        verify(materialized, views=["stat"])
    with pytest.raises(RetrievalError, match=r"no feature view to verify .never: never materialized"):
        verify(materialized, views=["never"])


def test_stores_that_are_not_ours(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigError, match="online_store is SqliteOnlineStore"):
        verify(feature_store(tmp_path, online={"type": "sqlite", "path": str(tmp_path / "o.db")}))
    with pytest.raises(ConfigError, match="offline_store is DaskOfflineStoreConfig"):
        verify(feature_store(tmp_path, "dask", online=at(address)))


def test_a_sample(materialized: FeatureStore, client: Any) -> None:
    """The same entities every time, others with another seed; several chunks and batches are one sample."""
    client.flushdb()
    first = only(verify(materialized, sample=3))
    assert (first.entities, first.counts) == (3, {Cause.MISSING: 3})
    assert only(verify(materialized, sample=3)) == first
    assert only(verify(materialized, sample=3, seed=1)).examples != first.examples


def test_batches_do_not_mix_up_rows(materialized: FeatureStore, monkeypatch: pytest.MonkeyPatch, client: Any) -> None:
    from yummy_feast.verification import sides

    monkeypatch.setattr(sides, "_CHUNK", 7)
    monkeypatch.setattr(sides, "_BATCH", 3)
    client.delete(key_of(client, 3))
    seen: list[tuple[str, str, int]] = []
    report = only(verify(materialized, progress=lambda *step: seen.append(step)))
    assert (report.entities, report.counts) == (DRIVERS, {Cause.MISSING: 1})
    assert report.examples[0].keys == {"driver_id": 3}
    assert sum(count for _, stage, count in seen if stage == "comparing entities") == DRIVERS
    assert sum(count for _, stage, count in seen if stage == "drawing entities") == 2 * DRIVERS
