"""What a master needs beside its address: looked at before Spark starts, which fails on it late or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from yummy_feast.errors import ConfigError
from yummy_feast.spark.settings import SparkSettings

_IMAGES = ("spark.kubernetes.container.image", "spark.kubernetes.executor.container.image")
_YARN = ("HADOOP_CONF_DIR", "YARN_CONF_DIR")


def check_master(settings: SparkSettings, environment: Mapping[str, str]) -> None:
    """Nothing, if there is what the master needs.

    Raises:
        ConfigError: ``k8s://`` without an image: Spark would start, ask for no pod, and never answer. ``yarn`` without
            the folder that says where it is.
    """
    if settings.is_kubernetes and not any(settings.conf.get(name) for name in _IMAGES):
        # Of a Java that runs already (spark-submit, a driver in a pod) we do not know what it was told.
        said = environment.get("PYSPARK_SUBMIT_ARGS", "") + _text_of("spark-defaults.conf", environment)
        if "container.image" not in said and "PYSPARK_GATEWAY_PORT" not in environment:
            raise ConfigError(
                f"spark_conf: {_IMAGES[0]} is not set, and a master of k8s:// starts executors from an image",
                hint="name one that has Spark, Python and yummy-feast[spark]",
            )
    elif settings.master == "yarn" and not any(environment.get(name) for name in _YARN):
        said = _text_of("spark-env.sh", environment)
        if not any(name in said for name in _YARN):
            raise ConfigError(
                f"spark_conf: the master is yarn, and neither {_YARN[0]} nor {_YARN[1]} is set",
                hint="let one name the folder with yarn-site.xml, which says where the cluster is",
            )


def _text_of(name: str, environment: Mapping[str, str]) -> str:
    """One of the files that Spark itself reads at its start; empty if there is none."""
    spec = find_spec("pyspark")
    homes = [environment.get("SPARK_HOME", ""), *(spec.submodule_search_locations or () if spec else ())]
    home = next(filter(None, homes), "")
    file = Path(environment.get("SPARK_CONF_DIR") or Path(home) / "conf") / name
    return file.read_text(errors="replace") if file.is_file() else ""
