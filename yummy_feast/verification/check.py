"""Online rows beside the offline store's point-in-time answer, one sample of entities per feature view."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from yummy_feast.errors import ConfigError, RetrievalError, RowDecodeError, ValueTypeError, nearest
from yummy_feast.offline.plan import is_plain
from yummy_feast.offline.store import YummyOfflineStoreConfig
from yummy_feast.offline.times import show
from yummy_feast.online.store import YummyOnlineStore
from yummy_feast.verification.report import Cause, Example, Tally, Verification, ViewReport
from yummy_feast.verification.sides import Progress, Row, Sides
from yummy_feast.verification.values import Comparison

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView

_LONGEST = 60


def verify(
    store: FeatureStore,
    *,
    views: Collection[str] | None = None,
    sample: int = 1000,
    seed: int = 0,
    relative: float | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Compare up to ``sample`` entities of each feature view (all of them, or those named in ``views``).

    Entities are those with a row that is visible at the view's last materialization (not older than its ttl by then);
    their rows then are what online rows are compared with. relative: how far apart floats may be, relative to their
    size; by default one rounding step of the declared type.

    Raises:
        ConfigError: the stores are not both ours. RetrievalError: an unknown view, or none that was ever materialized.
        SourceError, OnlineStoreError and their children; ValueTypeError for a source value that could not be written.
    """
    online = store.provider.online_store
    if not isinstance(online, YummyOnlineStore):
        raise ConfigError(
            f"online_store is {type(online).__name__}", hint="set online_store.type: yummy_feast.YummyOnlineStore"
        )
    if not isinstance(store.config.offline_store, YummyOfflineStoreConfig):
        raise ConfigError(
            f"offline_store is {type(store.config.offline_store).__name__}",
            hint="set offline_store.type: yummy_feast.YummyOfflineStore",
        )
    reports = []
    for view in _chosen(store, views):
        reason = _not_comparable(view)
        if reason or view.most_recent_end_time is None:
            reports.append(ViewReport(view.name, view.most_recent_end_time, reason or "never materialized"))
            continue
        sides = Sides(store, online, view, view.most_recent_end_time, progress or (lambda *_: None))
        reports.append(_Check(sides, Comparison(sides.features, relative), Tally()).run(sample, seed))
    found = Verification(tuple(reports))
    if not found.compared:
        reasons = "; ".join(f"{report.view}: {report.skipped}" for report in reports) or "feast apply has not run"
        raise RetrievalError(
            f"project {store.project!r} has no feature view to verify ({reasons})", hint="run feast materialize first"
        )
    return found


def _chosen(store: FeatureStore, names: Collection[str] | None) -> list[FeatureView]:
    from feast import FeatureView

    known = {
        view.name: view
        for view in store.registry.list_all_feature_views(store.project)
        if isinstance(view, FeatureView)
    }
    for name in names or ():
        if name not in known:
            raise RetrievalError(f"project {store.project!r} has no feature view {name!r}", hint=nearest(name, known))
    return [known[name] for name in sorted(known if names is None else set(names))]


def _not_comparable(view: FeatureView) -> str:
    """Why a view's online rows are not its source's rows, "" where they are."""
    if view.batch_source is None:
        return "has no batch source"
    if not is_plain(view):
        return "is computed by Feast's compute engine"
    return "" if view.online else "is kept offline only"


@dataclass(frozen=True, slots=True)
class _Check:
    """Judges one view's rows."""

    sides: Sides
    comparison: Comparison
    tally: Tally

    def run(self, size: int, seed: int) -> ViewReport:
        sides = self.sides
        for keys, offline in sides.offline(sides.sample(size, seed)):
            online = sides.online(keys)
            for position, (row, found) in enumerate(zip(offline, online, strict=True)):
                if row is not None:
                    self.tally.entities += 1
                    self._judge(keys, position, row, found)
            sides.progress(sides.view.name, "comparing entities", len(keys))
        return self.tally.report(sides.view.name, sides.as_of)

    def _judge(
        self,
        keys: pa.Table,
        position: int,
        offline: Row,
        online: Row | RowDecodeError | None,
    ) -> None:
        event, values = offline
        differing: list[int] = []
        if isinstance(online, RowDecodeError):
            cause: Cause | None = Cause.TYPE
            told = (show(event), online.message)
        elif online is None:
            cause = self._cause_of_absence(event)
            told = (show(event), "no row")
        elif online[0] != event:
            cause = Cause.AHEAD if online[0] > event else self._if_covered(Cause.STALE, event)
            told = (show(event), show(online[0]))
        else:
            cause, differing, told = self._compared(values, online[1])
        if cause is None:
            return
        names = [self.sides.features[place][0] for place in differing]
        self.tally.add(cause, names)
        if self.tally.wants(cause):
            shown = {name: keys.column(name)[position].as_py() for name in self.sides.join_keys}
            self.tally.show(Example(cause, shown, *told, feature=names[0] if names else ""))

    def _compared(
        self, offline: tuple[Any, ...], online: tuple[Any, ...]
    ) -> tuple[Cause | None, list[int], tuple[str, str]]:
        try:
            differing = self.comparison.differing(offline, online)
        except ValueTypeError as error:
            return Cause.TYPE, [], ("readable", error.message)
        if not differing:
            return None, [], ("", "")
        first = differing[0]
        return Cause.VALUE, differing, (_text(offline[first]), _text(online[first]))

    def _cause_of_absence(self, event: int) -> Cause:
        kept = self.sides.store.config.online_store.kept_for(self.sides.view.ttl)
        written = self.sides.view.last_updated_timestamp or self.sides.as_of
        if kept and _aware(written) + timedelta(seconds=kept) < datetime.now(UTC):
            return Cause.EXPIRED
        return self._if_covered(Cause.MISSING, event)

    def _if_covered(self, cause: Cause, event: int) -> Cause:
        windows = self.sides.view.materialization_intervals
        return cause if any(_micros(start) <= event <= _micros(end) for start, end in windows) else Cause.UNCOVERED


def _text(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _micros(moment: datetime) -> int:
    return (_aware(moment) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
