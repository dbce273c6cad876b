"""CatBoost's models answer what CatBoost answers, single rows by a short cut that gives way where it must."""

from pathlib import Path
from typing import Any

import catboost
import numpy as np
import pytest

from tests.unit.models.saved import numbers
from yummy_feast.errors import ModelFormatError, ModelInputError
from yummy_feast.models.base import Batch, Kind
from yummy_feast.models.catboost import CatBoostScorer

SETTINGS: dict[str, Any] = {"iterations": 8, "depth": 4, "verbose": 0, "allow_writing_files": False, "thread_count": 1}


def fitted(kind: str, **more: Any) -> Any:
    x = numbers()
    if more.pop("gaps", False):
        x[::7, 0] = np.nan
    y = np.digitize(x[:, 1], [0.0]) if more.pop("classes", 2) == 2 else np.digitize(x[:, 1], [-0.5, 0.5])
    group = {"group_id": np.arange(200) // 20} if kind == "CatBoostRanker" else {}
    settings = {**SETTINGS, **more}
    model = catboost.CatBoost(settings) if kind == "CatBoost" else getattr(catboost, kind)(**settings)
    return model.fit(x, y, **group)


MODELS: dict[str, tuple[Any, str, bool]] = {
    "binary": (lambda: fitted("CatBoostClassifier"), "predict", True),
    "probabilities": (lambda: fitted("CatBoostClassifier"), "predict_proba", True),
    "gaps are small": (lambda: fitted("CatBoostClassifier", gaps=True, nan_mode="Min"), "predict_proba", True),
    "gaps are large": (lambda: fitted("CatBoostClassifier", gaps=True, nan_mode="Max"), "predict_proba", True),
    "multiclass": (lambda: fitted("CatBoostClassifier", classes=3), "predict", True),
    "multiclass probabilities": (lambda: fitted("CatBoostClassifier", classes=3), "predict_proba", True),
    "regression": (lambda: fitted("CatBoostRegressor"), "predict", True),
    "poisson": (lambda: fitted("CatBoostRegressor", loss_function="Poisson"), "predict", False),
    "ranking": (lambda: fitted("CatBoostRanker", loss_function="YetiRank"), "predict", True),
    "base": (lambda: fitted("CatBoost", loss_function="MultiClass", classes=3), "predict", True),
    "other trees": (lambda: fitted("CatBoostClassifier", grow_policy="Lossguide"), "predict", False),
    "log": (lambda: fitted("CatBoostClassifier"), "predict_log_proba", False),
}


@pytest.mark.parametrize("case", sorted(MODELS))
def test_rows_and_batches_are_scored_as_by_catboost(case: str) -> None:
    make, verb, has_short_cut = MODELS[case]
    model = make()
    scorer = CatBoostScorer(model, verb)
    x = numbers(seed=8)
    x[3, 0], x[4], x[5, 1] = np.nan, 1e30, -1e300
    expected = getattr(model, verb)(x)
    found = scorer.score(Batch(len(x), matrix=x))
    assert found.shape == np.shape(expected)
    assert (found == expected).all()
    assert (scorer._short_cut is not None) == has_short_cut
    for row, value in zip(x.tolist(), expected.tolist(), strict=True):
        one = scorer.score_one(row)
        assert type(one) is type(value)
        assert one == value if isinstance(value, int) else np.allclose(one, value, rtol=1e-12, atol=1e-12)


def test_a_threshold_of_its_own_is_kept() -> None:
    model = fitted("CatBoostClassifier")
    model.set_probability_threshold(0.9)
    scorer = CatBoostScorer(model)
    x = numbers(seed=8)
    assert [scorer.score_one(row) for row in x.tolist()] == model.predict(x).tolist()


def test_categories() -> None:
    x = [[float(value), str(at % 3), at % 4] for at, value in enumerate(numbers()[:, 0])]
    model = catboost.CatBoostRegressor(cat_features=[1, 2], **SETTINGS).fit(x, [row[0] + row[2] for row in x])
    scorer = CatBoostScorer(model)
    assert [feature.kind for feature in scorer.features] == [Kind.NUMBER, Kind.CATEGORY, Kind.CATEGORY]
    expected = model.predict(x)
    columns = list(zip(*x, strict=True))
    assert (scorer.score(Batch(len(x), columns=columns)) == expected).all()
    assert [scorer.score_one(row) for row in x[:5]] == expected[:5].tolist()
    for bad in (None, 1.5):
        with pytest.raises(ModelInputError, match="CatBoost: "):
            scorer.score_one([1.0, bad, 3])
        with pytest.raises(ModelInputError, match="CatBoost: "):
            scorer.score(Batch(1, columns=[(1.0,), (bad,), (3,)]))


@pytest.mark.parametrize("content", [b"", b"CBM1", b"CBM1\x10\0\0\0" + b"\xff" * 16, b"not a model at all"])
def test_a_file_that_is_no_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.cb"
    path.write_bytes(content)
    with pytest.raises(ModelFormatError, match=r"model\.cb: "):
        CatBoostScorer.load(path, "CatBoostClassifier", "cbm", "predict")


def test_what_cannot_be_called_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match="has no such verb"):
        CatBoostScorer(fitted("CatBoostRegressor"), "predict_proba")
    with pytest.raises(ModelFormatError, match="model_type is 'os'"):
        CatBoostScorer.load(tmp_path, "os", "cbm", "predict")


def test_a_row_that_is_no_row_of_numbers_is_an_error() -> None:
    scorer = CatBoostScorer(fitted("CatBoostClassifier"))
    for row in (["word", 1.0, 2.0, 3.0], [1.0, 2.0]):
        with pytest.raises(ValueError, match=r".+"):
            scorer.score_one(row)
