"""What every test shares: hypothesis profiles, which online server, and for all that ask one server of each object
store, one Hive metastore and one Spark.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import online_server
from tests.azure_server import AzureServer, azurite_server
from tests.google_server import GoogleServer
from tests.google_server import google_server as fake_gcs_server
from tests.hive_metastore import hive_metastore
from tests.one_spark import OneSpark, check_name
from tests.s3_server import S3Server, moto_server
from tests.spark_session import spark_session

__all__ = ["hive_metastore", "spark_session"]

# No deadline: a shared machine may stall any example. In CI every run draws the same examples, so that a red run is
# about the change; a developer's run keeps looking for new ones.
_COMMON = {"deadline": None, "print_blob": True, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("here", **_COMMON)
settings.register_profile("ci", derandomize=True, **_COMMON)
settings.load_profile("ci" if os.environ.get("CI") else "here")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--containers", action="store_true", help="take the online server of the tests from Docker, if it answers"
    )


def pytest_report_header(config: pytest.Config) -> str:
    """Which server the tests use: asked for a container and not getting one must be seen."""
    kind, why = online_server.choice(config.getoption("--containers"))
    return f"online server: {kind} ({why})"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """One S3 server, started by the first test that needs it. Tests keep apart by their buckets."""
    with moto_server() as server:
        yield server


@pytest.fixture(scope="session")
def google_server() -> Iterator[GoogleServer]:
    """One Google Cloud Storage server, likewise. Its clients need its ``environment``."""
    with fake_gcs_server() as server:
        yield server


@pytest.fixture(scope="session")
def azure_server() -> Iterator[AzureServer]:
    """One Azure Blob Storage server, likewise; skipped where azurite was not fetched."""
    with azurite_server() as server:
        yield server


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """``--dist loadfile``, with one process for all of Spark."""
    if config.getoption("dist") != "loadfile":
        return None
    return OneSpark(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """pyspark leaves the sockets of its results to the garbage collector; nobody here can close them."""
    for item in items:
        if item.get_closest_marker("spark") or "spark_session" in getattr(item, "fixturenames", ()):
            check_name(item)
            for ignored in (
                "ignore:unclosed <socket:ResourceWarning",
                "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning",
            ):
                item.add_marker(pytest.mark.filterwarnings(ignored))
