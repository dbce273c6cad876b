"""What is kept of a fetch: saved datasets and feature logs, and the ranges that materialization reads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.feature_logging import LoggingConfig
from feast.infra.offline_stores.file_source import FileLoggingDestination, SavedDatasetFileStorage
from feast.saved_dataset import SavedDatasetStorage
from feast.types import Float64, Int64
from feast.value_type import ValueType

from tests.feast.repo import FORMATS, feature_store
from yummy_feast import CsvSource, ParquetSource
from yummy_feast.errors import EntityRowsError
from yummy_feast.offline.job import YummyRetrievalJob
from yummy_feast.sources.storage import SavedDatasetYummyStorage, YummyLoggingDestination

pytestmark = [
    pytest.mark.filterwarnings("ignore:Saving dataset is an experimental feature:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Retrieving datasets is an experimental feature:RuntimeWarning"),
]

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
ROWS = pa.table(
    {
        "driver_id": [1, 2, 1, None],
        "event_timestamp": pa.array([NOON, NOON, NOON + HOUR, NOON], pa.timestamp("us", "UTC")),
        "rate": [0.5, None, 1.5, 2.5],
        "trips": [5, 7, 15, 25],
    }
)


def asked() -> pd.DataFrame:
    return pd.DataFrame({"driver_id": [1, 2, 3], "event_timestamp": NOON + 2 * HOUR, "weight": [0.5, 1.0, 1.5]})


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    fields = [Field(name="rate", dtype=Float64), Field(name="trips", dtype=Int64)]
    source = FORMATS["delta"](tmp_path, "rows", ROWS, timestamp_field="event_timestamp")
    view = FeatureView(name="stats", entities=[DRIVER], schema=fields, source=source, ttl=timedelta(0))
    whole = FORMATS["parquet"](tmp_path, "whole", ROWS.drop_columns("driver_id"), timestamp_field="event_timestamp")
    store = feature_store(tmp_path)
    store.apply([DRIVER, view, FeatureView(name="whole", entities=[], schema=fields, source=whole)])
    return store


def fetch(store: FeatureStore, rows: Any = None) -> YummyRetrievalJob:
    job = store.get_historical_features(asked() if rows is None else rows, ["stats:rate", "stats:trips"])
    assert isinstance(job, YummyRetrievalJob)
    return job


# ------------------------------------------------------------------------------------------ saved datasets

STORAGES: dict[str, Callable[[Path], SavedDatasetStorage]] = {
    "parquet": lambda folder: SavedDatasetYummyStorage(path="kept.parquet"),
    "folder": lambda folder: SavedDatasetYummyStorage(path="kept"),
    "delta": lambda folder: SavedDatasetYummyStorage(path="kept", format="delta"),
    "csv": lambda folder: SavedDatasetYummyStorage(CsvSource(path="kept.csv", timestamp_field="event_timestamp")),
    "Feast's own": lambda folder: SavedDatasetFileStorage(path=str(folder / "kept.parquet")),
}


@pytest.mark.parametrize("kind", STORAGES)
def test_a_dataset_that_was_saved_comes_back(store: FeatureStore, tmp_path: Path, kind: str) -> None:
    saved = store.create_saved_dataset(from_=fetch(store), name="kept", storage=STORAGES[kind](tmp_path))
    fresh = feature_store(tmp_path)
    for dataset in (saved, fresh.get_saved_dataset("kept")):
        frame = dataset.to_df().sort_values("driver_id")
        assert frame["driver_id"].tolist() == [1, 2, 3]
        assert frame["rate"].fillna(-1).tolist() == [1.5, -1, -1]
        assert frame["trips"].fillna(-1).tolist() == [15, 7, -1]
        assert set(frame["event_timestamp"]) == {pd.Timestamp(NOON + 2 * HOUR)}


@pytest.mark.parametrize("kind", STORAGES)
def test_a_saved_dataset_is_overwritten_only_when_asked(store: FeatureStore, tmp_path: Path, kind: str) -> None:
    storage = STORAGES[kind](tmp_path)
    fetch(store).persist(storage)
    with pytest.raises(SavedDatasetLocationAlreadyExists, match="kept"):
        fetch(store, asked().head(1)).persist(storage)
    assert len(read(store, storage)) == 3
    fetch(store, asked().head(1)).persist(storage, allow_overwrite=True)
    assert read(store, storage)["driver_id"].tolist() == [1]


def read(store: FeatureStore, storage: SavedDatasetStorage) -> pd.DataFrame:
    job = store._get_provider().offline_store.pull_all_from_table_or_query(
        store.config, storage.to_data_source(), ["driver_id"], ["trips"], "event_timestamp"
    )
    frame: pd.DataFrame = job.to_df()
    return frame


def test_what_parquet_cannot_hold_is_not_saved_half(store: FeatureStore, tmp_path: Path) -> None:
    odd = asked().assign(note=[1, "x", None])
    with pytest.raises(EntityRowsError, match="'note' holds values of several types"):
        fetch(store, odd).persist(STORAGES["parquet"](tmp_path))
    assert not (tmp_path / "kept.parquet").exists()


# -------------------------------------------------------------------------------------------- feature logs


@pytest.mark.parametrize("kind", ["parquet", "delta", "Feast's own"])
@pytest.mark.parametrize("as_files", [False, True], ids=["table", "folder"])
def test_feature_logs_are_appended_and_read_back(
    store: FeatureStore, tmp_path: Path, kind: str, as_files: bool
) -> None:
    destination: Any = (
        FileLoggingDestination(path=str(tmp_path / "logs"))
        if kind == "Feast's own"
        else YummyLoggingDestination(path="logs", format=kind)
    )
    service = FeatureService(
        name="served", features=[store.get_feature_view("stats")], logging_config=LoggingConfig(destination=destination)
    )
    store.apply(service)
    store = feature_store(tmp_path)
    service = store.get_feature_service("served")
    for number in range(2):
        logs: Any = log_rows(number)
        if as_files:
            folder = tmp_path / f"batch{number}"
            folder.mkdir()
            pq.write_table(logs, folder / "logs.parquet")
            logs = folder
        store.write_logged_features(logs, service)
    job = store._get_provider().retrieve_feature_service_logs(
        feature_service=service,
        start_date=NOON,
        end_date=NOON + HOUR,
        config=store.config,
        registry=store.registry,
    )
    frame = job.to_df().sort_values(["__request_id", "driver_id"])
    assert frame["__request_id"].tolist() == ["r0", "r0", "r1", "r1"]
    assert frame["driver_id"].tolist() == [1, 2, 1, 2]
    assert frame["stats__rate"].tolist() == [0.5, 1.5, 1.5, 2.5]


def log_rows(number: int) -> pa.Table:
    """Two rows of one request, in the schema that Feast's servers log."""
    columns: dict[str, Any] = {"driver_id": pa.array([1, 2], pa.int64())}
    for feature, kind in (("rate", pa.float64()), ("trips", pa.int64())):
        columns[f"stats__{feature}"] = pa.array([number + 0.5, number + 1.5] if feature == "rate" else [1, 2], kind)
        columns[f"stats__{feature}__timestamp"] = pa.array([NOON] * 2, pa.timestamp("us", "UTC"))
        columns[f"stats__{feature}__status"] = pa.array([2, 2], pa.int32())
    columns["__log_timestamp"] = pa.array([NOON + number * HOUR] * 2, pa.timestamp("us", "UTC"))
    columns["__log_date"] = pa.array([NOON.date()] * 2, pa.date32())
    columns["__request_id"] = [f"r{number}"] * 2
    return pa.table(columns)


# -------------------------------------------------------------------------------------------------- ranges


def pull(store: FeatureStore, view: str, what: str, keys: list[str], **ends: datetime) -> YummyRetrievalJob:
    provider = store._get_provider()
    method = getattr(provider.offline_store, f"pull_{what}_from_table_or_query")
    job = method(
        config=store.config,
        data_source=store.get_feature_view(view).batch_source,
        join_key_columns=keys,
        feature_name_columns=["trips"],
        timestamp_field="event_timestamp",
        created_timestamp_column=None,
        **({"start_date": NOON, "end_date": NOON + HOUR} | ends),
    )
    assert isinstance(job, YummyRetrievalJob)
    return job


def test_pull_latest_and_all_take_both_ends(store: FeatureStore) -> None:
    newest = pull(store, "stats", "latest", ["driver_id"]).to_df().sort_values("driver_id")
    assert newest[["driver_id", "trips"]].to_numpy().tolist() == [[1, 15], [2, 7]]
    every = pull(store, "stats", "all", ["driver_id"], end_date=NOON).to_arrow()
    assert sorted(every["trips"].to_pylist()) == [5, 7, 25]
    assert every.column_names == ["driver_id", "trips", "event_timestamp"]


@pytest.mark.parametrize("keys", [[], ["__dummy_id"]])
@pytest.mark.parametrize("what", ["latest", "all"])
def test_pulls_without_join_keys_have_the_dummy_entity(store: FeatureStore, what: str, keys: list[str]) -> None:
    job = pull(store, "whole", what, keys)
    for frame in (job.to_df(), job.to_arrow().to_pandas(), job.to_record_batch_reader().read_all().to_pandas()):
        assert set(frame["__dummy_id"]) == {""}
        assert sorted(frame["trips"]) == ([15] if what == "latest" else [5, 7, 15, 25])


def test_naive_ends_are_utc(store: FeatureStore) -> None:
    moment = (NOON + HOUR).replace(tzinfo=None)
    found = pull(store, "stats", "all", ["driver_id"], start_date=moment, end_date=moment)
    assert found.to_df()["trips"].tolist() == [15]


def test_a_table_for_feast_is_one_chunk(store: FeatureStore) -> None:
    # Feast reads the first batch of a table only (utils.py, _convert_arrow_to_proto).
    table = pull(store, "stats", "all", ["driver_id"]).to_arrow()
    assert len(table.to_batches()) == 1
    assert len(table) == 4


def test_explain_says_what_a_range_would_read(store: FeatureStore, capsys: pytest.CaptureFixture[str]) -> None:
    pull(store, "stats", "latest", ["driver_id"]).explain()
    text = capsys.readouterr().out
    assert "the newest row per key of rows from 2026-01-01 12:00:00+00:00 to 2026-01-01 13:00:00+00:00" in text
    assert "driver_id, trips, event_timestamp" in text


def test_a_range_of_a_source_without_a_name(store: FeatureStore, tmp_path: Path) -> None:
    pq.write_table(ROWS, tmp_path / "alone.parquet")
    source = ParquetSource(path="alone.parquet", timestamp_field="event_timestamp")
    job = store._get_provider().offline_store.pull_all_from_table_or_query(
        store.config, source, ["driver_id"], ["trips"], "event_timestamp"
    )
    assert len(job.to_df()) == 4
