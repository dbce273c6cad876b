"""Bodies, refusals, and who is let in for how long."""

from __future__ import annotations

import asyncio
import json
from time import perf_counter
from typing import Any

import pytest

from yummy_feast.serving.http import Admission, ClientGoneError, Message, RefusedError, read_body, respond


def received(*messages: Message) -> Any:
    left = list(messages)

    async def receive() -> Message:
        return left.pop(0)

    return receive


def part(body: bytes, more: bool) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_in_pieces_is_put_together() -> None:
    parts = received(part(b"ab", True), part(b"", True), part(b"c", False))
    assert asyncio.run(read_body(parts, 3)) == b"abc"
    assert asyncio.run(read_body(received({"type": "http.request"}), 3)) == b""


@pytest.mark.parametrize(
    ("messages", "length", "ends"),
    [
        ([part(b"abcd", False)], b"4", False),
        ([part(b"ab", True), part(b"cd", False)], b"", False),
        ([part(b"ab", True), part(b"cd", True)], b"", True),
        ([part(b"a", True)], b"4", True),
    ],
    ids=["at once", "in pieces", "in too many pieces", "announced"],
)
def test_a_body_that_is_too_large_is_not_read_to_its_end(messages: list[Message], length: bytes, ends: bool) -> None:
    """Whoever is still sending it has to stop; a connection whose body was read goes on."""
    headers = [(b"content-type", b"x"), *([(b"content-length", length)] if length else [])]
    with pytest.raises(RefusedError) as error:
        asyncio.run(read_body(received(*messages), 3, headers))
    assert (error.value.status, error.value.code) == (413, "BODY_TOO_LARGE")
    assert ((b"connection", b"close") in error.value.headers()) is ends


@pytest.mark.parametrize("before", [[], [part(b"a", True)]])
def test_whoever_hangs_up_gets_no_answer(before: list[Message]) -> None:
    with pytest.raises(ClientGoneError):
        asyncio.run(read_body(received(*before, {"type": "http.disconnect"}), 3))


def test_what_nobody_wants_is_thrown_away_once_the_answer_is_out() -> None:
    """Closed before that, the connection would take the answer with it."""
    events: list[Any] = []
    left = [part(b"x" * 9, True), part(b"x" * 9, False)]

    async def receive() -> Message:
        events.append("read")
        return left.pop(0)

    async def send(message: Message) -> None:
        events.append(message.get("body"))

    asyncio.run(respond(send, 413, [], b"no", unread=receive))
    assert events == [None, b"no", "read", "read", b""]


def test_an_answer_has_its_length() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(respond(send, 200, [(b"a", b"b")], b"xyz"))
    assert sent == [
        {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b"), (b"content-length", b"3")]},
        {"type": "http.response.body", "body": b"xyz"},
    ]


def test_a_refusal_says_code_message_and_hint() -> None:
    refused = RefusedError(503, "CODE", "what", "how")
    assert json.loads(refused.body()) == {"detail": {"error": "CODE", "message": "what", "hint": "how"}}
    assert refused.headers() == [(b"retry-after", b"1")]
    assert RefusedError(422, "CODE", "what").headers() == []


def test_more_requests_than_allowed_are_refused_at_once() -> None:
    async def main() -> None:
        admission = Admission(2, 0)
        tasks = [asyncio.create_task(asyncio.sleep(0)) for _ in range(3)]
        for task in tasks[:2]:
            admission.enter(task, perf_counter())
        assert admission.running == 2
        with pytest.raises(RefusedError) as error:
            admission.enter(tasks[2], perf_counter())
        assert (error.value.status, error.value.code) == (503, "TOO_MANY_REQUESTS")
        assert (b"retry-after", b"1") in error.value.headers()
        admission.leave(tasks[0])
        admission.enter(tasks[2], perf_counter())
        await asyncio.gather(*tasks)

    asyncio.run(main())


def test_a_request_that_takes_too_long_is_cancelled_and_told() -> None:
    async def request(admission: Admission, seconds: float) -> str:
        task = asyncio.current_task()
        assert task is not None
        admission.enter(task, perf_counter())
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            if not admission.timed_out(task):
                raise
            assert not task.cancelling()
            return "late"
        finally:
            admission.leave(task)
        return "in time"

    async def main() -> None:
        admission = Admission(10, 0.2)
        answers = await asyncio.gather(*(request(admission, seconds) for seconds in (60, 0.01, 60)))
        assert answers == ["late", "in time", "late"]
        assert admission.running == 0
        # The timer starts again for later ones.
        assert await request(admission, 60) == "late"
        other = asyncio.create_task(request(admission, 60))
        await asyncio.sleep(0)
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await other

    started = perf_counter()
    asyncio.run(main())
    assert perf_counter() - started < 10
