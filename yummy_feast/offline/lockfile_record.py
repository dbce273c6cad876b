"""The record of one fetch, from which its lockfile is made; of a replay, also the judge of whether all is as it was."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from yummy_feast.errors import LockfileError, SourceReadError
from yummy_feast.offline.frame_rows import FrameRows
from yummy_feast.offline.lockfile import FORMAT, Entities, Lockfile, Request, Rows
from yummy_feast.offline.lockfile_facts import (
    answer_facts,
    difference,
    entity_facts,
    labels,
    on_demand_facts,
    packages,
    rows_difference,
    source_facts,
    view_facts,
)
from yummy_feast.sources.file_pins import with_checksums
from yummy_feast.sources.looks import Looks, source_key

if TYPE_CHECKING:
    from yummy_feast.offline.entity_rows import EntityRows
    from yummy_feast.offline.plan import RetrievalPlan
    from yummy_feast.sources.base import SourceContext

_UNDO = "undo the change, or fetch without the lockfile and write a new one"
_JUST_NOW = timedelta(minutes=1)
"""Feast fills in the time of the call as the end of a range without one."""


class FetchRecord:
    """What one fetch asked, read and answered.

    looks: what it looks at. context: the repo's, with them. lock: of a replay, else None.
    repeats_cheaply: of the engine, see there.
    """

    def __init__(
        self,
        plan: RetrievalPlan,
        context: SourceContext,
        *,
        project: str,
        engine: str,
        cutoff: bool,
        lock: Lockfile | None = None,
    ) -> None:
        self._plan = plan
        self._project = project
        self._engine = engine
        self._lock = lock
        self.repeats_cheaply = False
        self._request = Request(plan.references, plan.full_feature_names, cutoff, Entities())
        self._rows: EntityRows | None = None
        self._answer: Rows | None = None
        self._table: Callable[[], pa.Table | None] | None = None
        self.looks = Looks() if lock is None else self._looks_of(lock)
        self.context = replace(context, looks=self.looks)

    @property
    def proves(self) -> bool:
        """Whether this is a replay, and of a lockfile with an answer to compare with."""
        return self._lock is not None and self._lock.answer is not None

    # ---------------------------------------------------------------------------------------- as the fetch goes

    def given(
        self, form: str, text: str | None = None, start: datetime | None = None, end: datetime | None = None
    ) -> None:
        """How the entity rows were given, see ``Entities``."""
        times = (None if moment is None else moment.astimezone(UTC).isoformat() for moment in (start, end))
        self._request = replace(self._request, entities=Entities(form, text, *times))

    def range(self, start: datetime, end: datetime, asked: Mapping[str, Any]) -> tuple[datetime, datetime]:
        """The range of the entity rows: in a replay the one there was, whatever the time is now. asked: the dates that
        the caller gave, or Feast for him.

        Raises:
            LockfileError: the caller asked for another range.
        """
        if self._lock is not None and self._lock.request.entities.form == "range":
            entities = self._lock.request.entities
            then = (datetime.fromisoformat(entities.start or ""), datetime.fromisoformat(entities.end or ""))
            for name, before, now in (("start_date", then[0], start), ("end_date", then[1], end)):
                is_default = asked.get(name) is None or (name == "end_date" and _is_just_now(asked[name]))
                if not is_default and before != now:
                    raise LockfileError(
                        f"{name} is {now.isoformat()}, in the lockfile {before.isoformat()}", hint=_UNDO
                    )
            start, end = then
        self.given("range", None, start, end)
        return start, end

    def asked(self, rows: EntityRows) -> None:
        """The entity rows.

        Raises:
            LockfileError: they are not those of the lockfile.
        """
        self._rows = rows
        if self._lock is None:
            return
        then = self._lock.entity_rows
        found = rows_difference(then, entity_facts(rows, ordered=then.ordered))
        if found:
            hint = "pass the rows of the first fetch, in their order and types"
            if self._request.entities.form == "sql":
                hint = "does the SQL ask the time, or lack an ORDER BY?"
            raise LockfileError(f"the entity rows are not those of the lockfile: {found}", hint=hint)

    def answered(self, table: pa.Table) -> None:
        """The answer, as ``to_arrow`` gives it. Its digest waits until somebody wants it, if it can.

        Raises:
            LockfileError: it is not that of the lockfile.
        """
        self._table = weakref.ref(table)
        if self._lock is not None or self._plan.on_demand or not self.repeats_cheaply:
            self._digest(table)

    def _digest(self, table: pa.Table) -> None:
        if self._rows is None:
            return
        then = None if self._lock is None else self._lock.answer
        ordered = not isinstance(self._rows, FrameRows) if then is None else then.ordered
        self._answer = answer_facts(table, self._rows.names, ordered=ordered)
        found = "" if then is None else rows_difference(then, self._answer)
        if found and self._lock is not None:
            raise LockfileError(f"the answer is not that of the lockfile: {found}", hint=self._suspects(self._lock))

    # ------------------------------------------------------------------------------------------- the lockfile

    def lockfile(self, *, checksums: bool | None, again: Callable[[], pa.Table]) -> Lockfile:
        """See ``YummyRetrievalJob.lockfile``. again: makes the answer once more, if nobody holds it."""
        for view in self._plan.views:
            if source_key(view.source) not in self.looks.seen:
                # Nothing was computed yet: what is seen now, the engine will see.
                self.context.scan(view.source)
        seen = self.looks.seen
        names = labels(seen)
        # Before the answer is made again: who changed a file is to hear that.
        sources = {names[key]: source_facts(look.source, self._read(key, checksums)) for key, look in seen.items()}
        if self._rows is None:
            raise LockfileError("the fetch has no entity rows yet", hint="please report this")
        return Lockfile(
            lockfile=FORMAT,
            written=datetime.now(UTC).isoformat(timespec="seconds"),
            project=self._project,
            engine=self._engine,
            packages=packages(),
            request=self._request,
            entity_rows=entity_facts(self._rows),
            views={view.name: view_facts(view, names[source_key(view.source)]) for view in self._plan.views},
            on_demand_views={view.name: on_demand_facts(view) for view in self._plan.on_demand},
            sources=sources,
            answer=self._answered(again),
        )

    def _answered(self, again: Callable[[], pa.Table]) -> Rows | None:
        if self._table is not None and self._answer is None:
            table = self._table()
            self._digest(self._made(again) if table is None else table)
        return self._answer

    def _made(self, again: Callable[[], pa.Table]) -> pa.Table:
        """The answer once more. SourceMovedError if a source lacks what was read of it."""
        try:
            return again()
        except SourceReadError:
            seen = self.looks.seen
            looks = Looks({key: look.pin for key, look in seen.items()})
            for look in seen.values():
                # Opens its files.
                _ = looks.scan(look.source, self.context).total_pieces
            raise

    def _read(self, key: str, checksums: bool | None) -> Mapping[str, Any]:
        look = self.looks.seen[key]
        if checksums is False or "files" not in look.pin:
            return look.pin
        context = look.source.settled(self.context)
        return with_checksums(look.source.name, look.pin, context, remote=bool(checksums))

    # --------------------------------------------------------------------------------------------- the replay

    def _looks_of(self, lock: Lockfile) -> Looks:
        """Looks that see what the lockfile says, if the request and the features are the same."""
        self._refuse_other("the request", replace(lock.request, entities=Entities()), self._request)
        pins: dict[str, Mapping[str, Any]] = {}
        for view in self._plan.views:
            then = lock.views.get(view.name)
            if then is None or then.source not in lock.sources:
                raise LockfileError(f"the lockfile has no feature view '{view.name}'", hint=_UNDO)
            self._refuse_other(f"feature view '{view.name}'", then, view_facts(view, then.source))
            source = lock.sources[then.source]
            self._refuse_other(
                f"source '{then.source}' of feature view '{view.name}'",
                replace(source, location=""),
                replace(source_facts(view.source, source.read), location=""),
            )
            key = source_key(view.source)
            if pins.setdefault(key, source.read) != source.read:
                raise LockfileError(
                    f"feature view '{view.name}': its source and another one were read at two moments of one table",
                    hint="give each the version or snapshot that it had",
                )
        now = {view.name: on_demand_facts(view) for view in self._plan.on_demand}
        for name, on_demand in lock.on_demand_views.items():
            self._refuse_other(f"on-demand feature view '{name}'", on_demand, now.get(name))
        return Looks(pins, {name: source.read for name, source in lock.sources.items()})

    @staticmethod
    def _refuse_other(what: str, then: Any, now: Any) -> None:
        found = difference(then, now)
        if found:
            raise LockfileError(f"{what} is not as in the lockfile: {found}", hint=_UNDO)

    def _suspects(self, lock: Lockfile) -> str:
        now = packages()
        moved = [
            f"{name} {now.get(name, 'not installed')} instead of {before}"
            for name, before in lock.packages.items()
            if now.get(name) != before
        ]
        if self._engine != lock.engine:
            moved.insert(0, f"engine {self._engine} instead of {lock.engine}")
        unpinned = [name for name, source in lock.sources.items() if not source.read]
        if unpinned:
            moved.append(f"of source '{unpinned[0]}' nothing tells what was read")
        return ", ".join(moved) or "what on-demand views call may have changed; else please report this"


def _is_just_now(given: datetime) -> bool:
    now = datetime.now() if given.tzinfo is None else datetime.now(given.tzinfo)  # noqa: DTZ005 - as Feast fills it in
    return abs(now - given) < _JUST_NOW
