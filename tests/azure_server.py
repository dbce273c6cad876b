"""An Azure Blob Storage server for tests: azurite, a Node program that keeps all in memory and ends with its block.

``make azurite`` fetches it with npm. It has accounts without hierarchical namespace alone, and so no `dfs` endpoint.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlencode

import pyarrow.fs as pafs
import pytest

from tests.unit.online.servers import free_port

ACCOUNT = "lakeaccount"
KEY = base64.b64encode(b"hush-do-not-log-me-either-".ljust(64, b".")).decode()
_FETCHED = Path(__file__).parent.parent / "build" / "azurite"
_SAS_VERSION = "2019-12-12"
_containers = itertools.count()


@dataclass(frozen=True)
class AzureServer:
    """Where it listens. It knows one account and checks every signature."""

    endpoint: str
    options: dict[str, str] = field(init=False)
    """``storage_options`` that lead to it."""
    environment: dict[str, str] = field(init=False, default_factory=dict)
    """What else its clients have to know."""

    def __post_init__(self) -> None:
        options = {"azure_endpoint": self.endpoint, "account_name": ACCOUNT, "account_key": KEY}
        object.__setattr__(self, "options", options)

    def bucket(self) -> str:
        """The name of a new, empty container."""
        name = f"lake-{next(_containers):05}"
        self.filesystem().create_dir(name)
        return name

    def uri(self, path: str) -> str:
        """``container/blob`` as a user writes it."""
        container, _, name = path.partition("/")
        return f"abfss://{container}@{ACCOUNT}.dfs.core.windows.net/{name}"

    def sas_token(self) -> str:
        """A token for all of the account, signed with its key."""
        facts = {"sp": "rwdlac", "ss": "b", "srt": "sco", "st": "", "se": "2099-01-01T00:00:00Z", "sip": "", "spr": ""}
        signed = "\n".join([ACCOUNT, *facts.values(), _SAS_VERSION, ""])
        digest = hmac.new(base64.b64decode(KEY), signed.encode(), hashlib.sha256).digest()
        shown = {**{name: text for name, text in facts.items() if text}, "sv": _SAS_VERSION}
        return urlencode({**shown, "sig": base64.b64encode(digest).decode()})

    def filesystem(self) -> pafs.AzureFileSystem:
        """A pyarrow file system that knows nothing of our settings."""
        host = self.endpoint.removeprefix("http://")
        return pafs.AzureFileSystem(
            ACCOUNT,
            account_key=KEY,
            blob_storage_authority=host,
            dfs_storage_authority=host,
            blob_storage_scheme="http",
            dfs_storage_scheme="http",
        )


def azurite() -> str:
    """Its command. Where it is not there the test is skipped; in CI it fails."""
    fetched = max(_FETCHED.glob("*/node_modules/.bin/azurite-blob"), key=os.path.getmtime, default=None)
    found = str(fetched) if fetched else shutil.which("azurite-blob")
    return found or _without("no azurite; fetch it with: make azurite")


def _without(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _wait(process: subprocess.Popen[str], port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return
        time.sleep(0.05)
    process.kill()
    said = (process.communicate()[1] or "").strip().splitlines()
    # An old Node cannot run it.
    _without(f"azurite does not start: {said[-1] if said else 'and does not say why'}")


@contextmanager
def azurite_server() -> Iterator[AzureServer]:
    """A server of its own on a free port."""
    port = free_port()
    command = [azurite(), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence"]
    # Clients are newer than the newest API version it knows of.
    command += ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
    accounts = {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
    process = subprocess.Popen(
        command, env={**os.environ, **accounts}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        _wait(process, port)
        yield AzureServer(f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.communicate()
