"""A fetch by Spark through Feast's own calls: entity rows in every form in, results in every form out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, RequestSource
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64
from feast.value_type import ValueType
from pyspark.sql import functions

from tests.feast.repo import FORMATS, feature_store
from tests.s3_server import S3Server
from tests.spark_session import require_google_connector
from tests.store_servers import FIXTURES, server_at
from yummy_feast import CsvSource, IcebergSource, ParquetSource
from yummy_feast.errors import RetrievalError, SourceReadError
from yummy_feast.offline.job import YummyRetrievalJob
from yummy_feast.sources.storage import SavedDatasetYummyStorage
from yummy_feast.spark import writing
from yummy_feast.spark.session import session
from yummy_feast.spark.settings import SparkSettings

pytestmark = [pytest.mark.slow, pytest.mark.spark]

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
ASKED = pd.DataFrame({"driver_id": [3, 1, 2], "event_timestamp": NOON + 2 * HOUR, "weight": [0.5, 1.0, 1.5]})
ANSWER = [
    {"driver_id": 1, "weight": 1.0, "rate": 1.5, "trips": 15},
    {"driver_id": 2, "weight": 1.5, "rate": None, "trips": 7},
    {"driver_id": 3, "weight": 0.5, "rate": None, "trips": None},
]
FEATURES = ["stats:rate", "stats:trips"]


@on_demand_feature_view(
    sources=[RequestSource(name="asked", schema=[Field(name="weight", dtype=Float64)])],
    schema=[Field(name="doubled", dtype=Float64)],
)
def doubled(inputs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"doubled": inputs["weight"] * 2})


@pytest.fixture
def store(spark_session: Any, tmp_path: Path) -> Iterator[FeatureStore]:
    yield of_engine("spark", tmp_path, staging_location="staged")
    # The shared session forgets this folder's catalog.
    session(SparkSettings())


def of_engine(engine: str, folder: Path, **settings: Any) -> FeatureStore:
    source = FORMATS["parquet"](folder, "rows", ROWS, timestamp_field="event_timestamp")
    fields = [Field(name="rate", dtype=Float64), Field(name="trips", dtype=Int64)]
    view = FeatureView(name="stats", entities=[DRIVER], schema=fields, source=source, ttl=timedelta(0))
    store = feature_store(folder, engine=engine, **settings)
    store.apply([DRIVER, view, doubled])
    return store


def fetch(store: FeatureStore, rows: Any, features: list[str] = FEATURES) -> YummyRetrievalJob:
    job = store.get_historical_features(rows, features)
    assert isinstance(job, YummyRetrievalJob)
    return job


def plain(rows: pa.Table | pd.DataFrame | list[Any]) -> list[dict[str, Any]]:
    """Rows by driver, without their one time; NaN as None."""
    if isinstance(rows, list):
        found = [row.asDict() for row in rows]
    elif isinstance(rows, pd.DataFrame):
        found = [dict(row) for row in rows.to_dict("records")]
    else:
        found = rows.to_pylist()
    for row in found:
        moment = pd.Timestamp(row.pop("event_timestamp"))
        assert (moment.tz_localize("UTC") if moment.tzinfo is None else moment) == pd.Timestamp(NOON + 2 * HOUR)
    return sorted(
        ({name: None if value != value else value for name, value in row.items()} for row in found),
        key=lambda row: row["driver_id"],
    )


def as_path(spark: Any, folder: Path) -> Path:
    pq.write_table(pa.Table.from_pandas(ASKED, preserve_index=False), folder / "asked.parquet")
    return folder / "asked.parquet"


SQL = (
    "SELECT id AS driver_id, TIMESTAMP '2026-01-01 14:00:00' AS event_timestamp, weight "
    "FROM (SELECT DISTINCT driver_id AS id, double(0.5 + driver_id / 2) AS weight FROM rows "
    "      WHERE driver_id IS NOT NULL UNION ALL SELECT 3, 0.5D)"
)
FORMS: dict[str, Callable[[Any, Path], Any]] = {
    "pandas": lambda spark, folder: ASKED,
    "Arrow": lambda spark, folder: pa.Table.from_pandas(ASKED, preserve_index=False),
    "path": as_path,
    "text": lambda spark, folder: str(as_path(spark, folder)),
    "SQL": lambda spark, folder: SQL,
    "Spark": lambda spark, folder: spark.createDataFrame(ASKED),
}


@pytest.mark.parametrize("form", FORMS)
def test_entity_rows_in_every_form(store: FeatureStore, spark_session: Any, tmp_path: Path, form: str) -> None:
    job = fetch(store, FORMS[form](spark_session, tmp_path))
    expected = ANSWER
    if form == "SQL":
        expected = [{**row, "weight": weight} for row, weight in zip(ANSWER, (1.0, 1.5, 0.5), strict=True)]
    assert plain(job.to_df()) == plain(job.to_arrow()) == plain(job.to_spark_df().collect()) == expected
    if form in ("pandas", "Arrow", "path", "text"):
        assert job.to_df()["driver_id"].tolist() == ASKED["driver_id"].tolist()


def test_a_spark_dataframe_is_lazy_and_has_types_of_spark(store: FeatureStore, spark_session: Any) -> None:
    frame = fetch(store, ASKED).to_spark_df()
    assert dict(frame.dtypes) == {
        "driver_id": "bigint",
        "event_timestamp": "timestamp",
        "weight": "double",
        "rate": "double",
        "trips": "bigint",
    }
    assert frame.where("trips > 10").select("weight").collect()[0].weight == 1.0
    assert frame.sparkSession is spark_session


def test_a_spark_dataframe_of_a_range(store: FeatureStore) -> None:
    source = store.get_feature_view("stats").batch_source
    pulls = store._get_provider().offline_store
    ends = (NOON, NOON + HOUR)
    latest = pulls.pull_latest_from_table_or_query(
        store.config, source, ["driver_id"], ["trips"], "event_timestamp", None, *ends
    )
    assert sorted((row.driver_id, row.trips) for row in latest.to_spark_df().collect()) == [(1, 15), (2, 7)]
    every = pulls.pull_all_from_table_or_query(store.config, source, [], ["trips"], "event_timestamp", None, *ends)
    assert sorted(row.trips for row in every.to_spark_df().collect()) == [5, 7, 15, 25]
    assert every.to_spark_df().columns == ["trips", "event_timestamp", "__dummy_id"]


def test_on_demand_views_are_in_every_result(store: FeatureStore) -> None:
    features = [*FEATURES, "doubled:doubled"]
    expected = [{**row, "doubled": 2 * row["weight"]} for row in ANSWER]
    job = fetch(store, ASKED, features)
    assert plain(job.to_df()) == plain(job.to_spark_df().collect()) == expected
    assert plain(pa.concat_tables([pq.read_table(path) for path in job.to_remote_storage()])) == expected


def test_the_embedded_engine_has_no_spark_dataframe(tmp_path: Path) -> None:
    with pytest.raises(RetrievalError, match=r"to_spark_df needs the engine spark \(set offline_store.engine: spark"):
        fetch(of_engine("duckdb", tmp_path), ASKED).to_spark_df()


# ------------------------------------------------------------------------------------------ written to storage


def test_remote_storage_is_a_new_folder_each_time(store: FeatureStore, tmp_path: Path) -> None:
    job = fetch(store, ASKED)
    assert job.supports_remote_storage_export()
    first, second = job.to_remote_storage(), job.to_remote_storage()
    assert not {*first} & {*second}
    for files in (first, second):
        assert all(Path(path).is_relative_to(tmp_path / "staged") for path in files)
        assert plain(pa.concat_tables([pq.read_table(path) for path in files])) == ANSWER


@pytest.mark.parametrize("where", FIXTURES)
def test_remote_storage_in_a_store(
    request: pytest.FixtureRequest, spark_session: Any, tmp_path: Path, where: str
) -> None:
    server = server_at(request, where)
    assert server is not None
    if where == "gcs":
        require_google_connector()
    place = server.uri(f"{server.bucket()}/staged")
    for engine in ("spark", "duckdb"):
        (tmp_path / engine).mkdir()
        settings = {"staging_location": place, "storage_options": server.options}
        store = of_engine(engine, tmp_path / engine, **settings)
        files = fetch(store, ASKED).to_remote_storage()
        assert all(path.startswith(f"{place}/") for path in files)
        source = ParquetSource(path=files, timestamp_field="event_timestamp")
        found = store._get_provider().offline_store.pull_all_from_table_or_query(
            store.config, source, ["driver_id"], ["weight", "rate", "trips"], "event_timestamp"
        )
        assert plain(found.to_arrow()) == ANSWER
    session(SparkSettings())


STORAGES: dict[str, Callable[[], SavedDatasetYummyStorage]] = {
    "folder": lambda: SavedDatasetYummyStorage(path="kept"),
    "file": lambda: SavedDatasetYummyStorage(path="kept.parquet"),
    "csv": lambda: SavedDatasetYummyStorage(CsvSource(path="kept.csv", timestamp_field="event_timestamp")),
    "delta": lambda: SavedDatasetYummyStorage(path="kept", format="delta"),
    "iceberg": lambda: SavedDatasetYummyStorage(
        IcebergSource(table="local.lake.kept", timestamp_field="event_timestamp")
    ),
}


@pytest.mark.parametrize("kind", STORAGES)
def test_what_was_kept_comes_back_from_both_engines(store: FeatureStore, tmp_path: Path, kind: str) -> None:
    storage = STORAGES[kind]()
    if kind == "iceberg":
        FORMATS["iceberg"](tmp_path, "other", ROWS, timestamp_field="event_timestamp")
    fetch(store, ASKED.head(1)).persist(storage)
    with pytest.raises(SavedDatasetLocationAlreadyExists, match="kept"):
        fetch(store, ASKED).persist(storage)
    # Another schema, too.
    fetch(store, ASKED).persist(storage, allow_overwrite=True)
    fetch(store, ASKED.assign(note="n")).persist(storage, allow_overwrite=True)
    for engine in ("spark", "duckdb"):
        config = feature_store(tmp_path, engine=engine).config
        job = store._get_provider().offline_store.pull_all_from_table_or_query(
            config, storage.to_data_source(), ["driver_id"], ["weight", "rate", "trips", "note"], "event_timestamp"
        )
        assert plain(job.to_arrow()) == [{**row, "note": "n"} for row in ANSWER]


def test_a_failed_write_leaves_what_was_there(store: FeatureStore, tmp_path: Path) -> None:
    storage = STORAGES["folder"]()
    fetch(store, ASKED).persist(storage)
    before = sorted(path.name for path in (tmp_path / "kept").iterdir())
    pq.write_table(
        ROWS.set_column(3, "trips", pa.array([5.5, 7, 15.5, 25], pa.float64())), tmp_path / "rows" / "0.parquet"
    )
    (tmp_path / "rows" / "1.parquet").unlink()
    with pytest.raises(RetrievalError, match=r"column 'trips' of rows holds 1?5\.5, but is declared int64"):
        fetch(store, ASKED).persist(storage, allow_overwrite=True)
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == before
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".kept")] == []


@pytest.mark.parametrize("with_scheme", [True, False])
def test_a_dataset_is_not_lost_where_spark_writes_elsewhere(
    spark_session: Any, s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_scheme: bool
) -> None:
    """Its default file system is a store; executors on other machines that share no folder leave as little here."""
    store, storage = of_engine("spark", tmp_path, storage_options=s3_server.options), STORAGES["folder"]()
    fetch(store, ASKED.head(1)).persist(storage)
    before = sorted(path.name for path in (tmp_path / "kept").iterdir())
    spark_session.conf.set("fs.defaultFS", f"s3a://{s3_server.bucket()}")
    try:
        if with_scheme:
            fetch(store, ASKED).persist(storage, allow_overwrite=True)
            assert plain(pq.read_table(tmp_path / "kept")) == ANSWER
            return
        monkeypatch.setattr(writing, "hadoop_path", str)
        with pytest.raises(SourceReadError, match=r"kept: 3 rows were written, but 0 of them are here: the executors"):
            fetch(store, ASKED).persist(storage, allow_overwrite=True)
    finally:
        spark_session.conf.unset("fs.defaultFS")
        session(SparkSettings())
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == before
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".kept")] == []


def test_entity_rows_that_fail_are_named(store: FeatureStore, spark_session: Any) -> None:
    broken = spark_session.createDataFrame(ASKED).withColumn("weight", functions.raise_error(functions.lit("no day")))
    with pytest.raises(RetrievalError, match=r"the entity rows: Spark failed: .*no day"):
        fetch(store, broken)
