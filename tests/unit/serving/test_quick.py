"""Answers without a task: who gets one, and what becomes of everybody else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis import exceptions

from tests.unit.online.links import Wire, encoded, wired
from tests.unit.serving.kit import Exchanged, quickly
from yummy_feast.online.link import Link
from yummy_feast.online.mux import Mux
from yummy_feast.online.wire import pack
from yummy_feast.serving.http import Admission, Header, RefusedError
from yummy_feast.serving.quick import QuickEndpoint, Read

GET = pack("GET", "key")


class Stages:
    def __init__(self, started: float) -> None:
        self.started = started

    def header(self, ended: float) -> Header:
        return b"server-timing", b"all;dur=%.3f" % ((ended - self.started) * 1e3)


class Metrics:
    def __init__(self) -> None:
        self.codes: list[str] = []

    def refused(self, code: str, _: float) -> None:
        self.codes.append(code)


class Echo(QuickEndpoint[Stages, Metrics, bytes]):
    """Answers a body with what Redis says to it."""

    stages = Stages
    late = "wait longer"

    def __init__(self, mux: Mux, most: int = 2, seconds: float = 0) -> None:
        self.admission, self.metrics, self.mux = Admission(most, seconds), Metrics(), mux
        super().__init__(self.admission, self.metrics, 20)

    async def answer(self, *_: Any) -> bytes:
        raise NotImplementedError

    def begin(self, _: Any, body: bytes, __: Stages) -> bytes | tuple[bytes, Read] | None:
        if body in (b"refuse", b"close"):
            raise RefusedError(422, "NO", "no", close=body == b"close")
        if body == b"break":
            raise KeyError(body)
        if body == b"known":
            return b"at once"
        return None if body == b"leave" else (bytes(body), Read(GET, 1, self.mux))

    def end(self, asked: bytes, replies: list[Any], _: Stages) -> bytes | None:
        if asked == b"fail":
            raise KeyError(asked)
        if asked == b"too late":
            raise RefusedError(503, "NO", "no")
        return None if isinstance(replies[0], Exception) else asked + replies[0]


async def linked() -> tuple[Mux, Link, Wire]:
    """A mux whose link has proved itself."""
    link, wire = wired()

    async def dial() -> Link:
        return link

    mux = Mux(dial, 0)
    first = asyncio.ensure_future(mux.exchange(GET, 1))
    await asyncio.sleep(0.01)
    link.data_received(encoded(b"one"))
    await first
    wire.writes.clear()
    return mux, link, wire


def on_a_loop(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(test())  # type: ignore[arg-type]

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def begun(endpoint: Echo, body: bytes) -> tuple[bool, Exchanged]:
    exchange = Exchanged()
    return endpoint.quick({"headers": []}, body, exchange), exchange


@on_a_loop
async def test_the_answer_is_there_the_moment_redis_has_replied() -> None:
    mux, link, wire = await linked()
    endpoint = Echo(mux)
    taken, exchange = begun(endpoint, b"body")
    assert taken
    assert endpoint.admission.running == 1
    await asyncio.sleep(0)
    assert wire.writes == [GET]
    link.data_received(encoded(b"-reply"))
    # No turn of the loop in between.
    answered = exchange.answered
    assert answered is not None
    assert (answered.status, answered.body) == (200, b"body-reply")
    assert answered.headers["content-type"] == "application/json"
    assert answered.headers["server-timing"].startswith("all;dur=")
    assert endpoint.admission.running == 0


@on_a_loop
async def test_many_at_once_get_their_own() -> None:
    mux, link, _ = await linked()
    endpoint = Echo(mux, most=5)
    exchanges = [begun(endpoint, b"%d" % number)[1] for number in range(5)]
    link.data_received(b"".join(encoded(b"-%d" % number) for number in range(5)))
    assert [each.answered and each.answered.body for each in exchanges] == [b"%d-%d" % (n, n) for n in range(5)]


@pytest.mark.parametrize("body", [b"leave", b"close", b"break", b"x" * 21])
def test_what_needs_a_task_is_left_alone(body: bytes) -> None:
    async def main() -> None:
        mux, _, wire = await linked()
        endpoint = Echo(mux)
        exchange = await quickly(endpoint, body)
        assert exchange.over.result() == "left alone"
        assert (wire.writes, endpoint.admission.running, endpoint.metrics.codes) == ([], 0, [])

    asyncio.run(main())


@on_a_loop
async def test_an_answer_that_needs_no_redis() -> None:
    mux, _, wire = await linked()
    _, exchange = begun(Echo(mux), b"known")
    assert exchange.answered is not None
    assert (exchange.answered.status, exchange.answered.body, wire.writes) == (200, b"at once", [])


@on_a_loop
async def test_refusals_at_either_end() -> None:
    mux, link, _ = await linked()
    endpoint = Echo(mux, most=1)
    _, early = begun(endpoint, b"refuse")
    _, late = begun(endpoint, b"too late")
    _, beyond = begun(endpoint, b"one too many")
    link.data_received(encoded(b"reply"))
    assert [each.answered and each.answered.error for each in (early, late, beyond)] == [
        (422, "NO"),
        (503, "NO"),
        (503, "TOO_MANY_REQUESTS"),
    ]
    assert late.answered is not None
    assert late.answered.headers["retry-after"] == "1"
    assert endpoint.metrics.codes == ["NO", "TOO_MANY_REQUESTS", "NO"]
    assert endpoint.admission.running == 0


@on_a_loop
async def test_error_replies_and_errors_of_ours_are_told_by_a_task() -> None:
    mux, link, _ = await linked()
    endpoint = Echo(mux)
    _, wrong = begun(endpoint, b"body")
    _, failed = begun(endpoint, b"fail")
    link.data_received(encoded(exceptions.ResponseError("WRONGTYPE")) + encoded(b"reply"))
    assert (wrong.over.result(), failed.over.result()) == ("task", "task")
    assert endpoint.admission.running == 0
    # The link goes on.
    _, next_one = begun(endpoint, b"body")
    link.data_received(encoded(b"-reply"))
    assert next_one.over.result() == "answered"


@on_a_loop
async def test_a_lost_link_leaves_it_to_the_tasks() -> None:
    mux, link, _ = await linked()
    endpoint = Echo(mux)
    _, lost = begun(endpoint, b"body")
    link.connection_lost(None)
    assert lost.over.result() == "task"
    taken, _ = begun(endpoint, b"body")
    assert not taken
    assert endpoint.admission.running == 0


@on_a_loop
async def test_a_server_that_failed_has_to_prove_itself_to_a_task_first() -> None:
    mux, _, _ = await linked()
    mux._failures = 1
    assert not begun(Echo(mux), b"body")[0]


@on_a_loop
async def test_no_answer_in_time_is_503_and_a_late_reply_is_nobodys() -> None:
    mux, link, _ = await linked()
    endpoint = Echo(mux, seconds=0.1)
    _, late = begun(endpoint, b"body")
    await asyncio.wait_for(late.over, 5)
    answered = late.answered
    assert answered is not None
    assert answered.error == (503, "REQUEST_TIMEOUT")
    assert answered.headers["retry-after"] == "1"
    assert (endpoint.metrics.codes, endpoint.admission.running) == (["REQUEST_TIMEOUT"], 0)
    _, next_one = begun(endpoint, b"next")
    link.data_received(encoded(b"-late") + encoded(b"-reply"))
    assert next_one.answered is not None
    assert next_one.answered.body == b"next-reply"
