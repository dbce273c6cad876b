"""Answers as stock Feast's own server gives them, for clients that were written against it.

Asked for by the header ``X-Yummy-Compat: feast``, or for every request by ``ServingOptions.compat``. What stock Feast
does not tell is not told: every status is PRESENT, values under ``on_stale: hide`` included. What it lets pass, passes:
columns that nothing uses, fields that the body should not have. What it answers wrongly for want of care (it loses
features, or rows of them) is answered all the same. Values, names and event timestamps are the same either way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import msgspec

from yummy_feast.errors import (
    ConfigError,
    OnlineRequestError,
    RowDecodeError,
    YummyError,
    nearest,
)
from yummy_feast.online.answer import OnlineFeatures, Rows, Status
from yummy_feast.online.redis_errors import REDIS_ERRORS, translate
from yummy_feast.online.request import to_columns
from yummy_feast.online.retrieval import Question, answer_async, ask
from yummy_feast.serving.features import refusals
from yummy_feast.serving.features.endpoint import FeaturesEndpoint, Stages, compiled
from yummy_feast.serving.features.request import FeaturesRequest, Selection, decode_with, selection_of
from yummy_feast.serving.http import JSON, Receive, RefusedError, Scope, Send, respond
from yummy_feast.values.kinds import KINDS

if TYPE_CHECKING:
    from yummy_feast.online.plan import OnlinePlan
    from yummy_feast.serving.features.snapshot import Served

App = Callable[[Scope, Receive, Send], Awaitable[None]]

COMPATS: Final = ("none", "feast")
"""Whose answers are given: our own, or those of stock Feast."""
HEADER: Final = b"x-yummy-compat"
_PRESENT: Final = Status.PRESENT.value
_SCALAR_MAP: Final = next(number for number, kind in KINDS.items() if kind.name == "SCALAR_MAP")


class _LooseRequest(FeaturesRequest, forbid_unknown_fields=False):
    """The body as Feast's server takes it."""


# Feast's server also takes "true" and 1 for true.
_decode: Final = msgspec.json.Decoder(_LooseRequest, strict=False).decode


def by_header(own: App, feast: App, compat: str) -> App:
    """``own`` and ``feast`` as one application: the header chooses, and ``compat`` where there is none.

    Raises ConfigError for a ``compat`` that is not among COMPATS.
    """
    if compat not in COMPATS:
        raise ConfigError(f"compat is {compat!r}", hint=nearest(compat, COMPATS))
    by_name = {b"feast": feast, b"none": own}
    default = by_name[compat.encode()]

    # Not a coroutine: every request comes by here.
    def endpoint(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        for name, value in scope["headers"]:
            if name == HEADER:
                chosen = by_name.get(value)
                return chosen(scope, receive, send) if chosen else _refuse(value, send)
        return default(scope, receive, send)

    return endpoint


async def _refuse(value: bytes, send: Send) -> None:
    refused = RefusedError(
        422,
        "INVALID_HEADER",
        f"X-Yummy-Compat is {value.decode('latin-1')!r:.80}",
        "send feast for the answers of Feast's own server, none for ours, or leave the header out",
        # Nobody has read the body.
        close=True,
    )
    await respond(send, refused.status, [JSON, *refused.headers()], refused.body())


class CompatEndpoint(FeaturesEndpoint):
    """The hot endpoint with Feast's answers; not the hot path itself."""

    async def answer(self, scope: Scope, body: bytes, stages: Stages) -> bytes:
        """The JSON that answers ``body``. RefusedError."""
        request = decode_with(_decode, body)
        snapshot = self._registries.current
        selection = _selection_of(request)
        served = snapshot.known(selection) or await compiled(snapshot, selection)
        plan = replace(served.plan, hide_stale=False) if served.plan.hide_stale else served.plan
        try:
            columns, length = to_columns(request.entities)
            question = ask(plan, _as_feast_takes(columns, plan), length)
        except OnlineRequestError as error:
            raise refusals.of_entities(error) from error
        stages.decoded = perf_counter()
        async with self._way.turn(served, length):
            is_large = served.is_large(length)
            features = await self._read_all(question, served, stages, in_thread=is_large or served.is_slow)
            render = partial(
                served.rendering(question.binding).render,
                as_feast(features),
                versions=request.include_feature_view_version_metadata,
            )
            try:
                answer = await asyncio.to_thread(render) if is_large else render()
            except YummyError as error:
                raise refusals.of_damage(error) from error
        stages.assembled = ended = perf_counter()
        # The numbers tell the truth, whatever the client wants to hear.
        served.tally.add_rows(features.rows[1:], length)
        self._metrics.answered(stages, ended, length, served.tally)
        return answer

    async def _read_all(self, question: Question, served: Served, stages: Stages, *, in_thread: bool) -> OnlineFeatures:
        mux = self._way.mux()
        replies = await self._fetched(question, mux, stages)
        try:
            return await answer_async(question, replies, mux, self._book, in_thread=in_thread)
        except RowDecodeError as error:
            raise refusals.of_store(error) from error
        except REDIS_ERRORS as error:
            raise refusals.of_store(translate(error, self._settings)) from error
        # A join key of another entity is repeated in the answer, and may be what no Feast type holds.
        except OnlineRequestError as error:
            raise refusals.of_entities(error) from error
        # The code of users, which raises what it likes.
        except Exception as error:
            if served.on_demand:
                raise refusals.of_transformation(error, served.on_demand) from error
            raise


class FeastFeatures(OnlineFeatures):
    """An answer in which everything is present."""

    __slots__ = ()

    def statuses_of(self, column: int) -> list[int]:
        """PRESENT for every row, whatever its value."""
        return [_PRESENT] * self.length


def as_feast(features: OnlineFeatures) -> FeastFeatures:
    """``features`` as stock Feast tells them: all present; maps with keys that are no text are null."""
    kinds = features.heading.kinds
    values = [
        [None] * features.length if kind == _SCALAR_MAP else column
        for kind, column in zip(kinds, features.values, strict=True)
    ]
    present = (_PRESENT,) * features.length
    rows = [Rows(present, each.event_times) for each in features.rows]
    return FeastFeatures(features.heading, values, rows, features.length)


def _selection_of(request: FeaturesRequest) -> Selection:
    """A service is what counts where both are given."""
    return selection_of(msgspec.structs.replace(request, features=None) if request.feature_service else request)


def _as_feast_takes(columns: Mapping[str, list[Any]], plan: OnlinePlan) -> Mapping[str, list[Any]]:
    """Columns of no declared type get the type of their first value, as in Feast: after 1 follows 2, not 2.5."""
    from feast.type_map import feast_value_type_to_python_type, python_values_to_proto_values

    typed = dict(columns)
    for name, values in columns.items():
        # Of one type it makes no difference.
        if (plan.join_keys.get(name, 0) == 0 or name in plan.request_data) and len(set(map(type, values))) > 1:
            try:
                messages = python_values_to_proto_values(values)
            except (TypeError, ValueError, AssertionError, KeyError, OverflowError) as error:
                raise OnlineRequestError(
                    f"entity column {name!r} holds values that Feast cannot take together: {error}",
                    hint=f"the first is {values[0]!r:.80}",
                ) from error
            typed[name] = [feast_value_type_to_python_type(message) for message in messages]
    return typed
