"""Iceberg catalogs of each kind that can run here: SQL, REST and Glue for real, Hive as far as its settings."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from feast.errors import SavedDatasetLocationAlreadyExists

from tests.contract.format_cases import read, rows
from tests.rest_catalog import TOKEN, RestCatalog, rest_catalog
from tests.s3_server import SECRET, S3Server
from yummy_feast.errors import ConfigError, MissingExtraError, SourceNotFoundError, SourceReadError
from yummy_feast.sources.base import SourceContext
from yummy_feast.sources.iceberg import IcebergSource
from yummy_feast.sources.iceberg_catalogs import catalog_kind, catalog_properties
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


@pytest.fixture(params=["rest", "rest on s3", "glue"])
def context(request: pytest.FixtureRequest, tmp_path: Path, s3_server: S3Server) -> SourceContext:
    if request.param == "glue":
        keys = {
            "type": "glue",
            "warehouse": f"s3://{s3_server.bucket()}/warehouse",
            "glue.endpoint": s3_server.endpoint,
            "glue.access-key-id": "glue",
            "glue.secret-access-key": SECRET,
        }
        return SourceContext(tmp_path, s3_server.options, {"lake": keys})
    served: RestCatalog = request.getfixturevalue(request.param.replace(" ", "_"))
    return SourceContext(tmp_path, s3_server.options if "s3" in request.param else {}, {"lake": served.keys})


def test_write_append_read_replace(context: SourceContext, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    # The server has one Glue for all tests.
    table = IcebergSource(table=f"lake.{context.repo_path.name}.rows", timestamp_field="ts")
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
    assert SECRET not in caplog.text
    assert TOKEN not in caplog.text


def test_a_wrong_token_and_a_server_that_is_away(rest: RestCatalog, tmp_path: Path) -> None:
    keys = {**rest.keys, "token": "wrong-" + TOKEN}
    with pytest.raises(SourceReadError, match=r"lake\.ns\.rows: .*no such token") as caught:
        source().scan(SourceContext(tmp_path, {}, {"lake": keys}))
    assert TOKEN not in str(caught.value)
    away = {**rest.keys, "uri": "http://127.0.0.1:9"}
    with pytest.raises(SourceReadError, match=r"lake\.ns\.rows") as caught:
        source().scan(SourceContext(tmp_path, {}, {"lake": away}))
    assert TOKEN not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_glue_that_is_away(tmp_path: Path) -> None:
    keys = {"type": "glue", "glue.endpoint": "http://127.0.0.1:9", "glue.max-retries": "1", "client.region": "x"}
    context = SourceContext(tmp_path, {"key": "me", "secret": SECRET}, {"lake": keys})
    with pytest.raises(SourceReadError, match=r"lake\.ns\.rows") as caught:
        source().scan(context)
    assert SECRET not in str(caught.value)
    keys["glue.max-retries"] = "many"
    with pytest.raises(ConfigError, match=r"catalog 'lake': glue\.max-retries is 'many'"):
        source().scan(SourceContext(tmp_path, {}, {"lake": keys}))


def test_hive_needs_its_client(tmp_path: Path) -> None:
    context = SourceContext(tmp_path, {}, {"lake": {"type": "hive", "uri": "thrift://127.0.0.1:9"}})
    with pytest.raises((MissingExtraError, SourceReadError), match=r"lake\.ns\.rows") as caught:
        source().scan(context)
    assert "pyiceberg[hive]" in str(caught.value) or isinstance(caught.value, SourceReadError)


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


def test_a_warehouse_is_a_path_for_sql_alone(tmp_path: Path) -> None:
    def warehouse(**keys: str) -> str:
        return catalog_properties(SourceContext(tmp_path, {}, {"lake": keys}), "lake")["warehouse"]

    assert warehouse(type="sql", uri="postgresql://db", warehouse="data") == f"file://{tmp_path}/data"
    assert warehouse(uri="https://catalog", warehouse="prod") == "prod"
    assert warehouse(type="glue", warehouse="s3://b/w") == "s3://b/w"


def test_storage_options_stand_behind_the_keys_of_a_catalog(tmp_path: Path) -> None:
    def found(options: dict[str, str], **keys: str) -> dict[str, str]:
        return catalog_properties(SourceContext(tmp_path, options, {"lake": keys}), "lake")

    amazon = {"key": "me", "secret": SECRET, "region": "north"}
    glue = found(amazon, type="glue")
    assert (glue["client.region"], glue["client.access-key-id"], glue["s3.access-key-id"]) == ("north", "me", "me")
    # Another S3 than Amazon's has keys of its own.
    assert "client.access-key-id" not in found({**amazon, "endpoint": "http://minio:9000"}, type="glue")
    assert "client.access-key-id" not in found(amazon, type="rest", uri="http://x")
    assert found(amazon, **{"type": "rest", "uri": "http://x", "s3.region": "own"})["s3.region"] == "own"
    clouds = {"account_name": "acc", "account_key": "a2V5", "google_endpoint": "http://gcs:1"}
    everywhere = found({**amazon, **clouds}, type="rest", uri="http://x")
    assert everywhere["adls.account-name"] == "acc"
    assert everywhere["gcs.service.host"] == "http://gcs:1"
