"""Iceberg catalogs of each kind, with servers of their own: SQL, REST, Glue and Hive."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from feast.errors import SavedDatasetLocationAlreadyExists
from hive_metastore.ttypes import Table as HiveTable
from pyiceberg.catalog.hive import _construct_hive_storage_descriptor
from pyiceberg.schema import Schema

from tests.contract.format_cases import read, rows
from tests.hive_metastore import HiveMetastore
from tests.rest_catalog import TOKEN, RestCatalog, rest_catalog
from tests.s3_server import GLUE_KEY, SECRET, S3Server
from yummy_feast.errors import ConfigError, MissingExtraError, SourceNotFoundError, SourceReadError
from yummy_feast.sources.base import SourceContext
from yummy_feast.sources.iceberg import IcebergSource
from yummy_feast.sources.iceberg_catalogs import catalog_kind, catalog_properties, opened_otherwise
from yummy_feast.sources.iceberg_hive import Metastore
from yummy_feast.sources.object_store import S3Settings


def source(catalog: str = "lake", **keywords: Any) -> IcebergSource:
    return IcebergSource(table=f"{catalog}.ns.rows", timestamp_field="ts", **keywords)


@pytest.fixture
def rest(tmp_path: Path) -> Iterator[RestCatalog]:
    with rest_catalog(tmp_path, f"file://{tmp_path}/warehouse") as served:
        yield served


@pytest.fixture
def rest_on_s3(tmp_path: Path, s3_server: S3Server) -> Iterator[RestCatalog]:
    properties = S3Settings.of(s3_server.options).for_pyiceberg()
    with rest_catalog(tmp_path, f"s3://{s3_server.bucket()}/warehouse", properties) as served:
        yield served


# Hive's metastore is of pyspark's jars: it runs where the tests of Spark do.
@pytest.fixture(
    params=["rest", "rest on s3", "glue", pytest.param("hive", id="hive-of-spark", marks=[pytest.mark.slow])]
)
def context(request: pytest.FixtureRequest, tmp_path: Path, s3_server: S3Server) -> SourceContext:
    if request.param == "glue":
        keys = {
            "type": "glue",
            "warehouse": f"s3://{s3_server.bucket()}/warehouse",
            "glue.endpoint": s3_server.endpoint,
        }
        return SourceContext(tmp_path, s3_server.options, {"lake": keys})
    if request.param == "hive":
        server: HiveMetastore = request.getfixturevalue("hive_metastore")
        return SourceContext(tmp_path, {}, {"lake": server.keys(warehouse="warehouse")})
    served: RestCatalog = request.getfixturevalue(request.param.replace(" ", "_"))
    return SourceContext(tmp_path, s3_server.options if "s3" in request.param else {}, {"lake": served.keys})


def test_write_append_read_replace(context: SourceContext, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    # The servers of Glue and Hive are there for all tests.
    namespace = context.repo_path.name.replace("-", "_")
    table = IcebergSource(table=f"lake.{namespace}.rows", timestamp_field="ts")
    with pytest.raises(SourceNotFoundError, match="no such Iceberg table"):
        table.scan(context)
    table.append(rows(1, 2), context, create=True)
    table.append(rows(3), context)
    scan = table.scan(context)
    assert sorted(read(scan)["id"].to_pylist()) == [1, 2, 3]
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        table.replace(rows(9), context, allow_overwrite=False)
    table.replace(rows(9), context, allow_overwrite=True)
    assert read(table.scan(context))["id"].to_pylist() == [9]
    other = pa.table({"ts": rows(1)["ts"], "score": [0.5]})
    table.replace(other, context, allow_overwrite=True)
    assert table.scan(context).schema.names == ["ts", "score"]
    for deep in (f"lake.{namespace}.deeper.rows",) if "rest" not in str(context.catalogs) else ():
        with pytest.raises(ConfigError, match=rf"namespace '{namespace}\.deeper': .*hierarchical"):
            IcebergSource(table=deep, timestamp_field="ts").append(rows(1), context, create=True)
    assert SECRET not in caplog.text
    assert TOKEN not in caplog.text


def test_a_wrong_token_and_a_server_that_is_away(rest: RestCatalog, tmp_path: Path) -> None:
    keys = {**rest.keys, "token": "wrong-" + TOKEN}
    with pytest.raises(SourceReadError, match=r"lake\.ns\.rows: .*no such token") as caught:
        source().scan(SourceContext(tmp_path, {}, {"lake": keys}))
    assert TOKEN not in str(caught.value)
    away = {**rest.keys, "uri": "http://127.0.0.1:9"}
    where = r"lake\.ns\.rows: catalog 'lake': uri 'http://127\.0\.0\.1:9' does not answer: .* \(is it right"
    with pytest.raises(SourceReadError, match=where) as caught:
        source().scan(SourceContext(tmp_path, {}, {"lake": away}))
    assert TOKEN not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_glue_that_is_away(tmp_path: Path) -> None:
    keys = {"type": "glue", "glue.endpoint": "http://127.0.0.1:9", "glue.max-retries": "1", "client.region": "x"}
    context = SourceContext(tmp_path, {"key": "me", "secret": SECRET}, {"lake": keys})
    where = r"lake\.ns\.rows: catalog 'lake': glue\.endpoint 'http://127\.0\.0\.1:9' does not answer: .* \(is it right"
    with pytest.raises(SourceReadError, match=where) as caught:
        source().scan(context)
    assert SECRET not in str(caught.value)
    keys["glue.max-retries"] = "many"
    with pytest.raises(ConfigError, match=r"catalog 'lake': glue\.max-retries is 'many'"):
        source().scan(SourceContext(tmp_path, {}, {"lake": keys}))


def test_glue_is_asked_with_the_keys_that_are_its_own(tmp_path: Path, s3_server: S3Server) -> None:
    """The server takes two keys for Glue. What the storage options have counts where the catalog has none."""

    def found(options: dict[str, str], **keys: str) -> None:
        given = {"type": "glue", "glue.endpoint": s3_server.endpoint, "warehouse": "s3://lake/w"}
        source().scan(
            SourceContext(tmp_path, options, {"lake": {**given, **{k.replace("_", "-"): keys[k] for k in keys}}})
        )

    own = {"glue.access_key_id": GLUE_KEY, "glue.secret_access_key": "hush", "glue.region": "us-east-1"}
    unknown = {**s3_server.options, "key": "of-nobody"}
    for options, keys in ((s3_server.options, {}), (s3_server.options, own), (unknown, own)):
        with pytest.raises(SourceNotFoundError, match="no such Iceberg table"):
            found(options, **keys)
    for options, keys in ((unknown, {}), (s3_server.options, {**own, "glue.access_key_id": "of-nobody"})):
        with pytest.raises(SourceReadError, match=r"catalog 'lake': glue\.\w+ '.*' does not let us in: .*glue\.region"):
            found(options, **keys)


def test_hive_needs_its_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yummy_feast.sources.iceberg_hive", None)
    context = SourceContext(tmp_path, {}, {"lake": {"type": "hive", "uri": "thrift://127.0.0.1:9"}})
    with pytest.raises(MissingExtraError, match=r"catalog 'lake' of type hive .*pip install 'yummy-feast\[hive\]'"):
        source().scan(context)


@pytest.mark.slow
def test_what_hive_of_spark_has_there_is_no_iceberg_table(tmp_path: Path, hive_metastore: HiveMetastore) -> None:
    keys = hive_metastore.keys()
    context = SourceContext(tmp_path, {}, {"lake": keys})
    other = IcebergSource(table="lake.others.rows", timestamp_field="ts")
    # It takes the table and refuses the first commit.
    with pytest.raises(SourceReadError, match=r"uri '.*' takes no such table: .*leave out hive\.hive2-compatible"):
        other.append(
            rows(1), SourceContext(tmp_path, {}, {"lake": {**keys, "hive.hive2-compatible": "false"}}), create=True
        )
    other = IcebergSource(table="lake.others.plain", timestamp_field="ts")
    with Metastore("lake", **keys)._client as client:
        described = client.get_database("others")
        table = HiveTable(dbName="others", tableName="plain", owner="me", parameters={}, tableType="MANAGED_TABLE")
        table.sd = _construct_hive_storage_descriptor(Schema(), f"{described.locationUri}/plain")
        client.create_table(table)
    with pytest.raises(SourceNotFoundError, match=r"lake\.others\.plain: no such Iceberg table .*table_type"):
        other.scan(context)


def test_keys_that_make_no_catalog(tmp_path: Path) -> None:
    for keys in ({"type": "rset", "uri": "http://x"}, {"uri": "ftp://x"}):
        with pytest.raises(ConfigError, match="catalog 'lake'") as caught:
            source().scan(SourceContext(tmp_path, {}, {"lake": keys}))
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"no catalog 'laek'.*'lake'"):
        source("laek").scan(SourceContext(tmp_path, {}, {"lake": {"type": "sql"}}))


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ({"type": "Glue"}, "glue"),
        ({"uri": "https://catalog.example.org"}, "rest"),
        ({"uri": "thrift://meta:9083"}, "hive"),
        ({"uri": "postgresql+psycopg2://me@db/lake"}, "sql"),
        ({}, "sql"),
    ],
)
def test_the_kind_is_what_pyiceberg_takes_it_for(keys: dict[str, str], kind: str) -> None:
    assert catalog_kind(keys) == kind


def test_a_warehouse_is_a_path_for_sql_and_hive_alone(tmp_path: Path) -> None:
    def warehouse(**keys: str) -> str:
        return catalog_properties(SourceContext(tmp_path, {}, {"lake": keys}), "lake")["warehouse"]

    assert warehouse(type="sql", uri="postgresql://db", warehouse="data") == f"file://{tmp_path}/data"
    assert warehouse(uri="https://catalog", warehouse="prod") == "prod"
    assert warehouse(type="glue", warehouse="s3://b/w") == "s3://b/w"
    assert warehouse(type="hive", uri="thrift://meta:9083", warehouse="data") == f"file://{tmp_path}/data"


def test_storage_options_stand_behind_the_keys_of_a_catalog(tmp_path: Path) -> None:
    def found(options: dict[str, str], **keys: str) -> dict[str, str]:
        return catalog_properties(SourceContext(tmp_path, options, {"lake": keys}), "lake")

    amazon = {"key": "me", "secret": SECRET, "region": "north"}
    glue = found(amazon, type="glue")
    assert (glue["client.region"], glue["client.access-key-id"], glue["s3.access-key-id"]) == ("north", "me", "me")
    # Another S3 than Amazon's has keys of its own, unless Glue is there too.
    for endpoint, is_known in (
        ("http://minio:9000", False),
        ("https://s3.eu-central-1.amazonaws.com", True),
        ("http://stand-in:5000", True),
    ):
        keys = {"type": "glue", "glue.endpoint": "http://stand-in:5000"}
        assert ("client.access-key-id" in found({**amazon, "endpoint": endpoint}, **keys)) is is_known
    # A key of the catalog is used with its own secret and token alone.
    own = found({**amazon, "token": "of the store"}, type="glue", **{"glue.access-key-id": "g"})
    assert [name for name in own if name.startswith("client.")] == ["client.region"]
    for profile in ("glue.profile-name", "client.profile-name"):
        who = found({**amazon, "token": "of the store"}, type="glue", **{profile: "me"})
        assert {name: who[name] for name in who if name.startswith("client.")} == {
            "client.region": "north",
            **({profile: "me"} if profile.startswith("client.") else {}),
        }
    assert "client.access-key-id" not in found(amazon, type="rest", uri="http://x")
    assert found(amazon, **{"type": "rest", "uri": "http://x", "s3.region": "own"})["s3.region"] == "own"
    clouds = {"account_name": "acc", "account_key": "a2V5", "google_endpoint": "http://gcs:1"}
    everywhere = found({**amazon, **clouds}, type="rest", uri="http://x")
    assert everywhere["adls.account-name"] == "acc"
    assert everywhere["gcs.service.host"] == "http://gcs:1"


def test_a_catalog_may_open_its_files_in_its_own_way(tmp_path: Path) -> None:
    def own(options: dict[str, str], **keys: str) -> bool:
        context = SourceContext(tmp_path, options, {"lake": {"type": "glue", **keys}})
        return opened_otherwise(catalog_properties(context, "lake"), options)

    amazon = {"key": "me", "secret": SECRET, "region": "north"}
    assert not own(amazon)
    assert not own(amazon, **{"s3.region": "north", "glue.endpoint": "http://glue"})
    assert own(amazon, **{"s3.region": "south"})
    assert own({}, **{"s3.access-key-id": "other", "s3.secret-access-key": SECRET})
    assert own(amazon, **{"client.access-key-id": "other"})
    assert own(amazon, **{"adls.account-name": "acc"})
