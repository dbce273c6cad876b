"""Several workers and the process that looks after them."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from tests.places import wait_until
from tests.unit.serving.tiny import Load, Server, answer, request, tiny


def workers_of(server: Server) -> set[int]:
    """The processes that answer: those with a connection to their listening socket."""
    found = set()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and len(found) < 2:
        connections = [server.connect() for _ in range(8)]
        for connection in connections:
            connection.sendall(request())
        found |= {int(answer(connection)[2].split()[0]) for connection in connections}
        for connection in connections:
            connection.close()
    return found


def test_the_workers_share_the_port_and_end_with_their_parent(tmp_path: Path) -> None:
    with tiny(tmp_path, workers=2) as server:
        workers = workers_of(server)
        assert len(workers) == 2
        assert server.pid not in workers
        assert server.end() == 0
    assert [line.split(" ", 2)[2] for line in server.lines] == [
        f"INFO ready on http://127.0.0.1:{server.port} (2 workers)\n"
    ]
    assert {path.name for path in tmp_path.glob("ended-*")} == {f"ended-{pid}" for pid in workers}
    assert not any(map(psutil.pid_exists, workers))


def test_connections_are_spread_evenly(tmp_path: Path) -> None:
    """Also those that begin at the same moment. A scheduler that lets a worker wait may cost one or two."""
    with tiny(tmp_path, workers=2) as server:
        assert len(workers_of(server)) == 2
        spread = []
        for _ in range(5):
            time.sleep(0.3)
            connections = [server.connect() for _ in range(8)]
            for connection in connections:
                connection.sendall(request())
            counts = Counter(answer(connection)[2].split()[0] for connection in connections)
            spread.append(max(counts.values()))
            for connection in connections:
                connection.close()
    assert sorted(spread)[2] <= 5, spread


def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    with tiny(tmp_path, workers=2) as server:
        before = workers_of(server)
        victim = before.pop()
        os.kill(victim, signal.SIGKILL)
        server.wait_for(rf"worker {victim} ended with SIGKILL; another starts in 0\.\d s")
        wait_until(lambda: len(workers_of(server) - {victim}) == 2, 20)
        after = workers_of(server)
        assert before < after
        assert victim not in after
        assert server.end() == 0


def test_a_worker_that_dies_again_and_again_is_tried_less_and_less_often(tmp_path: Path) -> None:
    with tiny(tmp_path, workers=2) as server:
        victim = workers_of(server).pop()
        (tmp_path / "broken").touch()
        os.kill(victim, signal.SIGKILL)
        server.wait_for(r"a worker could not start: the folder is broken \(mend it\)")
        server.wait_for(r"ended with exit code 1; another starts in 0\.4 s")
        # Its sibling serves on.
        assert server.get()[0] == 200
        (tmp_path / "broken").unlink()
        wait_until(lambda: len(workers_of(server)) == 2, 20)
        assert server.end() == 0


def test_workers_that_crash_before_they_are_ready_end_it(tmp_path: Path) -> None:
    (tmp_path / "crash").touch()
    with tiny(tmp_path, workers=2) as server:
        assert server.process.wait(timeout=20) == 1
    assert "a worker ended with exit code 7" in server.lines[-1]


def test_the_workers_are_replaced_one_by_one_and_no_request_is_lost(tmp_path: Path) -> None:
    with tiny(tmp_path, workers=2) as server:
        before = workers_of(server)
        load = Load(server.port, request("/?0.002"))
        server.signal(signal.SIGHUP)
        server.wait_for("SIGHUP: the workers are replaced")
        wait_until(lambda: not any(map(psutil.pid_exists, before)), 20)
        assert len(workers_of(server)) == 2
        assert server.end() == 0
        load.join()
    assert load.lost == []
    assert load.answered > 100


def test_new_workers_that_do_not_start_leave_the_old_ones_alone(tmp_path: Path) -> None:
    with tiny(tmp_path, workers=2) as server:
        before = workers_of(server)
        (tmp_path / "broken").touch()
        server.signal(signal.SIGHUP)
        server.wait_for("the new worker ended before it was ready; the old ones stay")
        assert workers_of(server) == before
        assert server.end() == 0


def test_workers_whose_parent_is_killed_end_by_themselves(tmp_path: Path) -> None:
    with tiny(tmp_path, workers=2) as server:
        workers = workers_of(server)
        server.process.kill()
        wait_until(lambda: not any(map(psutil.pid_exists, workers)), 20)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port))


def test_a_terminal_that_sends_its_signal_to_all_of_them_ends_them_as_gently(tmp_path: Path) -> None:
    with tiny(tmp_path, workers=2) as server, server.connect() as slow:
        workers = workers_of(server)
        slow.sendall(request("/?0.5"))
        time.sleep(0.2)
        for pid in (*workers, server.pid):
            os.kill(pid, signal.SIGINT)
        assert answer(slow)[0] == 200
        assert server.process.wait(timeout=20) == 0


def test_all_are_ready_before_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "sick").touch()
    with tiny(tmp_path, workers=2) as server:
        server.wait_for("not ready: the store is away")
        (tmp_path / "sick").unlink()
        assert server.get()[0] == 200
    assert len([line for line in server.lines if "not ready" in line]) == 1
