"""What a master needs beside its address."""

from __future__ import annotations

from pathlib import Path

import pytest

from yummy_feast.errors import ConfigError
from yummy_feast.spark.masters import check_master
from yummy_feast.spark.settings import SparkSettings, conf_of

K8S = {"master": "k8s://https://host:6443"}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a Spark that has no files of its own yet."""
    return {"SPARK_HOME": str(tmp_path)}


@pytest.mark.parametrize(
    ("conf", "complaint"),
    [
        (K8S, r"spark_conf: spark.kubernetes.container.image is not set, .* \(name one that has Spark"),
        (
            {"master": "yarn"},
            r"the master is yarn, and neither HADOOP_CONF_DIR nor YARN_CONF_DIR is set \(let one name",
        ),
    ],
)
def test_what_is_missing_is_named(environment: dict[str, str], conf: dict[str, str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        check_master(SparkSettings(conf_of(conf)), environment)
    with pytest.raises(ConfigError, match=complaint):
        check_master(SparkSettings(conf_of(conf)), {})


@pytest.mark.parametrize(
    "said", [{"PYSPARK_GATEWAY_PORT": "4711"}, {"PYSPARK_SUBMIT_ARGS": "--conf spark.kubernetes.container.image=x y"}]
)
def test_an_image_may_be_named_to_spark_submit(environment: dict[str, str], said: dict[str, str]) -> None:
    check_master(SparkSettings(conf_of(K8S)), environment | said)


@pytest.mark.parametrize(
    "conf",
    [
        {"master": "local[2]"},
        {"master": "spark://host:7077"},
        {**K8S, "spark.kubernetes.container.image": "lake/spark:4"},
        {**K8S, "spark.kubernetes.executor.container.image": "lake/spark:4"},
    ],
)
def test_what_needs_nothing_more(environment: dict[str, str], conf: dict[str, str]) -> None:
    check_master(SparkSettings(conf_of(conf)), environment)


@pytest.mark.parametrize("name", ["HADOOP_CONF_DIR", "YARN_CONF_DIR"])
def test_yarn_by_the_environment(environment: dict[str, str], name: str) -> None:
    check_master(SparkSettings(conf_of({"master": "yarn"})), {**environment, name: "/etc/hadoop/conf"})


@pytest.mark.parametrize("where", ["SPARK_HOME", "SPARK_CONF_DIR"])
def test_what_sparks_own_files_say_counts(tmp_path: Path, where: str) -> None:
    folder = tmp_path / "conf" if where == "SPARK_HOME" else tmp_path
    folder.mkdir(exist_ok=True)
    (folder / "spark-defaults.conf").write_text("spark.kubernetes.container.image  lake/spark:4\n")
    (folder / "spark-env.sh").write_text("export YARN_CONF_DIR=/etc/hadoop/conf\n")
    check_master(SparkSettings(conf_of(K8S)), {where: str(tmp_path)})
    check_master(SparkSettings(conf_of({"master": "yarn"})), {where: str(tmp_path)})
