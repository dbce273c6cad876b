"""get_historical_features through Feast's FeatureStore: every format, every form of entity rows, every kind of view."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field
from feast.errors import FeatureNameCollisionError
from feast.types import Float64, Int64, String
from feast.value_type import ValueType

from tests.feast.repo import FORMATS, feature_store
from tests.property import oracle
from tests.property.worlds import plain
from yummy_feast import select_all
from yummy_feast.errors import EntityRowsError, NameCollisionError
from yummy_feast.offline.job import YummyRetrievalJob

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
TTL = 6 * HOUR
FEATURES = ("rate", "trips", "label")
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)


def history() -> pa.Table:
    """Two days of seven drivers, with ties of every kind, rows without a driver, late and missing creation times."""
    random = np.random.default_rng(7)
    count = 120
    hours = random.integers(0, 48, count)
    delays = random.integers(0, 5, count)

    def moments(of: np.ndarray[Any, Any], missing: float) -> pa.Array:
        return pa.array(
            [None if random.random() < missing else START + int(hour) * HOUR for hour in of], pa.timestamp("us", "UTC")
        )

    def column(kind: pa.DataType, make: Callable[[int], object]) -> pa.Array:
        return pa.array([None if random.random() < 0.1 else make(number) for number in range(count)], kind)

    return pa.table(
        {
            "driver_id": column(pa.int64(), lambda n: n % 7),
            "event_timestamp": moments(hours, 0.03),
            "created": moments(hours + delays, 0.2),
            "rate": column(pa.float64(), lambda n: n / 8),
            "trips": column(pa.int64(), lambda n: n),
            "label": column(pa.string(), lambda n: f"row {n}"),
        }
    )


def view_of(name: str) -> oracle.View:
    return oracle.View(
        rows=plain(history()),
        keys={"driver_id": "driver_id"},
        features={f"{name}__{feature}": feature for feature in FEATURES},
        created="created",
        ttl=int(TTL.total_seconds()) * 10**9,
    )


def questions() -> pd.DataFrame:
    """Every driver at odd and even moments, some of them unknown, exactly at events and at the ends of the ttl."""
    random = np.random.default_rng(8)
    count = 90
    ticks = pd.to_timedelta(random.choice([0, 0, 0, 1, -1], count), unit="us")
    frame = pd.DataFrame(
        {
            "note": [1, "two", None] * (count // 3),
            "driver_id": random.integers(0, 9, count),
            "event_timestamp": START + pd.to_timedelta(random.integers(-2, 60, count), unit="h") + ticks,
            "weight": np.float32(0.5),
            "level": pd.Categorical(["low", "high", "low"] * (count // 3)),
            "trips_so_far": pd.array([1, None, 3] * (count // 3), dtype="Int64"),
        },
        index=random.permutation(count),
    )
    return pd.concat([frame, frame.iloc[3:5]])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    folder = tmp_path_factory.mktemp("lab")
    fields = [Field(name="rate", dtype=Float64), Field(name="trips", dtype=Int64), Field(name="label", dtype=String)]
    options = {"timestamp_field": "event_timestamp", "created_timestamp_column": "created"}
    views = []
    for name, build in FORMATS.items():
        source = build(folder, f"{name}_rows", history(), **options)
        views.append(FeatureView(name=name, entities=[DRIVER], schema=fields, source=source, ttl=TTL))
    asked = FORMATS["parquet"](folder, "asked", arrow_questions(), timestamp_field="event_timestamp")
    store = feature_store(folder)
    store.apply(
        [DRIVER, *views, asked, FeatureService(name="mixed", features=[views[0][["trips"]], views[2][["rate"]]])]
    )
    return store


def arrow_questions() -> pa.Table:
    frame = questions().drop(columns="note")
    table = pa.Table.from_pandas(frame, preserve_index=False)
    return table.append_column("n", pa.array(range(len(table))))


def expected(*views: str, cutoff: bool = False) -> list[dict[str, Any]]:
    """What the oracle answers, features by their full names."""
    asked = questions()[["driver_id", "event_timestamp"]]
    rows = plain(pa.Table.from_pandas(asked, preserve_index=False))
    return oracle.point_in_time(rows, [view_of(view) for view in views], created_cutoff=cutoff)


def refs(*views: str) -> list[str]:
    return [f"{view}:{name}" for view in views for name in FEATURES]


def answers(table: pa.Table, *views: str) -> list[dict[str, Any]]:
    return plain(table.select(["driver_id", "event_timestamp", *(f"{v}__{f}" for v in views for f in FEATURES)]))


# --------------------------------------------------------------------------------- formats and entity rows


def path_of(folder: Path) -> Path:
    pq.write_table(arrow_questions(), folder / "questions.parquet")
    return folder / "questions.parquet"


FORMS: dict[str, Callable[[Path], Any]] = {
    "pandas": lambda folder: questions().drop(columns="note"),
    "arrow": lambda folder: arrow_questions(),
    "arrow batch": lambda folder: arrow_questions().combine_chunks().to_batches()[0],
    "path": path_of,
    "text path": lambda folder: str(path_of(folder)),
    "sql": lambda folder: "SELECT * FROM asked ORDER BY n",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("view", FORMATS)
def test_every_format_answers_every_form_of_entity_rows(
    world: FeatureStore, tmp_path: Path, view: str, form: str
) -> None:
    job = world.get_historical_features(FORMS[form](tmp_path), refs(view), full_feature_names=True)
    assert answers(job.to_arrow(), view) == expected(view)


@pytest.mark.parametrize("cutoff", [False, True])
def test_all_formats_in_one_fetch(world: FeatureStore, cutoff: bool) -> None:
    job = world.get_historical_features(
        questions(), refs(*FORMATS), full_feature_names=True, filter_by_created_timestamp=cutoff
    )
    frame = job.to_df().drop(columns="note")
    assert answers(pa.Table.from_pandas(frame), *FORMATS) == expected(*FORMATS, cutoff=cutoff)
    if cutoff:
        assert expected("csv", cutoff=True) != expected("csv"), "the cut-off decides nothing here"


def test_columns_of_the_frame_come_back_as_they_went_in(world: FeatureStore) -> None:
    asked = questions()
    before = asked.copy()
    frame = world.get_historical_features(asked, ["parquet:label", "csv:rate"]).to_df()
    pd.testing.assert_frame_equal(asked, before)
    pd.testing.assert_frame_equal(frame[list(asked.columns)], asked.reset_index(drop=True))
    assert list(frame.columns) == [*asked.columns, "label", "rate"]


def test_features_come_in_the_order_they_were_asked_for(world: FeatureStore) -> None:
    wanted = ["csv:trips", "delta:rate", "csv:label"]
    table = world.get_historical_features(arrow_questions(), wanted).to_arrow()
    assert table.column_names[-3:] == ["trips", "rate", "label"]


def test_a_feature_service_and_its_own_names(world: FeatureStore) -> None:
    service = world.get_feature_service("mixed")
    table = world.get_historical_features(arrow_questions(), service, full_feature_names=True).to_arrow()
    wanted = {"parquet__trips", "delta__rate"}
    assert set(table.column_names) - set(arrow_questions().column_names) == wanted
    both = expected("parquet", "delta")
    assert plain(table.select(sorted(wanted))) == [{name: row[name] for name in sorted(wanted)} for row in both]


def test_a_view_twice_by_different_entity_columns(world: FeatureStore) -> None:
    view = world.get_feature_view("iceberg")
    service = FeatureService(
        name="pair",
        features=[
            view.with_name("first").with_join_key_map({"driver_id": "first_id"})[["trips"]],
            view.with_name("second").with_join_key_map({"driver_id": "second_id"})[["trips"]],
        ],
    )
    world.apply(service)
    asked = arrow_questions().select(["driver_id", "event_timestamp"]).rename_columns(["second_id", "event_timestamp"])
    asked = asked.append_column("first_id", pa.nulls(len(asked), pa.int64()))
    table = world.get_historical_features(asked, service, full_feature_names=True).to_arrow()
    assert table["first__trips"].null_count == len(asked)
    assert table["second__trips"].to_pylist() == [row["iceberg__trips"] for row in expected("iceberg")]


def test_versions_of_a_view_are_views_of_their_own(tmp_path: Path) -> None:
    source = FORMATS["parquet"](tmp_path, "rows", history(), timestamp_field="event_timestamp")
    registry = {"path": str(tmp_path / "registry.db"), "enable_online_feature_view_versioning": True}
    store = feature_store(tmp_path, top={"registry": registry})
    for ttl, fields in ((timedelta(0), ["trips"]), (timedelta(microseconds=1), ["trips", "rate"])):
        schema = [Field(name=name, dtype={"trips": Int64, "rate": Float64}[name]) for name in fields]
        store.apply([DRIVER, FeatureView(name="stats", entities=[DRIVER], schema=schema, source=source, ttl=ttl)])
    job = store.get_historical_features(questions(), ["stats@v0:trips", "stats:trips"], full_feature_names=True)
    frame = job.to_df()
    assert frame["stats@v0__trips"].notna().sum() > frame["stats__trips"].notna().sum()


# ------------------------------------------------------------------------------------------ times of asking


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_times_of_any_unit_and_zone(world: FeatureStore, unit: str, zone: str | None) -> None:
    hours = [0, 7, 20, 47, 55]
    rows = [{"driver_id": key, "event_timestamp": START + hour * HOUR} for key in range(8) for hour in hours]
    asked = pa.Table.from_pylist(
        rows, pa.schema([("driver_id", pa.int64()), ("event_timestamp", pa.timestamp("us", "UTC"))])
    )
    times = asked["event_timestamp"].cast(pa.timestamp(unit, zone or "UTC"))
    if zone is None:
        times = times.cast(pa.int64()).cast(pa.timestamp(unit))
    other = asked.set_column(1, "event_timestamp", times)
    truth = world.get_historical_features(asked, refs("parquet")).to_arrow()
    for given in (other, other.to_pandas()):
        table = world.get_historical_features(given, refs("parquet")).to_arrow()
        assert table.select(FEATURES).to_pydict() == truth.select(FEATURES).to_pydict()
        assert table.schema.field("event_timestamp").type.tz == "UTC"
        assert plain(table.select(["event_timestamp"])) == plain(truth.select(["event_timestamp"]))


def test_python_datetimes_in_an_object_column(world: FeatureStore) -> None:
    asked = questions()[["driver_id", "event_timestamp"]].reset_index(drop=True)
    zones = [UTC, None, "Asia/Tokyo"]
    times = [time.tz_convert(zones[n % 3] or "UTC") for n, time in enumerate(asked["event_timestamp"])]
    moments = [time.tz_localize(None) if n % 3 == 1 else time for n, time in enumerate(times)]
    odd = asked.assign(event_timestamp=pd.Series([moment.to_pydatetime() for moment in moments], dtype=object))
    table = world.get_historical_features(odd, refs("csv"), full_feature_names=True).to_arrow()
    assert answers(table, "csv") == expected("csv")


def test_the_end_of_time_is_a_time(world: FeatureStore) -> None:
    asked = pd.DataFrame(
        {"driver_id": [1], "event_timestamp": pd.Series([datetime(9999, 12, 31, tzinfo=UTC)], dtype=object)}
    )
    frame = world.get_historical_features(asked, ["parquet:trips"]).to_df()
    assert frame["event_timestamp"][0] == datetime(9999, 12, 31, tzinfo=UTC)
    assert frame["trips"].isna().all()


# -------------------------------------------------------------------------------------- without entity rows


@pytest.mark.parametrize("view", FORMATS)
def test_a_range_of_dates_is_every_recorded_moment(world: FeatureStore, view: str) -> None:
    start, end = START + 5 * HOUR, START + 20 * HOUR
    job = world.get_historical_features(None, refs(view), start_date=start, end_date=end, full_feature_names=True)
    table = job.to_arrow()
    recorded = {
        (row["driver_id"], row["event_timestamp"])
        for row in history().to_pylist()
        if row["driver_id"] is not None and row["event_timestamp"] and start <= row["event_timestamp"] <= end
    }
    found = list(zip(table["driver_id"].to_pylist(), table["event_timestamp"].to_pylist(), strict=True))
    assert len(found) == len(recorded)
    assert set(found) == recorded
    assert [time for _, time in found] == sorted(time for _, time in found)
    asked = plain(table.select(["driver_id", "event_timestamp"]))
    assert answers(table, view) == oracle.point_in_time(asked, [view_of(view)])


def test_only_an_end_reaches_back_by_the_ttl(world: FeatureStore) -> None:
    end = START + 20 * HOUR
    table = world.get_historical_features(None, ["parquet:trips"], end_date=end).to_arrow()
    times = table["event_timestamp"].to_pylist()
    assert (min(times), max(times)) >= (end - TTL, end - 2 * HOUR)
    assert max(times) <= end


def test_a_range_in_which_nothing_happened(world: FeatureStore) -> None:
    table = world.get_historical_features(
        None, ["parquet:trips"], start_date=START - 9 * HOUR, end_date=START - 8 * HOUR
    ).to_arrow()
    assert table.num_rows == 0
    assert table.column_names == ["driver_id", "event_timestamp", "trips"]


@pytest.mark.parametrize("zone", [UTC, None])
def test_select_all_is_every_entity_once(world: FeatureStore, zone: Any) -> None:
    moment = START + 20 * HOUR
    job = world.get_historical_features(
        select_all(moment.replace(tzinfo=zone)), refs("delta", "csv"), full_feature_names=True
    )
    table = job.to_arrow()
    known = {
        row["driver_id"] for row in history().to_pylist() if row["event_timestamp"] and row["event_timestamp"] <= moment
    }
    assert sorted(table["driver_id"].to_pylist()) == sorted(known - {None})
    assert set(table["event_timestamp"].to_pylist()) == {moment}
    asked = plain(table.select(["driver_id", "event_timestamp"]))
    assert answers(table, "delta", "csv") == oracle.point_in_time(asked, [view_of("delta"), view_of("csv")])


# --------------------------------------------------------------------------------------------- collisions


def test_two_views_with_the_same_feature_name_are_refused(world: FeatureStore) -> None:
    with pytest.raises(FeatureNameCollisionError, match="rate"):
        world.get_historical_features(questions(), ["parquet:rate", "csv:rate"])


def test_a_feature_named_like_an_entity_column_is_refused(world: FeatureStore) -> None:
    asked = questions().rename(columns={"weight": "rate"})
    with pytest.raises(NameCollisionError, match=r"column named like the feature 'rate' .*full_feature_names=True"):
        world.get_historical_features(asked, ["parquet:rate"])
    frame = world.get_historical_features(asked, ["parquet:rate"], full_feature_names=True).to_df()
    assert {"rate", "parquet__rate"} <= set(frame.columns)


def test_a_missing_join_key_is_named_with_its_nearest(world: FeatureStore) -> None:
    asked = questions().rename(columns={"driver_id": "driver"})
    with pytest.raises(EntityRowsError, match=r"'driver_id' of feature view 'parquet' \(did you mean 'driver'"):
        world.get_historical_features(asked, ["parquet:rate"])


def test_explain_prints_the_plan(world: FeatureStore, capsys: pytest.CaptureFixture[str]) -> None:
    job = world.get_historical_features(questions(), [*refs("parquet"), "delta:rate"], full_feature_names=True)
    assert isinstance(job, YummyRetrievalJob)
    job.explain()
    text = capsys.readouterr().out
    rows = expected("parquet")
    assert f"{len(rows)} entity rows x 2 feature views" in text
    assert "source     parquet parquet_rows (2 files)" in text
    assert "columns    driver_id, event_timestamp, created, rate, trips, label" in text
    assert "columns    driver_id, event_timestamp, created, rate\n" in text
    assert "ttl 21600 s" in text
    assert "(version 1)" in text
    report = job.explanation().views[0]
    assert report.matched + report.expired + report.unmatched == len(rows)
    table = job.to_df()
    any_feature = np.any([table[f"parquet__{name}"].notna() for name in FEATURES], axis=0)
    assert report.matched >= int(any_feature.sum()) > 0
