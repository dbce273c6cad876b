"""The session of a configuration: what starts no Spark on a stand-in for a session, the rest on the shared one."""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.s3_server import SECRET, S3Server
from tests.spark_session import START_SECRET, spark_settings
from yummy_feast.errors import ConfigError, MissingExtraError
from yummy_feast.spark import session as module
from yummy_feast.spark.conf import SparkConf
from yummy_feast.spark.jars import VARIABLE, Manifest
from yummy_feast.spark.pins import USUAL
from yummy_feast.spark.session import session
from yummy_feast.spark.settings import SparkSettings

ROWS = pa.table({"id": pa.array([1, 2, 3], pa.int64()), "v": [1.0, 2.0, 3.0]})


class Conf:
    """The settings of a session."""

    def __init__(self, **values: str) -> None:
        self.values = {key.replace("_", "."): value for key, value in values.items()}

    def get(self, key: str, default: str | None = None) -> str | None:
        return self.values.get(key, default)

    def set(self, key: str, value: str) -> None:
        self.values[key] = value

    def unset(self, key: str) -> None:
        self.values.pop(key, None)


class Session:
    """As much of a session of Spark Connect as is asked for settings."""

    is_stopped = False

    def __init__(self, **values: str) -> None:
        self.conf = Conf(**values)
        self.session_id = str(uuid.uuid4())


Session.__module__ = "pyspark.sql.connect.session"


@pytest.fixture
def active(monkeypatch: pytest.MonkeyPatch) -> Session:
    """A session that somebody else started."""
    found = Session(spark_master="local[7]", fs_s3a_endpoint="http://theirs")
    monkeypatch.setattr(module, "active", lambda: found)
    monkeypatch.setattr(module, "_last", [])
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    return found


def store(endpoint: str, **more: Any) -> SparkSettings:
    return SparkSettings(storage_options={"endpoint": endpoint, "key": "who", "secret": "hush"}, **more)


def test_a_session_that_is_there_is_told_what_it_lacks(active: Any) -> None:
    assert session(store("http://ours")) is active
    assert active.conf.values["fs.s3a.secret.key"] == "hush"
    # Theirs stays.
    assert active.conf.values["fs.s3a.endpoint"] == "http://theirs"
    assert active.conf.values["spark.master"] == "local[7]"
    assert "spark.sql.session.timeZone" not in active.conf.values


def test_spark_conf_goes_before_what_others_set(active: Any) -> None:
    session(store("http://ours", conf={"spark.hadoop.fs.s3a.endpoint": "http://mine"}))
    assert active.conf.values["fs.s3a.endpoint"] == "http://mine"


def test_what_was_set_for_other_settings_goes(active: Any) -> None:
    catalogs = {"ice": {"type": "rest", "uri": "http://first"}, "old": {"type": "rest", "uri": "http://old"}}
    session(SparkSettings(conf={"spark.remote": "sc://x"}, catalogs=catalogs))
    assert active.conf.values["spark.sql.catalog.old.uri"] == "http://old"
    session(SparkSettings(conf={"spark.remote": "sc://x"}, catalogs={"ice": {"type": "rest", "uri": "http://second"}}))
    assert active.conf.values["spark.sql.catalog.ice.uri"] == "http://second"
    assert not any(key.startswith("spark.sql.catalog.old") for key in active.conf.values)


def test_another_object_of_one_session_is_no_session_of_others(active: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    session(store("http://ours"))
    again = Session()
    again.conf, again.session_id = active.conf, active.session_id
    monkeypatch.setattr(module, "active", lambda: again)
    session(SparkSettings())
    assert "fs.s3a.secret.key" not in active.conf.values


def test_what_was_set_on_a_session_is_known_after_others(active: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    session(store("http://ours"))
    gone = Session()
    for other in (gone, Session()):
        monkeypatch.setattr(module, "active", lambda other=other: other)
        session(store("http://ours"))
        assert other.conf.values["fs.s3a.endpoint"] == "http://ours"
    gone.is_stopped = True
    monkeypatch.setattr(module, "active", lambda: active)
    session(SparkSettings())
    assert active.conf.values["fs.s3a.endpoint"] == "http://theirs"
    assert "fs.s3a.secret.key" not in active.conf.values
    assert not any(told.session is gone for told in module._last)


def test_equal_settings_cost_nothing(active: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert session(store("http://ours")) is active
    monkeypatch.setattr(active.conf, "get", None)
    assert session(store("http://ours")) is active


def test_sessions_of_one_jvm_are_told_again_after_others(active: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys of Amazon's catalogs are the JVM's, and another session of it can have been told others since."""
    told, one, other = [], active, Session()
    monkeypatch.setattr(module, "is_remote", lambda _: False)
    monkeypatch.setattr(module, "_is_over", lambda _: False)
    monkeypatch.setattr(module, "_is_one", lambda one, other: one is other)
    monkeypatch.setattr(module, "tell", lambda found, *_: told.append(found))
    monkeypatch.setattr(module, "give", lambda *_: True)
    for found in (one, one, other, one):
        monkeypatch.setattr(module, "active", lambda found=found: found)
        session(store("http://one" if found is one else "http://other"))
    assert told == [one, other, one]


def test_what_can_no_longer_be_set_is_said(active: Any, caplog: pytest.LogCaptureFixture) -> None:
    conf = {"spark.master": "local[2]", "spark.executor.memory": "2g", "spark.sql.shuffle.partitions": "3"}
    with caplog.at_level(logging.WARNING):
        session(SparkSettings(conf=conf))
    assert [record.getMessage() for record in caplog.records] == [
        "spark_conf: the Spark session that runs already was started with another spark.executor.memory, spark.master; "
        "stop it first to change that"
    ]
    assert active.conf.values["spark.sql.shuffle.partitions"] == "3"


def test_without_pyspark_or_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "active", lambda: None)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(MissingExtraError, match="engine: spark needs Java 17 or newer: JAVA_HOME is"):
        session(SparkSettings())
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'yummy-feast\[spark\]'"):
        session(SparkSettings())


@pytest.mark.parametrize("own", [None, "/lake/bin/python"])
def test_the_python_of_executors_is_that_of_spark_conf(monkeypatch: pytest.MonkeyPatch, own: str | None) -> None:
    """Else that of the environment, as Spark has it, and here the one that runs."""
    from pyspark.sql import SparkSession

    class FarEnoughError(Exception):
        """Nothing is started."""

    def stop(self: Any) -> Any:
        seen.append(os.environ["PYSPARK_PYTHON"])
        raise FarEnoughError

    seen: list[str] = []

    monkeypatch.setattr(module, "active", lambda: None)
    monkeypatch.setattr(module, "find_java", lambda purpose: None)
    monkeypatch.setattr(SparkSession.Builder, "getOrCreate", stop)
    monkeypatch.setenv("PYSPARK_PYTHON", "/somewhere/python")
    conf = {"spark.jars.packages": "", **({"spark.pyspark.python": own} if own else {})}
    with pytest.raises(FarEnoughError):
        session(SparkSettings(conf))
    assert seen == [own or "/somewhere/python"]
    # What else runs in this process is not ours to move.
    assert os.environ["PYSPARK_PYTHON"] == "/somewhere/python"


def test_no_credential_is_in_an_error(active: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(key: str, value: str) -> None:
        if key == "fs.s3a.secret.key":
            raise OSError(f"cannot set {key} to {value}")

    monkeypatch.setattr(active.conf, "set", refuse)
    monkeypatch.setattr(active.conf, "values", {"fs.s3a.access.key": "who"})
    with pytest.raises(ConfigError) as caught:
        session(SparkSettings(conf={"spark.hadoop.fs.s3a.secret.key": "hush"}))
    assert "cannot set fs.s3a.secret.key to ***" in str(caught.value)
    assert "hush" not in repr((caught.value, caught.value.__cause__, caught.value.hint))


def test_a_cache_that_lacks_a_catalogs_jars_is_not_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []

    def derive(settings: SparkSettings, machine: Any, wanted: Any, jars: Any, ivy_settings: Any) -> Any:
        asked.append((wanted, jars))
        raise ConfigError("far enough")

    cache = tmp_path / "yummy-feast" / "spark-jars"
    cache.mkdir(parents=True)
    (cache / "hadoop-aws-3.jar").touch()
    Manifest.of(USUAL, cache, ["hadoop-aws-3.jar"]).write(cache)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(module, "active", lambda: None)
    monkeypatch.setattr(module, "find_java", lambda purpose: None)
    monkeypatch.setattr(module, "derive", derive)
    for catalogs in ({}, {"lake": {"type": "glue"}}):
        with pytest.raises(ConfigError, match="far enough"):
            session(SparkSettings(catalogs=catalogs))
    assert asked[0][1] == (cache / "hadoop-aws-3.jar",)
    assert asked[1][1] == ()
    assert {"glue", "s3"} <= set(asked[1][0])
    with pytest.raises(ConfigError, match=r"no jars for glue.* \(yummy spark jars .* --with glue\)"):
        session(SparkSettings(jars=cache, catalogs={"lake": {"type": "glue"}}))


def test_who_has_no_network_is_told_which_jars_to_fetch() -> None:
    conf = SparkConf({"spark.jars.packages": "software.amazon.awssdk:glue:2.29.52"}, {})
    assert "`yummy spark jars DIR --with glue`" in module._hint("[JAVA_GATEWAY_EXITED] no", conf)


# On a real session.


@pytest.fixture
def real(spark_session: Any) -> Iterator[Any]:
    yield spark_session
    # As the other tests want it.
    session(SparkSettings())


@pytest.mark.slow
@pytest.mark.spark
def test_one_session_for_all_threads(real: Any, tmp_path: Path) -> None:
    given = spark_settings(tmp_path)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(session(given))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [item is real for item in found] == [True] * 4


@pytest.mark.slow
@pytest.mark.spark
@pytest.mark.parametrize("on", ["local", "s3"])
def test_both_libraries_see_the_same_tables(real: Any, tmp_path: Path, s3_server: S3Server, on: str) -> None:
    """Delta by path; Iceberg by its catalog and by its metadata file; written by Python, read by Spark, and back."""
    import deltalake
    from pyiceberg.catalog import load_catalog

    from yummy_feast.sources.base import SourceContext
    from yummy_feast.sources.iceberg_catalogs import catalog_properties
    from yummy_feast.sources.object_store import S3Settings
    from yummy_feast.spark.writing import hadoop_path

    root = f"s3://{s3_server.bucket()}" if on == "s3" else str(tmp_path)
    options = s3_server.options if on == "s3" else {}
    (tmp_path / "catalog.db").touch()
    catalogs = {"shared": {"type": "sql", "uri": "sqlite:///catalog.db", "warehouse": f"{root}/wh"}}
    spark = session(spark_settings(tmp_path, storage_options=options, catalogs=catalogs))

    storage = S3Settings.of(options).for_deltalake() if options else None
    deltalake.write_deltalake(f"{root}/delta", ROWS, storage_options=storage)
    assert spark.read.format("delta").load(hadoop_path(f"{root}/delta")).count() == 3
    spark.range(3).selectExpr("id", "double(id) AS v").write.format("delta").mode("append").save(
        hadoop_path(f"{root}/delta")
    )
    assert deltalake.DeltaTable(f"{root}/delta", storage_options=storage).to_pyarrow_table().num_rows == 6

    properties = catalog_properties(SourceContext(tmp_path, options, catalogs), "shared")
    with load_catalog("shared", **properties) as catalog:
        catalog.create_namespace("db")
        table = catalog.create_table("db.t", schema=ROWS.schema)
        table.append(ROWS)
        assert spark.table("shared.db.t").count() == 3
        spark.sql("INSERT INTO shared.db.t VALUES (4, 4.0)")
        table.refresh()
        assert table.scan().to_arrow().num_rows == 4
        table.append(ROWS)
        assert spark.table("shared.db.t").count() == 7
        by_path = spark.read.format("iceberg").load(hadoop_path(table.metadata_location))
        assert sorted(row.id for row in by_path.collect()) == [1, 1, 2, 2, 3, 3, 4]


@pytest.mark.slow
@pytest.mark.spark
def test_another_configuration_has_its_own_catalogs(real: Any, tmp_path: Path) -> None:
    from pyiceberg.catalog import load_catalog

    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        keys = {"type": "sql", "uri": f"sqlite:///{folder}/c.db", "warehouse": f"{folder}/wh"}
        with load_catalog("again", **{**keys, "warehouse": f"file://{folder}/wh"}) as catalog:
            catalog.create_namespace("db")
            catalog.create_table("db.t", schema=ROWS.schema).append(ROWS.slice(0, number))
        spark = session(spark_settings(folder, catalogs={"again": keys}))
        assert spark.table("again.db.t").count() == number


@pytest.mark.slow
@pytest.mark.spark
def test_no_credential_is_where_others_look(real: Any, tmp_path: Path, s3_server: S3Server) -> None:
    catalogs = {"prod": {"type": "rest", "uri": "http://127.0.0.1:9", "credential": f"me:{SECRET}"}}
    spark = session(spark_settings(tmp_path, storage_options=s3_server.options, catalogs=catalogs))
    assert spark.conf.get("fs.s3a.secret.key") == SECRET
    assert spark.conf.get("spark.sql.catalog.prod.credential") == f"me:{SECRET}"
    command = Path(f"/proc/{spark.sparkContext._gateway.proc.pid}/cmdline").read_text()
    assert SECRET not in command
    # One that the session must begin with, and does.
    assert spark.sparkContext.environment["LAKE_PASSWORD"] == START_SECRET
    assert START_SECRET not in command
    assert SECRET not in str(spark.sparkContext.getConf().getAll())
    assert SECRET not in str([row.value for row in spark.sql("SET").collect()])


@pytest.fixture
def of_others(real: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A session of the same Spark, as of a notebook, which hides what Spark hides by itself."""
    found = real.newSession()
    found.conf.set("spark.sql.legacy.setCommandRejectsSparkCoreConfs", "false")
    found.conf.set("spark.redaction.regex", "(?i)secret|password|token|access[.]?key")
    monkeypatch.setattr(module, "active", lambda: found)
    monkeypatch.setattr(module, "_last", [])
    return found


@pytest.mark.slow
@pytest.mark.spark
@pytest.mark.parametrize("names", [False, True])
def test_what_a_notebook_told_hadoop_stays(
    of_others: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, names: bool
) -> None:
    """Its queries go to its store with its credentials; what is ours beside that is gone with our configuration."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    hadoop = of_others.sparkContext._jsc.hadoopConfiguration()
    theirs = {
        "fs.s3a.aws.credentials.provider": "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
        "fs.s3a.access.key": "theirs",
        "fs.s3a.secret.key": "hush",
        "fs.s3a.endpoint": "http://theirs",
    }
    options = {"endpoint": "http://ours", "key": "who", "secret": "hush-ours"} if names else {}
    try:
        for key, value in theirs.items():
            hadoop.set(key, value)
        session(SparkSettings(storage_options=options, repo_path=tmp_path))
        seen = of_others._jsparkSession.sessionState().newHadoopConf()
        assert {key: seen.get(key) for key in theirs} == theirs
        assert seen.get("fs.s3.impl") == "org.apache.hadoop.fs.s3a.S3AFileSystem"
        assert seen.get("fs.s3a.retry.limit") == "7"
    finally:
        for key in theirs:
            hadoop.unset(key)


@pytest.mark.slow
@pytest.mark.spark
def test_an_azure_key_is_hidden_in_a_session_of_others(of_others: Any, tmp_path: Path) -> None:
    options = {"account_name": "me", "account_key": "aHVzaC1henVyZQ=="}
    session(SparkSettings(storage_options=options, repo_path=tmp_path))
    key = "fs.azure.account.key.me.dfs.core.windows.net"
    assert of_others.conf.get(key) == options["account_key"]
    listed = {row.key: row.value for row in of_others.sql("SET").collect()}
    assert "redacted" in listed[key]
    assert options["account_key"] not in str(listed)
