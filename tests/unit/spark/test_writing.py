"""Where Spark puts rows and finds them: here, whatever its default file system and however odd the names; and how many
they were.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.contract.format_cases import rows
from tests.s3_server import S3Server
from yummy_feast.sources.base import SourceContext, YummySource
from yummy_feast.sources.delta import DeltaSource
from yummy_feast.sources.iceberg import IcebergSource
from yummy_feast.sources.parquet import ParquetSource
from yummy_feast.spark import writing
from yummy_feast.spark.frames import PLACE, frame_of
from yummy_feast.spark.session import session
from yummy_feast.spark.settings import SparkSettings
from yummy_feast.spark.writing import hadoop_path, write_parquet

ODD = ["a b", "é ü 日本", "a%20b", "a#b", "a;b=c&d+e"]
ODDER = ["a?b", "{a,b}[c]*", "a:b"]
"""Names of folders that we take for globs, or that Hadoop takes for no file's."""


def test_local_paths_say_so() -> None:
    assert hadoop_path("/data/a b/%20#x.parquet") == "file:///data/a b/%20#x.parquet"
    assert hadoop_path("s3://lake/a") == hadoop_path("s3n://lake/a") == "s3a://lake/a"
    for other in ("gs://lake/a", "file:///data", "abfss://x@y/z", "local.lake.rows"):
        assert hadoop_path(other) == other


@pytest.fixture
def elsewhere(spark_session: Any, tmp_path: Path, s3_server: S3Server) -> Iterator[Any]:
    """A session whose default file system is a store."""
    settings = SparkSettings.behind(SourceContext(tmp_path, s3_server.options, {}), 2)
    assert session(settings) is spark_session
    before = spark_session.conf.get("fs.defaultFS", None)
    spark_session.conf.set("fs.defaultFS", f"s3a://{s3_server.bucket()}")
    yield spark_session
    spark_session.conf.unset("fs.defaultFS")
    if before is not None:
        spark_session.conf.set("fs.defaultFS", before)
    session(SparkSettings())


@pytest.mark.slow
@pytest.mark.spark
@pytest.mark.parametrize("name", [*ODD, *ODDER])
def test_rows_are_written_here(elsewhere: Any, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    assert write_parquet(elsewhere.range(5), str(folder)) == 5
    assert sorted(pq.read_table(folder)["id"].to_pylist()) == [0, 1, 2, 3, 4]
    assert write_parquet(elsewhere.range(5).where("id > 9"), str(folder)) == 0
    assert elsewhere.conf.get("spark.sql.parquet.outputTimestampType") == "INT96"


def laid(folder: Path, name: str) -> Iterator[YummySource]:
    """The same rows in the formats that Spark reads by itself, in places of an odd name."""
    from deltalake import write_deltalake
    from pyiceberg.catalog import load_catalog

    place = folder / name
    place.mkdir()
    pq.write_table(rows(1), place / f"1 {name}.parquet")
    yield ParquetSource(path=place / f"1 {name}.parquet", timestamp_field="ts")
    pq.write_table(rows(2), place / f"2 {name}.parquet")
    yield ParquetSource(path=place, timestamp_field="ts")
    if "%" in name or "#" in name:
        # Their own libraries cannot write there.
        return
    write_deltalake(folder / f"{name} delta", rows(1, 2))
    yield DeltaSource(path=folder / f"{name} delta", timestamp_field="ts")
    catalog: Any = load_catalog(
        "local", type="sql", uri=f"sqlite:///{folder}/c.db", warehouse=f"file://{folder}", **{"py-io-impl": IO}
    )
    catalog.create_namespace("lake")
    catalog.create_table("lake.rows", rows(1).schema, location=f"file://{folder}/{name} iceberg").append(rows(1, 2))
    catalog.engine.dispose()
    yield IcebergSource(path=folder / f"{name} iceberg", timestamp_field="ts")


IO = "pyiceberg.io.pyarrow.PyArrowFileIO"


@pytest.mark.slow
@pytest.mark.spark
@pytest.mark.parametrize("name", ODD)
def test_rows_are_read_from_here(elsewhere: Any, tmp_path: Path, name: str) -> None:
    for source in laid(tmp_path, name):
        frame = frame_of(elsewhere, source.scan(SourceContext(tmp_path)), ["id"]).frame
        found = [row.c0 for row in frame.orderBy(PLACE).collect()]
        assert found == ([1] if source.location.endswith(".parquet") else [1, 2]), source


@pytest.mark.slow
@pytest.mark.spark
def test_a_count_that_was_lost_is_made_again(
    spark_session: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_told", lambda counted: None)
    assert write_parquet(spark_session.range(7), str(tmp_path)) == 7


def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:

    class Silent:
        @property
        def get(self) -> dict[str, int]:
            threading.Event().wait()
            raise AssertionError

    monkeypatch.setattr(writing, "_PATIENCE", 0.05)
    silent: Any = Silent()
    assert writing._told(silent) is None
