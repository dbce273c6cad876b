"""An S3 server for tests: moto in a process of its own, which keeps everything in memory and ends with its block.

A process of its own because its clients are many: this process, processes that tests start, and a JVM. It also answers
for AWS Glue, see ``strict_glue``.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.fs as pafs

from tests.unit.online.servers import free_port, wait_for_port

KEY = "key-of-the-tests"
SECRET = "hush-do-not-log-me"
GLUE_KEY = "glue-key-of-the-tests"
"""Glue takes this one and ``KEY``, and no other."""
_buckets = itertools.count()


@dataclass(frozen=True)
class S3Server:
    """Where it listens. S3 believes every key; ``KEY`` and ``SECRET`` are there to be looked for in logs."""

    endpoint: str
    options: dict[str, str] = field(init=False)
    """``storage_options`` that lead to it."""
    environment: dict[str, str] = field(init=False, default_factory=dict)
    """What else its clients have to know."""

    def __post_init__(self) -> None:
        options = {"endpoint": self.endpoint, "key": KEY, "secret": SECRET, "region": "us-east-1"}
        object.__setattr__(self, "options", options)

    def bucket(self) -> str:
        """The name of a new, empty bucket."""
        name = f"lake-{next(_buckets):05}"
        with urllib.request.urlopen(urllib.request.Request(f"{self.endpoint}/{name}", method="PUT")):
            return name

    def uri(self, path: str) -> str:
        """``bucket/object`` as a user writes it."""
        return f"s3://{path}"

    def filesystem(self) -> pafs.S3FileSystem:
        """A pyarrow file system that knows nothing of our settings."""
        return pafs.S3FileSystem(
            access_key=KEY,
            secret_key=SECRET,
            scheme="http",
            endpoint_override=self.endpoint.removeprefix("http://"),
            region="us-east-1",
        )


@contextmanager
def moto_server() -> Iterator[S3Server]:
    """A server of its own on a free port."""
    port = free_port()
    program = Path(__file__).with_name("strict_glue.py")
    command = [sys.executable, str(program), f"{KEY},{GLUE_KEY}", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port, 60)
        yield S3Server(f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()
