"""One socket for many: order, cancellation, timeouts and room, against bytes that the test hands out itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis import exceptions

from tests.unit.online.links import GET, encoded, turn, wired
from yummy_feast.online import link as module


def test_replies_are_handed_out_in_order_however_the_stream_is_cut() -> None:
    values: list[Any] = [b"a\r\n", None, 7, [b"x", None, []], b"", [[1, b"y"]]]
    stream = b"".join(map(encoded, values))

    async def cut_at(*places: int) -> None:
        link, _ = wired()
        first, rest = link.exchange(GET, 1), link.exchange(GET * 5, 5)
        for start, stop in zip((0, *places), (*places, len(stream)), strict=True):
            assert not rest.done()
            link.data_received(stream[start:stop])
        assert await first == values[:1]
        assert await rest == values[1:]
        await link.aclose()

    async def everywhere() -> None:
        await cut_at(*range(1, len(stream)))
        for place in range(1, len(stream)):
            await cut_at(place)

    asyncio.run(everywhere())


def test_requests_of_one_turn_leave_in_one_write() -> None:
    async def main() -> None:
        link, wire = wired()
        futures = [link.exchange(b"%d" % number, 1) for number in range(5)]
        assert wire.writes == []
        await turn()
        assert wire.writes == [b"01234"]
        link.data_received(b":0\r\n:1\r\n:2\r\n:3\r\n:4\r\n")
        assert [await future for future in futures] == [[0], [1], [2], [3], [4]]
        await link.aclose()

    asyncio.run(main())


class Ticket:
    """Who waits without a future."""

    def __init__(self) -> None:
        self.replies: list[Any] = []

    def done(self) -> bool:
        return False

    def set_result(self, replies: list[Any]) -> None:
        self.replies = replies

    def set_exception(self, error: Exception) -> None:
        raise error

    def cancel(self) -> None:
        raise AssertionError("given up")


@pytest.mark.parametrize(("requests", "patience", "looks"), [(1, 60.0, True), (2, 60.0, False), (1, 0.0, False)])
def test_the_loop_stays_awake_for_a_request_that_is_alone(
    monkeypatch: pytest.MonkeyPatch, requests: int, patience: float, looks: bool
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", patience)
    seen: list[float] = []
    look_again = module.Link._look_again
    monkeypatch.setattr(module.Link, "_look_again", lambda link, until: (seen.append(until), look_again(link, until)))

    async def main() -> None:
        link, _ = wired()
        tickets = [Ticket() for _ in range(requests)]
        for ticket in tickets:
            link.send(GET, 1, ticket)
        for _ in range(5):
            await turn()
        assert (len(seen) > 5) is looks
        link.data_received(b":1\r\n" * requests)
        assert [ticket.replies for ticket in tickets] == [[1]] * requests
        await turn()
        before = len(seen)
        await turn()
        assert len(seen) == before
        await link.aclose()

    asyncio.run(main())


def test_a_cancelled_request_shifts_nobody() -> None:
    async def main() -> None:
        link, _ = wired()
        before, gone, after = (link.exchange(GET * 2, 2) for _ in range(3))
        link.data_received(b":1\r\n:2\r\n:3\r\n")
        gone.cancel()
        link.data_received(b":4\r\n:5\r\n:6\r\n")
        assert await before == [1, 2]
        assert await after == [5, 6]
        assert link.in_flight == 0
        await link.aclose()

    asyncio.run(main())


def test_error_replies_are_values_of_redis_py() -> None:
    async def main() -> None:
        link, _ = wired()
        future = link.exchange(GET * 4, 4)
        link.data_received(b"-MOVED 7 10.0.0.1:7000\r\n-WRONGTYPE no\r\n-NOAUTH who\r\n*1\r\n-OOM full\r\n")
        moved, wrong, who, [full] = await future
        assert (type(moved), moved.host, moved.port) == (exceptions.MovedError, "10.0.0.1", 7000)
        assert (type(wrong), str(wrong)) == (exceptions.ResponseError, "WRONGTYPE no")
        assert isinstance(who, exceptions.AuthenticationError)
        assert isinstance(full, exceptions.OutOfMemoryError)
        await link.aclose()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("end", "kind", "text"),
    [
        (lambda link: link.connection_lost(None), exceptions.ConnectionError, "Connection closed by server"),
        (
            lambda link: link.connection_lost(ConnectionResetError(104, "x")),
            exceptions.ConnectionError,
            "reset by peer",
        ),
        (lambda link: link.data_received(b"HTTP/1.1 400\r\n"), exceptions.InvalidResponse, "Protocol error"),
    ],
)
def test_a_lost_link_tells_everybody_and_refuses_the_next(end: Any, kind: type[Exception], text: str) -> None:
    async def main() -> None:
        link, _ = wired()
        futures = [link.exchange(GET, 1) for _ in range(3)]
        futures[1].cancel()
        link.data_received(b":1\r\n$5\r\nhal")
        end(link)
        assert await futures[0] == [1]
        with pytest.raises(kind, match=text):
            await futures[2]
        assert link.is_lost
        with pytest.raises(kind, match=text):
            await link.exchange(GET, 1)
        # Late bytes are nobody's.
        link.data_received(b"f\r\n")

    asyncio.run(main())


def test_a_reply_nobody_asked_for_ends_the_link() -> None:
    async def main() -> None:
        link, wire = wired()
        link.data_received(b":1\r\n")
        assert link.is_lost
        assert wire.is_aborted

    asyncio.run(main())


def test_a_late_reply_ends_the_link_for_all() -> None:
    async def main() -> None:
        link, wire = wired(read_timeout=0.1)
        loop = asyncio.get_running_loop()
        started = loop.time()
        slow = link.exchange(GET, 1)
        await asyncio.sleep(0.05)
        younger = link.exchange(GET, 1)
        with pytest.raises(exceptions.TimeoutError, match="Timeout reading from localhost:6379"):
            await slow
        assert 0.1 <= loop.time() - started < 1
        with pytest.raises(exceptions.TimeoutError):
            await younger
        assert wire.is_aborted

    asyncio.run(main())


def test_requests_that_are_answered_in_time_never_end_it() -> None:
    async def main() -> None:
        link, _ = wired(read_timeout=0.05)
        for number in range(8):
            future = link.exchange(GET, 1)
            await asyncio.sleep(0.03)
            link.data_received(b":%d\r\n" % number)
            assert await future == [number]
        # A cancelled one is waited for no less: its reply shows that the server lives.
        link.exchange(GET, 1).cancel()
        await asyncio.sleep(0.2)
        assert link.is_lost

    asyncio.run(main())


def test_a_silent_link_is_asked_whether_it_lives() -> None:
    async def main() -> None:
        link, wire = wired(read_timeout=0.02, heartbeat=0.05)
        while not wire.writes:
            await asyncio.sleep(0.01)
        assert wire.writes == [module.PING]
        link.data_received(b"+PONG\r\n")
        future = link.exchange(GET, 1)
        link.data_received(b":1\r\n")
        assert await future == [1]
        # The next one is not answered.
        while not link.is_lost:
            await asyncio.sleep(0.01)

    asyncio.run(main())


def test_what_is_too_much_waits_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_REPLIES", 4)

    async def main() -> None:
        link, wire = wired()
        futures = [link.exchange(b"%d" % number, 2) for number in range(6)]
        await turn()
        assert wire.writes == [b"01"]
        futures[2].cancel()
        link.data_received(b":0\r\n:0\r\n")
        await turn()
        assert wire.writes == [b"01", b"3"]
        for number in (1, 3, 4, 5):
            link.data_received(b":%d\r\n:%d\r\n" % (number, number))
            await turn()
        assert wire.writes == [b"01", b"3", b"4", b"5"]
        assert [await futures[number] for number in (0, 1, 3, 4, 5)] == [[n, n] for n in (0, 1, 3, 4, 5)]
        await link.aclose()

    asyncio.run(main())


def test_a_socket_that_takes_no_more_makes_writers_wait() -> None:
    async def main() -> None:
        link, wire = wired()
        link.pause_writing()
        futures = [link.exchange(b"%d" % number, 1) for number in range(2)]
        await turn()
        assert wire.writes == []
        link.resume_writing()
        await turn()
        assert wire.writes == [b"01"]
        link.data_received(b":0\r\n:1\r\n")
        assert [await future for future in futures] == [[0], [1]]
        await link.aclose()

    asyncio.run(main())


def test_closing_waits_for_what_is_under_way() -> None:
    async def main() -> None:
        link, wire = wired()
        future = link.exchange(GET, 1)
        link.exchange(GET, 1).cancel()
        closing = asyncio.ensure_future(link.aclose())
        await turn()
        assert not closing.done()
        link.data_received(b":1\r\n")
        await closing
        assert await future == [1]
        assert wire.is_aborted

    asyncio.run(main())
