"""CatBoost: classifier, regressor, ranker and the base model, from its own files."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from yummy_feast.errors import MissingExtraError, ModelFormatError, ModelInputError
from yummy_feast.models.base import Batch, Feature, Kind, Scorer, trial_rows
from yummy_feast.models.catboost_trees import single_row_scorer

_TYPES: Final = ("CatBoost", "CatBoostClassifier", "CatBoostRanker", "CatBoostRegressor")
_VERBS: Final = ("predict", "predict_proba", "predict_log_proba")


class CatBoostScorer(Scorer):
    """A model of CatBoost, scored by its Python package: classes, values or probabilities, as its verb answers.

    Args:
        model: fitted.
        verb: ``predict`` or another of the model's. ModelFormatError if it has no such verb.
        threads: cores that one call may use.
    """

    answers_nothing = True

    def __init__(self, model: Any, verb: str = "predict", *, threads: int = 1) -> None:
        kind = type(model).__name__
        if verb not in _VERBS or not hasattr(model, verb):
            known = ", ".join(name for name in _VERBS if hasattr(model, name))
            raise ModelFormatError(f"predict_fn is {verb!r}: a {kind} has no such verb", hint=f"it has {known}")
        self._verb = getattr(model, verb)
        self._threads = threads
        self.features = tuple(_features(model))
        self._is_plain = self.is_numeric
        self.checks_names = any(feature.name != str(at) for at, feature in enumerate(self.features))
        self.output = f"{verb} of {kind}"
        self._short_cut: Callable[[Sequence[Any]], Any] | None = None
        if self.is_numeric:
            rows = trial_rows(len(self.features))
            self._short_cut = single_row_scorer(model, verb, len(self.features), self._by_catboost, rows)

    @classmethod
    def load(cls, path: Path, model_type: str, form: str, verb: str, *, threads: int = 1) -> CatBoostScorer:
        """The scorer of a file. ModelFormatError, MissingExtraError.

        model_type: CatBoost's class. form: of the file, ``cbm`` mostly.
        """
        try:
            import catboost
        except ImportError:
            raise MissingExtraError.of("models", "a CatBoost model") from None
        if model_type not in _TYPES:
            raise ModelFormatError(f"{path}: model_type is {model_type!r}", hint=f"known: {', '.join(_TYPES)}")
        model = getattr(catboost, model_type)()
        try:
            model.load_model(str(path), form)
        except (catboost.CatBoostError, ValueError, UnicodeDecodeError) as error:
            raise ModelFormatError(f"{path}: {_first_line(error)}", hint="is it the whole file?") from None
        return cls(model, verb, threads=threads)

    def score(self, batch: Batch) -> npt.NDArray[Any]:
        """What the model's verb answers: shape (rows,), (rows, 1) or (rows, outputs)."""
        if batch.matrix is not None:
            return self._scored(batch.matrix)
        rows = np.empty((batch.length, len(self.features)), object)
        for at, column in enumerate(batch.columns):
            rows[:, at] = column
        return self._scored(rows)

    def score_one(self, row: Sequence[Any]) -> Any:
        """The prediction of one row."""
        if self._short_cut is not None:
            try:
                return self._short_cut(row)
            # Numbers beyond 32 bits, or none.
            except (OverflowError, struct.error, TypeError):
                pass
        return self._by_catboost(row)

    def _by_catboost(self, row: Sequence[Any]) -> Any:
        return self._scored(np.array([row], np.float64) if self._is_plain else [row]).tolist()[0]

    def _scored(self, rows: Any) -> npt.NDArray[Any]:
        from catboost import CatBoostError

        try:
            return np.asarray(self._verb(rows, thread_count=self._threads))
        # A category that is null raises TypeError or ValueError from inside.
        except (CatBoostError, TypeError, ValueError) as error:
            raise ModelInputError(f"CatBoost: {_first_line(error)}") from None


def _features(model: Any) -> list[Feature]:
    kinds = dict.fromkeys(map(int, model._get_cat_feature_indices()), Kind.CATEGORY)
    kinds.update(dict.fromkeys(map(int, model._get_text_feature_indices()), Kind.TEXT))
    embeddings = model._get_embedding_feature_indices()
    names = model.feature_names_
    if len(embeddings):
        raise ModelFormatError(
            f"feature {names[embeddings[0]]!r} is an embedding, which is not served", hint="give its numbers as columns"
        )
    return [Feature(str(name), kinds.get(at, Kind.NUMBER)) for at, name in enumerate(names)]


def _first_line(error: Exception) -> str:
    """CatBoost's words without the line of its source they come from."""
    line = (str(error).splitlines() or [type(error).__name__])[0].strip()
    place, _, words = line.partition(": ")
    return words if place.startswith(("catboost/", "util/", "library/")) else line
