"""What a verification found: numbers by cause, per feature view, with a few examples to look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Cause(StrEnum):
    """Why an entity's online row is not its offline row."""

    MISSING = "missing"
    """Offline has a row, inside a window that was materialized; online has none."""
    STALE = "stale"
    """The online row is older than the offline one, which lies inside a window that was materialized."""
    VALUE = "value"
    """Rows of the same event time differ in a value."""
    TYPE = "type"
    """The online row cannot be read as declared: another type was stored, or its bytes are damaged."""
    UNCOVERED = "uncovered"
    """Missing or stale, but no window that was materialized holds the offline row's event time."""
    AHEAD = "ahead"
    """The online row is newer: pushed, or materialized while we looked. No skew."""
    EXPIRED = "expired"
    """Online has none any more, as the store's retention wants it. No skew."""

    @property
    def is_skew(self) -> bool:
        """Whether a model would be served something else than it was trained on, without anybody wanting it."""
        return self not in (Cause.AHEAD, Cause.EXPIRED)


@dataclass(frozen=True, slots=True)
class Example:
    """One entity that differs, in words.

    keys: its join keys. offline, online: event times, or the two values of ``feature``.
    """

    cause: Cause
    keys: Mapping[str, Any]
    offline: str
    online: str
    feature: str = ""

    def __str__(self) -> str:
        keys = ", ".join(f"{name}={value!r}" for name, value in self.keys.items()) or "the only row"
        what = f"{self.feature} is " if self.feature else ""
        return f"{self.cause.value}: {keys}: {what}{self.offline} offline, {self.online} online"


@dataclass(frozen=True, slots=True)
class ViewReport:
    """One feature view.

    as_of: its last materialization, None where there was none. skipped: why it was not compared, "" if it was.
    entities: how many were compared. counts: entities per cause. features: feature -> entities whose value differs.
    """

    view: str
    as_of: datetime | None = None
    skipped: str = ""
    entities: int = 0
    counts: Mapping[Cause, int] = field(default_factory=dict)
    features: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()

    @property
    def equal(self) -> int:
        """Entities with the same row on both sides."""
        return self.entities - sum(self.counts.values())

    @property
    def skewed(self) -> int:
        """Entities whose difference is skew."""
        return sum(count for cause, count in self.counts.items() if cause.is_skew)

    @property
    def share(self) -> float:
        """Skewed entities out of those compared, 0 to 1; 0 when there were none."""
        return self.skewed / self.entities if self.entities else 0.0

    def to_json(self) -> dict[str, Any]:
        """The report in types that JSON has."""
        return {
            "view": self.view,
            "as_of": self.as_of.isoformat() if self.as_of else None,
            "skipped": self.skipped or None,
            "entities": self.entities,
            "equal": self.equal,
            **{cause.value: self.counts.get(cause, 0) for cause in Cause},
            "skewed": self.skewed,
            "share": self.share,
            "features": dict(self.features),
            "examples": [
                {
                    "cause": example.cause.value,
                    "keys": {name: _json_key(value) for name, value in example.keys.items()},
                    "feature": example.feature or None,
                    "offline": example.offline,
                    "online": example.online,
                }
                for example in self.examples
            ],
        }


def _json_key(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


@dataclass(frozen=True, slots=True)
class Verification:
    """All feature views of a project that were looked at, in order of their names."""

    views: tuple[ViewReport, ...]

    @property
    def compared(self) -> tuple[ViewReport, ...]:
        """The views that could be compared."""
        return tuple(view for view in self.views if not view.skipped)

    def over(self, tolerance: float) -> tuple[ViewReport, ...]:
        """The views whose share of skewed entities is above ``tolerance`` (0 to 1).

        Per view: a small view that is all wrong must not drown in large ones that are right.
        """
        return tuple(view for view in self.compared if view.share > tolerance)


class Tally:
    """Counts what differs, batch after batch, and keeps the first few examples of each cause."""

    def __init__(self, examples_per_cause: int = 3) -> None:
        self._limit = examples_per_cause
        self._examples: dict[Cause, list[Example]] = {}
        self.entities = 0
        self.counts: dict[Cause, int] = {}
        self.features: dict[str, int] = {}

    def wants(self, cause: Cause) -> bool:
        """Whether another example of a cause would be kept."""
        return len(self._examples.get(cause, ())) < self._limit

    def add(self, cause: Cause, features: Iterable[str] = ()) -> None:
        """Count one entity, and the features whose values differ."""
        self.counts[cause] = self.counts.get(cause, 0) + 1
        for name in features:
            self.features[name] = self.features.get(name, 0) + 1

    def show(self, example: Example) -> None:
        """Keep an example, unless there are enough of its cause."""
        if self.wants(example.cause):
            self._examples.setdefault(example.cause, []).append(example)

    def report(self, view: str, as_of: datetime) -> ViewReport:
        """The numbers so far, the most frequent features first."""
        features = dict(sorted(self.features.items(), key=lambda item: (-item[1], item[0])))
        examples = tuple(example for cause in Cause for example in self._examples.get(cause, ()))
        return ViewReport(view, as_of, "", self.entities, dict(self.counts), features, examples)
