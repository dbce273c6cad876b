"""What goes wrong with data, definitions and settings: one line that names the place, the column and the way out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field
from feast.errors import FeatureViewNotFoundException
from feast.repo_config import load_repo_config
from feast.types import Array, FeastType, Float64, Int32, Int64, String, UnixTimestamp
from feast.value_type import ValueType

from tests.feast.repo import FORMATS, feature_store
from yummy_feast import ParquetSource
from yummy_feast.errors import (
    ColumnNotFoundError,
    ColumnTypeError,
    ConfigError,
    EntityRowsError,
    SourceNotFoundError,
    SourceReadError,
    YummyError,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ROWS = pa.table(
    {
        "driver_id": pa.array(range(1000)),
        "event_timestamp": pa.array([NOON] * 1000, pa.timestamp("us", "UTC")),
        "rate": [number / 8 for number in range(1000)],
        "label": [f"label {number}" for number in range(1000)],
        "big": pa.array([2**40] * 1000),
        "lists": [[1.0]] * 1000,
    }
)


def asked(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"driver_id": [5, 999], "event_timestamp": NOON} | columns)


def store_of(folder: Path, fields: dict[str, FeastType], rows: pa.Table = ROWS, **options: Any) -> FeatureStore:
    """A view ``stats`` over ``rows.parquet``, whose rows may be damaged after apply."""
    pq.write_table(rows, folder / "rows.parquet", row_group_size=100)
    source = ParquetSource(path="rows.parquet", **{"timestamp_field": "event_timestamp", **options})
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    view = FeatureView(
        name="stats",
        entities=[driver],
        schema=[Field(name="driver_id", dtype=Int64), *(Field(name=n, dtype=dtype) for n, dtype in fields.items())],
        source=source,
        ttl=timedelta(0),
    )
    store = feature_store(folder)
    store.apply([driver, view])
    return store


def failure(kind: type[YummyError], do: Callable[[], object], *parts: str) -> str:
    """The text of the error, checked to be one line with all of ``parts``."""
    with pytest.raises(kind) as caught:
        do()
    text = str(caught.value)
    assert "\n" not in text
    for part in parts:
        assert part in text
    return text


def fetch(store: FeatureStore, *features: str, rows: Any = None) -> Callable[[], object]:
    wanted = [f"stats:{name}" for name in features]
    return lambda: store.get_historical_features(asked() if rows is None else rows, wanted).to_df()


# ---------------------------------------------------------------------------------------------- damaged files


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("keep", [0, 3, 4, 100, 5_000, -5, -100])
def test_a_truncated_file_is_named(tmp_path: Path, keep: int, threads: int) -> None:
    store = store_of(tmp_path, {"rate": Float64})
    store.config.offline_store.threads = threads
    path = tmp_path / "rows.parquet"
    path.write_bytes(path.read_bytes()[:keep])
    failure(SourceReadError, fetch(store, "rate"), "rows.parquet")


@pytest.mark.parametrize("column", ["driver_id", "rate", "label"])
def test_damage_inside_a_column_is_found_in_whichever_pass_reads_it(tmp_path: Path, column: str) -> None:
    store = store_of(tmp_path, {"rate": Float64, "label": String})
    path = tmp_path / "rows.parquet"
    whole = bytearray(path.read_bytes())
    metadata = pq.read_metadata(path)
    chunk = metadata.row_group(9).column(metadata.schema.names.index(column))
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    whole[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    path.write_bytes(bytes(whole))
    failure(SourceReadError, fetch(store, "rate", "label"), "rows.parquet")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    store = store_of(tmp_path, {"rate": Float64})
    (tmp_path / "rows.parquet").unlink()
    failure(SourceNotFoundError, fetch(store, "rate"), "rows.parquet", "no such file")


def test_a_file_replaced_between_matching_and_reading_is_noticed(tmp_path: Path) -> None:
    store = store_of(tmp_path, {"rate": Float64})
    job = store.get_historical_features(asked(), ["stats:rate"])
    assert "2 matched" in str(job.explanation())  # type: ignore[attr-defined]
    pq.write_table(ROWS.slice(500), tmp_path / "rows.parquet")
    failure(SourceReadError, job.to_df, "rows.parquet", "replaced")


def test_a_delta_table_that_lost_a_file_is_named(tmp_path: Path) -> None:
    source = FORMATS["delta"](tmp_path, "lake", ROWS, timestamp_field="event_timestamp")
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    store = feature_store(tmp_path)
    view = FeatureView(name="stats", entities=[driver], schema=[Field(name="rate", dtype=Float64)], source=source)
    store.apply([driver, view])
    lost = next((tmp_path / "lake").glob("*.parquet"))
    lost.unlink()
    failure(YummyError, fetch(store, "rate"), lost.name)


# ------------------------------------------------------------------------------------- columns and their types


def test_a_missing_feature_is_named_with_its_view(tmp_path: Path) -> None:
    store = store_of(tmp_path, {"rtae": Float64})
    failure(ColumnNotFoundError, fetch(store, "rtae"), "'stats'", "'rtae'", "rows.parquet", "did you mean 'rate'")


def test_a_created_column_that_is_gone_is_named(tmp_path: Path) -> None:
    whole = ROWS.append_column("created", ROWS["event_timestamp"])
    store = store_of(tmp_path, {"rate": Float64}, whole, created_timestamp_column="created")
    pq.write_table(ROWS, tmp_path / "rows.parquet")
    failure(ColumnNotFoundError, fetch(store, "rate"), "'stats'", "'created'", "rows.parquet")


@pytest.mark.parametrize(
    ("column", "declared", "holds"),
    [
        ("label", Int64, "string"),
        ("label", Float64, "string"),
        ("label", UnixTimestamp, "string"),
        ("rate", Int64, "double"),
        ("rate", String, "double"),
        ("lists", Float64, "list"),
        ("lists", String, "list"),
        ("rate", Array(Float64), "double"),
        ("event_timestamp", Int64, "timestamp"),
        ("event_timestamp", String, "timestamp"),
    ],
)
def test_a_wrong_declared_type_is_named(tmp_path: Path, column: str, declared: FeastType, holds: str) -> None:
    renamed = {"event_timestamp": "moment"}.get(column, column)
    store = store_of(tmp_path, {renamed: declared}, field_mapping={} if renamed == column else {"copy": renamed})
    if renamed != column:
        pq.write_table(ROWS.append_column("copy", ROWS[column]), tmp_path / "rows.parquet")
        column = "copy"
    failure(ColumnTypeError, fetch(store, renamed), f"'{column}'", "rows.parquet", holds, "change the Field's dtype")


def test_a_type_that_holds_the_values_is_no_error(tmp_path: Path) -> None:
    store = store_of(tmp_path, {"big": Int32, "rate": Float64})
    frame = store.get_historical_features(asked(), ["stats:rate"]).to_df()
    assert frame["rate"].tolist() == [5 / 8, 999 / 8]


# -------------------------------------------------------------------------------------------------- entity rows


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        (asked().drop(columns="event_timestamp"), ["no time column", "'event_timestamp'"]),
        (asked().rename(columns={"event_timestamp": "a"}).assign(b=NOON), ["several time columns (a, b)"]),
        (asked().assign(event_timestamp="2026-01-01"), ["'event_timestamp' holds str", "pd.to_datetime"]),
        (asked().assign(event_timestamp=5), ["'event_timestamp' holds int", "pd.to_datetime"]),
        (asked().assign(driver_id=["5", "6"]), ["'driver_id' holds string", "int64", "rows.parquet", "cast"]),
        (asked().assign(driver_id=[5, "6"]), ["'driver_id' holds values of several types"]),
        (asked().assign(driver_id=[[5], [6]]), ["'driver_id' holds list", "cannot be a join key"]),
        (pa.table({"driver_id": [5], "event_timestamp": ["2026"]}), ["'event_timestamp' holds string"]),
        (pa.table({"driver_id": [5]}), ["no time column"]),
        ({"driver_id": [5]}, ["entity_df is a dict"]),
        (7, ["entity_df is a int"]),
        ("DELETE FROM stats", ["one SELECT"]),
        ("SELECT * FROM nowhere", ["nowhere", "sources: "]),
        ("SELECT 5 AS driver_id", ["no time column"]),
    ],
    ids=lambda value: " ".join(map(str, value))[:40] if isinstance(value, list) else type(value).__name__,
)
def test_entity_rows_that_cannot_be_answered(tmp_path: Path, rows: Any, parts: list[str]) -> None:
    store = store_of(tmp_path, {"rate": Float64})
    failure(EntityRowsError, fetch(store, "rate", rows=rows), *parts)


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    store = store_of(tmp_path, {"rate": Float64})
    twins = pa.table([[5], [6], pa.array([NOON])], names=["driver_id", "driver_id", "event_timestamp"])
    failure(EntityRowsError, fetch(store, "rate", rows=twins), "two columns named 'driver_id'")


@pytest.mark.parametrize("path", ["nowhere.parquet", Path("nowhere.parquet")])
def test_entity_rows_that_are_not_there(tmp_path: Path, path: str | Path) -> None:
    store = store_of(tmp_path, {"rate": Float64})
    failure(SourceNotFoundError, fetch(store, "rate", rows=path), "nowhere.parquet")


def test_a_view_that_does_not_exist(tmp_path: Path) -> None:
    store = store_of(tmp_path, {"rate": Float64})
    with pytest.raises(FeatureViewNotFoundException, match="statz"):
        store.get_historical_features(asked(), ["statz:rate"])


def test_entities_that_no_view_can_list(tmp_path: Path) -> None:
    store = store_of(tmp_path, {"rate": Float64})
    rider = Entity(name="rider", join_keys=["rider_id"], value_type=ValueType.STRING)
    riders = pa.table({"rider_id": ["a"], "event_timestamp": pa.array([NOON]), "age": [1.0]})
    source = FORMATS["parquet"](tmp_path, "riders", riders, timestamp_field="event_timestamp")
    view = FeatureView(name="riders", entities=[rider], schema=[Field(name="age", dtype=Float64)], source=source)
    store.apply([rider, view])

    def ask() -> object:
        return store.get_historical_features(None, ["stats:rate", "riders:age"], start_date=NOON, end_date=NOON)

    failure(EntityRowsError, ask, "stats: driver_id; riders: rider_id", "pass entity rows")


# ----------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("memory_limt: 4GB", "offline_store has no setting 'memory_limt' (did you mean 'memory_limit'?"),
        ("engine: dukdb", "offline_store.engine is 'dukdb' (did you mean 'duckdb'?"),
        ("memory_limit: lots", "offline_store.memory_limit: 'lots' is not a size (write bytes, or a unit"),
        ("threads: 0", "offline_store.threads: 0: Input should be greater than or equal to 1"),
        (
            "temp_directory: ${NO_SUCH_NAME}",
            "offline_store.temp_directory: the environment variable NO_SUCH_NAME is not",
        ),
    ],
)
def test_a_wrong_setting_is_one_line_and_names_the_file(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "feature_store.yaml"
    path.write_text(
        "project: lab\nprovider: yummy_feast.YummyProvider\nregistry: data/registry.db\nonline_store: null\n"
        f"offline_store:\n  type: yummy_feast.YummyOfflineStore\n  {line}\nentity_key_serialization_version: 3\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_repo_config(tmp_path, path)
    assert str(caught.value).startswith(f"feature_store.yaml: {message}")
    assert "\n" not in str(caught.value)
