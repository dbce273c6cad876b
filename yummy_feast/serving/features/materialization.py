"""What `/materialize` and `/materialize-incremental` do: check what is asked for, then run it in a thread of its own.

A daemon, as its end may be hours away: a server that is told to stop does not wait for it, and materialization goes on
where it was cut off. Nobody who hangs up stops it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from yummy_feast.errors import nearest
from yummy_feast.online.redis_errors import REDIS_ERRORS, translate
from yummy_feast.serving.features import refusals
from yummy_feast.serving.features.bodies import MaterializeIncrementalRequest, MaterializeRequest
from yummy_feast.serving.features.cells import moment
from yummy_feast.serving.features.runs import BusyError, Progress, Run, Runs, new_id
from yummy_feast.serving.features.watching import WatchedProvider
from yummy_feast.serving.http import RefusedError

if TYPE_CHECKING:
    from feast import FeatureStore

    from yummy_feast.online.address import RedisSettings
    from yummy_feast.serving.features.own_store import OwnStore
    from yummy_feast.serving.features.snapshot import Registries

logger = logging.getLogger(__name__)

_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)

Request = MaterializeRequest | MaterializeIncrementalRequest
Permit = Callable[[Sequence[Any], bool, bool], None]


@dataclass(frozen=True, slots=True)
class Started:
    """A run that is under way, and what will say how it ended: None, or the refusal."""

    run: Run
    ended: Future[RefusedError | None]


class Materialization:
    """Runs materializations, one at a time in all workers of the server.

    Args:
        own: the store that does it.
        registries: what is served, which is read anew when one has ended: views may be served from then on.
        runs: what workers share.
        settings: of the Redis that rows go to, for its errors; None for another store.
    """

    def __init__(self, own: OwnStore, registries: Registries, runs: Runs, settings: RedisSettings | None) -> None:
        self._own = own
        self._registries = registries
        self.runs = runs
        self._settings = settings
        self._under_way: Started | None = None

    async def start(self, request: Request, permit: Permit, *, is_async: bool, force: bool) -> Started:
        """Begin. RefusedError for what cannot be done, 409 while another one runs.

        is_async, force: as Feast's server takes them. The first also refuses views that the registry says are being
        materialized, by whomever; the second takes their word back.
        """
        return await asyncio.to_thread(copy_context().run, lambda: self._start(request, permit, is_async, force))

    def cut_off(self) -> None:
        """Tell the log of a run that ends with this process."""
        started = self._under_way
        if started is not None and not started.ended.done():
            logger.warning(
                "materialization %s is cut off after %s rows; materializing again goes on from there",
                started.run.id,
                started.run.rows,
            )

    def _start(self, request: Request, permit: Permit, is_async: bool, force: bool) -> Started:
        start, end = _range(request)
        store = self._own.get()
        run = new_id()
        with ExitStack() as held:
            # Before the registry is looked at: a run writes it, and whoever reads a file meanwhile may see half of it.
            try:
                held.enter_context(self.runs.locked(run))
            except BusyError as busy:
                raise self._conflict(busy.running) from None
            views = _views(store, request)
            permit(views, True, False)
            names = [view.name for view in views]
            if isinstance(request, MaterializeIncrementalRequest):
                _refuse_endless(views)
            kind = "materialize" if isinstance(request, MaterializeRequest) else "materialize-incremental"
            progress = Progress(self.runs, kind, names, start, end, run)
            if is_async:
                _settle_states(store, names, force=force)
            self.runs.make_room()
            self.runs.note(progress.run)
            started = Started(progress.run, Future())
            work = _Work(self._own, request, names, start, end)
            lock = held.pop_all()
        self._under_way = started
        thread = threading.Thread(
            target=self._carry_out, args=(work, progress, lock, started.ended), name="materialization", daemon=True
        )
        started.ended.set_running_or_notify_cancel()
        thread.start()
        return started

    def _carry_out(self, work: _Work, progress: Progress, lock: ExitStack, ended: Future[RefusedError | None]) -> None:
        refusal: RefusedError | None = None
        try:
            with lock:
                try:
                    work.do(progress)
                # Stores of others, registries and the code of users raise what they like.
                except BaseException as error:
                    logger.exception("materialization %s failed", progress.run.id)
                    refusal = self._refusal(error)
                self._look_again()
                progress.end(
                    None
                    if refusal is None
                    else {"error": refusal.code, "message": refusal.message, "hint": refusal.hint}
                )
        finally:
            # Whoever waits hears of it, also when its record cannot be kept.
            ended.set_result(refusal)

    def _look_again(self) -> None:
        try:
            self._registries.refresh()
        # Registries raise what they like; the next look of the server is soon.
        except Exception:
            logger.exception("the registry cannot be read after a materialization")

    def _refusal(self, error: BaseException) -> RefusedError:
        if isinstance(error, REDIS_ERRORS) and self._settings is not None:
            return refusals.of_store(translate(error, self._settings))
        if isinstance(error, Exception):
            return refusals.of_materialization(error)
        return RefusedError(503, "MATERIALIZATION_FAILED", f"it was ended: {error!r}")

    def _conflict(self, running: str) -> RefusedError:
        run = self.runs.find(running)
        return ConflictError(running, [] if run is None else list(run.views))


class ConflictError(RefusedError):
    """A materialization is running already (409). The body also says so as Feast's does, which its clients read."""

    def __init__(self, running: str, views: list[str], message: str = "", hint: str = "") -> None:
        super().__init__(
            409,
            "MATERIALIZATION_RUNNING",
            message or f"materialization {running} is running",
            hint or f"GET /materializations/{running} tells how far it is; try again when it is done",
        )
        self.views = views

    def body(self) -> bytes:
        """With Feast's ``error`` and ``feature_views`` beside ``detail``."""
        import msgspec

        detail = {"error": self.code, "message": self.message, "hint": self.hint}
        return msgspec.json.encode({"detail": detail, "error": self.message, "feature_views": self.views})


@dataclass(frozen=True, slots=True)
class _Work:
    own: OwnStore
    request: Request
    names: list[str]
    start: datetime | None
    end: datetime

    def do(self, progress: Progress) -> None:
        store = self.own.get()
        provider = store._get_provider()
        # Only one runs at a time, and nobody else materializes with this store.
        watched: Any = WatchedProvider(provider, progress)
        store._provider = watched
        try:
            self._materialize(store)
        finally:
            store._provider = provider

    def _materialize(self, store: FeatureStore) -> None:
        request = self.request
        if isinstance(request, MaterializeRequest):
            store.materialize(
                self.start or _BEGINNING,
                self.end,
                self.names,
                disable_event_timestamp=request.disable_event_timestamp,
                full_feature_names=request.full_feature_names,
                version=request.version,
            )
        else:
            store.materialize_incremental(
                self.end, self.names, full_feature_names=request.full_feature_names, version=request.version
            )


def _range(request: Request) -> tuple[datetime | None, datetime]:
    """From when to when. RefusedError (422)."""
    if isinstance(request, MaterializeIncrementalRequest):
        return None, _parsed("end_ts", request.end_ts)
    if request.disable_event_timestamp:
        return _BEGINNING, datetime.now(UTC)
    start, end = _parsed("start_ts", request.start_ts), _parsed("end_ts", request.end_ts)
    if start >= end:
        raise RefusedError(
            422,
            "INVALID_RANGE",
            f"start_ts {request.start_ts} is not before end_ts {request.end_ts}",
            "both ends are part of the range; times without an offset are UTC",
        )
    return start, end


def _parsed(name: str, text: str | None) -> datetime:
    if text is None:
        raise RefusedError(
            422, "INVALID_RANGE", f"{name} is missing", "send start_ts and end_ts, or disable_event_timestamp: true"
        )
    try:
        return moment(text)
    except (TypeError, ValueError, OverflowError):
        raise RefusedError(
            422, "INVALID_RANGE", f"{name} is {text!r:.80}, no point in time", "send ISO 8601, as 2026-11-20T12:00:00Z"
        ) from None


def _views(store: FeatureStore, request: Request) -> list[Any]:
    """What is to be materialized. RefusedError (404, 422)."""
    from feast.errors import FeastObjectNotFoundException

    wanted = request.feature_views
    if wanted is not None and not wanted:
        raise RefusedError(422, "NO_FEATURE_VIEWS", "feature_views is empty", "leave it out for all that are online")
    try:
        version = store._validate_materialize_version(request.version, wanted)
        found = store._get_feature_views_to_materialize(wanted, version=version)
    except FeastObjectNotFoundException as error:
        names = [view.name for view in store.list_all_feature_views()]
        unknown = next((name for name in wanted or () if name not in names), "")
        raise RefusedError(
            404,
            "FEATURE_VIEW_NOT_FOUND" if unknown else "FEATURE_VIEW_VERSION_NOT_FOUND",
            refusals.plain(error),
            nearest(unknown, names) if unknown else "feast feature-views list-versions tells those there are",
        ) from error
    except ValueError as error:
        raise RefusedError(422, "NOT_MATERIALIZABLE", refusals.plain(error)) from error
    return list(found)


def _refuse_endless(views: Sequence[Any]) -> None:
    """Feast says so only after it has materialized other views."""
    for view in views:
        if hasattr(view, "materialization_intervals") and view.most_recent_end_time is None and view.ttl is None:
            raise RefusedError(
                422,
                "NOT_MATERIALIZABLE",
                f"feature view {view.name!r} was never materialized and has no ttl: there is nothing to start from",
                "POST /materialize once, with a range",
            )


def _settle_states(store: FeatureStore, names: Sequence[str], *, force: bool) -> None:
    """Nobody else must be at it, as far as the registry knows. RefusedError (409)."""
    from feast.feature_server import _reset_stuck_materializing_to_generated
    from feast.feature_view import FeatureViewState

    if force:
        _reset_stuck_materializing_to_generated(store, list(names))
        return
    known = {view.name: view for view in store.list_all_feature_views()}
    busy = [name for name in names if getattr(known.get(name), "state", None) == FeatureViewState.MATERIALIZING]
    if busy:
        raise ConflictError(
            "",
            busy,
            f"in the registry feature view {', '.join(map(repr, busy))} is MATERIALIZING",
            "another server or command is at it; if it was killed, POST again with ?force=true",
        )
