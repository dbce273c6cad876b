"""Where a server's files lie, and what stands in the way: long paths, other users, full disks."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from tests.unit.online.servers import ROOT, client, kill, output, put_down, python, running_pid
from yummy_feast.errors import EmbeddedServerError
from yummy_feast.online import embedded, valkey_files
from yummy_feast.online.valkey_files import Files


@pytest.fixture
def short_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary directory with a short name, for the links to sockets that are far away."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="y") as name:
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield Path(name)


def test_a_long_path_is_reached_through_a_private_link(tmp_path: Path, short_folder: Path) -> None:
    far = tmp_path / ("ä" * 60) / ("b" * 90)
    far.mkdir(parents=True)
    try:
        server = embedded.ensure(far)
        private = short_folder / f"yummy-{os.geteuid()}"
        assert private in server.socket_path.parents
        assert private.stat().st_mode & 0o777 == 0o700
        assert len(os.fsencode(server.socket_path)) < 104
        assert Files.of(far).socket.is_socket()
        with client(far) as redis_client:
            redis_client.set("key", "value")

        # Another process finds the same server, also when the link is gone or leads astray.
        pid = running_pid(far)
        link = next(private.iterdir())
        link.unlink()
        assert embedded.ensure(far) == server
        link.unlink()
        link.symlink_to(tmp_path)
        assert embedded.ensure(far) == server
        assert running_pid(far) == pid
        kill(far)
        with client(far) as redis_client:
            assert redis_client.get("key") == b"value"
    finally:
        put_down(far)


def test_a_link_in_a_folder_others_may_write_is_not_trusted(tmp_path: Path, short_folder: Path) -> None:
    (short_folder / f"yummy-{os.geteuid()}").mkdir(mode=0o777)
    (short_folder / f"yummy-{os.geteuid()}").chmod(0o777)
    with pytest.raises(EmbeddedServerError, match="not private to this user"):
        embedded.ensure(tmp_path / ("c" * 120))


def test_a_file_in_the_way_of_the_folder_is_named(repo: Path) -> None:
    (repo / "data").write_text("a file")
    with pytest.raises(EmbeddedServerError, match=r"data.*should be a folder and is not \(move that file"):
        embedded.ensure(repo)


def test_a_folder_without_permission_is_an_error_with_the_fix(repo: Path) -> None:
    code = f"""
import os, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from yummy_feast.online import embedded
if os.geteuid() == 0:
    os.setgid(65534); os.setuid(65534)
try:
    embedded.ensure(Path(sys.argv[1]))
except embedded.EmbeddedServerError as error:
    print(error)
"""
    # A parent that anyone may enter, a repository that only its owner may write.
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        closed = Path(name) / "repo"
        closed.mkdir(mode=0o555)
        told = output(python(code, str(closed)))
    assert "Permission denied" in told
    assert str(closed / "data") in told
    assert "give this user (uid " in told


def test_the_server_of_another_user_is_not_entered(repo: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    code = f"""
import os, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from yummy_feast.online import embedded
os.setgid(65534); os.setuid(65534)
for verb in (embedded.ensure, embedded.status, embedded.stop):
    try:
        verb(Path(sys.argv[1]))
    except embedded.EmbeddedServerError as error:
        print(error)
"""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        try:
            embedded.ensure(Path(name))
            Files.of(Path(name)).folder.chmod(0o755)
            told = output(python(code, name)).splitlines()
            assert len(told) == 3
            assert all("Permission denied" in line for line in told)
            assert embedded.status(Path(name)).state == "ready"
        finally:
            put_down(Path(name))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount).returncode != 0:
        pytest.skip("needs the right to mount a small disk")
    yield disk
    put_down(disk)
    subprocess.run(["umount", disk], check=True)


def fill(disk: Path) -> None:
    with (disk / "filler").open("ab", buffering=0) as filler, suppress(OSError):
        # A write may fit in part; the next one tells.
        while filler.write(bytes(4096)):
            pass


def test_a_full_disk_is_named_and_costs_nothing_acknowledged(small_disk: Path) -> None:
    acknowledged = 0
    with client(small_disk) as redis_client, suppress(redis.ConnectionError):
        while redis_client.set(f"key{acknowledged}", bytes(1000)):
            acknowledged += 1
    death = embedded.death(small_disk)
    assert death is not None
    assert "could not write to the disk" in death.message
    assert "free some disk space" in death.hint
    assert acknowledged > 100
    with client(small_disk) as redis_client:
        assert redis_client.dbsize() == acknowledged


def test_a_server_is_not_started_on_a_full_disk(small_disk: Path) -> None:
    fill(small_disk)
    with pytest.raises(EmbeddedServerError, match=r"no space left .*\(free some disk space"):
        embedded.ensure(small_disk)
    assert embedded.status(small_disk).state == "stopped"
    (small_disk / "filler").unlink()
    embedded.ensure(small_disk)


def test_a_file_system_without_locks_is_named(repo: Path) -> None:
    told = valkey_files.os_error(Files.of(repo), OSError(37, "No locks available"))
    assert "has no file locks: No locks available" in told.message
    assert "move the repository to a local disk" in told.hint
