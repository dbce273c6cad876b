"""What the feature server counts of each request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Final

from yummy_feast.online.answer import Status
from yummy_feast.serving.features.refusals import CODES
from yummy_feast.serving.metrics import Family, Sheet

if TYPE_CHECKING:
    from yummy_feast.online.answer import Rows
    from yummy_feast.serving.features.endpoint import Stages
    from yummy_feast.serving.features.snapshot import Registries
    from yummy_feast.serving.http import Admission

OK: Final = "OK"
_SECONDS: Final = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_ENTITIES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000)
_STAGES: Final = ("decode", "redis", "assemble")
_STATUSES: Final = (Status.PRESENT, Status.NOT_FOUND, Status.OUTSIDE_MAX_AGE)

FAMILIES: Final = (
    Family("yummy_features_requests", "Requests, by OK or the code of the error", "counter", "code", (OK, *CODES)),
    Family("yummy_features_request_seconds", "Time of a request, its body included", "histogram", bounds=_SECONDS),
    Family(
        "yummy_features_stage_seconds",
        "Time of each stage of the requests that were answered",
        "histogram",
        "stage",
        _STAGES,
        _SECONDS,
    ),
    Family("yummy_features_entities", "Entity rows of the requests that were answered", "histogram", bounds=_ENTITIES),
    Family(
        "yummy_features_rows",
        "Rows of feature views that were read, by status",
        "counter",
        "status",
        tuple(status.name for status in _STATUSES),
    ),
    Family("yummy_features_requests_running", "Requests under way", "gauge"),
    Family("yummy_features_plans", "Retrieval plans that are compiled", "gauge", over=max),
    Family("yummy_registry_checked_age_seconds", "Time since the registry was last read", "gauge", over=max),
    Family("yummy_registry_loaded_age_seconds", "Age of the content that is served", "gauge", over=max),
)


class FeatureMetrics:
    """The numbers of this process.

    Args:
        folder: as for a Sheet.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._sheet = Sheet(FAMILIES, folder)
        self._count = self._sheet.adder("yummy_features_requests")
        self._seconds = self._sheet.observer("yummy_features_request_seconds")
        self._decode, self._redis, self._assemble = (
            self._sheet.observer("yummy_features_stage_seconds", stage) for stage in _STAGES
        )
        self._entities = self._sheet.observer("yummy_features_entities")
        self._rows = [(status, self._sheet.place("yummy_features_rows", status.name)) for status in _STATUSES]

    def answered(self, stages: Stages, ended: float, rows: Sequence[Rows], length: int) -> None:
        """A request was answered; ``rows`` are those of the views that were read."""
        self._count(OK)
        self._seconds(ended - stages.started)
        self._decode(stages.decoded - stages.started)
        self._redis(stages.fetched - stages.decoded)
        self._assemble(stages.assembled - stages.fetched)
        self._entities(length)
        numbers = self._sheet.numbers
        (present, at_present), *others = self._rows
        left = 0
        for view in rows:
            count = view.statuses.count(present)
            numbers[at_present] += count
            left += length - count
        if left:
            for status, place in others:
                numbers[place] += sum(view.statuses.count(status) for view in rows)

    def refused(self, code: str, seconds: float) -> None:
        """A request was refused."""
        self._count(code)
        self._seconds(seconds)

    def gauge(self, admission: Admission, registries: Registries) -> None:
        """Take down what is the case now."""
        numbers, place, now = self._sheet.numbers, self._sheet.place, time()
        numbers[place("yummy_features_requests_running")] = admission.running
        numbers[place("yummy_features_plans")] = len(registries.current.selections())
        numbers[place("yummy_registry_checked_age_seconds")] = now - registries.looked
        numbers[place("yummy_registry_loaded_age_seconds")] = now - registries.current.loaded

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        return self._sheet.exposition()
