"""What the feature server counts of each request."""

from __future__ import annotations

from bisect import bisect_left
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Final

from yummy_feast.online.answer import Status
from yummy_feast.serving.features.ages import Ages
from yummy_feast.serving.features.refusals import CODES
from yummy_feast.serving.features.tally import STATUSES, Tally
from yummy_feast.serving.metrics import Family, Sheet

if TYPE_CHECKING:
    from yummy_feast.serving.features.endpoint import Stages
    from yummy_feast.serving.features.snapshot import Registries
    from yummy_feast.serving.http import Admission

OK: Final = "OK"
_SECONDS: Final = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_SUM: Final = len(_SECONDS) + 1
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
    Family(
        "yummy_features_read",
        "Features of the answers, by status",
        "counter",
        "status",
        tuple(status.name for status in STATUSES),
    ),
    Family("yummy_features_requests_running", "Requests under way", "gauge"),
    Family("yummy_features_plans", "Retrieval plans that are compiled", "gauge", over=max),
    Family("yummy_redis_reconnects", "Connections to Redis made anew after one was lost", "counter"),
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
        self._ages = Ages(folder)
        # Those that have counted something since it was last looked at.
        self._tallies: list[Tally] = []
        self._count = self._sheet.adder("yummy_features_requests")
        self._seconds = self._sheet.observer("yummy_features_request_seconds")
        self._ok = self._sheet.place("yummy_features_requests", OK)
        self._whole = self._sheet.place("yummy_features_request_seconds")
        self._stages = tuple(self._sheet.place("yummy_features_stage_seconds", stage) for stage in _STAGES)
        self._entities = self._sheet.place("yummy_features_entities")

    def answered(self, stages: Stages, ended: float, length: int, tally: Tally | None = None) -> None:
        """A request of ``length`` rows was answered, which ``tally`` was told of, if there is one."""
        # Written out, because every request comes by here: a histogram is its buckets and then its sum.
        numbers, bounds, find = self._sheet.numbers, _SECONDS, bisect_left
        decode, redis, assemble = self._stages
        started, decoded, fetched, whole = stages.started, stages.decoded, stages.fetched, self._whole
        numbers[self._ok] += 1
        seconds = ended - started
        numbers[whole + find(bounds, seconds)] += 1
        numbers[whole + _SUM] += seconds
        seconds = decoded - started
        numbers[decode + find(bounds, seconds)] += 1
        numbers[decode + _SUM] += seconds
        seconds = fetched - decoded
        numbers[redis + find(bounds, seconds)] += 1
        numbers[redis + _SUM] += seconds
        seconds = stages.assembled - fetched
        numbers[assemble + find(bounds, seconds)] += 1
        numbers[assemble + _SUM] += seconds
        numbers[self._entities + find(_ENTITIES, length)] += 1
        numbers[self._entities + len(_ENTITIES) + 1] += length
        if tally is not None and not tally.is_noted:
            tally.is_noted = True
            self._tallies.append(tally)

    def refused(self, code: str, seconds: float) -> None:
        """A request was refused."""
        self._count(code)
        self._seconds(seconds)

    def gauge(self, admission: Admission, registries: Registries, reconnects: int) -> None:
        """Take down what is the case now, and what was counted since the last time."""
        numbers, place, now = self._sheet.numbers, self._sheet.place, time()
        numbers[place("yummy_features_requests_running")] = admission.running
        numbers[place("yummy_features_plans")] = len(registries.current.selections())
        numbers[place("yummy_redis_reconnects")] = reconnects
        numbers[place("yummy_registry_checked_age_seconds")] = now - registries.looked
        numbers[place("yummy_registry_loaded_age_seconds")] = now - registries.current.loaded
        self._settle()

    def _settle(self) -> None:
        numbers, place = self._sheet.numbers, self._sheet.place
        tallies, self._tallies = self._tallies, []
        for tally in tallies:
            tally.is_noted = False
            for view, newest in tally.newest():
                self._ages.see(view, newest)
            rows, features = tally.take()
            for status, count in rows.items():
                numbers[place("yummy_features_rows", status.name)] += count
            for status, count in features.items():
                numbers[place("yummy_features_read", status.name)] += count
        self._ages.publish()

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        self._settle()
        return self._sheet.exposition(self._ages)
