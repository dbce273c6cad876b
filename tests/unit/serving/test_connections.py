"""Clients that are slow on purpose, greedy, or speak badly; and those that only seem to."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from tests.places import wait_until
from tests.unit.serving.tiny import Server, answer, request, tiny
from yummy_feast.serving.connections import Watch, WholeAnswers
from yummy_feast.serving.options import RunOptions

SECONDS = {"header_timeout": 0.5, "body_timeout": 1.0, "keep_alive": 1.5}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with tiny(tmp_path_factory.mktemp("tiny"), max_connections=50, **SECONDS) as running:
        assert running.get()[0] == 200
        yield running
        assert running.end() == 0
    # None of these clients is worth a line in the log.
    assert len(running.lines) == 1, running.lines


def test_a_head_that_does_not_end_in_time(server: Server) -> None:
    """A byte now and then does not help."""
    with server.connect() as slow:
        slow.sendall(b"POST / HTTP/1.1\r\n")
        began = time.monotonic()
        answered = threading.Event()

        def drip() -> None:
            while not answered.wait(0.1):
                try:
                    slow.send(b"x")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        status, headers, body = answer(slow)
        answered.set()
        thread.join()
        assert (status, headers["connection"]) == (408, "close")
        assert b"HEAD_TOO_SLOW" in body
        assert 0.4 < time.monotonic() - began < 5


def test_a_connection_on_which_nothing_comes(server: Server) -> None:
    with server.connect() as silent:
        began = time.monotonic()
        assert silent.recv(1) == b""
        assert 0.4 < time.monotonic() - began < 5


def test_a_body_that_does_not_end_in_time(server: Server) -> None:
    with server.connect() as slow:
        slow.sendall(request("/", b"body")[:-1])
        began = time.monotonic()
        # Nothing was asked yet, so nothing is answered.
        assert slow.recv(1) == b""
        assert 0.9 < time.monotonic() - began < 5


def test_an_idle_connection_is_kept_for_a_while(server: Server) -> None:
    with server.connect() as idle:
        for _ in range(3):
            idle.sendall(request())
            assert answer(idle)[0] == 200
            time.sleep(0.7)
        began = time.monotonic()
        assert idle.recv(1) == b""
        assert 0.3 < time.monotonic() - began < 5


def test_a_request_may_take_longer_than_any_of_these(server: Server) -> None:
    with server.connect() as patient:
        patient.sendall(request("/?2"))
        assert answer(patient)[0] == 200


def test_an_answer_that_is_not_taken_in_time(server: Server) -> None:
    """Its memory is free again."""
    process = psutil.Process(server.pid)
    with socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.connect(("127.0.0.1", server.port))
        lazy.sendall(request("/large"))
        wait_until(lambda: not any(each.raddr.port == lazy.getsockname()[1] for each in established(process)), 10)


def established(process: psutil.Process) -> list[Any]:
    return [each for each in process.net_connections("tcp") if each.status == "ESTABLISHED" and each.raddr]


def test_a_large_answer_to_a_slow_reader_arrives(server: Server) -> None:
    with server.connect() as reader:
        reader.sendall(request("/large"))
        status, _, body = answer(reader)
        assert (status, len(body)) == (200, 20_000_000)


def test_50_mb_are_refused_at_once_and_the_refusal_arrives(server: Server) -> None:
    before = psutil.Process(server.pid).memory_info().rss
    with server.connect() as greedy:
        greedy.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 50000000\r\n\r\n" + b"x" * 50_000_000)
        status, headers, body = answer(greedy)
        assert (status, headers["connection"]) == (413, "close")
        assert b"BODY_TOO_LARGE" in body
        assert greedy.recv(1) == b""
    assert psutil.Process(server.pid).memory_info().rss - before < 25_000_000


def test_a_refusal_needs_no_byte_of_the_body(server: Server) -> None:
    with server.connect() as polite:
        polite.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 50000000\r\n\r\nx")
        assert answer(polite)[0] == 413


def test_chunks_without_end_are_refused(server: Server) -> None:
    with server.connect() as endless:
        endless.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(3):
            endless.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
        assert answer(endless)[0] == 413


def test_a_head_without_end_is_refused(server: Server) -> None:
    with server.connect() as endless:
        endless.sendall(b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: y\r\n" % each for each in range(10_000)))
        status, _, body = answer(endless)
        assert status == 431
        assert b"HEAD_TOO_LARGE" in body


@pytest.mark.parametrize(
    "nonsense", [b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\nbad header\r\n\r\n"]
)
def test_what_is_no_http(server: Server, nonsense: bytes) -> None:
    with server.connect() as odd:
        odd.sendall(nonsense)
        status, headers, body = answer(odd)
        assert (status, headers["connection"]) == (400, "close")
        assert b"NO_HTTP" in body
        assert odd.recv(1) == b""


def test_requests_in_one_packet_are_answered_in_their_order(server: Server) -> None:
    with server.connect() as eager:
        eager.sendall(b"".join(request(f"/{each}?{0.02 if each % 7 == 0 else 0}", b"b" * each) for each in range(50)))
        with eager.makefile("rb") as file:
            for each in range(50):
                assert read_one(file).split()[1:] == [b"%d" % each, b"/%d" % each]


def read_one(file: Any) -> bytes:
    length = 0
    while line := file.readline().strip():
        if line.startswith(b"content-length"):
            length = int(line.split()[1])
    body: bytes = file.read(length)
    return body


def test_an_offer_of_http_2_is_passed_over(server: Server) -> None:
    """Java's own client makes it with every first request."""
    with server.connect() as java:
        offer = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAAB\r\n"
        packet = request("/", b"body").replace(b"host: x\r\n", b"host: x\r\n" + offer)
        java.sendall(packet)
        status, _, body = answer(java)
        assert (status, body.split()[1]) == (200, b"4")


def test_one_connection_too_many_is_told_so(server: Server) -> None:
    held = [server.connect() for _ in range(50)]
    with server.connect() as more:
        more.sendall(request())
        status, headers, body = answer(more)
        assert (status, headers["connection"], headers["retry-after"]) == (503, "close", "1")
        assert b"TOO_MANY_CONNECTIONS" in body
    for each in held:
        each.close()
    wait_until(lambda: server.get()[0] == 200, 5)


def test_clients_that_hang_up_leave_nothing_behind(server: Server) -> None:
    """In the head, in the body, before and during the answer."""
    process = psutil.Process(server.pid)
    whole = request("/?0.01", b"body")
    for each in range(1000):
        with server.connect() as rude:
            rude.sendall(whole[: (20, len(whole) - 2, len(whole), len(whole))[each % 4]])
            if each % 4 == 3:
                time.sleep(0.001)
    wait_until(lambda: not established(process), 10)
    assert server.get()[0] == 200


class Fake(SimpleNamespace):
    """A connection as the watch sees it."""

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


def fake(state: str) -> Fake:
    ended: list[str] = []
    transport = SimpleNamespace(
        close=lambda: ended.append("closed"),
        abort=lambda: ended.append("aborted"),
        write=lambda _: ended.append("told"),
    )
    return Fake(waits_for=state, scope={}, is_in_head=True, transport=transport, ended=ended)


@pytest.mark.parametrize(
    ("state", "limit", "end"),
    [
        ("head", 1.0, ["told", "closed"]),
        ("body", 2.0, ["aborted"]),
        ("client", 2.0, ["aborted"]),
        ("nothing", 3.0, ["closed"]),
        ("us", None, []),
    ],
)
def test_who_is_ended_when(state: str, limit: float | None, end: list[str]) -> None:
    connection = fake(state)
    watch = Watch({connection}, RunOptions(header_timeout=1, body_timeout=2, keep_alive=3))
    watch.look(100.0)
    watch.look(100.0 + (limit or 1000.0) - 0.1)
    assert connection.ended == []
    watch.look(100.0 + (limit or 1000.0))
    assert connection.ended == end


def test_another_request_begins_another_time_and_0_is_no_limit() -> None:
    connection, endless = fake("body"), fake("head")
    watch = Watch({connection, endless}, RunOptions(header_timeout=0, body_timeout=2, keep_alive=3))
    for at in range(10):
        connection.scope = {}
        watch.look(float(at))
    connection.waits_for = "us"
    watch.look(1000.0)
    assert connection.ended == endless.ended == []


class Wire:
    """A transport that notes what is written to it."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def is_closing(self) -> bool:
        return self.closed

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def close(self) -> None:
        self.closed = True


HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"


def test_a_head_leaves_with_its_body() -> None:
    wire = Wire()
    transport = WholeAnswers(wire)
    for piece in (HEAD, b"body", HEAD, b"bo", b"dy"):
        transport.write(piece)
    assert wire.writes == [HEAD + b"body", HEAD + b"bo", b"dy"]


def test_a_head_without_a_body_and_an_interim_answer_do_not_wait() -> None:
    wire = Wire()
    transport = WholeAnswers(wire)
    transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    transport.write(HEAD)
    transport.let_go()
    transport.write(HEAD)
    assert not transport.is_closing()
    transport.close()
    assert wire.writes == [b"HTTP/1.1 100 Continue\r\n\r\n", HEAD, HEAD]
    assert transport.is_closing()
    transport.let_go()
    assert len(wire.writes) == 3
