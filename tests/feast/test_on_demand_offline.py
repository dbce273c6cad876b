"""On-demand views, request data, push and stream sources in historical fetches."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from feast import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    KafkaSource,
    PushSource,
    RequestSource,
    StreamFeatureView,
)
from feast.data_format import JsonFormat
from feast.data_source import PushMode
from feast.errors import RequestDataNotFoundInEntityDfException
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String
from feast.value_type import ValueType

from tests.feast.repo import FORMATS, feature_store
from yummy_feast.errors import ColumnTypeError, EntityRowsError, NameCollisionError

# Feast says so of on-demand and stream views since 2021.
pytestmark = [
    pytest.mark.filterwarnings("ignore:On demand feature view is an experimental feature:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Stream feature views are experimental features:RuntimeWarning"),
]

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
ROWS = pa.table(
    {
        "driver_id": [1, 2, 1],
        "event_timestamp": pa.array([NOON, NOON, NOON + timedelta(hours=1)], pa.timestamp("us", "UTC")),
        "rate": [0.5, None, 1.5],
        "trips": [5, 7, 15],
    }
)
BONUS = RequestSource(name="bonus_source", schema=[Field(name="bonus", dtype=Float64), Field(name="tag", dtype=String)])


def stats(source: Any, name: str = "stats") -> FeatureView:
    fields = [Field(name="rate", dtype=Float64), Field(name="trips", dtype=Int64)]
    return FeatureView(name=name, entities=[DRIVER], schema=fields, source=source, ttl=timedelta(0))


def asked(**columns: Any) -> pd.DataFrame:
    frame = pd.DataFrame({"driver_id": [1, 2, 3, 1], "event_timestamp": NOON, "odd": [1, "x", None, 2.5]})
    frame.loc[3, "event_timestamp"] = NOON + timedelta(hours=2)
    return frame.assign(**columns)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    base = stats(FORMATS["parquet"](tmp_path, "rows", ROWS, timestamp_field="event_timestamp"))
    same_name = stats(FORMATS["delta"](tmp_path, "other", ROWS, timestamp_field="event_timestamp"), "other")

    @on_demand_feature_view(sources=[base, BONUS], schema=[Field(name="with_bonus", dtype=Float64)], mode="pandas")
    def in_pandas(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"with_bonus": inputs["rate"] + inputs["bonus"]})

    @on_demand_feature_view(
        sources=[base, BONUS],
        schema=[Field(name="label", dtype=String), Field(name="unasked", dtype=Int64)],
        mode="python",
    )
    def in_python(inputs: dict[str, Any]) -> dict[str, Any]:
        labels = [f"{tag}:{trips}" for tag, trips in zip(inputs["tag"], inputs["trips"], strict=True)]
        return {"label": labels, "unasked": [0] * len(labels)}

    @on_demand_feature_view(sources=[base], schema=[Field(name="rate", dtype=Float64)], mode="pandas")
    def doubled(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"rate": inputs["rate"] * 2})

    @on_demand_feature_view(sources=[BONUS], schema=[Field(name="loud", dtype=String)], mode="pandas")
    def request_only(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"loud": inputs["tag"].str.upper()})

    store = feature_store(tmp_path)
    service = FeatureService(name="all", features=[base[["trips"]], in_pandas])
    store.apply([DRIVER, base, same_name, in_pandas, in_python, doubled, request_only, service])
    return store


# ------------------------------------------------------------------------------------------ on-demand views

WITH_BONUS = [1.5, None, None, 2.5]
LABELS = ["a:5", "b:7", "c:None", "a:15"]


@pytest.mark.parametrize("form", ["pandas", "arrow"])
def test_on_demand_views_see_features_and_request_data(store: FeatureStore, form: str) -> None:
    rows: Any = asked(bonus=[1.0, 2.0, 3.0, 1.0], tag=["a", "b", "c", "a"])
    if form == "arrow":
        rows = pa.Table.from_pandas(rows.drop(columns="odd"), preserve_index=False)
    job = store.get_historical_features(rows, ["stats:trips", "in_pandas:with_bonus", "in_python:label"])
    table = job.to_arrow() if form == "arrow" else pa.Table.from_pandas(job.to_df().drop(columns="odd"))
    assert table["with_bonus"].to_pylist() == WITH_BONUS
    assert "unasked" not in table.column_names
    assert table["trips"].to_pylist() == [5, 7, None, 15]
    if form == "arrow":
        assert table["label"].to_pylist() == LABELS


def test_columns_that_arrow_cannot_hold_do_not_disturb_on_demand_views(store: FeatureStore) -> None:
    rows = asked(bonus=[1.0, 2.0, 3.0, 1.0], tag=["a", "b", "c", "a"])
    frame = store.get_historical_features(rows, ["in_pandas:with_bonus"]).to_df()
    assert frame["odd"].tolist() == rows["odd"].tolist()
    assert frame["with_bonus"].astype(object).where(frame["with_bonus"].notna(), None).tolist() == WITH_BONUS


def test_a_service_with_an_on_demand_view_by_full_names(store: FeatureStore) -> None:
    rows = asked(bonus=1.0, tag="a")
    frame = store.get_historical_features(rows, store.get_feature_service("all"), full_feature_names=True).to_df()
    assert frame["in_pandas__with_bonus"].tolist()[::3] == [1.5, 2.5]
    assert frame["stats__trips"].tolist()[::3] == [5, 15]


def test_a_view_of_request_data_alone_reads_no_source(store: FeatureStore, tmp_path: Path) -> None:
    for path in (tmp_path / "rows").iterdir():
        path.unlink()
    frame = store.get_historical_features(asked(bonus=1.0, tag=["a", "b", "c", "d"]), ["request_only:loud"]).to_df()
    assert frame["loud"].tolist() == ["A", "B", "C", "D"]
    assert list(frame["odd"]) == list(asked()["odd"])


def test_missing_request_data_is_named(store: FeatureStore) -> None:
    rows = asked(tag="a", bonsu=1.0)
    with pytest.raises(RequestDataNotFoundInEntityDfException, match="bonus"):
        store.get_historical_features(rows, ["in_pandas:with_bonus"])
    table = pa.Table.from_pandas(rows.drop(columns="odd"), preserve_index=False)
    with pytest.raises(EntityRowsError, match=r"lack the request data 'bonus' \(did you mean 'bonsu'"):
        store.get_historical_features(table, ["in_pandas:with_bonus"])


def test_an_on_demand_feature_named_like_an_entity_column_is_refused(store: FeatureStore) -> None:
    rows = asked(bonus=1.0, tag="a", with_bonus=9.0)
    with pytest.raises(NameCollisionError, match="named like the feature 'with_bonus'"):
        store.get_historical_features(rows, ["in_pandas:with_bonus"])
    frame = store.get_historical_features(rows, ["in_pandas:with_bonus"], full_feature_names=True).to_df()
    assert frame["with_bonus"].tolist() == [9.0] * 4
    assert frame["in_pandas__with_bonus"][0] == 1.5


def test_an_on_demand_feature_named_like_its_input_is_refused(store: FeatureStore) -> None:
    # Feast would drop the column, or answer two of that name.
    for full in (False, True):
        with pytest.raises(
            NameCollisionError, match=r"'doubled' computes 'rate', .* its input too, from 'stats' \(rename"
        ):
            store.get_historical_features(asked(), ["doubled:rate"], full_feature_names=full)


def test_an_input_of_an_on_demand_view_beside_a_feature_of_that_name(store: FeatureStore) -> None:
    rows = asked(bonus=1.0, tag="a")
    with pytest.raises(NameCollisionError, match="'rate' is asked of other and stats"):
        store.get_historical_features(rows, ["other:rate", "in_pandas:with_bonus"])


# ------------------------------------------------------------------------------------- push, stream, write


def more(**columns: Any) -> pd.DataFrame:
    time = pd.Series([NOON + timedelta(minutes=m) for m in (10, 20)])
    return pd.DataFrame({"driver_id": [3, 2], "event_timestamp": time, "rate": [3.5, 4.5], "trips": [35, 45]} | columns)


@pytest.mark.parametrize("name", FORMATS)
def test_rows_pushed_offline_are_there_in_the_next_fetch(tmp_path: Path, name: str) -> None:
    batch = FORMATS[name](tmp_path, "rows", ROWS, timestamp_field="event_timestamp")
    store = feature_store(tmp_path)
    store.apply([DRIVER, stats(PushSource(name="pushed", batch_source=batch))])
    later = asked(event_timestamp=NOON + timedelta(minutes=30))
    before = store.get_historical_features(later, ["stats:trips"]).to_df()
    store.push("pushed", more(), to=PushMode.OFFLINE)
    after = store.get_historical_features(later, ["stats:trips"]).to_df()
    assert before["trips"].fillna(-1).tolist() == [5, 7, -1, 5]
    assert after["trips"].tolist() == [5, 45, 35, 5]


@pytest.mark.parametrize("name", FORMATS)
def test_rows_written_offline_go_back_through_the_field_mapping(tmp_path: Path, name: str) -> None:
    names = {"driver_id": "drv", "event_timestamp": "at", "rate": "r"}
    source = FORMATS[name](
        tmp_path,
        "rows",
        ROWS.rename_columns([names.get(column, column) for column in ROWS.column_names]),
        timestamp_field="event_timestamp",
        field_mapping={stored: feast for feast, stored in names.items()},
    )
    store = feature_store(tmp_path)
    store.apply([DRIVER, stats(source)])
    later = asked(event_timestamp=NOON + timedelta(minutes=30))
    assert store.get_historical_features(later, ["stats:trips"]).to_df()["trips"].fillna(-1).tolist() == [5, 7, -1, 5]
    store.write_to_offline_store("stats", more().rename(columns=names))
    frame = store.get_historical_features(later, ["stats:rate", "stats:trips"]).to_df()
    assert frame["trips"].tolist() == [5, 45, 35, 5]
    assert frame["rate"].tolist() == [0.5, 4.5, 3.5, 0.5]


def test_rows_that_do_not_fit_leave_the_source_as_it_was(tmp_path: Path) -> None:
    source = FORMATS["parquet"](tmp_path, "rows", ROWS, timestamp_field="event_timestamp")
    store = feature_store(tmp_path)
    store.apply([DRIVER, stats(source)])
    files = sorted(path.name for path in (tmp_path / "rows").iterdir())
    with pytest.raises(ColumnTypeError, match="'trips'"):
        store.write_to_offline_store("stats", more(trips=["many", "few"]))
    assert sorted(path.name for path in (tmp_path / "rows").iterdir()) == files


def test_a_stream_view_is_read_from_its_batch_source(tmp_path: Path) -> None:
    batch = FORMATS["delta"](tmp_path, "rows", ROWS, timestamp_field="event_timestamp")
    stream = KafkaSource(
        name="trips_stream",
        kafka_bootstrap_servers="nowhere:9092",
        topic="trips",
        timestamp_field="event_timestamp",
        message_format=JsonFormat(
            schema_json="driver_id integer, event_timestamp timestamp, rate double, trips integer"
        ),
        batch_source=batch,
    )
    view = StreamFeatureView(
        name="streamed",
        entities=[DRIVER],
        schema=[Field(name="rate", dtype=Float64), Field(name="trips", dtype=Int64)],
        source=stream,
        ttl=timedelta(0),
        aggregations=[],
    )
    store = feature_store(tmp_path)
    store.apply([DRIVER, view])
    frame = store.get_historical_features(asked(), ["streamed:trips"]).to_df()
    assert frame["trips"].fillna(-1).tolist() == [5, 7, -1, 15]
