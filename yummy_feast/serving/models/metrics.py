"""What the model server counts of each request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from yummy_feast.serving.metrics import Family, Sheet
from yummy_feast.serving.models.refusals import CODES
from yummy_feast.serving.models.work import observed_values

if TYPE_CHECKING:
    from yummy_feast.models.loading import Model
    from yummy_feast.serving.http import Admission
    from yummy_feast.serving.models.stages import Stages

OK: Final = "OK"
_SECONDS: Final = (
    1e-5,
    2.5e-5,
    5e-5,
    1e-4,
    2.5e-4,
    5e-4,
    1e-3,
    2.5e-3,
    5e-3,
    1e-2,
    2.5e-2,
    5e-2,
    0.1,
    0.25,
    0.5,
    1.0,
    5.0,
)
_ROWS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000, 100_000)
# Tenths between 0 and 1, where probabilities lie; powers of ten beyond.
_VALUES: Final = (
    *(-(10.0**power) for power in range(6, -2, -1)),
    0.0,
    *(tenth / 10 for tenth in range(1, 10)),
    *(10.0**power for power in range(7)),
)
_NUMBERS: Final = (float, int, bool)
_STAGES: Final = ("decode", "features", "score", "encode")


def _families(models: tuple[str, ...]) -> tuple[Family, ...]:
    return (
        Family("yummy_models_requests", "Requests, by OK or the code of the error", "counter", "code", (OK, *CODES)),
        Family("yummy_models_request_seconds", "Time of a request, its body included", "histogram", bounds=_SECONDS),
        Family(
            "yummy_models_stage_seconds",
            "Time of each stage of the requests that were answered",
            "histogram",
            "stage",
            _STAGES,
            _SECONDS,
        ),
        Family("yummy_models_rows", "Rows of the requests that were answered", "histogram", bounds=_ROWS),
        Family(
            "yummy_models_predictions",
            "Predictions: the value, or which of several is the largest; classes that are words are not counted",
            "histogram",
            "model",
            models,
            _VALUES,
        ),
        Family("yummy_models_reloads", "Models that were replaced by a newer content", "counter", "model", models),
        Family("yummy_models_reloads_failed", "Newer contents that could not be loaded", "counter", "model", models),
        Family("yummy_models_requests_running", "Requests under way", "gauge"),
    )


class ModelMetrics:
    """The numbers of this process.

    Args:
        models: names of those that are served.
        folder: as for a Sheet.
    """

    def __init__(self, models: Sequence[str], folder: Path | None = None) -> None:
        self._sheet = Sheet(_families(tuple(models)), folder)
        self._count = self._sheet.adder("yummy_models_requests")
        self._seconds = self._sheet.observer("yummy_models_request_seconds")
        self._stages = [self._sheet.observer("yummy_models_stage_seconds", stage) for stage in _STAGES]
        self._rows = self._sheet.observer("yummy_models_rows")
        self.reloaded = self._sheet.adder("yummy_models_reloads")
        self.reload_failed = self._sheet.adder("yummy_models_reloads_failed")

    def observer(self, model: str) -> Callable[[Sequence[Any]], None]:
        """The function that is told the predictions of each request for ``model``."""
        one = self._sheet.observer("yummy_models_predictions", model)
        many = self._sheet.many_observer("yummy_models_predictions", model)

        def observe(predictions: Sequence[Any]) -> None:
            # Of a single row, numpy would take as long as the model.
            value: Any = predictions[0] if len(predictions) == 1 else None
            if type(value) is list and value and type(value[0]) in _NUMBERS:
                value = value[0] if len(value) == 1 else value.index(max(value))
            if type(value) in _NUMBERS:
                one(value)
            else:
                many(observed_values(predictions))

        return observe

    def answered(self, stages: Stages, ended: float) -> None:
        """A request was answered."""
        self._count(OK)
        self._seconds(ended - stages.started)
        decode, fetch, score, encode = stages.seconds(ended)
        observe = self._stages
        observe[0](decode)
        if stages.fetched:
            observe[1](fetch)
        observe[2](score)
        observe[3](encode)
        self._rows(stages.rows)

    def refused(self, code: str, seconds: float) -> None:
        """A request was refused."""
        self._count(code)
        self._seconds(seconds)

    def exposition(self, admission: Admission, models: Mapping[str, Model]) -> bytes:
        """The text that Prometheus reads; what each model is, of this process alone."""
        self._sheet.numbers[self._sheet.place("yummy_models_requests_running")] = admission.running
        lines = ["# HELP yummy_models_info What is served now", "# TYPE yummy_models_info gauge"]
        for name, model in models.items():
            labels = {"model": name, "version": model.version, "flavor": model.about.flavor}
            told = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items())
            lines.append(f"yummy_models_info{{{told}}} 1")
        return self._sheet.exposition() + "\n".join([*lines, ""]).encode()


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
