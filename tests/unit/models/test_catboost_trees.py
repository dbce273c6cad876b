"""Symmetric trees evaluated by hand, and the kinds that are left to CatBoost."""

import math
import struct
from typing import Any

import pytest

from yummy_feast.models.catboost_trees import SymmetricTrees


def document(**changes: Any) -> dict[str, Any]:
    """Two trees over two numbers: 1 if x > 0, plus 2 if y > 1, plus 10 if y > 2."""
    split = {"split_type": "FloatFeature"}
    first = {
        "splits": [
            {**split, "float_feature_index": 0, "border": 0.0},
            {**split, "float_feature_index": 1, "border": 1.0},
        ],
        "leaf_values": [0.0, 1.0, 2.0, 3.0],
    }
    second = {"splits": [{**split, "float_feature_index": 1, "border": 2.0}], "leaf_values": [0.0, 10.0]}
    features = [
        {"feature_index": 0, "flat_feature_index": 0, "nan_value_treatment": "AsIs"},
        {"feature_index": 1, "flat_feature_index": 1, "nan_value_treatment": "AsTrue"},
    ]
    whole: dict[str, Any] = {
        "oblivious_trees": [first, second],
        "features_info": {"float_features": features},
        "scale_and_bias": [2.0, [0.5]],
    }
    return {**whole, **changes}


@pytest.mark.parametrize(
    ("row", "leaves"),
    [
        ([-1.0, 0.0], 0),
        ([1.0, 0.0], 1),
        ([0.0, 1.0], 0),
        ([1.0, 1.5], 3),
        ([1.0, 2.5], 13),
        ([math.nan, 2.5], 12),
        ([1.0, math.nan], 13),
        ([math.inf, -math.inf], 1),
    ],
)
def test_leaves_are_found_and_added(row: list[float], leaves: float) -> None:
    trees = SymmetricTrees(document())
    assert trees.raw(row, struct.Struct("2f").pack) == leaves * 2.0 + 0.5


def test_several_outputs() -> None:
    tree = {"splits": [], "leaf_values": [1.0, 2.0, 3.0]}
    trees = SymmetricTrees(document(oblivious_trees=[tree, tree], scale_and_bias=[1.0, [0.0, 0.0, 1.0]]))
    assert trees.raw([0.0, 0.0], struct.Struct("2f").pack).tolist() == [2.0, 4.0, 7.0]


def test_a_row_of_another_width_is_an_error() -> None:
    with pytest.raises(struct.error):
        SymmetricTrees(document()).raw([1.0], struct.Struct("2f").pack)


@pytest.mark.parametrize(
    "tree",
    [
        {"splits": [{"split_type": "OneHotFeature"}], "leaf_values": [0.0, 1.0]},
        {"splits": [], "leaf_values": [0.0, 1.0]},
        {
            "splits": [{"split_type": "FloatFeature", "float_feature_index": 7, "border": 0.0}],
            "leaf_values": [0.0, 1.0],
        },
        {"splits": [{"split_type": "FloatFeature"}] * 9, "leaf_values": [0.0] * 512},
    ],
)
def test_other_kinds_are_not_taken(tree: Any) -> None:
    with pytest.raises((ValueError, KeyError)):
        SymmetricTrees(document(oblivious_trees=[tree]))
