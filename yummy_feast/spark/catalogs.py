"""``catalogs``, which are in pyiceberg's keys, as Iceberg's own catalogs of Spark spell them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from yummy_feast.sources.iceberg_catalogs import OF_AMAZON, catalog_kind
from yummy_feast.sources.object_store import S3Settings, overriding
from yummy_feast.spark.amazon import LIGHT_CLIENT, amazon_conf
from yummy_feast.spark.stores import s3_options

CATALOG = "org.apache.iceberg.spark.SparkCatalog"
BY_PATH = "default_iceberg"
"""What Iceberg calls the catalog of tables that are read by their path."""

_TYPES = {"sql": "jdbc", "rest": "rest", "hive": "hive", "glue": "glue"}
_CLASSES = {
    "dynamodb": "org.apache.iceberg.aws.dynamodb.DynamoDbCatalog",
    "bigquery": "org.apache.iceberg.gcp.bigquery.BigQueryMetastoreCatalog",
}
_HADOOP_IO = "org.apache.iceberg.hadoop.HadoopFileIO"
_DELEGATION = "header.x-iceberg-access-delegation"
# What only Python can make sense of.
_PYTHON = ("py-io-impl", "py-catalog-impl", "py-location-provider-impl", "pool_pre_ping", "echo", "init_catalog_tables")
_STORES = ("s3.", "client.", "gcs.", "adls.", "aws_")


def needs_of(keys: Mapping[str, str]) -> set[str]:
    """What of ``pins.PACKAGES`` a catalog needs beside Iceberg's own."""
    kind = catalog_kind(keys)
    needs = {"glue", "s3"} if kind in OF_AMAZON else set()
    if kind == "sql":
        dialect = urlsplit(keys.get("uri", "")).scheme.partition("+")[0]
        needs |= (
            {"postgresql"} if dialect in ("postgresql", "postgres") else {"sqlite"} if dialect == "sqlite" else set()
        )
    if keys.get("warehouse", "").startswith(("s3://", "s3a://")) or any(name.startswith("s3.") for name in keys):
        needs.add("s3")
    return needs


def catalog_conf(name: str, keys: Mapping[str, str], options: Mapping[str, str], repo_path: Path) -> dict[str, str]:
    """Settings of a session that show Spark the catalog ``name`` as pyiceberg sees it; none for a kind that only Python
    has. ``options``: the storage options behind it.
    """
    found = _kind_conf(keys, repo_path)
    if found is None:
        return {}
    own = {key: value for key, value in keys.items() if key not in _PYTHON and not key.startswith(_STORES)}
    conf = {key: value for key, value in own.items() if key not in ("type", "uri", "warehouse")} | found
    if "warehouse" in keys:
        conf["warehouse"] = _warehouse(keys["warehouse"], catalog_kind(keys), repo_path)
    if any(key.lower() == _DELEGATION for key in keys):
        # The catalog hands out credentials for each table, which Iceberg's own file io takes and Hadoop's does not.
        handed = {key: value for key, value in keys.items() if key.startswith(("s3.", "client."))}
        conf = {**LIGHT_CLIENT, **conf, **handed}
    else:
        conf.setdefault("io-impl", _HADOOP_IO)
    if catalog_kind(keys) in OF_AMAZON:
        own_names = [key for key in conf if key.startswith(f"{catalog_kind(keys)}.")]
        conf = {
            **{key: value for key, value in conf.items() if key not in own_names},
            **amazon_conf(name, keys, options),
        }
    # Another program may have changed a table since it was last looked at.
    conf.setdefault("cache-enabled", "false")
    prefix = f"spark.sql.catalog.{name}"
    hadoop = _own_store(keys, options)
    return {
        prefix: CATALOG,
        **{f"{prefix}.{key}": value for key, value in conf.items()},
        **{f"{prefix}.hadoop.{key}": value for key, value in hadoop.items()},
    }


def by_path_conf(warehouse: Path) -> dict[str, str]:
    """For tables without a catalog: Iceberg would start a Hive client for them, with a metastore that nobody runs."""
    prefix = f"spark.sql.catalog.{BY_PATH}"
    return {
        prefix: CATALOG,
        f"{prefix}.type": "hadoop",
        f"{prefix}.warehouse": f"file://{warehouse}",
        f"{prefix}.cache-enabled": "false",
    }


def _kind_conf(keys: Mapping[str, str], repo_path: Path) -> dict[str, str] | None:
    kind = catalog_kind(keys)
    if kind in _CLASSES:
        return {"catalog-impl": _CLASSES[kind]}
    if kind not in _TYPES:
        return None
    if kind == "sql":
        return _jdbc(keys.get("uri", ""), repo_path)
    return {"type": _TYPES[kind], **({"uri": keys["uri"]} if "uri" in keys else {})}


def _jdbc(uri: str, repo_path: Path) -> dict[str, str] | None:
    """A URL of SQLAlchemy's as one of JDBC's; None for a database that only this process has."""
    parts = urlsplit(uri)
    dialect = parts.scheme.partition("+")[0]
    conf = {"type": "jdbc", "jdbc.schema-version": "V1"}
    if dialect == "sqlite":
        path = uri.partition(":///")[2]
        if not path or path.startswith(":memory:"):
            return None
        return {**conf, "uri": f"jdbc:sqlite:{_local(path, repo_path)}"}
    server = {"postgres": "postgresql", "postgresql": "postgresql", "mysql": "mysql", "mariadb": "mariadb"}.get(dialect)
    if server is None or parts.hostname is None:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = f":{parts.port}" if parts.port else ""
    query = f"?{parts.query}" if parts.query else ""
    conf["uri"] = f"jdbc:{server}://{host}{port}{parts.path}{query}"
    if parts.username:
        conf["jdbc.user"] = unquote(parts.username)
    if parts.password:
        conf["jdbc.password"] = unquote(parts.password)
    return conf


def _warehouse(warehouse: str, kind: str, repo_path: Path) -> str:
    if "://" in warehouse or kind not in ("sql", "hive"):
        # Of REST and Glue it may be a name.
        return warehouse
    return f"file://{_local(warehouse, repo_path)}"


def _local(path: str, repo_path: Path) -> Path:
    return (repo_path / Path(path).expanduser()).absolute()


def _own_store(keys: Mapping[str, str], options: Mapping[str, str]) -> dict[str, str]:
    """Hadoop's settings where the catalog's keys say something else than the storage options."""
    own = {key: value for key, value in keys.items() if key.startswith("s3.")}
    if not own:
        return {}
    usual = s3_options(S3Settings.of(options))
    found = s3_options(S3Settings.of(overriding(options, own)))
    return {key: value for key, value in found.items() if usual.get(key) != value}
