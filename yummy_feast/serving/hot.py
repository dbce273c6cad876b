"""What the hot endpoints of all servers share: a request is admitted, read, answered or refused, and counted."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from time import perf_counter
from typing import Any, ClassVar, Final, Generic, Protocol, TypeVar, cast

from yummy_feast.serving.http import (
    JSON,
    Admission,
    ClientGoneError,
    Header,
    Receive,
    RefusedError,
    Scope,
    Send,
    read_body,
    respond,
)

_BODY_TOO_SLOW: Final = "the body did not come in time"


class Stages(Protocol):
    """When the stages of a request ended."""

    started: float

    def header(self, ended: float) -> Header:
        """``Server-Timing``."""
        ...


class Metrics(Protocol):
    """What is told of requests."""

    def refused(self, code: str, seconds: float) -> None:
        """One was refused."""
        ...


_Stages = TypeVar("_Stages", bound=Stages)
_Metrics = TypeVar("_Metrics", bound=Metrics)


class HotEndpoint(ABC, Generic[_Stages, _Metrics]):
    """Answers POST requests, of which so many may run for so long.

    stages: makes the stages of a request that began at a time (``perf_counter()``).
    late: what to do about a request that was not answered in time.

    Args:
        admission: of the requests.
        metrics: what is told of every request.
        max_body: bytes of a request.
    """

    stages: ClassVar[Any]
    late: ClassVar[str]

    def __init__(self, admission: Admission, metrics: _Metrics, max_body: int) -> None:
        self._admission = admission
        self._metrics = metrics
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request: never raises for what a client sent or a store did."""
        # A coroutine of ours runs in a task.
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        stages: _Stages = self.stages(perf_counter())
        body: bytes | None = None
        status, headers = 200, [JSON]
        refused: RefusedError | None = None
        try:
            self._admission.enter(task, stages.started)
            body = await read_body(receive, self._max_body, scope["headers"])
            answer = await self.answer(scope, body, stages)
        except ClientGoneError:
            return
        except RefusedError as error:
            refused = error
        except asyncio.CancelledError:
            if not self._admission.timed_out(task):
                raise
            refused = self._too_slow(body is None)
        finally:
            self._admission.leave(task)
        ended = perf_counter()
        if refused is None:
            self.answered(stages, ended)
        else:
            status, answer = refused.status, self.refusal(refused)
            headers += refused.headers()
            self._metrics.refused(refused.code, ended - stages.started)
        headers.append(stages.header(ended))
        await respond(send, status, headers, answer, unread=receive if refused is not None and refused.close else None)

    @abstractmethod
    async def answer(self, scope: Scope, body: bytes, stages: _Stages) -> bytes:
        """The JSON that answers ``body``. RefusedError."""

    def answered(self, stages: _Stages, ended: float) -> None:
        """A request has its answer."""

    def refusal(self, error: RefusedError) -> bytes:
        """The JSON of a refusal."""
        return error.body()

    def _too_slow(self, is_reading: bool) -> RefusedError:
        if is_reading:
            return RefusedError(408, "BODY_TOO_SLOW", _BODY_TOO_SLOW, "send it in one piece", close=True)
        return RefusedError(503, "REQUEST_TIMEOUT", "the request was not answered in time", self.late)
