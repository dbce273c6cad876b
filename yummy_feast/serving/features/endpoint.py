"""``POST /get-online-features`` as plain ASGI: the hot path, from the bytes of a request to the bytes of its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from time import perf_counter
from typing import TYPE_CHECKING, Final

from yummy_feast.errors import OnlineRequestError, OnlineStoreError, RowDecodeError, YummyError
from yummy_feast.online.loops import AnyMux, mux_for
from yummy_feast.online.redis_errors import REDIS_ERRORS, translate
from yummy_feast.online.request import to_columns
from yummy_feast.online.retrieval import Question, answer_async, answer_row_async, ask, fetch_async
from yummy_feast.serving.features import refusals
from yummy_feast.serving.features.metrics import FeatureMetrics
from yummy_feast.serving.features.request import Selection, decode, selection_of
from yummy_feast.serving.features.snapshot import Registries, Served, Snapshot
from yummy_feast.serving.hot import HotEndpoint
from yummy_feast.serving.http import (
    Admission,
    Header,
    Scope,
)

if TYPE_CHECKING:
    from yummy_feast.online.address import RedisSettings
    from yummy_feast.online.answer import OnlineFeatures
    from yummy_feast.online.hmget import Reply
    from yummy_feast.online.schemas import SchemaBook

# So many cells take some ten milliseconds, which other requests need not wait for.
_INLINE_CELLS: Final = 50_000


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


class FeaturesEndpoint(Endpoint):
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
        self._mux: AnyMux | None = None

    async def answer(self, scope: Scope, body: bytes, stages: Stages) -> bytes:
        """The JSON that answers ``body``. RefusedError."""
        request = decode(body)
        selection = selection_of(request)
        snapshot = self._registries.current
        served = snapshot.known(selection) or await compiled(snapshot, selection)
        try:
            question = ask(served.plan, *to_columns(request.entities), strict=True)
        except OnlineRequestError as error:
            raise refusals.of_entities(error) from error
        stages.decoded = perf_counter()
        mux = self._mux
        if mux is None or mux.is_closed:
            mux = self._mux = mux_for(self._settings)
        try:
            replies = await fetch_async(question, mux)
        except OnlineStoreError as error:
            raise refusals.of_store(error) from error
        except REDIS_ERRORS as error:
            raise refusals.of_store(translate(error, self._settings)) from error
        stages.fetched = perf_counter()
        rendering = served.rendering(question.binding)
        versions = request.include_feature_view_version_metadata
        try:
            if question.length == 1 and not served.on_demand:
                row = await answer_row_async(question, replies, mux, self._book)
                answer = rendering.render_row(row, versions=versions)
                served.tally.add_row(row.statuses, row.times)
            else:
                features = await self._features(served, question, replies, mux)
                if question.length * served.width > _INLINE_CELLS:
                    answer = await asyncio.to_thread(rendering.render, features, versions=versions)
                else:
                    answer = rendering.render(features, versions=versions)
                served.tally.add_rows(features.rows[1:], question.length)
        except RowDecodeError as error:
            raise refusals.of_store(error) from error
        except REDIS_ERRORS as error:
            raise refusals.of_store(translate(error, self._settings)) from error
        # A join key of another entity is repeated in the answer, and may be what no Feast type holds.
        except OnlineRequestError as error:
            raise refusals.of_entities(error) from error
        except YummyError as error:
            raise refusals.of_damage(error) from error
        stages.assembled = ended = perf_counter()
        self._metrics.answered(stages, ended, question.length, served.tally)
        return answer

    async def _features(
        self, served: Served, question: Question, replies: list[list[Reply]], mux: AnyMux
    ) -> OnlineFeatures:
        in_thread = served.is_slow or question.length * served.width > _INLINE_CELLS
        reading = answer_async(question, replies, mux, self._book, in_thread=in_thread)
        return await (_transformed(reading, served) if served.on_demand else reading)


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
