"""Boosters and their wrappers answer through the C library what LightGBM's Python package answers."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest

from tests.unit.models.saved import booster, numbers
from yummy_feast.errors import ModelFormatError, ModelInputError
from yummy_feast.models.base import Batch, Kind
from yummy_feast.models.lightgbm import LightGbmScorer, wrap_estimator

SETTINGS = {"verbosity": -1, "num_leaves": 5, "min_data_in_leaf": 5, "num_threads": 1}


def load(model: Any, folder: Path, **more: Any) -> LightGbmScorer:
    path = folder / "model.lgb"
    model.save_model(str(path))
    return LightGbmScorer.load(path, **more)


@pytest.mark.parametrize("objective", ["binary", "multiclass", "regression", "poisson"])
def test_rows_and_batches_are_scored_as_by_lightgbm(tmp_path: Path, objective: str) -> None:
    model = booster(objective, **({"num_class": 3} if objective == "multiclass" else {}))
    scorer = load(model, tmp_path)
    x = numbers(seed=9)
    x[3, 1] = np.nan
    x[4] = np.inf
    expected = model.predict(x)
    found = scorer.score(Batch(len(x), matrix=x))
    assert found.shape == expected.shape
    assert (found == expected).all()
    assert [scorer.score_one(row) for row in x.tolist()] == expected.tolist()


def test_each_thread_scores_with_a_configuration_of_its_own(tmp_path: Path) -> None:
    scorer = load(booster(), tmp_path)
    x = numbers(seed=3)
    expected = booster().predict(x).tolist()
    ready = threading.Barrier(4)

    def score(_: int) -> list[float]:
        ready.wait()
        return [scorer.score_one(row) for row in x.tolist()]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(score, range(4))) == [expected] * 4


def test_a_row_of_another_width_is_an_error_and_no_read_beyond_it(tmp_path: Path) -> None:
    scorer = load(booster(), tmp_path)
    with pytest.raises(Exception, match="pack_into expected 4 items"):
        scorer.score_one([1.0, 2.0])
    with pytest.raises(ModelInputError, match="number of features in data"):
        scorer.score(Batch(2, matrix=np.zeros((2, 3))))


def test_categories_of_pandas_are_looked_up(tmp_path: Path) -> None:
    x = pd.DataFrame(numbers()[:, :2], columns=["x", "y"])
    x["city"] = pd.Categorical(np.random.default_rng(1).choice(["Oslo", "Bergen"], len(x)))
    x["zone"] = pd.Categorical(np.random.default_rng(2).integers(3, 6, len(x)), ordered=True)
    target = x["x"] + (x["city"] == "Oslo") * 2 + x["zone"].astype(int)
    model = lightgbm.train({**SETTINGS, "objective": "regression"}, lightgbm.Dataset(x, target), 5)
    expected = model.predict(x)
    # Of the two, one is split by category and one by its order: the model's text alone cannot tell which they are.
    with pytest.raises(ModelFormatError, match="2 categorical columns of pandas"):
        load(model, tmp_path)
    scorer = load(model, tmp_path, strings=[2, 3])
    assert [feature.kind for feature in scorer.features] == [Kind.NUMBER] * 2 + [Kind.CATEGORY] * 2
    columns = [x[name].tolist() for name in x]
    assert (scorer.score(Batch(len(x), columns=columns)) == expected).all()
    assert [scorer.score_one(row) for row in zip(*columns, strict=True)] == expected.tolist()
    unseen = x.assign(city=pd.Categorical([None] * len(x), categories=x["city"].cat.categories))
    for value in ("Nowhere", None):
        columns[2] = [value] * len(x)
        assert (scorer.score(Batch(len(x), columns=columns)) == model.predict(unseen)).all()
    columns[2] = [[1]] * len(x)
    with pytest.raises(ModelInputError, match="is no category"):
        scorer.score(Batch(len(x), columns=columns))


def test_categories_by_spelling_where_the_signature_makes_text_of_numbers(tmp_path: Path) -> None:
    x = pd.DataFrame({"zone": pd.Categorical(np.arange(200) % 4 + 3), "x": numbers()[:, 0]})
    model = lightgbm.train(
        {**SETTINGS, "objective": "regression", "min_data_per_group": 5, "cat_smooth": 1},
        lightgbm.Dataset(x, x["zone"].astype(int)),
        5,
    )
    scorer = load(model, tmp_path)
    assert scorer.score_one(["4", 0.5]) == scorer.score_one([4, 0.5]) != scorer.score_one([3, 0.5])


@pytest.mark.parametrize("verb", ["predict", "predict_proba"])
@pytest.mark.parametrize("labels", [["no", "yes"], [3, 5, 9]])
def test_a_classifier_keeps_its_classes(verb: str, labels: list[Any]) -> None:
    x = numbers()
    y = np.array(labels, object if isinstance(labels[0], str) else None)[
        np.digitize(x[:, 0], [0.0, 0.7][: len(labels) - 1])
    ]
    model = lightgbm.LGBMClassifier(n_estimators=5, **SETTINGS).fit(x, y)
    scorer = wrap_estimator(model, verb)
    expected = getattr(model, verb)(x)
    assert (scorer.score(Batch(len(x), matrix=x)) == expected).all()
    assert scorer.score_one(x[0].tolist()) == expected.tolist()[0]


def test_other_wrappers_answer_the_boosters_values() -> None:
    x = numbers()
    regressor = lightgbm.LGBMRegressor(n_estimators=5, **SETTINGS).fit(x, x[:, 0])
    ranker = lightgbm.LGBMRanker(n_estimators=5, **SETTINGS).fit(x, np.arange(200) % 3, group=[20] * 10)
    for model in (regressor, ranker):
        scorer = wrap_estimator(model, "predict")
        assert (scorer.score(Batch(len(x), matrix=x)) == model.predict(x)).all()
        assert isinstance(scorer.score_one(x[0].tolist()), float)
        with pytest.raises(ModelFormatError, match="predict_fn is 'predict_proba'"):
            wrap_estimator(model, "predict_proba")


def test_the_best_iteration_of_a_wrapper_counts() -> None:
    x = numbers()
    y = (x[:, 0] > 0).astype(int)
    model = lightgbm.LGBMClassifier(n_estimators=60, **SETTINGS).fit(
        x, y, eval_X=(x[:20],), eval_y=(1 - y[:20],), callbacks=[lightgbm.early_stopping(3, verbose=False)]
    )
    assert 0 < model.best_iteration_ < 20
    scorer = wrap_estimator(model, "predict_proba")
    assert (scorer.score(Batch(len(x), matrix=x)) == model.predict_proba(x)).all()


def test_what_is_no_lightgbm_is_refused() -> None:
    with pytest.raises(ModelFormatError, match=r"a builtins\.dict is no model of LightGBM"):
        wrap_estimator({}, "predict")
    with pytest.raises(ModelFormatError, match="a Booster has no such verb"):
        wrap_estimator(booster(), "predict_proba")


def test_a_model_is_freed_with_its_scorer(tmp_path: Path) -> None:
    for _ in range(3):
        scorer = load(booster(), tmp_path)
        scorer.score_one([0.0] * 4)
        scorer.close()
        scorer.close()
