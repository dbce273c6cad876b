"""Catalogs that servers keep are one and the same for both engines: what one writes the other reads, pinned or not,
at the same time or not.

Slow: needs Java, and the jars of Glue on Spark's class path.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.catalog_servers import SECRETS, Lake, check_jars, served
from tests.contract.format_cases import read, rows
from tests.contract.lake_kit import answers, ids_of, parts
from tests.rest_catalog import rest_catalog
from tests.s3_server import S3Server
from tests.unit.sources.handmade import commit_deletes
from yummy_feast.errors import SourceReadError, UnsupportedTableError
from yummy_feast.offline.engines.spark_sql import selected
from yummy_feast.sources.iceberg import IcebergSource
from yummy_feast.sources.object_store import S3Settings
from yummy_feast.spark.frames import frame_of
from yummy_feast.spark.session import session as session_of
from yummy_feast.spark.settings import SparkSettings

pytestmark = [pytest.mark.slow, pytest.mark.spark]


# The first test runs over the others too.
@pytest.fixture(params=["glue", "hive"])
def lake(request: pytest.FixtureRequest, spark_session: Any, tmp_path: Path) -> Iterator[Lake]:
    check_jars(spark_session, request.param)
    with served(request.param, tmp_path, request) as found:
        yield told(spark_session, found)


def told(session: Any, lake: Lake) -> Lake:
    """The session has heard of the catalog from the same words as the embedded engine."""
    assert session_of(SparkSettings.behind(lake.context, 2)) is session
    return lake


def ids(lake: Lake, **keywords: Any) -> list[int]:
    """By the embedded engine."""
    return sorted(read(lake.source(**keywords).scan(lake.context))["id"].to_pylist())


def ids_by_spark(session: Any, query: str) -> list[int]:
    return sorted(row[0] for row in session.sql(query).collect())


@pytest.mark.parametrize("lake", ["rest", "glue-with-keys", "hive"], indirect=True)
def test_both_engines_answer_alike_and_write_for_each_other(
    spark_session: Any, lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    first, second, *_ = parts()
    lake.source().append(first, lake.context, create=True)
    lake.source().append(second, lake.context)
    spark_session.sql(f"INSERT INTO {lake.name} SELECT ts, id + 10, name, score FROM {lake.name}")
    assert read(lake.source().scan(lake.context)).num_rows == 160
    lake.source().append(first.slice(0, 1), lake.context)
    assert spark_session.table(lake.name).count() == 161
    embedded, spark = answers(lake.context, lake.source())
    assert embedded.num_rows == 26
    assert embedded["name"].null_count < 20
    assert spark.equals(embedded)
    shown = str(spark_session.sql("SET").collect()) + str(spark_session.sparkContext.getConf().getAll())
    for secret in SECRETS:
        assert secret not in caplog.text
        assert secret not in shown


def test_a_table_that_spark_made_is_ours_too(spark_session: Any, lake: Lake) -> None:
    spark_session.sql(f"CREATE NAMESPACE IF NOT EXISTS prod.{lake.namespace}")
    spark_session.sql(f"CREATE TABLE {lake.name} (ts timestamp, id bigint, name string) USING iceberg")
    lake.source().append(rows(1, 2), lake.context)
    assert ids_by_spark(spark_session, f"SELECT id FROM {lake.name}") == ids(lake) == [1, 2]
    lake.source().replace(rows(3).select(["ts", "id"]), lake.context, allow_overwrite=True)
    assert ids_by_spark(spark_session, f"SELECT id FROM {lake.name}") == [3]
    # Namespaces of either engine lie side by side.
    other = IcebergSource(table=f"prod.{lake.namespace}_too.rows", timestamp_field="ts")
    other.append(rows(4), lake.context, create=True)
    places = spark_session.sql(f"SELECT file FROM {lake.name}.metadata_log_entries").collect()
    others = spark_session.sql(f"SELECT file FROM prod.{lake.namespace}_too.rows.metadata_log_entries").collect()
    of_spark, of_ours = (found[0][0].split(f"/{lake.namespace}")[0] for found in (places, others))
    assert of_spark == of_ours


def test_a_snapshot_stays_what_it_was(spark_session: Any, lake: Lake) -> None:
    lake.source().append(rows(1, 2), lake.context, create=True)
    scan = lake.source().scan(lake.context)
    pin = scan.pin(lake.context)
    spark_session.sql(f"INSERT OVERWRITE {lake.name} SELECT ts, id + 10, name FROM {lake.name}")
    spark_session.sql(f"ALTER TABLE {lake.name} RENAME COLUMN name TO label")
    assert ids(lake) == [11, 12]
    then = lake.source(snapshot_id=pin["snapshot_id"])
    for pinned in (then.scan(lake.context), lake.source().scan_at(pin, lake.context), scan):
        assert pinned.schema.names == ["ts", "id", "name"]
        assert sorted(read(pinned)["id"].to_pylist()) == [1, 2]
        assert sorted(row[0] for row in frame_of(spark_session, pinned, ["id"]).frame.collect()) == [1, 2]
    query = f"SELECT id FROM {lake.name} VERSION AS OF {pin['snapshot_id']}"
    assert ids_by_spark(spark_session, query) == [1, 2]


def test_writers_at_the_same_time_lose_nothing(spark_session: Any, lake: Lake) -> None:
    lake.source().append(rows(1), lake.context, create=True)

    def write(number: int) -> None:
        for step in (0, 1):
            lake.source().append(rows(100 * number + step), lake.context)

    with ThreadPoolExecutor(2) as pool:
        writing = [pool.submit(write, number) for number in (1, 2)]
        spark_session.sql(f"INSERT INTO {lake.name} VALUES (timestamp'2026-01-01', 300, 'of Spark')")
        for one in writing:
            one.result()
    assert ids(lake) == [1, 100, 101, 200, 201, 300]


def test_a_store_that_the_catalog_alone_knows(spark_session: Any, tmp_path: Path, s3_server: S3Server) -> None:
    """Spark reads such a table by its name, here with deletes that nobody else applies."""
    check_jars(spark_session, "glue")
    keys = {"type": "glue", "glue.endpoint": s3_server.endpoint, "warehouse": f"s3://{s3_server.bucket()}/warehouse"}
    own = S3Settings.of(s3_server.options).for_pyiceberg()
    who = {name.replace("s3.", "client."): value for name, value in own.items() if name != "s3.endpoint"}
    lake = told(spark_session, Lake(tmp_path, {**keys, **own, **who}))
    lake.source().append(rows(1, 2, 3), lake.context, create=True)
    with lake.stored() as table:
        commit_deletes(table, ids_of(2), equality_ids=[2])
    scan = lake.source().scan(lake.context)
    with pytest.raises(UnsupportedTableError, match="engine: spark"):
        scan.pieces()
    assert sorted(row[0] for row in frame_of(spark_session, scan, ["id"]).frame.collect()) == [1, 3]


def test_a_catalog_that_hands_out_credentials(spark_session: Any, tmp_path: Path, s3_server: S3Server) -> None:
    """Its files are opened by Iceberg's own client of S3."""
    own = S3Settings.of(s3_server.options).for_pyiceberg()
    with rest_catalog(tmp_path, f"s3://{s3_server.bucket()}/warehouse", own) as found:
        keys = {**found.keys, **own, "client.region": "us-east-1"}
        lake = Lake(tmp_path, {**keys, "header.X-Iceberg-Access-Delegation": "vended-credentials"})
        lake.source().append(rows(1, 2), told(spark_session, lake).context, create=True)
        spark_session.sql(f"INSERT INTO {lake.name} SELECT ts, id + 2, name FROM {lake.name}")
        assert ids(lake) == [1, 2, 3, 4]


@pytest.mark.parametrize("kind", ["glue", "hive"])
def test_a_server_that_is_away(spark_session: Any, tmp_path: Path, kind: str) -> None:
    check_jars(spark_session, kind)
    address = {"glue": {"glue.endpoint": "http://127.0.0.1:9"}, "hive": {"uri": "thrift://127.0.0.1:9"}}[kind]
    options = {"key": "me", "secret": SECRETS[0], "region": "us-east-1"}
    lake = told(spark_session, Lake(tmp_path, {"type": kind, "warehouse": "s3://lake/w", **address}, options))
    began = time.monotonic()
    key = re.escape(next(iter(address)))
    where = rf"over catalog 'prod' \({key} '.*127\.0\.0\.1:9'\): no answer: .* \(is the address right"
    with (
        pytest.raises(SourceReadError, match=where) as caught,
        selected(spark_session, lake.context, f"SELECT * FROM {lake.name}", {}),
    ):
        pass
    assert time.monotonic() - began < 120
    assert "\n" not in str(caught.value)
    assert SECRETS[0] not in str(caught.value)
