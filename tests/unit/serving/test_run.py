"""`run` with one process: ready, answering, ended without losing anything, and refusing to start."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import ssl
import time
from functools import partial
from pathlib import Path

import pytest

from tests.tls_node import certificate
from tests.unit.serving.tiny import Load, answer, make, request, tiny
from yummy_feast.errors import ConfigError
from yummy_feast.serving.options import RunOptions
from yummy_feast.serving.run import run


def test_it_answers_until_it_is_told_to_end(tmp_path: Path) -> None:
    with tiny(tmp_path) as server:
        assert server.get("/x") == (200, b"%d 0 /x" % server.pid)
        assert server.end() == 0
        assert [line.split(" ", 2)[2] for line in server.lines] == [f"INFO ready on http://127.0.0.1:{server.port}\n"]
        assert (tmp_path / f"ended-{server.pid}").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_other_signals_end_it_as_well(tmp_path: Path, number: signal.Signals) -> None:
    with tiny(tmp_path) as server:
        assert server.get()[0] == 200
        server.signal(number)
        assert server.process.wait(timeout=20) == 0


def test_it_is_ready_once_the_health_says_so(tmp_path: Path) -> None:
    (tmp_path / "sick").touch()
    with tiny(tmp_path, log_level="debug") as server:
        assert server.wait_for("not ready: (.*)$")[1] == "the store is away"
        assert not any("ready on" in line for line in server.lines)
        (tmp_path / "sick").unlink()
        assert server.get()[0] == 200


def test_no_request_is_lost_at_the_end(tmp_path: Path) -> None:
    with tiny(tmp_path) as server:
        load = Load(server.port, request("/?0.002"))
        time.sleep(0.5)
        assert server.end() == 0
        load.join()
    assert load.lost == []
    assert load.answered > 100


def test_what_is_under_way_is_answered_and_the_client_told_to_go(tmp_path: Path) -> None:
    with tiny(tmp_path) as server, server.connect() as slow, server.connect() as idle, server.connect() as half:
        for connection in (slow, idle):
            connection.sendall(request())
            assert "connection" not in answer(connection)[1]
        slow.sendall(request("/?0.8"))
        half.sendall(request("/", b"body")[:-2])
        time.sleep(0.1)
        server.signal(signal.SIGTERM)
        time.sleep(0.2)
        with pytest.raises(ConnectionRefusedError):
            server.connect()
        # A request that is sent now was on its way when we began to end.
        idle.sendall(request())
        half.sendall(b"dy")
        for connection in (idle, half, slow):
            status, headers, _ = answer(connection)
            assert (status, headers["connection"]) == (200, "close")
            assert connection.recv(1) == b""
        assert server.process.wait(timeout=20) == 0


def test_an_idle_connection_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with tiny(tmp_path) as server, server.connect() as idle, server.connect() as fresh:
        idle.sendall(request())
        answer(idle)
        began = time.monotonic()
        assert server.end() == 0
        assert time.monotonic() - began < 5
        assert (idle.recv(1), fresh.recv(1)) == (b"", b"")


def test_the_end_is_bounded(tmp_path: Path) -> None:
    with tiny(tmp_path, drain=0.5) as server, server.connect() as slow:
        slow.sendall(request("/?60"))
        time.sleep(0.2)
        began = time.monotonic()
        assert server.end() == 0
        assert 0.4 < time.monotonic() - began < 5
        assert answer(slow)[0] == 500
    assert "1 request(s) not answered within 0.5 s: abandoned" in server.lines[-1]


def test_a_second_signal_hastens_the_end(tmp_path: Path) -> None:
    with tiny(tmp_path, drain=60) as server, server.connect() as slow:
        slow.sendall(request("/?60"))
        time.sleep(0.2)
        server.signal(signal.SIGINT)
        time.sleep(0.5)
        assert server.process.poll() is None
        server.signal(signal.SIGINT)
        assert server.process.wait(timeout=10) == 0


def test_a_token_and_tls(tmp_path: Path) -> None:
    pem = certificate(tmp_path)
    with tiny(tmp_path, token="secret", tls_cert=str(pem), tls_key=str(pem)) as server:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", server.port, context=ssl.create_default_context(cafile=str(pem)), timeout=20
        )
        for headers, status in (({}, 401), ({"Authorization": "bearer secret"}, 200)):
            connection.request("GET", "/", headers=headers)
            reply = connection.getresponse()
            reply.read()
            assert reply.status == status
        connection.close()
        # Without TLS there is no answer, and no harm.
        with server.connect() as plain:
            plain.sendall(request())
            assert plain.recv(100)[:4] != b"HTTP"
        assert server.end() == 0
    assert "ready on https://127.0.0.1:" in server.lines[0]
    assert len(server.lines) == 1


def test_the_access_log(tmp_path: Path) -> None:
    with tiny(tmp_path, access_log=True) as server:
        server.get("/x?0.01")
        server.end()
        (line,) = server.process.stdout or ()
    found = json.loads(line)
    assert found.pop("time") == pytest.approx(time.time(), abs=60)
    assert 10 <= found.pop("ms") < 10_000
    size = len(f"{server.pid} 0 /x")
    assert found == {"client": "127.0.0.1", "method": "GET", "path": "/x?0.01", "status": 200, "bytes": size}


def test_what_others_reach_without_a_token_is_told(tmp_path: Path) -> None:
    with tiny(tmp_path, host="0.0.0.0") as server:
        server.wait_for("0.0.0.0 can be reached from other machines and asks for no token")


def test_it_does_not_start_where_another_one_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1 is in use"):
            run(partial(make, str(tmp_path)), RunOptions(port=port))


@pytest.mark.parametrize("workers", [1, 2])
def test_it_does_not_start_without_its_application(tmp_path: Path, workers: int) -> None:
    (tmp_path / "broken").touch()
    with pytest.raises(ConfigError, match=r"^the folder is broken \(mend it\)$"):
        run(partial(make, str(tmp_path)), RunOptions(port=0, workers=workers))
