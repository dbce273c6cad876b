"""The object stores that tests run against, by the names that test ids have: each a real server on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import pyarrow.fs as pafs
import pytest

FIXTURES = {"s3": "s3_server", "gcs": "google_server", "azure": "azure_server"}


class StoreServer(Protocol):
    """A server with as many buckets as tests ask for."""

    @property
    def options(self) -> dict[str, str]:
        """``storage_options`` that lead to it."""

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that its clients need besides."""

    def bucket(self) -> str:
        """The name of a new, empty bucket."""

    def uri(self, path: str) -> str:
        """``bucket/object`` as a user writes it."""

    def filesystem(self) -> pafs.FileSystem:
        """A pyarrow file system that knows nothing of our settings."""


def server_at(request: pytest.FixtureRequest, store: str) -> StoreServer | None:
    """As ``store_at``; None for ``local``."""
    return None if store == "local" else store_at(request, store)


def store_at(request: pytest.FixtureRequest, store: str) -> StoreServer:
    """The server of that name, with its variables set for the test that asks."""
    server: StoreServer = request.getfixturevalue(FIXTURES[store])
    for name, value in server.environment.items():
        request.getfixturevalue("monkeypatch").setenv(name, value)
    return server
