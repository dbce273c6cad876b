"""Predictions from entity ids: the features come through the feature server's snapshot and retrieval plan.

A request's inputs are, in this order: what it brings in ``overrides``, the features of the service, the join keys and
the request data among its ``entities``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from msgspec import UNSET

from yummy_feast.errors import ConfigError, OnlineStoreError, RowDecodeError, nearest
from yummy_feast.models.arrange import Arranger
from yummy_feast.models.base import Kind
from yummy_feast.online.redis_errors import REDIS_ERRORS, translate
from yummy_feast.online.retrieval import Question, answer, answer_async, answer_row, fetch_async, unpacked
from yummy_feast.online.stock import as_ours
from yummy_feast.online.store import YummyOnlineStore
from yummy_feast.repository import feast_errors_in_a_line, open_feature_store
from yummy_feast.serving.features import refusals as of_feast
from yummy_feast.serving.features.blocks import refuse_what_is_not_served
from yummy_feast.serving.features.health import Health
from yummy_feast.serving.features.request import Selection
from yummy_feast.serving.features.snapshot import Registries
from yummy_feast.serving.features.snapshot import Served as ServedPlan
from yummy_feast.serving.features.way import Way
from yummy_feast.serving.http import RefusedError
from yummy_feast.serving.models import refusals
from yummy_feast.serving.models.entity_inputs import (
    Asked,
    Inputs,
    asked_of,
    encode,
    predictions_of,
    predictions_of_one,
    refuse_missing,
    told,
)
from yummy_feast.serving.models.options import ON_MISSING, ModelOptions
from yummy_feast.serving.models.request import Body, decode
from yummy_feast.serving.models.work import Served
from yummy_feast.serving.quick import Read
from yummy_feast.values import kind_of

if TYPE_CHECKING:
    from feast import RepoConfig
    from feast.infra.registry.base_registry import BaseRegistry

    from yummy_feast.models.loading import Model
    from yummy_feast.online.answer import OnlineFeatures
    from yummy_feast.serving.models.stages import Stages

_NUMBERS: Final = frozenset({"INT32", "INT64", "DOUBLE", "FLOAT", "BOOL"})
_CATEGORIES: Final = frozenset({"STRING", "INT32", "INT64", "BOOL"})
_SHOWN: Final = 10
# Seconds between looks at the registry.
_POLL: Final = 5.0


class FromEntities:
    """One feature service, as the source of models' inputs. ConfigError for a service that is not there.

    Args:
        source: the repository's registry. config: its configuration, with an online store of ours.
    """

    def __init__(self, source: BaseRegistry, config: RepoConfig, options: ModelOptions) -> None:
        self._config = config
        self._service = options.feature_service
        self._overrides = frozenset(options.overrides)
        self._on_missing = options.on_missing
        self._online = YummyOnlineStore()
        self._settings = self._online.settings(config)
        self._book = self._online.schemas(config)
        self._registries = Registries(source, config, _POLL)
        self._selections = tuple(Selection(self._service, (), full) for full in (False, True))
        self._health = Health(self._settings)
        self._way = Way(self._settings)
        self._arrangers: WeakKeyDictionary[Arranger, Inputs] = WeakKeyDictionary()
        services = self._registries.current.registry.list_feature_services(config.project, allow_cache=True)
        names = {each.name for each in services}
        if self._service not in names:
            raise ConfigError(
                f"--feature-service: there is none called {self._service!r}", hint=nearest(self._service, names)
            )

    @classmethod
    def open(cls, options: ModelOptions) -> FromEntities:
        """Of a feature_store.yaml. ConfigError for a repository that cannot be served."""
        store = open_feature_store(options.filename)
        refuse_what_is_not_served(store.config)
        auth = store.config.auth_config
        if auth is not None and auth.type != "no_auth":
            raise ConfigError(
                f"{options.filename}: auth.type is {auth.type!r}: the model server does not check permissions",
                hint="serve this model without --feature-service; the feature server checks them",
            )
        with feast_errors_in_a_line():
            try:
                return cls(store.registry, as_ours(store.config), options)
            except FileNotFoundError as error:
                raise ConfigError(
                    f"{options.filename}: no registry: {error}", hint="run `feast apply` first"
                ) from error

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """What has to run beside the requests, for as long as they are answered."""
        return [self._registries.keep_current(), self._warm_up()]

    async def close(self) -> None:
        """End the connections of this loop."""
        await self._online.close()

    async def check_health(self) -> None:
        """Return when features would be found. RefusedError (503) that says why not."""
        await self._health.check()

    def check(self, model: Model) -> None:
        """Raise ConfigError, which lists them, for inputs of a model that neither the service nor a request brings."""
        missing, problems, full = self._compare(model)
        if missing:
            listed = ", ".join(missing[:_SHOWN]) + (f" and {len(missing) - _SHOWN} more" if missing[_SHOWN:] else "")
            served = self._registries.current.compile(self._selections[full])
            known = [column.name for column in served.plan.columns]
            hint = nearest(missing[0], known) if len(missing) == 1 else f"the service has {len(known)} features"
            raise ConfigError(
                f"{model.place.text}: feature service {self._service!r} lacks the inputs {listed}",
                hint=f"{hint}; name inputs that requests bring themselves with --override",
            )
        if problems:
            raise ConfigError(f"{model.place.text}: feature service {self._service!r}: {'; '.join(problems)}")

    async def answer(self, served: Served, body: bytes, stages: Stages) -> bytes | None:
        """The answer to a body that names entities; None for one that does not after all. RefusedError."""
        request = self._request(body)
        if request is None:
            return None
        inputs = self._inputs_of(served)
        asked = asked_of(served, inputs, request, await self._plan(inputs.full))
        stages.decoded = perf_counter()
        features = await self._fetch(asked.plan, asked.question)
        stages.fetched = perf_counter()
        self._refuse_missing(asked, features)
        if served.is_long(features.length):
            predictions = await asyncio.to_thread(predictions_of, asked, features, stages)
        else:
            predictions = predictions_of(asked, features, stages)
        if request.return_features and asked.plan.is_large(asked.question.length):
            return await asyncio.to_thread(told, asked, features, predictions)
        return told(asked, features, predictions)

    def begin(self, served: Served, body: bytes, stages: Stages) -> tuple[Asked, Read] | None:
        """What ``answer`` does before it asks Redis, where nothing has to be waited for."""
        request = self._request(body)
        if request is None:
            return None
        inputs = self._inputs_of(served)
        plan = self._registries.current.known(self._selections[inputs.full])
        if plan is None or plan.on_demand:
            return None
        asked = asked_of(served, inputs, request, plan)
        if served.is_long(asked.question.length):
            return None
        read = self._way.read(plan, asked.question)
        stages.decoded = perf_counter()
        return None if read is None else (asked, read)

    def end(self, asked: Asked, replies: list[Any], stages: Stages) -> bytes | None:
        """What ``answer`` does with Redis' replies. Raises what schemas that were never met raise, and damaged rows."""
        stages.fetched = perf_counter()
        found = unpacked(asked.question, replies)
        if found is None:
            return None
        question, met, now = asked.question, self._book.met, time_ns() // 1000
        if question.length == 1 and not asked.request.return_features and not self._is_strict(asked):
            predictions = predictions_of_one(asked, answer_row(question, found, met, now), stages)
            if predictions is not None:
                return b'{"predictions":%b}' % encode(predictions)
        features = answer(question, found, met, now)
        self._refuse_missing(asked, features)
        return told(asked, features, predictions_of(asked, features, stages))

    def _request(self, body: bytes) -> Body | None:
        """None for a body that names no entities. RefusedError."""
        request = decode(body)
        if request.entities is UNSET:
            return None
        if request.forms or request.data is not UNSET:
            raise refusals.bad_request("entities and rows in one request", "send one of the two")
        on_missing = request.on_missing or self._on_missing
        if on_missing not in ON_MISSING:
            raise refusals.bad_request(f"on_missing is {on_missing!r}", nearest(on_missing, ON_MISSING))
        return request

    def _is_strict(self, asked: Asked) -> bool:
        return (asked.request.on_missing or self._on_missing) == "error"

    def _refuse_missing(self, asked: Asked, features: OnlineFeatures) -> None:
        if self._is_strict(asked):
            refuse_missing(features, asked.inputs.names)

    def _inputs_of(self, served: Served) -> Inputs:
        arranger = served.arranger
        found = self._arrangers.get(arranger)
        if found is None:
            found = self._arrangers[arranger] = Inputs(served.model, self._compare(served.model)[2])
        return found

    def _compare(self, model: Model) -> tuple[list[str], list[str], bool]:
        """Inputs that nobody brings, types that do not fit, and whether features go by their full names."""
        best: tuple[list[str], list[str], bool] | None = None
        for full in (False, True):
            with feast_errors_in_a_line():
                plan = self._registries.current.compile(self._selections[full]).plan
            kinds = {column.name: column.kind for column in plan.columns}
            kinds |= {name: plan.join_keys.get(name, 0) for name in plan.needed_columns()}
            given = kinds.keys() | plan.request_data | self._overrides
            missing, problems = [], []
            for column, feature in zip(model.arranger.inputs, model.scorer.features, strict=True):
                if column.name not in given:
                    if column.required:
                        missing.append(column.name)
                elif kinds.get(column.name) and column.name not in self._overrides:
                    name = kind_of(kinds[column.name]).name
                    if name not in (_NUMBERS if feature.kind is Kind.NUMBER else _CATEGORIES):
                        problems.append(f"{column.name} is {name}, and the model takes a {feature.kind.value}")
            if best is None or len(missing) < len(best[0]):
                best = (missing, problems, full)
        assert best is not None  # noqa: S101 - there were two
        return best

    async def _plan(self, full: bool) -> ServedPlan:
        snapshot, selection = self._registries.current, self._selections[full]
        known = snapshot.known(selection)
        if known is not None:
            return known
        try:
            return await asyncio.to_thread(snapshot.compile, selection)
        # What is compiled holds the code of users, which raises what it likes when it is loaded.
        except Exception as error:
            refused = of_feast.of_features(error)
            raise RefusedError(503, "FEATURES_UNAVAILABLE", refused.message, refused.hint) from error

    async def _fetch(self, plan: ServedPlan, question: Question) -> OnlineFeatures:
        mux = self._way.mux()
        try:
            replies = await fetch_async(question, mux)
            in_thread = plan.is_slow or plan.is_large(question.length)
            reading = answer_async(question, replies, mux, self._book, in_thread=in_thread)
            if not plan.on_demand:
                return await reading
        except REDIS_ERRORS as error:
            raise refusals.of_features(of_feast.of_store(translate(error, self._settings))) from error
        except OnlineStoreError as error:
            raise refusals.of_features(of_feast.of_store(error)) from error
        try:
            return await reading
        except REDIS_ERRORS as error:
            raise refusals.of_features(of_feast.of_store(translate(error, self._settings))) from error
        except RowDecodeError as error:
            raise refusals.of_features(of_feast.of_store(error)) from error
        # The code of users.
        except Exception as error:
            raise refusals.of_features(of_feast.of_transformation(error, plan.on_demand)) from error

    async def _warm_up(self) -> None:
        # It may be mended while we run: the health says so until then.
        with suppress(OnlineStoreError):
            await self._online.initialize(self._config)
        self._health.is_warm = True
