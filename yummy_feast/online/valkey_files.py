"""Where the embedded server of a repository keeps its files, and how its socket is reached; errors of the system, told.

Everything lies under ``<repo>/data/valkey``, named relative to it, so that a repository may be moved.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from yummy_feast.errors import EmbeddedServerError

# sockaddr_un holds 108 bytes on Linux and 104 on macOS, the closing zero included.
_SOCKET_PATH_BYTES: Final = 103


def check_platform() -> None:
    """Refuse where there are no unix sockets and file locks.

    Raises:
        EmbeddedServerError: on Windows.
    """
    if sys.platform == "win32":
        raise EmbeddedServerError(
            "no embedded server on Windows", hint="use WSL, or set online_store.connection_string to a Redis elsewhere"
        )


@dataclass(frozen=True, slots=True)
class Files:
    """Where the server of one repository keeps what it needs: everything under ``<repo>/data/valkey``."""

    folder: Path

    @classmethod
    def of(cls, repo_path: Path) -> Files:
        """The files of the repository at ``repo_path`` (made absolute, links followed)."""
        return cls(repo_path.resolve() / "data" / "valkey")

    @property
    def lock(self) -> Path:
        """Locked while the server lives. A dot file, so that `rm data/valkey/*` leaves it."""
        return self.folder / ".lock"

    @property
    def socket(self) -> Path:
        """Where the server listens; ``reachable_socket`` tells clients how to get there."""
        return self.folder / "valkey.sock"

    @property
    def log(self) -> Path:
        """What the server, and the attempt to start it, had to say."""
        return self.folder / "valkey.log"

    @property
    def configuration(self) -> Path:
        """The server's configuration; its path also tells the servers of a machine apart in `ps`."""
        return self.folder / "valkey.conf"

    @property
    def pid(self) -> Path:
        """The server's process id, written by itself; only to tell people, see the module's docstring."""
        return self.folder / "valkey.pid"

    @property
    def rows(self) -> Path:
        """The append-only file, in its parts."""
        return self.folder / "appendonlydir"


def reachable_socket(files: Files) -> Path:
    """A path to the server's socket that is short enough to connect to.

    Socket addresses hold about 100 bytes. A longer path goes through a symbolic link in a private folder of the
    temporary directory, named after a hash of the real one, so every process of this user arrives at the same name
    and whoever comes first makes the link. The socket itself always stays beside its data.

    Raises:
        EmbeddedServerError: somebody else owns the private folder, or can write to it.
        OSError: the link cannot be made.
    """
    if len(os.fsencode(files.socket)) <= _SOCKET_PATH_BYTES:
        return files.socket
    name = hashlib.sha256(os.fsencode(files.folder)).hexdigest()[:24]
    for parent in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 - the folder in it is private, see _private_folder
        link = Path(parent, f"yummy-{os.geteuid()}", name)
        if len(os.fsencode(link / files.socket.name)) <= _SOCKET_PATH_BYTES:
            break
    _private_folder(link.parent)
    if not link.is_symlink() or os.readlink(link) != str(files.folder):
        # Replaced in one step: another process may be on its way through it.
        fresh = link.with_name(f"{name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(files.folder)
        fresh.replace(link)
    return link / files.socket.name


def _private_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise EmbeddedServerError(
            f"{folder} is not private to this user, so a socket reached through it cannot be trusted",
            hint=f"remove {folder}, or set TMPDIR to a folder of your own",
        )


def os_error(files: Files, error: OSError) -> EmbeddedServerError:
    """An error of the operating system, told with what mends it."""
    what = error.filename or files.folder
    elsewhere = "or set online_store.connection_string to a Redis elsewhere"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return EmbeddedServerError(f"no space left for the server in {what}", hint="free some disk space and try again")
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return EmbeddedServerError(
            f"the server in {files.folder} cannot use {what}: {error.strerror}",
            hint=f"give this user (uid {os.geteuid()}) the right to read and write there, {elsewhere}",
        )
    if error.errno in {errno.ENOTDIR, errno.EEXIST}:
        return EmbeddedServerError(f"{what} should be a folder and is not", hint="move that file out of the way")
    if error.errno in {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}:
        return EmbeddedServerError(
            f"the file system of {files.folder} has no file locks: {error.strerror}",
            hint=f"move the repository to a local disk, {elsewhere}",
        )
    return EmbeddedServerError(f"the server in {files.folder}: {error}", hint=f"mend that, {elsewhere}")
