"""What is counted of predictions, and what runs long enough to leave the loop."""

import numpy as np
import pytest

from tests.unit.models.saved import SAVED
from yummy_feast.models.loading import load_model
from yummy_feast.serving.models.request import decode
from yummy_feast.serving.models.stages import Stages
from yummy_feast.serving.models.work import Served, answer_json, observed_values


@pytest.mark.parametrize(
    ("predictions", "values"),
    [
        ([0.5, 1.5], [0.5, 1.5]),
        ([1, 0], [1.0, 0.0]),
        ([[0.2, 0.7, 0.1], [0.9, 0.1, 0.0]], [1.0, 0.0]),
        ([[2], [0]], [2.0, 0.0]),
        (["low", "high"], []),
        ([["low"], ["high"]], []),
        ([], []),
    ],
)
def test_a_number_for_each_prediction(predictions: list[object], values: list[float]) -> None:
    assert observed_values(predictions).tolist() == values


def test_few_rows_are_answered_at_once_and_many_by_a_function() -> None:
    served = Served(load_model(str(SAVED / "lgb_binary")))

    def answer(rows: int) -> object:
        body = b'{"dataframe_split":{"columns":["a","b","c","d"],"data":[%b]}}' % b",".join([b"[1,2,3,4]"] * rows)
        return answer_json(served, body, Stages(0.0))

    assert isinstance(answer(1), bytes)
    assert isinstance(answer(5), bytes)
    long = answer(20_000)
    assert callable(long)
    assert long().count(b",") == 19_999


def test_orders_of_columns_are_kept_and_not_without_end() -> None:
    served = Served(load_model(str(SAVED / "lgb_bare")))
    for number in range(400):
        split = decode(b'{"columns":["x%d","b","c","d"],"data":[[1,2,3,4]]}' % number)
        served.order(split.columns, 4)  # type: ignore[arg-type]
    assert len(served._orders) <= 256
    first = decode(b'{"columns":["x0","b","c","d"],"data":[[1,2,3,4]]}')
    assert served.order(first.columns, 4) is served.order(first.columns, 4)  # type: ignore[arg-type]


def test_what_is_observed_are_the_predictions() -> None:
    seen: list[object] = []
    served = Served(load_model(str(SAVED / "lgb_binary")), lambda predictions: seen.extend(predictions))
    answer_json(served, b'{"inputs":[{"a":1,"b":2,"c":3,"d":4}]}', Stages(0.0))
    assert len(seen) == 1
    assert np.isfinite(seen).all()
