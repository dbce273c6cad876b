"""A repository of its own for each test that starts a server, which is ended however the test ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.online_server import address, client, cluster, cluster_of_session, server
from tests.unit.online.servers import put_down

__all__ = ["address", "client", "cluster", "cluster_of_session", "repo", "server"]


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "repo"
    folder.mkdir()
    yield folder
    put_down(folder)
