"""pyiceberg's keys of a catalog as Spark's."""

from __future__ import annotations

from pathlib import Path

import pytest

from yummy_feast.spark.catalogs import BY_PATH, by_path_conf, catalog_conf, needs_of

REPO = Path("/repo")


@pytest.fixture(autouse=True)
def no_region_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


def conf(keys: dict[str, str], options: dict[str, str] | None = None) -> dict[str, str]:
    """Of a catalog called ``ice``, without what all of them have in common."""
    found = catalog_conf("ice", keys, options or {}, REPO)
    prefix = "spark.sql.catalog.ice"
    assert found.pop(prefix, "org.apache.iceberg.spark.SparkCatalog") == "org.apache.iceberg.spark.SparkCatalog"
    out = {key.removeprefix(f"{prefix}."): value for key, value in found.items()}
    assert out.pop("cache-enabled", "false") == "false"
    if out.get("io-impl") == "org.apache.iceberg.hadoop.HadoopFileIO":
        del out["io-impl"]
    return out


V1 = {"type": "jdbc", "jdbc.schema-version": "V1"}


@pytest.mark.parametrize(
    ("uri", "theirs"),
    [
        ("sqlite:///data/catalog.db", {"uri": "jdbc:sqlite:/repo/data/catalog.db"}),
        ("sqlite:////abs/catalog.db", {"uri": "jdbc:sqlite:/abs/catalog.db"}),
        (
            "postgresql+psycopg2://me:p%40ss@db:5433/ice?sslmode=require",
            {
                "uri": "jdbc:postgresql://db:5433/ice?sslmode=require",
                "jdbc.user": "me",
                "jdbc.password": "p@ss",
            },
        ),
        ("postgresql://db/ice", {"uri": "jdbc:postgresql://db/ice"}),
        ("mysql+pymysql://me@[::1]/ice", {"uri": "jdbc:mysql://[::1]/ice", "jdbc.user": "me"}),
    ],
)
def test_sql(uri: str, theirs: dict[str, str]) -> None:
    assert conf({"type": "sql", "uri": uri}) == {**V1, **theirs}
    assert conf({"uri": uri}) == {**V1, **theirs}


@pytest.mark.parametrize(
    "keys", [{"uri": "sqlite:///:memory:"}, {"uri": "sqlite://"}, {"type": "in-memory"}, {"uri": "oracle://db/x"}]
)
def test_what_only_python_has_is_left_out(keys: dict[str, str]) -> None:
    assert catalog_conf("ice", keys, {}, REPO) == {}


def test_warehouses() -> None:
    sql = {"type": "sql", "uri": "sqlite:///c.db"}
    assert conf({**sql, "warehouse": "data/wh"})["warehouse"] == "file:///repo/data/wh"
    assert conf({**sql, "warehouse": "/abs/wh"})["warehouse"] == "file:///abs/wh"
    assert conf({**sql, "warehouse": "s3://lake/wh"})["warehouse"] == "s3://lake/wh"
    assert conf({"uri": "thrift://meta:9083", "warehouse": "data/wh"})["warehouse"] == "file:///repo/data/wh"
    rest = {"type": "rest", "uri": "http://host/catalog", "warehouse": "a-name"}
    assert conf(rest)["warehouse"] == "a-name"


def test_rest_hive_glue_and_their_own_keys() -> None:
    rest = {
        "type": "rest",
        "uri": "https://host/catalog",
        "credential": "id:hush",
        "scope": "catalog",
        "py-io-impl": "x",
    }
    assert conf(rest) == {"type": "rest", "uri": "https://host/catalog", "credential": "id:hush", "scope": "catalog"}
    assert conf({"uri": "thrift://host:9083"}) == {"type": "hive", "uri": "thrift://host:9083"}
    light = {"http-client.type": "urlconnection"}
    assert conf({"type": "glue", "glue.id": "1"}) == {"type": "glue", "glue.id": "1", **light}
    assert conf({"type": "dynamodb"})["catalog-impl"] == "org.apache.iceberg.aws.dynamodb.DynamoDbCatalog"


@pytest.mark.parametrize(
    ("keys", "options", "region"),
    [
        ({"type": "glue", "client.region": "eu-1"}, {"region": "eu-2"}, "eu-1"),
        ({"type": "dynamodb", "client.region": "eu-1"}, {}, "eu-1"),
        ({"type": "glue", "glue.region": "eu-0", "client.region": "eu-1"}, {}, "eu-0"),
        ({"type": "glue"}, {"region": "eu-2"}, "eu-2"),
        ({"type": "glue"}, {}, None),
        ({"type": "rest", "uri": "https://host", "client.region": "eu-1"}, {"region": "eu-2"}, None),
    ],
)
def test_amazons_catalogs_are_where_pyiceberg_looks_for_them(
    keys: dict[str, str], options: dict[str, str], region: str | None
) -> None:
    assert conf(keys, options).get("client.region") == region


def test_files_are_opened_as_all_others_are() -> None:
    sql = {"type": "sql", "uri": "sqlite:///c.db"}
    found = catalog_conf("ice", sql, {}, REPO)
    assert found["spark.sql.catalog.ice.io-impl"] == "org.apache.iceberg.hadoop.HadoopFileIO"
    own = catalog_conf("ice", {**sql, "io-impl": "my.IO"}, {}, REPO)
    assert own["spark.sql.catalog.ice.io-impl"] == "my.IO"


def test_a_catalog_that_hands_out_credentials_has_icebergs_own_file_io() -> None:
    keys = {
        "type": "rest",
        "uri": "https://host",
        "header.X-Iceberg-Access-Delegation": "vended-credentials",
        "s3.region": "eu-central-1",
    }
    found = catalog_conf("ice", keys, {}, REPO)
    assert "spark.sql.catalog.ice.io-impl" not in found
    assert found["spark.sql.catalog.ice.s3.region"] == "eu-central-1"
    assert found["spark.sql.catalog.ice.http-client.type"] == "urlconnection"
    assert found["spark.sql.catalog.ice.header.X-Iceberg-Access-Delegation"] == "vended-credentials"


def test_a_store_of_its_own_goes_before_the_storage_options() -> None:
    options = {"endpoint": "http://usual:9000", "key": "usual", "secret": "usual", "region": "us-east-1"}
    keys = {"type": "sql", "uri": "sqlite:///c.db", "s3.endpoint": "http://other:9000", "s3.region": "us-east-1"}
    assert conf(keys, options) == {
        **V1,
        "uri": "jdbc:sqlite:/repo/c.db",
        "hadoop.fs.s3a.endpoint": "http://other:9000",
    }


def test_tables_by_path_need_no_metastore() -> None:
    found = by_path_conf(Path("/tmp/here"))
    assert found[f"spark.sql.catalog.{BY_PATH}.type"] == "hadoop"
    assert found[f"spark.sql.catalog.{BY_PATH}.warehouse"] == "file:///tmp/here"


@pytest.mark.parametrize(
    ("keys", "needs"),
    [
        ({"type": "sql", "uri": "sqlite:///c.db"}, {"sqlite"}),
        ({"uri": "postgresql+psycopg2://db/x", "warehouse": "s3://lake"}, {"postgresql", "s3"}),
        ({"type": "rest", "uri": "https://host"}, set()),
        ({"type": "rest", "uri": "https://host", "s3.endpoint": "http://x"}, {"s3"}),
        ({"type": "glue"}, {"glue", "s3"}),
    ],
)
def test_needs(keys: dict[str, str], needs: set[str]) -> None:
    assert needs_of(keys) == needs
