"""``POST /get-online-features`` as plain ASGI: the hot path, from the bytes of a request to the bytes of its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any, NamedTuple

from yummy_feast.errors import OnlineRequestError, OnlineStoreError, RowDecodeError, YummyError
from yummy_feast.online.loops import AnyMux
from yummy_feast.online.redis_errors import REDIS_ERRORS, translate
from yummy_feast.online.request import to_columns
from yummy_feast.online.retrieval import (
    Question,
    answer,
    answer_async,
    answer_row,
    answer_row_async,
    ask,
    fetch_async,
    unpacked,
)
from yummy_feast.serving.features import refusals
from yummy_feast.serving.features.metrics import FeatureMetrics
from yummy_feast.serving.features.request import FeaturesRequest, Selection, decode, selection_of
from yummy_feast.serving.features.snapshot import Registries, Served, Snapshot
from yummy_feast.serving.features.way import Way
from yummy_feast.serving.hot import HotEndpoint
from yummy_feast.serving.http import (
    Admission,
    Header,
    Scope,
)
from yummy_feast.serving.quick import QuickEndpoint, Read

if TYPE_CHECKING:
    from yummy_feast.online.address import RedisSettings
    from yummy_feast.online.answer import OnlineFeatures
    from yummy_feast.online.hmget import Reply
    from yummy_feast.online.retrieval import OnlineRow
    from yummy_feast.online.schemas import SchemaBook


class Stages:
    """When the stages of a request ended (``perf_counter()``); 0 for those it did not reach."""

    __slots__ = ("assembled", "decoded", "fetched", "started")

    def __init__(self, started: float) -> None:
        self.started = started
        self.decoded = 0.0
        self.fetched = 0.0
        self.assembled = 0.0

    def header(self, ended: float) -> Header:
        """``Server-Timing`` in milliseconds. A stage that was not ended lasts until now."""
        decoded = self.decoded or ended
        fetched = self.fetched or max(decoded, ended)
        return (
            b"server-timing",
            b"decode;dur=%.3f, redis;dur=%.3f, assemble;dur=%.3f"
            % (
                (decoded - self.started) * 1e3,
                (fetched - decoded) * 1e3,
                ((self.assembled or ended) - fetched) * 1e3,
            ),
        )


class Endpoint(HotEndpoint[Stages, FeatureMetrics]):
    """What every way of answering requests for features shares."""

    stages = Stages
    late = "try again; --request-timeout of the server waits longer"


class _Asked(NamedTuple):
    """A request that is understood. versions: whether those of the views are told."""

    served: Served
    question: Question
    versions: bool


class FeaturesEndpoint(Endpoint, QuickEndpoint[Stages, FeatureMetrics, _Asked]):
    """Answers requests for online features, over the connection of the loop it runs in.

    Args:
        registries: what is served.
        settings, book: where the rows are, and their schemas.
        metrics: what is told of every request.
        max_body: bytes of a request.
    """

    def __init__(
        self,
        registries: Registries,
        settings: RedisSettings,
        book: SchemaBook,
        admission: Admission,
        metrics: FeatureMetrics,
        max_body: int,
    ) -> None:
        super().__init__(admission, metrics, max_body)
        self._registries = registries
        self._settings = settings
        self._book = book
        self._way = Way(settings)

    async def answer(self, scope: Scope, body: bytes, stages: Stages) -> bytes:
        """The JSON that answers ``body``. RefusedError."""
        request = decode(body)
        selection = selection_of(request)
        snapshot = self._registries.current
        served = snapshot.known(selection) or await compiled(snapshot, selection)
        asked = _asked(request, served)
        stages.decoded = perf_counter()
        async with self._way.turn(served, asked.question.length):
            answer = await self._answer(asked, stages)
        self._count(asked, stages)
        return answer

    async def _answer(self, asked: _Asked, stages: Stages) -> bytes:
        served, question = asked.served, asked.question
        mux = self._way.mux()
        replies = await self._fetched(question, mux, stages)
        try:
            if question.length == 1 and not served.on_demand:
                return _row_told(asked, await answer_row_async(question, replies, mux, self._book))
            features = await self._features(served, question, replies, mux)
            # Megabytes, of which the answer needs no byte.
            del replies
            if served.is_large(question.length):
                return await asyncio.to_thread(_told, asked, features)
            return _told(asked, features)
        except RowDecodeError as error:
            raise refusals.of_store(error) from error
        except REDIS_ERRORS as error:
            raise refusals.of_store(translate(error, self._settings)) from error
        # A join key of another entity is repeated in the answer, and may be what no Feast type holds.
        except OnlineRequestError as error:
            raise refusals.of_entities(error) from error
        except YummyError as error:
            raise refusals.of_damage(error) from error

    async def _fetched(self, question: Question, mux: AnyMux, stages: Stages) -> list[list[Reply]]:
        """Redis' replies. RefusedError."""
        try:
            replies = await fetch_async(question, mux)
        except OnlineStoreError as error:
            raise refusals.of_store(error) from error
        except REDIS_ERRORS as error:
            raise refusals.of_store(translate(error, self._settings)) from error
        stages.fetched = perf_counter()
        return replies

    def begin(self, scope: Scope, body: bytes, stages: Stages) -> tuple[_Asked, Read] | None:
        """What ``answer`` does before it asks Redis, where nothing has to be waited for."""
        request = decode(body)
        served = self._registries.current.known(selection_of(request))
        if served is None or served.on_demand:
            return None
        asked = _asked(request, served)
        read = self._way.read(served, asked.question)
        stages.decoded = perf_counter()
        return None if read is None else (asked, read)

    def end(self, asked: _Asked, replies: list[Any], stages: Stages) -> bytes | None:
        """What ``answer`` does with Redis' replies. Raises what schemas that were never met raise, and damaged rows."""
        stages.fetched = perf_counter()
        question, met = asked.question, self._book.met
        found = unpacked(question, replies)
        if found is None:
            return None
        now = time_ns() // 1000
        if question.length == 1:
            told = _row_told(asked, answer_row(question, found, met, now))
        else:
            told = _told(asked, answer(question, found, met, now))
        self._count(asked, stages)
        return told

    def _count(self, asked: _Asked, stages: Stages) -> None:
        stages.assembled = ended = perf_counter()
        self._metrics.answered(stages, ended, asked.question.length, asked.served.tally)

    async def _features(
        self, served: Served, question: Question, replies: list[list[Reply]], mux: AnyMux
    ) -> OnlineFeatures:
        in_thread = served.is_slow or served.is_large(question.length)
        reading = answer_async(question, replies, mux, self._book, in_thread=in_thread)
        return await (_transformed(reading, served) if served.on_demand else reading)


def _asked(request: FeaturesRequest, served: Served) -> _Asked:
    """RefusedError for entities that cannot be asked for."""
    try:
        question = ask(served.plan, *to_columns(request.entities), strict=True)
    except OnlineRequestError as error:
        raise refusals.of_entities(error) from error
    return _Asked(served, question, request.include_feature_view_version_metadata)


def _row_told(asked: _Asked, row: OnlineRow) -> bytes:
    served = asked.served
    told = served.rendering(asked.question.binding).render_row(row, versions=asked.versions)
    served.tally.add_row(row.statuses, row.times)
    return told


def _told(asked: _Asked, features: OnlineFeatures) -> bytes:
    served, question = asked.served, asked.question
    told = served.rendering(question.binding).render(features, versions=asked.versions)
    served.tally.add_rows(features.rows[1:], question.length)
    return told


async def compiled(snapshot: Snapshot, selection: Selection) -> Served:
    """The plan of a selection that is new, made in a thread: requests with plans of their own go on meanwhile."""
    try:
        return await asyncio.to_thread(snapshot.compile, selection)
    # What is compiled holds the code of users, which raises what it likes when it is loaded.
    except Exception as error:
        raise refusals.of_features(error) from error


async def _transformed(reading: Awaitable[OnlineFeatures], served: Served) -> OnlineFeatures:
    try:
        return await reading
    except (RowDecodeError, *REDIS_ERRORS):
        raise
    # The code of users again.
    except Exception as error:
        raise refusals.of_transformation(error, served.on_demand) from error
