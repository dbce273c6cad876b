"""What every flavor of model has in common: the features it was trained on, and how rows of them are scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_TRIED: Final = 64
_HUGE: Final = 1e30
Matrix = npt.NDArray[np.float64]


class Kind(Enum):
    """What a model takes for a feature."""

    NUMBER = "number"
    CATEGORY = "category"
    """Text, or a whole number that stands for itself alone."""
    TEXT = "text"
    """Words, which the model splits."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One input of a model, at its place."""

    name: str
    kind: Kind = Kind.NUMBER


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Rows in the order of a model's features, already cast.

    matrix: (rows, features), where every feature is a number; NaN is missing.
    columns: otherwise a sequence for each feature: floats, or for a category str, int or bool; None is missing.
    """

    length: int
    matrix: Matrix | None = None
    columns: Sequence[Sequence[Any]] = ()


class Scorer(ABC):
    """Scores rows. Safe to call from several threads at once.

    features: what the model takes, in its order. output: what it answers, in a word, for people.
    checks_names: whether it refuses columns of other names than those it was trained on.
    answers_nothing: whether it scores no rows at all with no predictions, as MLflow's CatBoost does; LightGBM refuses.
    """

    features: tuple[Feature, ...]
    output: str
    checks_names: bool
    answers_nothing: bool = False

    @property
    def is_numeric(self) -> bool:
        """Whether every feature is a number."""
        return all(feature.kind is Kind.NUMBER for feature in self.features)

    @abstractmethod
    def score(self, batch: Batch) -> npt.NDArray[Any]:
        """Predictions of shape (rows,) or (rows, outputs), as MLflow's pyfunc answers them. ModelInputError."""

    def score_one(self, row: Sequence[Any]) -> Any:
        """The prediction of one row, cast like a Batch's columns, in Python's own types: a value or a list of them.

        Costs less than a batch of one. ModelInputError, and ValueError, TypeError, OverflowError or struct.error for a
        row of numbers in which something is none.
        """
        if self.is_numeric:
            batch = Batch(1, matrix=np.array([row], np.float64))
        else:
            batch = Batch(1, columns=[(value,) for value in row])
        return self.score(batch).tolist()[0]

    def close(self) -> None:  # noqa: B027 - most have nothing to free
        """Free what is not Python's. Nothing may be scored afterwards."""


def trial_rows(width: int) -> Matrix:
    """Rows on which a new model is tried, always the same: zeros, missing, huge and tiny values, many in between."""
    scales = 10.0 ** np.arange(_TRIED)[:, None].clip(0, 11) / 1000
    matrix = np.random.default_rng(0).standard_normal((_TRIED, width)) * scales
    # Most values are of the size that values have.
    matrix[_TRIED // 4 :] = np.random.default_rng(1).standard_normal((_TRIED - _TRIED // 4, width)) * 2
    matrix[0], matrix[1], matrix[2], matrix[3] = 0.0, np.nan, _HUGE, -_HUGE
    return matrix
