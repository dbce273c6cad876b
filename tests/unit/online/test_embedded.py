"""The embedded server's life, with a real one: started, shared, killed, hung, moved, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
import redis

from tests.unit.online.servers import START, client, kill, output, put_down, python, running_pid
from yummy_feast.errors import EmbeddedServerError
from yummy_feast.online import embedded, valkey_process
from yummy_feast.online.valkey_files import Files


def test_first_use_starts_a_private_server_that_keeps_every_write(repo: Path) -> None:
    with client(repo) as redis_client:
        assert redis_client.config_get("port", "appendonly", "appendfsync", "save", "aof-load-truncated") == {
            "port": "0",
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "aof-load-truncated": "yes",
        }
    files = Files.of(repo)
    assert files.socket.stat().st_mode & 0o777 == 0o600
    assert files.folder == repo / "data" / "valkey"
    assert files.folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in files.rows.iterdir())


def test_the_second_use_finds_the_first_server(repo: Path) -> None:
    first = embedded.ensure(repo)
    pid = running_pid(repo)
    assert embedded.ensure(repo) == first
    assert running_pid(repo) == pid


def test_the_server_outlives_the_process_that_started_it(repo: Path) -> None:
    pid = int(output(python(START, str(repo))))
    assert running_pid(repo) == pid
    assert os.getsid(pid) != os.getsid(0)
    with client(repo) as redis_client:
        assert redis_client.ping()


def test_eight_processes_at_once_end_up_with_one_server(repo: Path) -> None:
    starters = [python(START, str(repo)) for _ in range(8)]
    pids = {output(starter) for starter in starters}
    assert pids == {str(running_pid(repo))}
    assert Files.of(repo).log.read_text().count("Valkey is starting") == 1


def test_eight_threads_at_once_after_a_kill_end_up_with_one_server(repo: Path) -> None:
    embedded.ensure(repo)
    kill(repo)
    gate, pids = threading.Barrier(8), []

    def start() -> None:
        gate.wait()
        embedded.ensure(repo)
        pids.append(running_pid(repo))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 8
    assert len(set(pids)) == 1
    assert Files.of(repo).log.read_text().count("Valkey is starting") == 2


def test_nothing_acknowledged_is_lost_by_kills_between_writes(repo: Path) -> None:
    acknowledged = 0
    for seconds in (0.05, 0.15, 0.3):
        with client(repo) as redis_client:
            killer = threading.Timer(seconds, os.kill, (running_pid(repo), signal.SIGKILL))
            killer.start()
            acknowledged = write_until_killed(redis_client, acknowledged)
            killer.join()
    assert acknowledged > 100
    with client(repo) as redis_client:
        pipe = redis_client.pipeline(transaction=False)
        for number in range(acknowledged):
            pipe.hget(f"key{number}", "view")
        assert pipe.execute() == [bytes(100)] * acknowledged


def write_until_killed(redis_client: redis.Redis, number: int) -> int:
    """Write rows from ``number`` on, ten a round trip; the number of the first that was not acknowledged."""
    while True:
        pipe = redis_client.pipeline(transaction=False)
        for row in range(number, number + 10):
            pipe.hset(f"key{row}", "view", bytes(100))
        try:
            pipe.execute()
        except redis.ConnectionError:
            return number
        number += 10


def test_a_write_cut_short_by_a_kill_is_dropped_and_the_rest_is_there(repo: Path) -> None:
    with client(repo) as redis_client:
        redis_client.set("whole", "1")
    kill(repo)
    with next(Files.of(repo).rows.glob("*.incr.aof")).open("ab") as rows:
        rows.write(b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$10\r\n012")
    with client(repo) as redis_client:
        assert redis_client.get("whole") == b"1"
        assert redis_client.get("half") is None
        redis_client.set("after", "2")
    kill(repo)
    with client(repo) as redis_client:
        assert redis_client.mget("whole", "after") == [b"1", b"2"]


def test_rows_are_back_after_a_clean_stop(repo: Path) -> None:
    with client(repo) as redis_client:
        redis_client.set("key", "value")
    assert embedded.stop(repo) is True
    assert embedded.stop(repo) is False
    assert not Files.of(repo).socket.exists()
    with client(repo) as redis_client:
        assert redis_client.get("key") == b"value"


def test_files_left_by_others_are_no_server(repo: Path) -> None:
    files = Files.of(repo)
    files.folder.mkdir(parents=True)
    files.socket.write_text("no socket")
    files.lock.write_text("")
    # A process that lives, and is no server: this one.
    files.pid.write_text(str(os.getpid()))
    assert embedded.status(repo).state == "stopped"
    assert embedded.stop(repo) is False
    embedded.ensure(repo)
    assert running_pid(repo) not in {os.getpid(), 0}


def test_a_repository_may_be_moved_while_its_server_runs(repo: Path, tmp_path: Path) -> None:
    with client(repo) as redis_client:
        redis_client.set("key", "value")
    pid = running_pid(repo)
    moved = repo.rename(tmp_path / "elsewhere")
    try:
        with client(moved) as redis_client:
            assert redis_client.get("key") == b"value"
            redis_client.set("later", "value")
        assert running_pid(moved) == pid
        kill(moved)
        with client(moved) as redis_client:
            assert redis_client.get("later") == b"value"
    finally:
        put_down(moved)


def test_loading_is_waited_for_and_told(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with client(repo) as redis_client:
        pipe = redis_client.pipeline(transaction=False)
        for number in range(10_000):
            pipe.set(f"key{number}", bytes(100))
        pipe.execute()
    kill(repo)
    # Microseconds for each key. While it loads, the server looks up from its work after every 1024 commands.
    slowly = "key-load-delay 30\n"
    monkeypatch.setattr(valkey_process, "_CONFIGURATION", valkey_process._CONFIGURATION + slowly)
    waiting, told = threading.Event(), []

    def on_loading(percent: float) -> None:
        told.append(percent)
        waiting.set()

    # The wait is longer than the timeout: a server that loads gives a sign of life each time it is asked.
    starter = threading.Thread(target=embedded.ensure, args=(repo,), kwargs={"timeout": 0.3, "on_loading": on_loading})
    started = time.monotonic()
    starter.start()
    assert waiting.wait(20)
    assert embedded.status(repo).state == "loading"
    embedded.ensure(repo)
    starter.join()
    assert time.monotonic() - started > 0.3
    assert told == sorted(told)
    assert 0 <= told[0] < told[-1] <= 100
    assert embedded.status(repo).keys == 10_000


def test_a_server_that_loads_can_be_stopped(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with client(repo) as redis_client:
        pipe = redis_client.pipeline(transaction=False)
        for number in range(10_000):
            pipe.set(f"key{number}", bytes(100))
        pipe.execute()
    embedded.stop(repo)
    slowly = "key-load-delay 30\n"
    monkeypatch.setattr(valkey_process, "_CONFIGURATION", valkey_process._CONFIGURATION + slowly)
    files = Files.of(repo)
    lock = valkey_process.try_lock(files)
    assert lock is not None
    valkey_process.launch(files, lock)
    while embedded.status(repo).state == "silent":
        time.sleep(0.005)
    assert embedded.status(repo).state == "loading"
    assert embedded.stop(repo) is True
    monkeypatch.undo()
    with client(repo) as redis_client:
        assert redis_client.dbsize() == 10_000


def test_a_server_that_hangs_is_named_with_its_pid(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_PING_TIMEOUT", 0.1)
    embedded.ensure(repo)
    pid = running_pid(repo)
    os.kill(pid, signal.SIGSTOP)
    try:
        for verb in (embedded.ensure, embedded.stop):
            with pytest.raises(EmbeddedServerError, match=rf"lives \(pid {pid}\) but does not answer.*kill -9 {pid} "):
                verb(repo, timeout=0.3)
        found = embedded.status(repo)
        assert (found.state, found.pid, found.keys) == ("silent", pid, None)
        assert found.is_running
    finally:
        os.kill(pid, signal.SIGCONT)
    # It may still carry out the SHUTDOWN it was sent while it hung; either way the next use finds a server.
    embedded.ensure(repo)
    assert embedded.status(repo).state == "ready"


def test_no_second_server_is_started_beside_one_that_lost_its_socket(repo: Path) -> None:
    embedded.ensure(repo)
    pid = running_pid(repo)
    Files.of(repo).socket.unlink()
    with pytest.raises(EmbeddedServerError, match=rf"\(pid {pid}\) but has lost its socket.*kill -9 {pid} and try"):
        embedded.ensure(repo, timeout=0.3)
    assert embedded.status(repo).state == "silent"
    # What the hint says mends it.
    os.kill(pid, signal.SIGKILL)
    embedded.ensure(repo)
    assert running_pid(repo) != pid


def test_the_lock_survives_a_careless_rm(repo: Path) -> None:
    embedded.ensure(repo)
    pid = running_pid(repo)
    subprocess.run("rm -f data/valkey/*", shell=True, cwd=repo)
    with pytest.raises(EmbeddedServerError, match="has lost its socket"):
        embedded.ensure(repo, timeout=0.3)
    os.kill(pid, signal.SIGKILL)
    embedded.ensure(repo)


def test_status_tells_what_the_server_holds(repo: Path) -> None:
    before = embedded.status(repo)
    assert (before.state, before.is_running, before.pid, before.data_bytes) == ("stopped", False, None, 0)
    assert not (repo / "data").exists()
    with client(repo) as redis_client:
        redis_client.mset({f"key{number}": bytes(1000) for number in range(20)})
        redis_client.select(3)
        redis_client.set("elsewhere", "1")
    found = embedded.status(repo)
    assert found.state == "ready"
    assert found.keys == 21
    assert found.version is not None
    assert found.version[0].isdigit()
    assert found.memory_bytes is not None
    assert found.memory_bytes > 20_000
    assert found.uptime_seconds is not None
    assert 0 <= found.uptime_seconds < 60
    assert found.data_bytes > 20_000
    assert found.socket_path.is_socket()
