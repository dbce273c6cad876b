"""One small Spark for all slow tests of a process, made by our own ``session`` from the pinned jars."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from yummy_feast.errors import MissingExtraError, SourceReadError
from yummy_feast.spark.ivy import fetch_jars
from yummy_feast.spark.jars import VARIABLE, cache_folder, fetch_command, holds
from yummy_feast.spark.pins import PACKAGES, USUAL
from yummy_feast.spark.settings import SparkSettings

ROOT = Path(__file__).resolve().parents[1]
GIBIBYTE = 1 << 30
START_SECRET = "hush-at-the-start"
CONF = {
    "spark.master": "local[2]",
    "spark.sql.shuffle.partitions": "4",
    # The test server does not know requests for a file as it was.
    "spark.hadoop.fs.s3a.change.detection.mode": "none",
    # Nor Google's requests that move one; the connector copies and deletes then.
    "spark.hadoop.fs.gs.operation.move.enable": "false",
    # No command line may show it.
    "spark.executorEnv.LAKE_PASSWORD": START_SECRET,
}


@contextmanager
def skipped_without_spark() -> Iterator[None]:
    """Skip what needs Java or jars that are not there, and say what to do; in CI that is a failure."""
    try:
        yield
    except (MissingExtraError, SourceReadError) as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def spark_jars() -> Path:
    """The folder of jars: YUMMY_SPARK_JARS, else this user's cache, which is filled on first use."""
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE])
    return fetch_jars(cache_folder(), (*USUAL, "gcs", "glue")).folder


def require_google_connector() -> None:
    """Skip where the folder of jars lacks it, and say what to do; in CI that is a failure."""
    folder = spark_jars()
    if not holds(tuple(folder.glob("*.jar")), PACKAGES["gcs"][0]):
        reason = f"no jar of Google's connector: {fetch_command(folder, {'gcs'})}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def spark_settings(scratch: Path, **changes: Any) -> SparkSettings:
    """The settings of the shared session."""
    conf = {**CONF, "spark.sql.warehouse.dir": f"file://{scratch / 'warehouse'}", **changes.pop("conf", {})}
    return SparkSettings(
        conf=conf, jars=spark_jars(), threads=2, memory_limit=GIBIBYTE, repo_path=scratch, scratch=scratch, **changes
    )


@pytest.fixture(scope="session")
def spark_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The session, stopped at the end; whoever asks ``session`` for one meanwhile gets it."""
    from yummy_feast.spark.session import session

    # Executors import what the tests define.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with skipped_without_spark():
        found = session(spark_settings(tmp_path_factory.mktemp("spark")))
    yield found
    found.stop()
