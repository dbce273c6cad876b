"""What goes wrong while rows go online: servers away, damaged sources, wrong definitions and settings.

Each is one line that names the place, the column where there is one, and the way out; and a run that failed is not in
the registry, so that the next incremental one starts where the last good one ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from feast import FeatureStore

from tests.feast.faults import EMBEDDED, HOUR, MANY, NOON, applied, failure, materialize, parquet, rows, trips, windows
from tests.feast.repo import FORMATS, at, feature_store
from tests.online_server import address, server
from tests.unit.online.servers import ROOT
from yummy_feast import CsvSource
from yummy_feast.errors import (
    ColumnNotFoundError,
    ColumnTypeError,
    ConfigError,
    EmbeddedServerError,
    ServerUnavailableError,
    SourceNotFoundError,
    SourceReadError,
    ValueTypeError,
    YummyError,
)

__all__ = ["address", "server"]


def test_an_address_where_nobody_listens(tmp_path: Path) -> None:
    online = {"type": "yummy_feast.YummyOnlineStore", "connection_string": "localhost:1", "retries": 1}
    store = applied(feature_store(tmp_path, online=online), parquet(tmp_path))
    told = ("redis at localhost:1 does not answer", "is it running", "connection_string: embedded")
    failure(ServerUnavailableError, store, *told)
    failure(ServerUnavailableError, store, *told, do=lambda: trips(store))
    failure(ServerUnavailableError, store, *told, do=lambda: store.write_to_online_store("stats", rows().to_pandas()))
    failure(ServerUnavailableError, store, *told, do=store.teardown)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    _forbid(tmp_path / "data")
    store = applied(feature_store(tmp_path, online=EMBEDDED), parquet(tmp_path))
    place = str(tmp_path / "data" / "valkey")
    failure(EmbeddedServerError, store, place, "right to read and write there", "connection_string")


def _forbid(folder: Path) -> None:
    """A folder that nobody may write into, not even root."""
    if os.geteuid():
        folder.mkdir(mode=0o500)
    elif Path("/sys/kernel").is_dir():
        folder.symlink_to("/sys/kernel")
    else:
        pytest.skip("root may write everywhere here")


# ------------------------------------------------------------------------------------------------ damaged sources


Damage = Callable[[Path], object]
Lay = Callable[[Path], Any]


def cut(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])


def in_format(kind: str) -> Lay:
    return lambda folder: FORMATS[kind](folder, "rows", rows(), timestamp_field="known_at")


def csv(text: str, **options: Any) -> Lay:
    def lay(folder: Path) -> CsvSource:
        (folder / "rows.csv").write_text(text)
        return CsvSource("rows.csv", timestamp_field="known_at", **options)

    return lay


CSV = "driver_id,known_at,trips\n1,2026-01-01T12:00:00Z,1\n"
DAMAGED: dict[str, tuple[Lay, Damage | None, type[YummyError], tuple[str, ...]]] = {
    "a truncated Parquet file": (
        parquet,
        lambda f: cut(f / "rows.parquet", -100),
        SourceReadError,
        ("rows.parquet cannot be read", "is the file whole?"),
    ),
    "a Parquet file that is gone": (
        parquet,
        lambda f: (f / "rows.parquet").unlink(),
        SourceNotFoundError,
        ("rows.parquet: no such file", "relative paths start at"),
    ),
    "a bad timestamp in a CSV file": (
        csv(CSV + "2,yesterday,2\n"),
        None,
        ColumnTypeError,
        ("rows.csv: row 2, column 'known_at': 'yesterday'", "mend the value"),
    ),
    "a bad number in a CSV file": (
        csv(CSV + "2,2026-01-01T12:00:00Z,two\n"),
        None,
        ColumnTypeError,
        ("column 'trips' of rows.csv holds string", "change the"),
    ),
    "a bad number in a CSV file with a schema": (
        csv(CSV + "2,2026-01-01T12:00:00Z,two\n", schema={"trips": "int64"}),
        None,
        ColumnTypeError,
        ("rows.csv: row 2, column 'trips': 'two'",),
    ),
    "a short line in a CSV file": (
        csv(CSV + "2,2026-01-01T12:00:00Z\n"),
        None,
        SourceReadError,
        ("rows.csv", "Expected 3 columns, got 2", "mend the row"),
    ),
    "a Delta log that names a missing file": (
        in_format("delta"),
        lambda f: next((f / "rows").glob("*.parquet")).unlink(),
        SourceReadError,
        ("the log of version 1 names a file that is missing", ".parquet", "restore the file"),
    ),
    "a Delta log with a missing entry": (
        in_format("delta"),
        lambda f: (f / "rows" / "_delta_log" / f"{0:020}.json").unlink(),
        SourceReadError,
        ("rows: ", "are its _delta_log and files whole"),
    ),
    "an Iceberg snapshot that names a missing file": (
        in_format("iceberg"),
        lambda f: next(f.rglob("*.parquet")).unlink(),
        SourceReadError,
        ("local.lake.rows", "names a file that is missing", "restore it"),
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_source(tmp_path: Path, address: str, name: str) -> None:
    lay, damage, kind, parts = DAMAGED[name]
    store = applied(feature_store(tmp_path, online=at(address)), lay(tmp_path))
    if damage:
        damage(tmp_path)
    failure(kind, store, *parts)
    assert trips(store) == [None] * 4


def test_a_run_that_failed_is_made_good_by_the_next_incremental_one(tmp_path: Path, address: str) -> None:
    store = applied(feature_store(tmp_path, online=at(address)), parquet(tmp_path))
    store.materialize(NOON - 2 * HOUR, NOON - HOUR)
    whole = (tmp_path / "rows.parquet").read_bytes()
    cut(tmp_path / "rows.parquet", 100)
    failure(SourceReadError, store, "rows.parquet", do=lambda: store.materialize_incremental(NOON + HOUR))
    (tmp_path / "rows.parquet").write_bytes(whole)
    store.materialize_incremental(NOON + HOUR)
    assert trips(store) == [0, 1, 2, 3]
    assert windows(store) == [(NOON - 2 * HOUR, NOON - HOUR), (NOON - HOUR, NOON + HOUR)]


def test_rows_before_the_bad_one_stay_and_the_run_can_be_repeated(tmp_path: Path, address: str) -> None:
    """A value that does not fit, far behind: what was acknowledged before it is there; the registry knows nothing."""
    table = rows(MANY)
    trip = table["trips"].to_numpy().copy().astype(np.float64)
    trip[-1] = 0.5
    store = applied(
        feature_store(tmp_path, online=at(address)),
        parquet(tmp_path, table.set_column(2, "trips", pa.array(trip))),
    )
    failure(ColumnTypeError, store, "column 'trips' of rows.parquet", "0.5", "change the Field's dtype")
    parquet(tmp_path, table)
    materialize(store)
    assert trips(store, MANY) == list(range(MANY))


# ------------------------------------------------------------------------------------- definitions and settings


RENAMED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "trips": ({}, ("rows.parquet has no column 'trips'", "did you mean 'trip'?")),
    "driver_id": ({}, ("rows.parquet has no column 'driver_id'", "did you mean 'driver_i'?")),
    "known_at": ({}, ("rows.parquet has no column 'known_at'", "did you mean 'known_a'?")),
    "": ({"created_timestamp_column": "written_at"}, ("rows.parquet has no column 'written_at'", "known: driver_id, ")),
}


@pytest.mark.parametrize("name", RENAMED)
def test_a_missing_column(tmp_path: Path, address: str, name: str) -> None:
    options, parts = RENAMED[name]
    names = [column[:-1] if column == name else column for column in rows().column_names]
    source = parquet(tmp_path, rows().rename_columns(names), **options)
    failure(ColumnNotFoundError, applied(feature_store(tmp_path, online=at(address)), source), *parts)


WRONG: dict[str, tuple[str, list[Any], type[YummyError], tuple[str, ...]]] = {
    "times as text": (
        "known_at",
        ["2026-01-01"] * 4,
        ColumnTypeError,
        ("'known_at' of rows.parquet holds string", "timestamp_field"),
    ),
    "times as numbers": (
        "known_at",
        [1] * 4,
        ColumnTypeError,
        ("'known_at' of rows.parquet holds int64", "timestamp_field"),
    ),
    "keys as text": (
        "driver_id",
        ["a"] * 4,
        ValueTypeError,
        ("'stats' from rows.parquet", "'driver_id' is declared INT64", "'a'"),
    ),
    "keys as fractions": ("driver_id", [0.5] * 4, ValueTypeError, ("'stats' from rows.parquet", "'driver_id'", "0.5")),
    "keys as lists": ("driver_id", [[1]] * 4, ColumnTypeError, ("'driver_id' of rows.parquet holds list", "join key")),
    "a feature as text": (
        "trips",
        ["1"] * 4,
        ColumnTypeError,
        ("'trips' of rows.parquet holds string", "declared int64"),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_column_of_a_wrong_type(tmp_path: Path, address: str, name: str) -> None:
    column, values, kind, parts = WRONG[name]
    table = rows().set_column(rows().column_names.index(column), column, pa.array(values))
    failure(kind, applied(feature_store(tmp_path, online=at(address)), parquet(tmp_path, table)), *parts)


YAML = """
project: shop
provider: yummy_feast.YummyProvider
registry: data/registry.db
offline_store:
  type: yummy_feast.YummyOfflineStore{offline}
online_store:
  type: yummy_feast.YummyOnlineStore{online}
entity_key_serialization_version: 3
"""


@pytest.mark.parametrize(
    ("block", "line", "parts"),
    [
        ("offline", "memory_limt: 4GB", ("offline_store has no setting 'memory_limt'", "did you mean 'memory_limit'?")),
        ("offline", "engine: duck", ("offline_store.engine is 'duck'", "did you mean 'duckdb'?")),
        ("online", "conection_string: x", ("online_store has no setting 'conection_string'", "'connection_string'?")),
        ("online", "on_stale: sho", ("online_store.on_stale: unknown value 'sho'", "known: hide, serve")),
        ("online", "connection_string: localhost:x", ("online_store.connection_string", "'x' is not a whole number")),
    ],
)
def test_a_wrong_setting(tmp_path: Path, block: str, line: str, parts: tuple[str, ...]) -> None:
    (tmp_path / "feature_store.yaml").write_text(
        YAML.format(**{"offline": "", "online": "", block: f"\n  {line}"}),
    )
    with pytest.raises(ConfigError) as caught:
        FeatureStore(str(tmp_path))
    text = str(caught.value)
    assert text.startswith(f"feature_store.yaml: {block}_store")
    assert "\n" not in text
    for part in parts:
        assert part in text


WITHOUT_EXTRAS = """
import sys
from pathlib import Path
for name in ("deltalake", "pyiceberg"):
    sys.modules[name] = None
from feast import Entity, FeatureView, Field, ValueType
from feast.types import Int64
from tests.feast.repo import feature_store
from yummy_feast import DeltaSource, IcebergSource
from yummy_feast.errors import MissingExtraError

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
known = {"timestamp_field": "known_at"}
for source in (DeltaSource("lake", **known), IcebergSource(table="local.lake.rows", **known)):
    store = feature_store(Path(sys.argv[1]), online={"type": "yummy_feast.YummyOnlineStore"})
    try:
        store.apply([driver, FeatureView(name="stats", entities=[driver], source=source)])
    except MissingExtraError as error:
        print(error)
"""


def test_a_missing_extra(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT_EXTRAS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=True)
    assert done.stdout.splitlines()[-2:] == [
        "DeltaSource needs the extra 'delta' (pip install 'yummy-feast[delta]')",
        "IcebergSource needs the extra 'iceberg' (pip install 'yummy-feast[iceberg]')",
    ]
