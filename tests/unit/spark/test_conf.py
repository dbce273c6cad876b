"""What a session is told, for each kind of configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from yummy_feast.spark.conf import Machine, SparkConf, demanded, derive, is_fixed, needs
from yummy_feast.spark.settings import SparkSettings, conf_of

MACHINE = Machine("/venv/bin/python", 16 << 30, Path("/tmp/of-me"))
JARS = (Path("/jars/delta-spark_4.1_2.13-4.4.0.jar"), Path("/jars/mine.jar"))
S3 = {"endpoint": "http://localhost:9000", "key": "who", "secret": "hush-s3"}
CATALOGS = {"ice": {"type": "sql", "uri": "postgresql://me:hush-db@db/ice"}}
WANTED = ("delta", "iceberg", "s3")


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


def derived(conf: dict[str, Any] | None = None, jars: tuple[Path, ...] = (), **settings: Any) -> SparkConf:
    made = SparkSettings(conf_of(conf or {}), **{"threads": 2, **settings})
    return derive(made, MACHINE, WANTED, jars, Path("/scratch/ivysettings.xml"))


def test_a_session_on_this_machine() -> None:
    start = derived().start
    assert start["spark.master"] == "local[2]"
    assert start["spark.ui.enabled"] == "false"
    assert start["spark.driver.bindAddress"] == start["spark.driver.host"] == "127.0.0.1"
    assert start["spark.pyspark.python"] == "/venv/bin/python"
    assert start["spark.sql.session.timeZone"] == "UTC"
    assert start["spark.sql.adaptive.enabled"] == "true"
    assert start["spark.python.sql.dataFrameDebugging.enabled"] == "false"
    asked_for = derived({"spark.python.sql.dataFrameDebugging.enabled": "true"})
    assert asked_for.start["spark.python.sql.dataFrameDebugging.enabled"] == "true"
    assert start["spark.sql.shuffle.partitions"] == "16"
    assert start["spark.databricks.delta.snapshotPartitions"] == "1"
    assert start["spark.serializer"].endswith("KryoSerializer")
    assert start["spark.sql.warehouse.dir"] == "file:///tmp/of-me/warehouse"
    assert derived(scratch=Path("/spill")).start["spark.local.dir"] == "/spill"


def test_a_session_of_a_cluster_is_not_told_about_this_machine() -> None:
    start = derived({"master": "spark://host:7077"}, scratch=Path("/spill")).start
    assert start["spark.master"] == "spark://host:7077"
    for key in (
        "driver.host",
        "driver.bindAddress",
        "ui.enabled",
        "pyspark.python",
        "local.dir",
        "sql.shuffle.partitions",
        "kubernetes.memoryOverheadFactor",
    ):
        assert f"spark.{key}" not in start


def test_pods_have_memory_for_python_and_their_token_is_hushed() -> None:
    given = {"master": "k8s://https://host", "spark.kubernetes.authenticate.oauthToken": "hush-pods"}
    conf = derived(given)
    assert conf.start["spark.kubernetes.memoryOverheadFactor"] == "0.4"
    assert "hush" not in str(dict(conf.start))
    assert conf.whole_start["spark.kubernetes.authenticate.oauthToken"] == "hush-pods"
    more = derived({**given, "spark.kubernetes.memoryOverheadFactor": 0.7})
    assert more.start["spark.kubernetes.memoryOverheadFactor"] == "0.7"


@pytest.mark.parametrize(
    ("memory_limit", "master", "memory"),
    [
        (None, "local[2]", "4096m"),
        (None, "spark://h:1", "1024m"),
        (3 << 30, "local[2]", "3072m"),
        (3 << 30, "spark://h:1", "3072m"),
        (1 << 20, "local[2]", "1024m"),
    ],
)
def test_memory_of_the_driver(memory_limit: int | None, master: str, memory: str) -> None:
    assert derived({"master": master}, memory_limit=memory_limit).start["spark.driver.memory"] == memory


def test_users_have_the_last_word() -> None:
    given = {
        "master": "local[8]",
        "spark.driver.memory": "9g",
        "spark.sql.session.timeZone": "Europe/Berlin",
        "spark.hadoop.fs.s3a.path.style.access": False,
    }
    conf = derived(given, storage_options=S3)
    assert conf.start["spark.driver.memory"] == "9g"
    assert conf.start["spark.sql.session.timeZone"] == "Europe/Berlin"
    # Also where a session runs already.
    assert conf.running["spark.sql.session.timeZone"] == "Europe/Berlin"
    assert conf.running["fs.s3a.path.style.access"] == "false"
    assert conf.own_start == ("spark.master", "spark.driver.memory")


def test_what_users_list_is_added() -> None:
    conf = derived({"spark.sql.extensions": "my.Extension", "spark.jars.packages": "com.me:mine:1"})
    assert conf.start["spark.sql.extensions"].split(",")[0] == "my.Extension"
    assert "IcebergSparkSessionExtensions" in conf.start["spark.sql.extensions"]
    assert conf.start["spark.jars.packages"].startswith("com.me:mine:1,io.delta:delta-spark_4.1_2.13:4.4.0,")


def test_packages_are_those_that_are_wanted() -> None:
    start = derive(SparkSettings(), MACHINE, ("delta",), (), Path("/ivysettings.xml")).start
    assert start["spark.jars.packages"] == "io.delta:delta-spark_4.1_2.13:4.4.0"
    assert "software.amazon.awssdk:bundle" in start["spark.jars.excludes"].split(",")
    assert start["spark.jars.ivySettings"] == "/ivysettings.xml"
    assert start["spark.sql.extensions"] == "io.delta.sql.DeltaSparkSessionExtension"
    assert start["spark.sql.catalog.spark_catalog"] == "org.apache.spark.sql.delta.catalog.DeltaCatalog"
    assert "spark.jars.packages" not in derive(SparkSettings(), MACHINE, (), (), None).start


def test_no_packages_if_users_say_none() -> None:
    start = derived({"spark.jars.packages": ""}).start
    assert start["spark.jars.packages"] == ""
    assert "spark.sql.extensions" not in start
    assert "spark.sql.catalog.spark_catalog" not in start


@pytest.mark.parametrize("key", ["spark.jars.ivySettings", "spark.jars.repositories"])
def test_a_mirror_that_users_name_is_the_one(key: str) -> None:
    start = derived({key: "https://mirror"}).start
    assert start[key] == "https://mirror"
    assert start.get("spark.jars.ivySettings") != "/scratch/ivysettings.xml"


def test_jars_of_a_folder_decide_what_there_is() -> None:
    conf = derived({"spark.jars": "/own.jar"}, JARS)
    assert conf.start["spark.jars"] == "/own.jar,/jars/delta-spark_4.1_2.13-4.4.0.jar,/jars/mine.jar"
    assert "spark.jars.packages" not in conf.start
    assert conf.start["spark.sql.extensions"] == "io.delta.sql.DeltaSparkSessionExtension"
    assert not any("iceberg" in key for key in conf.running)


def test_no_credential_is_on_a_command_line_or_in_a_repr() -> None:
    own = {"spark.hadoop.fs.s3a.session.token": "hush-own", "spark.sql.catalog.x.credential": "hush-own"}
    conf = derived(own, storage_options=S3, catalogs=CATALOGS)
    assert "hush" not in str(dict(conf.start))
    assert "hush" not in repr(conf)
    assert conf.running["fs.s3a.secret.key"] == "hush-s3"
    assert conf.running["spark.sql.catalog.ice.jdbc.password"] == "hush-db"
    assert conf.running["fs.s3a.session.token"] == "hush-own"
    assert conf.running["spark.sql.catalog.x.credential"] == "hush-own"


def test_a_server_of_connect_is_told_of_stores_and_catalogs() -> None:
    conf = derived({"master": "sc://host"}, storage_options=S3, catalogs=CATALOGS)
    assert conf.running["fs.s3a.endpoint"] == "http://localhost:9000"
    assert conf.running["spark.sql.catalog.ice"] == "org.apache.iceberg.spark.SparkCatalog"
    assert "spark.master" not in conf.start
    assert conf.own_start == ()


@pytest.mark.parametrize(
    ("key", "fixed"),
    [
        ("spark.executor.memory", True),
        ("spark.sql.extensions", True),
        ("spark.sql.warehouse.dir", True),
        ("spark.jars", True),
        ("spark.sql.shuffle.partitions", False),
        ("spark.sql.catalog.ice.uri", False),
        ("spark.hadoop.fs.s3a.endpoint", False),
        ("spark.databricks.delta.snapshotPartitions", False),
    ],
)
def test_what_a_running_session_takes(key: str, fixed: bool) -> None:
    assert is_fixed(key) is fixed


@pytest.mark.parametrize(
    ("settings", "installed", "environment", "wanted"),
    [
        ({}, (), {}, ()),
        # With a role of the machine nothing speaks of S3.
        ({}, ("delta", "iceberg"), {}, ("delta", "iceberg", "s3")),
        ({"storage_options": {"region": "eu"}}, ("delta",), {}, ("delta", "s3")),
        ({}, (), {"AWS_REGION": "eu"}, ("s3",)),
        ({}, (), {"AWS_PROFILE": "me"}, ("s3",)),
        ({"conf": {"spark.hadoop.fs.s3a.endpoint": "x"}}, (), {}, ("s3",)),
        ({"catalogs": {"a": {"type": "sql", "uri": "sqlite:///c.db"}}}, (), {}, ("iceberg", "sqlite", "s3")),
        ({"catalogs": CATALOGS}, ("iceberg",), {}, ("iceberg", "postgresql", "s3")),
        ({"catalogs": {"a": {"type": "glue"}}}, (), {}, ("iceberg", "s3", "glue")),
        ({"storage_options": {"account_name": "me"}}, (), {}, ("azure",)),
        ({"storage_options": {"google_project": "p"}}, (), {}, ("s3", "gcs")),
        ({"storage_options": {"google_access_token": "t"}}, (), {}, ()),
    ],
)
def test_only_what_the_configuration_needs(
    settings: dict[str, Any], installed: tuple[str, ...], environment: dict[str, str], wanted: tuple[str, ...]
) -> None:
    assert needs(SparkSettings(**settings), installed, environment) == wanted


def test_a_profile_needs_s3() -> None:
    assert needs(SparkSettings(), (), {}, has_profile=True) == ("s3",)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, set()),
        ({"storage_options": {"account_name": "me"}}, set()),
        ({"storage_options": {"google_project": "p"}}, {"gcs"}),
        ({"storage_options": S3}, {"s3"}),
        ({"catalogs": {"a": {"type": "glue"}}}, {"iceberg", "glue", "s3"}),
        ({"catalogs": {"a": {"type": "glue"}}, "conf": {"spark.jars.packages": "my:aws:1"}}, set()),
    ],
)
def test_what_a_folder_of_jars_must_have(settings: dict[str, Any], wanted: set[str]) -> None:
    assert demanded(SparkSettings(**settings)) == wanted


@pytest.mark.parametrize(
    "key", ["spark.authenticate.secret", "spark.ssl.keyPassword", "spark.executorEnv.AWS_SECRET_ACCESS_KEY"]
)
def test_a_credential_for_the_start_is_kept_apart(key: str) -> None:
    conf = derived({key: "hush"})
    assert "hush" not in str(dict(conf.start))
    assert "hush" not in repr(conf)
    assert conf.whole_start == {**conf.start, key: "hush"}
    assert conf.own_start == (key,)


def test_credentials_in_spark_conf_are_those_that_count() -> None:
    conf = derived({"spark.hadoop.fs.s3a.access.key": "who", "spark.hadoop.fs.s3a.secret.key": "hush"})
    assert "fs.s3a.aws.credentials.provider" not in conf.running
    assert conf.running["fs.s3a.secret.key"] == "hush"


def test_keys_of_glue_are_nobody_elses() -> None:
    glue = {"ice": {"type": "glue", "glue.access-key-id": "who", "glue.secret-access-key": "hush-glue"}}
    conf = derived(catalogs=glue)
    assert conf.properties == {"aws.accessKeyId": "who", "aws.secretAccessKey": "hush-glue"}
    assert "hush-glue" not in f"{conf}{conf.start}{conf.running}"
    # S3 is looked for past them.
    assert "DefaultCredentialsProvider" not in conf.running["fs.s3a.aws.credentials.provider"]
    assert "ProfileCredentialsProvider" in conf.running["fs.s3a.aws.credentials.provider"]
    assert (
        "DefaultCredentialsProvider"
        in derived(catalogs={"ice": {"type": "glue"}}).running["fs.s3a.aws.credentials.provider"]
    )
    assert derived(catalogs=CATALOGS).properties == {}
