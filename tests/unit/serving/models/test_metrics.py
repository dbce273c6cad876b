"""What is counted of predictions."""

from __future__ import annotations

import pytest

from yummy_feast.serving.http import Admission
from yummy_feast.serving.models.metrics import ModelMetrics


def _predictions(*requests: list[object]) -> list[str]:
    metrics = ModelMetrics(["model"])
    observe = metrics.observer("model")
    for predictions in requests:
        observe(predictions)
    lines = metrics.exposition(Admission(1, 0), {}).decode().splitlines()
    return [line for line in lines if line.startswith("yummy_models_predictions_")]


@pytest.mark.parametrize(
    "prediction",
    [0.25, 1, 3, True, [0.4], [0.2, 0.7, 0.1], [0.5, 0.5], [2], ["low"], "low"],
    ids=str,
)
def test_one_row_counts_as_it_does_among_others(prediction: object) -> None:
    assert _predictions([prediction], [prediction]) == _predictions([prediction, prediction])


def test_the_largest_of_several_is_counted_by_its_place() -> None:
    found = _predictions([[0.1, 0.2, 0.7]])
    assert 'yummy_models_predictions_bucket{le="1.0",model="model"} 0.0' in found
    assert 'yummy_models_predictions_bucket{le="10.0",model="model"} 1.0' in found
