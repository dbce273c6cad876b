"""`connection_string: embedded`: one real Valkey server for each feature repository, started when it is first needed.

It runs by itself in the background, with its data under ``<repo>/data/valkey`` and a unix socket that only its owner
may use, serves every process of the repository and outlives them all until ``stop`` ends it. A server that was killed
is started again by whoever needs it next; every write it acknowledged is still there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from yummy_feast.errors import EmbeddedServerError
from yummy_feast.online import valkey_process as process
from yummy_feast.online.valkey_files import Files, check_platform, os_error, reachable_socket
from yummy_feast.online.valkey_process import Pulse

# A healthy server answers PING within a millisecond; under load it may be busy with one large pipeline.
_PING_TIMEOUT: Final = 2.0
_POLL: Final = 0.01


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A server that answers: where its data lies and the socket to connect to."""

    repo_path: Path
    data_path: Path
    socket_path: Path


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What is known of a repository's server. Sizes in bytes, uptime in seconds; None where only a server knows."""

    state: str  # "ready", "loading", "silent" (alive, but no answer) or "stopped"
    data_path: Path
    socket_path: Path
    data_bytes: int
    pid: int | None = None
    version: str | None = None
    keys: int | None = None
    memory_bytes: int | None = None
    uptime_seconds: int | None = None

    @property
    def is_running(self) -> bool:
        """Whether a server lives, answering or not."""
        return self.state != "stopped"


def ensure(
    repo_path: Path, *, timeout: float = 20.0, on_loading: Callable[[float], object] | None = None
) -> EmbeddedServer:
    """The server of the repository at ``repo_path``; started, and waited for, if none answers.

    Costs one connect and one PING while it runs. ``timeout`` seconds bound the wait for a sign of life; a server that
    is still loading its data gives one, and ``on_loading`` is told the percentage. Any number of processes may call
    this at the same time and end up with the same server.

    Raises:
        EmbeddedServerError: it cannot be started (platform, binary, folder, disk, damaged data) or does not answer.
    """
    check_platform()
    files = Files.of(repo_path)
    with _told(files):
        address = reachable_socket(files)
        server = EmbeddedServer(repo_path=files.folder.parent.parent, data_path=files.folder, socket_path=address)
        if process.feel_pulse(address, _PING_TIMEOUT) is not Pulse.READY:
            files.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _bring_up(files, address, timeout, on_loading)
        return server


def _bring_up(files: Files, address: Path, timeout: float, on_loading: Callable[[float], object] | None) -> None:
    """Wait for READY, starting the server whenever its lock shows that none lives; at most once ourselves."""
    mark: int | None = None
    deadline = time.monotonic() + timeout
    while True:
        pulse = process.feel_pulse(address, _PING_TIMEOUT)
        if pulse is Pulse.READY:
            return
        if pulse is Pulse.LOADING:
            deadline = time.monotonic() + timeout
            if on_loading is not None:
                on_loading(_loaded_percent(address))
        elif pulse is Pulse.ABSENT and (lock := process.try_lock(files)) is not None:
            if mark is not None:
                os.close(lock)
                raise process.start_error(files, mark)
            mark = process.log_size(files)
            process.launch(files, lock)
        if time.monotonic() > deadline:
            raise _no_answer(files, pulse, timeout)
        time.sleep(_POLL)


def stop(repo_path: Path, *, timeout: float = 30.0) -> bool:
    """End the server of this repository cleanly and wait until it is gone. True if there was one.

    Raises:
        EmbeddedServerError: it refuses, or does not end within ``timeout`` seconds.
    """
    check_platform()
    files = Files.of(repo_path)
    with _told(files):
        if not files.folder.is_dir():
            return False
        address = reachable_socket(files)
        deadline = time.monotonic() + timeout
        was_alive = False
        while (pulse := process.feel_pulse(address, _PING_TIMEOUT)) is not Pulse.ABSENT or _is_locked(files):
            was_alive = True
            if pulse is not Pulse.ABSENT:
                _shut_down(files, address)
            if time.monotonic() > deadline:
                raise _no_answer(files, pulse, timeout)
            time.sleep(_POLL)
        return was_alive


def _shut_down(files: Files, address: Path) -> None:
    """Ask the server to end. NOSAVE concerns snapshots only: the append-only file is complete at any time."""
    try:
        reply = process.ask(address, "SHUTDOWN", "NOSAVE", timeout=_PING_TIMEOUT)
    except OSError:
        # To hang up is how it says yes. Whether it is gone, or did not hear, the caller's next look tells.
        return
    raise EmbeddedServerError(f"the server in {files.folder} refuses to stop: {reply}", hint=f"see {files.log}")


def status(repo_path: Path) -> ServerStatus:
    """What the server of this repository is doing; starts nothing.

    Raises:
        EmbeddedServerError: its files cannot be read.
    """
    check_platform()
    files = Files.of(repo_path)
    with _told(files):
        state, info = _look(files)
        # keys=12,expires=0,avg_ttl=0 for each database that holds any.
        databases = [dict(item.split("=") for item in info[name].split(",")) for name in info if _is_database(name)]
        return ServerStatus(
            state=state,
            data_path=files.folder,
            socket_path=files.socket,
            data_bytes=_size_of(files.rows),
            pid=int(info["process_id"]) if info else None if state == "stopped" else _recorded_pid(files),
            version=info.get("valkey_version"),
            keys=sum(int(database["keys"]) for database in databases) if info else None,
            memory_bytes=int(info["used_memory"]) if info else None,
            uptime_seconds=int(info["uptime_in_seconds"]) if info else None,
        )


def death(repo_path: Path) -> EmbeddedServerError | None:
    """Why the last server of this repository died, if it lives no more and its log knows (a full disk, say)."""
    files = Files.of(repo_path)
    with _told(files):
        return None if _is_locked(files) else process.death_error(files)


def _look(files: Files) -> tuple[str, dict[str, str]]:
    """The server's state, and its INFO if it answers."""
    if not files.folder.is_dir():
        return "stopped", {}
    address = reachable_socket(files)
    pulse = process.feel_pulse(address, _PING_TIMEOUT)
    if pulse is Pulse.ABSENT:
        return "silent" if _is_locked(files) else "stopped", {}
    info = _info(address)
    return pulse.value if info else "silent", info


def _is_locked(files: Files) -> bool:
    """Whether a server holds its lock."""
    if not files.lock.exists():
        return False
    lock = process.try_lock(files)
    if lock is None:
        return True
    os.close(lock)
    return False


def _info(address: Path) -> dict[str, str]:
    """The server's INFO; empty if it went away or is too busy to tell."""
    try:
        reply = process.ask(address, "INFO", timeout=_PING_TIMEOUT)
    except OSError:
        return {}
    if not isinstance(reply, bytes):
        return {}
    return dict(line.split(":", 1) for line in reply.decode().splitlines() if ":" in line)


def _is_database(name: str) -> bool:
    return name.startswith("db") and name[2:].isdigit()


def _loaded_percent(address: Path) -> float:
    # No such line once it has loaded.
    return float(_info(address).get("loading_loaded_perc", 100.0))


def _size_of(folder: Path) -> int:
    """Bytes in ``folder``. A file may vanish while one looks: the server rewrites them."""
    total = 0
    for path in folder.glob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def _recorded_pid(files: Files) -> int | None:
    try:
        return int(files.pid.read_text())
    except (FileNotFoundError, ValueError):
        return None


def _no_answer(files: Files, pulse: Pulse, timeout: float) -> EmbeddedServerError:
    pid = _recorded_pid(files)
    problem = "has lost its socket" if pulse is Pulse.ABSENT else "does not answer"
    return EmbeddedServerError(
        f"the server in {files.folder} lives (pid {pid or 'unknown'}) but {problem}; waited {timeout:g} s",
        hint=f"kill -9 {pid or 'it'} and try again: nothing it acknowledged is lost; its log is {files.log}",
    )


@contextmanager
def _told(files: Files) -> Iterator[None]:
    """Errors of the operating system become ours, with the fix."""
    try:
        yield
    except OSError as error:
        raise os_error(files, error) from error
