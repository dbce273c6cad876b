"""One model's rows, made of features that were read for entity ids; and the answer made of its predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from msgspec import UNSET

from yummy_feast.errors import OnlineRequestError, YummyError
from yummy_feast.models.arrange import Arranger, Order
from yummy_feast.online.answer import Status
from yummy_feast.online.request import to_columns
from yummy_feast.online.retrieval import Question, ask
from yummy_feast.serving.features import refusals as of_feast
from yummy_feast.serving.features.snapshot import Served as ServedPlan
from yummy_feast.serving.http import RefusedError
from yummy_feast.serving.models import refusals
from yummy_feast.serving.models.request import Body
from yummy_feast.serving.models.stages import Stages
from yummy_feast.serving.models.work import Served, scored

if TYPE_CHECKING:
    from yummy_feast.models.loading import Model
    from yummy_feast.online.answer import OnlineFeatures
    from yummy_feast.online.plan import Binding
    from yummy_feast.online.retrieval import OnlineRow

_MOST_ORDERS: Final = 256
encode: Final = msgspec.json.Encoder().encode


class Inputs:
    """How one model's rows are made of features: as its signature wants, except that everything may be missing.

    full: whether features go by their full names.
    """

    def __init__(self, model: Model, full: bool) -> None:
        own = model.arranger.signature
        relaxed = own
        if own is not None:
            relaxed = replace(own, columns=tuple(replace(column, required=False) for column in own.columns))
        self.arranger = Arranger(relaxed, model.scorer.features, checks_names=model.scorer.checks_names)
        self.names = frozenset(self.arranger.names)
        self.full = full
        self._required = [column.name for column in model.arranger.inputs if column.required]
        self._orders: dict[tuple[Binding, tuple[str, ...]], Order] = {}

    def order(self, binding: Binding, overrides: tuple[str, ...]) -> Order:
        """Where the inputs stand in rows of request data, join keys, features and overrides: the last of a name counts.

        RefusedError (400) for required inputs that are nowhere among them.
        """
        found = self._orders.get((binding, overrides))
        if found is None:
            names = (*binding.request_data, *binding.heading.names, *overrides)
            last = {name: at for at, name in enumerate(names)}
            absent = [name for name in self._required if name not in last]
            if absent:
                raise RefusedError(400, refusals.INVALID, f"Model is missing inputs {absent}", "send them in overrides")
            found = Order.of([last.get(name, -1) for name in self.arranger.names], len(names))
            # Callers may invent overrides without end.
            if len(self._orders) < _MOST_ORDERS:
                self._orders[binding, overrides] = found
        return found


class Asked(NamedTuple):
    """A request that is understood."""

    served: Served
    inputs: Inputs
    request: Body
    plan: ServedPlan
    question: Question


def asked_of(served: Served, inputs: Inputs, request: Body, plan: ServedPlan) -> Asked:
    """What is asked with ``plan`` by a request that names entities. RefusedError for entities that cannot be."""
    entities = {} if request.entities is UNSET else request.entities
    try:
        question = ask(plan.plan, *to_columns(entities), strict=True)
    except OnlineRequestError as error:
        raise refusals.of_features(of_feast.of_entities(error)) from None
    return Asked(served, inputs, request, plan, question)


def told(asked: Asked, features: OnlineFeatures, predictions: list[Any]) -> bytes:
    """The JSON of an answer. RefusedError for a stored value that is damaged."""
    if not asked.request.return_features:
        return b'{"predictions":%b}' % encode(predictions)
    try:
        shown = asked.plan.rendering(asked.question.binding).render(features)
    except YummyError as error:
        raise refusals.of_features(of_feast.of_damage(error)) from None
    return b'{"predictions":%b,"features":%b}' % (encode(predictions), shown)


def predictions_of(asked: Asked, features: OnlineFeatures, stages: Stages) -> list[Any]:
    """A prediction per row. RefusedError for features that the model does not take."""
    try:
        return _predict(asked, features, stages)
    except YummyError as error:
        raise refusals.of_input(error) from None


def predictions_of_one(asked: Asked, row: OnlineRow, stages: Stages) -> list[Any] | None:
    """The prediction of a single row, the short way; None where only ``predictions_of`` can tell what is in it."""
    plan = asked.plan.plan
    stored: list[Any] = []
    for view, values in zip(plan.views, row.rows, strict=True):
        stored += (None,) * len(view.features) if values is None else values
    try:
        return _predict_one(asked, [*row.echoed, *plan.take(stored)], stages)
    except YummyError as error:
        raise refusals.of_input(error) from None


def _predict_one(asked: Asked, values: list[Any], stages: Stages) -> list[Any] | None:
    """``values`` are those of the heading; None where only ``_predict`` can tell what is in them."""
    served, inputs, request, _, question = asked
    overrides, binding = request.overrides, question.binding
    if binding.request_data:
        values[:0] = [question.columns[name][0] for name in binding.request_data]
    if overrides:
        values += [_column(name, given, 1)[0] for name, given in overrides.items()]
    row = inputs.arranger.one(inputs.order(binding, tuple(overrides)), values)
    if row is None:
        return None
    began = perf_counter()
    prediction = served.score_one(row)
    stages.score(perf_counter() - began, 1)
    served.observe((prediction,))
    return [prediction]


def _predict(asked: Asked, features: OnlineFeatures, stages: Stages) -> list[Any]:
    if features.length == 1:
        found = _predict_one(asked, [column[0] for column in features.values], stages)
        if found is not None:
            return found
    served, inputs, request, _, question = asked
    overrides, binding = request.overrides, question.binding
    order = inputs.order(binding, tuple(overrides))
    columns: list[Sequence[Any]] = list(features.values)
    if binding.request_data:
        columns[:0] = [question.columns[name] for name in binding.request_data]
    if overrides:
        columns += [_column(name, values, features.length) for name, values in overrides.items()]
    rows = list(zip(*columns, strict=True))
    return scored(served, iter([inputs.arranger.rows(order, rows)]), stages)


def _column(name: str, values: Any, length: int) -> Sequence[Any]:
    if not isinstance(values, list):
        return [values] * length
    if len(values) != length:
        raise refusals.bad_request(
            f"overrides.{name} has {len(values)} values for {length} entities", "one a row, or a single one"
        )
    return values


def refuse_missing(features: OnlineFeatures, inputs: frozenset[str]) -> None:
    """Raise RefusedError (422) for a feature that the model wants and the store has not."""
    for at, name in enumerate(features.heading.names):
        if name in inputs and None in features.values[at]:
            row = list(features.values[at]).index(None)
            status = Status(features.statuses_of(at)[row]).name
            raise RefusedError(
                422,
                "MISSING_FEATURES",
                f"feature {name!r} of row {row} is missing: {status}",
                "materialize it, bring it in overrides, or let on_missing be impute_null",
            )
