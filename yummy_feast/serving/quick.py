"""Requests that are answered without a task: decoded when their last byte is read, answered at once or when Redis' last
byte is read.

An event loop needs a turn for each step of a task, and a small answer takes no longer than three of them. What is out
of the ordinary (a plan to compile, a connection to make, an answer worth a thread, an error of Redis) is left to the
task that answers it as ever; reads change nothing, so it may begin anew.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from time import perf_counter
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from yummy_feast.serving.hot import HotEndpoint, Metrics, Stages
from yummy_feast.serving.http import JSON, Header, RefusedError, Scope

if TYPE_CHECKING:
    from yummy_feast.online.mux import Mux

logger = logging.getLogger(__name__)

_Stages = TypeVar("_Stages", bound=Stages)
_Metrics = TypeVar("_Metrics", bound=Metrics)
_Asked = TypeVar("_Asked")


class Exchange(Protocol):
    """A request whose body is there, and where its answer goes: one of the two below is called, once."""

    def answer(self, status: int, headers: list[Header], body: bytes) -> None:
        """The whole answer; ``headers`` lack the length alone. Nothing happens where the client is gone."""
        ...

    def start_task(self) -> None:
        """Answer it as any application does."""
        ...


class Quick(Protocol):
    """Answers requests that need no task."""

    def __call__(self, scope: Scope, body: bytes, exchange: Exchange) -> bool:
        """Take a request, and answer its exchange soon; or leave it alone: False."""
        ...


class Read(NamedTuple):
    """What to ask of Redis, packed, and how many replies that has."""

    packed: bytes
    replies: int
    mux: Mux


class QuickEndpoint(HotEndpoint[_Stages, _Metrics], Generic[_Stages, _Metrics, _Asked]):
    """An endpoint whose requests are a step that waits for nothing, or two and one read of Redis between them."""

    def quick(self, scope: Scope, body: bytes, exchange: Exchange) -> bool:
        """A ``Quick``."""
        started = perf_counter()
        if len(body) > self._max_body:
            return False
        stages: _Stages = self.stages(started)
        try:
            begun = self.begin(scope, body, stages)
            if begun is not None and not isinstance(begun, bytes):
                asked, read = begun
                ticket = _Ticket(self, asked, stages, exchange)
                self._admission.enter(ticket, started)
        except RefusedError as error:
            if error.close:
                return False
            self._refuse(exchange, stages, error)
            return True
        # Whatever it is, a task says so. Here the parser would take it for a fault of the request.
        except Exception:
            logger.debug("a request is left to a task", exc_info=True)
            return False
        if begun is None:
            return False
        if isinstance(begun, bytes):
            self._tell(exchange, stages, begun)
            return True
        if read.mux.send(read.packed, read.replies, ticket):
            return True
        self.leave(ticket)
        return False

    @abstractmethod
    def begin(self, scope: Scope, body: bytes, stages: _Stages) -> bytes | tuple[_Asked, Read] | None:
        """The JSON that answers it, or what is asked and what to read for it; None: it needs a task. RefusedError."""

    @abstractmethod
    def end(self, asked: _Asked, replies: list[Any], stages: _Stages) -> bytes | None:
        """The JSON that answers it; None: it needs a task. RefusedError."""

    def leave(self, ticket: _Ticket[_Stages, _Asked]) -> None:
        """``ticket`` waits no more."""
        ticket.is_over = True
        self._admission.leave(ticket)

    def finish(self, ticket: _Ticket[_Stages, _Asked], replies: list[Any]) -> None:
        """Redis has replied."""
        self.leave(ticket)
        stages = ticket.stages
        try:
            answer = self.end(ticket.asked, replies, stages)
        except RefusedError as error:
            self._refuse(ticket.exchange, stages, error)
            return
        # Whatever it is, the task that begins anew says so. Here it would take everybody's connection to Redis with it.
        except Exception:
            logger.debug("a request begins anew", exc_info=True)
            answer = None
        if answer is None:
            ticket.exchange.start_task()
            return
        self._tell(ticket.exchange, stages, answer)

    def _tell(self, exchange: Exchange, stages: _Stages, answer: bytes) -> None:
        ended = perf_counter()
        self.answered(stages, ended)
        exchange.answer(200, [JSON, stages.header(ended)], answer)

    def give_up(self, ticket: _Ticket[_Stages, _Asked]) -> None:
        """Redis did not reply in time."""
        self.leave(ticket)
        self._refuse(ticket.exchange, ticket.stages, self._too_slow(False))

    def _refuse(self, exchange: Exchange, stages: _Stages, error: RefusedError) -> None:
        ended = perf_counter()
        self._metrics.refused(error.code, ended - stages.started)
        exchange.answer(error.status, [JSON, *error.headers(), stages.header(ended)], self.refusal(error))


class _Ticket(Generic[_Stages, _Asked]):
    """A request that waits for Redis; stands where a future would."""

    __slots__ = ("asked", "endpoint", "exchange", "is_over", "stages")

    def __init__(
        self, endpoint: QuickEndpoint[_Stages, Any, _Asked], asked: _Asked, stages: _Stages, exchange: Exchange
    ) -> None:
        self.endpoint = endpoint
        self.asked = asked
        self.stages = stages
        self.exchange = exchange
        self.is_over = False

    def done(self) -> bool:
        return self.is_over

    def set_result(self, replies: list[Any]) -> None:
        self.endpoint.finish(self, replies)

    def set_exception(self, _: Exception) -> None:
        """A task may have more luck, and knows how often to try."""
        self.endpoint.leave(self)
        self.exchange.start_task()

    def cancel(self) -> None:
        self.endpoint.give_up(self)
