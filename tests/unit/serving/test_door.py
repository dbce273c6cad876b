"""Listening, who takes which connection, and how a door is closed."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from yummy_feast.errors import ConfigError
from yummy_feast.serving.door import Crowd, Door, listen, turn_away


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    (found,) = listen("127.0.0.1", 0)
    yield found
    found.close()


def connect(listener: socket.socket) -> socket.socket:
    return socket.create_connection(listener.getsockname(), timeout=5)


def test_a_host_of_two_addresses_has_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    loopbacks = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{each}", 0)) for each in (1, 2)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: loopbacks)
    (first,) = listen("both", 0)
    port = first.getsockname()[1]
    first.close()
    loopbacks[:] = [(*each[:4], (each[4][0], port)) for each in loopbacks]
    found = listen("both", port)
    assert [each.getsockname() for each in found] == [("127.0.0.1", port), ("127.0.0.2", port)]
    for each in found:
        each.close()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.EADDRINUSE, "x"), "port 80 of h is in use (stop the server that listens there, or "),
        (OSError(errno.EADDRNOTAVAIL, "x"), "--host: 'h' is no address of this machine (0.0.0.0 stands for all"),
        (OSError(errno.EACCES, "x"), "port 80 of h: not allowed (ports below 1024 are the superuser's)"),
        (socket.gaierror(-2, "unknown"), "--host: 'h' is no address of anything: unknown"),
        (OSError(errno.EIO, "broken"), "cannot listen on port 80 of h: broken"),
    ],
)
def test_why_it_does_not_listen(monkeypatch: pytest.MonkeyPatch, error: OSError, message: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(ConfigError) as found:
        listen("h", 80)
    assert str(found.value).startswith(message)


def test_what_was_bound_is_free_again_when_a_second_address_is_not(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with pytest.raises(ConfigError, match="is in use"):
        listen("127.0.0.1", port)
    listener.close()
    for each in listen("127.0.0.1", port):
        each.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a filter of Linux")
def test_newcomers_are_turned_away_and_those_who_wait_are_not(listener: socket.socket) -> None:
    with connect(listener) as waiting:
        turn_away([listener])
        with socket.socket() as newcomer:
            newcomer.settimeout(0.2)
            with pytest.raises(TimeoutError):
                newcomer.connect(listener.getsockname())
        waiting.sendall(b"here")
        taken, _ = listener.accept()
        with taken:
            assert taken.recv(4) == b"here"
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_crowd_spreads_few_to_the_last_and_many_by_and_large(tmp_path: Path) -> None:
    book = Crowd(tmp_path / "crowd", 4)
    first, second = (Crowd(tmp_path / "crowd", 4, place) for place in (0, 1))
    first.tell(0)
    # Alone, it takes everything.
    assert not first.has_fewer_elsewhere(50)
    second.tell(0)
    assert first.has_fewer_elsewhere(1)
    assert not first.has_fewer_elsewhere(0)
    second.tell(100)
    assert not first.has_fewer_elsewhere(110)
    assert first.has_fewer_elsewhere(120)
    book.leave(1)
    assert not first.has_fewer_elsewhere(120)


class Guests:
    """Serves connections by keeping them."""

    def __init__(self) -> None:
        self.met: list[socket.socket] = []

    async def welcome(self, arrived: socket.socket) -> None:
        self.met.append(arrived)

    def count(self) -> int:
        return len(self.met)

    def leave(self) -> None:
        for each in self.met:
            each.close()


async def soon(guests: Guests, count: int) -> None:
    async with asyncio.timeout(5):
        while len(guests.met) < count:
            await asyncio.sleep(0.001)


def test_a_door_lets_in_whoever_waits_until_it_is_closed(listener: socket.socket) -> None:
    async def check() -> None:
        guests = Guests()
        door = Door([listener], guests.welcome, guests.count)
        early = [connect(listener) for _ in range(3)]
        assert not guests.met
        door.open()
        await soon(guests, 3)
        closing = asyncio.create_task(door.close(alone=True))
        last = connect(listener)
        await closing
        await soon(guests, 4)
        assert listener.fileno() == -1
        for each in (*early, last):
            each.close()
        guests.leave()

    asyncio.run(check())


def test_a_door_stands_back_while_a_sibling_has_fewer_and_comes(listener: socket.socket, tmp_path: Path) -> None:
    async def check() -> float:
        sibling = Crowd(tmp_path / "crowd", 2, 0)
        guests = Guests()
        door = Door([listener], guests.welcome, guests.count, Crowd(tmp_path / "crowd", 2, 1))
        door.open()
        sibling.tell(0)
        first = connect(listener)
        await soon(guests, 1)
        second = connect(listener)
        began = time.perf_counter()
        await soon(guests, 2)
        took = time.perf_counter() - began
        await door.close(alone=False)
        for each in (first, second):
            each.close()
        guests.leave()
        return took

    # The sibling did not come at all.
    assert asyncio.run(check()) > 0.008


def test_a_door_waits_for_files_to_be_closed(listener: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    class Out(socket.socket):
        fails = 2

        def accept(self) -> tuple[socket.socket, object]:
            if self.fails:
                Out.fails -= 1
                raise OSError(errno.EMFILE, "Too many open files")
            return super().accept()

    async def check() -> None:
        guests = Guests()
        with Out(fileno=listener.detach()) as out:
            door = Door([out], guests.welcome, guests.count)
            door.open()
            with connect(out):
                await soon(guests, 1)
                await door.close(alone=True)
            guests.leave()

    asyncio.run(check())
    assert [record.message for record in caplog.records] == [
        "no further connection can be taken: Too many open files (`ulimit -n` allows more)"
    ]
