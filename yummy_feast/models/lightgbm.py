"""LightGBM: a Booster's text file, and the scikit-learn wrappers around a Booster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from yummy_feast.errors import ModelFormatError, ModelInputError
from yummy_feast.models.base import Batch, Feature, Kind, Matrix, Scorer
from yummy_feast.models.lightgbm_library import Native
from yummy_feast.models.lightgbm_text import TextModel, read_text_model

_MISSING: Final = float("nan")


class LightGbmScorer(Scorer):
    """A Booster: values of its objective, one column an output. It knows its columns by their place.

    Args:
        native: the model in the library.
        text: what its file says.
        strings: positions of inputs that the signature calls strings: they tell which columns pandas called
            categorical.
    """

    checks_names = False

    def __init__(self, native: Native, text: TextModel, strings: Sequence[int] = ()) -> None:
        self._native = native
        self._codes = _codes(text, strings)
        self.features = tuple(
            Feature(name, Kind.CATEGORY if at in self._codes else Kind.NUMBER) for at, name in enumerate(text.features)
        )
        self.output = text.objective or "a custom objective"
        if not self._codes:
            # Nothing to look up: one call less.
            self.score_one = native.score_one  # type: ignore[method-assign]

    @classmethod
    def load(cls, path: Path, strings: Sequence[int] = (), *, threads: int = 1) -> LightGbmScorer:
        """The scorer of a text file. ModelFormatError, MissingExtraError."""
        data = path.read_bytes()
        text = read_text_model(data, str(path))
        native = Native.load(data, len(text.features), text.outputs, threads=threads)
        return cls(native, text, strings)

    def score(self, batch: Batch) -> npt.NDArray[Any]:
        """Shape (rows,), or (rows, outputs)."""
        return self._native.score(self._matrix(batch))

    def score_one(self, row: Sequence[Any]) -> Any:
        """A float, or a list of them."""
        values = list(row)
        for at, codes in self._codes.items():
            values[at] = _code_of(codes, values[at])
        return self._native.score_one(values)

    def close(self) -> None:
        """Free the library's memory."""
        self._native.close()

    def _matrix(self, batch: Batch) -> Matrix:
        if batch.matrix is not None:
            return batch.matrix
        matrix = np.empty((batch.length, len(self.features)), np.float64)
        for at, column in enumerate(batch.columns):
            codes = self._codes.get(at)
            matrix[:, at] = column if codes is None else [_code_of(codes, value) for value in column]
        return matrix


class SklearnScorer(Scorer):
    """LGBMClassifier, LGBMRegressor or LGBMRanker around a Booster, whose own verbs are kept.

    Args:
        booster: scores the rows.
        finish: from the Booster's values, shape (rows, outputs) or (rows,), to the wrapper's.
        output: in a word.
    """

    checks_names = False

    def __init__(
        self, booster: LightGbmScorer, finish: Callable[[npt.NDArray[Any]], npt.NDArray[Any]], output: str
    ) -> None:
        self._booster = booster
        self._finish = finish
        self.features = booster.features
        self.output = output

    def score(self, batch: Batch) -> npt.NDArray[Any]:
        """What the wrapper's verb answers."""
        return self._finish(self._booster.score(batch))

    def score_one(self, row: Sequence[Any]) -> Any:
        """The same of one row."""
        return self._finish(np.array([self._booster.score_one(row)])).tolist()[0]

    def close(self) -> None:
        """Free the library's memory."""
        self._booster.close()


def wrap_estimator(model: Any, verb: str, strings: Sequence[int] = (), *, threads: int = 1) -> Scorer:
    """The scorer of a wrapper of LightGBM that was unpickled, or of a Booster.

    verb: ``predict`` or another of the wrapper's. ModelFormatError for what it has not, or what is no LightGBM.
    """
    import lightgbm

    estimator = model if isinstance(model, lightgbm.LGBMModel) else None
    booster = estimator.booster_ if estimator is not None else model
    if not isinstance(booster, lightgbm.Booster):
        raise ModelFormatError(
            f"a {type(model).__module__}.{type(model).__name__} is no model of LightGBM",
            hint="this server scores LightGBM and CatBoost",
        )
    text = read_text_model(booster.model_to_string(num_iteration=-1).encode(), type(model).__name__)
    native = Native(
        booster._handle,
        len(text.features),
        text.outputs,
        owner=booster,
        iterations=booster.best_iteration,
        threads=threads,
        parameters=_of_prediction(estimator.get_params() if estimator is not None else booster.params),
    )
    scorer = LightGbmScorer(native, text, strings)
    if estimator is None:
        if verb != "predict":
            raise ModelFormatError(f"predict_fn is {verb!r}: a Booster has no such verb", hint="it has predict")
        return scorer
    return SklearnScorer(scorer, _finisher(estimator, verb), f"{verb} of {type(model).__name__}")


def _finisher(estimator: Any, verb: str) -> Callable[[npt.NDArray[Any]], npt.NDArray[Any]]:
    classes = getattr(estimator, "_le", None) and estimator.classes_
    # A custom objective's values mean what its author wants: the wrapper leaves them alone.
    if callable(getattr(estimator, "_objective", None)):
        classes = None
    if verb == "predict":
        if classes is None:
            return lambda values: values
        return lambda values: np.asarray(classes)[_probabilities(values).argmax(axis=1)]
    if verb == "predict_proba" and getattr(estimator, "_le", None) is not None:
        return (lambda values: values) if classes is None else _probabilities
    raise ModelFormatError(f"predict_fn is {verb!r}: a {type(estimator).__name__} has no such verb")


def _probabilities(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """One column a class, also where the objective answers the second class's alone."""
    return np.vstack((1.0 - values, values)).transpose() if values.ndim == 1 else values


def _of_prediction(parameters: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in parameters.items() if name.startswith("pred_early_stop"))


def _codes(text: TextModel, strings: Sequence[int]) -> dict[int, dict[Any, int]]:
    """Per categorical column of pandas, the code of each category.

    The file has the categories of such columns in their order, and does not say which columns they are: those that the
    signature calls strings, or else those that the model splits by category, if there are as many of them.
    """
    count = len(text.pandas_categories)
    if not count:
        return {}
    chosen = next((found for found in (tuple(strings), text.categorical) if len(found) == count), None)
    if chosen is None:
        raise ModelFormatError(
            f"trained with {count} categorical columns of pandas, and nothing says which of its columns they are",
            hint="save it with a signature in which these columns, and no others, are strings",
        )
    codes = {}
    for at, categories in zip(chosen, text.pandas_categories, strict=True):
        known: dict[Any, int] = {str(category): code for code, category in enumerate(categories)}
        known.update((category, code) for code, category in enumerate(categories))
        codes[at] = known
    return codes


def _code_of(codes: Mapping[Any, int], value: Any) -> float:
    """The code of a category; NaN, a missing value, for one that was not seen in training."""
    try:
        return codes.get(value, _MISSING)
    except TypeError:
        raise ModelInputError(f"{value!r} is no category") from None
