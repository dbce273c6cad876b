"""Real servers for tests: the embedded one of a repository, other processes, and how to end them whatever happened."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from yummy_feast.errors import EmbeddedServerError
from yummy_feast.online import embedded, valkey_process
from yummy_feast.online.valkey_files import Files

ROOT = Path(__file__).parents[3]

START = """
import sys
from pathlib import Path
from yummy_feast.online import embedded, valkey_process
embedded.ensure(Path(sys.argv[1]))
print(embedded.status(Path(sys.argv[1])).pid)
"""


def put_down(folder: Path) -> None:
    """End the server whatever state a test left it in."""
    try:
        embedded.stop(folder, timeout=5)
    except EmbeddedServerError:
        os.kill(recorded_pid(folder), signal.SIGKILL)


def recorded_pid(folder: Path) -> int:
    return int(Files.of(folder).pid.read_text())


def running_pid(folder: Path) -> int:
    pid = embedded.status(folder).pid
    assert pid is not None
    return pid


def client(folder: Path) -> redis.Redis:
    """A client that does not retry: a test that kills servers wants to see it."""
    address = str(embedded.ensure(folder).socket_path)
    return redis.Redis(unix_socket_path=address, retry=Retry(NoBackoff(), 0))


def kill(folder: Path) -> None:
    """kill -9, and wait until the system has taken notice: only then does the lock tell that nobody lives.

    Whoever else uses the server may start it again meanwhile: another process is as good as none.
    """
    pid = running_pid(folder)
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while (seen := embedded.status(folder)).is_running and seen.pid == pid:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def python(code: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Another process that runs ``code``; what it prints is read from its stdout."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, env=environment, text=True, stdout=-1, stderr=-1, **options)  # type: ignore[call-overload, no-any-return]


def output(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out.strip()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def valkey(folder: Path, *arguments: str, port: int | None = None) -> Iterator[int]:
    """A server with a TCP port and no ties to any repository, as somebody else would run it; yields the port."""
    port = port or free_port()
    command = [str(valkey_process.find_binary()), *arguments, "--port", str(port), "--bind", "127.0.0.1"]
    with (folder / f"{port}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env={"LC_ALL": "C"}, stdout=log, stderr=log)
    try:
        wait_for_port(port)
        yield port
    finally:
        process.kill()
        process.wait()


def wait_for_port(port: int, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return
        time.sleep(0.01)
    raise TimeoutError(f"nobody listens on port {port}")
