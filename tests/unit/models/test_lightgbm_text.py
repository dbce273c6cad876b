"""LightGBM's text models, whole and damaged."""

import re

import pytest

from tests.unit.models.saved import NAMES, SAVED
from yummy_feast.errors import ModelFormatError
from yummy_feast.models.lightgbm_text import read_text_model


def text(name: str = "lgb_mixed") -> bytes:
    return (SAVED / name / "model.lgb").read_bytes()


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("lgb")])
def test_what_lightgbm_writes_is_read(name: str) -> None:
    found = read_text_model(text(name), name)
    assert found.outputs == (3 if "multiclass" in name else 1)
    assert len(found.features) >= 4


def test_categories_of_pandas_and_of_the_model() -> None:
    found = read_text_model(text("lgb_pandas"), "m")
    assert found.features == ("real", "whole", "city", "zone")
    assert found.categorical == (2, 3)
    assert found.pandas_categories == (("5", "Oslo", "São Paulo", "Łódź"), (0, 1, 2, 3))
    assert read_text_model(text(), "m").categorical == (3,)


DAMAGE = {
    "cut off": (rb"end of trees.*", b""),
    "another file": (rb"^tree\n", b"{}"),
    "a null byte": (rb"split_gain=", b"split_gain=\0"),
    "a feature that is not there": (rb"split_feature=\d+", b"split_feature=99"),
    "a feature below 0": (rb"split_feature=\d+", b"split_feature=-9"),
    "a child that is its own parent": (rb"(left_child=)\S+", rb"\g<1>0"),
    "a child far away": (rb"(right_child=)\S+", rb"\g<1>99"),
    "a leaf far away": (rb"(right_child=)\S+", rb"\g<1>-99"),
    "a leaf too few": (rb"(leaf_value=\S+) \S+", rb"\1"),
    "no leaves": (rb"num_leaves=\d+", b"num_leaves=0"),
    "too many leaves": (rb"num_leaves=\d+", b"num_leaves=99"),
    "a threshold too few": (rb"(threshold=\S+) \S+", rb"\1"),
    "no number": (rb"(threshold=)\S+", rb"\1many"),
    "more classes than trees": (rb"num_class=1", b"num_class=7"),
    "more trees a class": (rb"num_tree_per_iteration=1", b"num_tree_per_iteration=5"),
    "another objective": (rb"objective=regression", b"objective=multiclass num_class:5"),
    "more features": (rb"max_feature_idx=3", b"max_feature_idx=500"),
    "a name too few": (rb"feature_names=\S+ ", b"feature_names="),
    "a tree's size": (rb"tree_sizes=\d+", b"tree_sizes=99999"),
    "a tree's size below 0": (rb"tree_sizes=\d+", b"tree_sizes=-5"),
    "a tree too few": (rb"tree_sizes=\d+ ", b"tree_sizes="),
    "no sizes": (rb"tree_sizes=.*?\n", b"tree_sizes=\n"),
    "no UTF-8": (rb"feature_names=real", b"feature_names=\xff\xff\xff\xff"),
    "categories beyond their set": (rb"(cat_boundaries=0) \d+", rb"\1 9"),
    "categories that are no list": (rb"pandas_categorical:.*", b"pandas_categorical:5"),
}


def resized(data: bytes) -> bytes:
    """With sizes of trees that are right, so that they are not what is found."""
    trees = data[data.index(b"Tree=") : data.index(b"end of trees")].split(b"\nTree=")
    sizes = [len(b"Tree=" + tree.removeprefix(b"Tree=")) + 1 for tree in trees]
    sizes[-1] -= 1
    return re.sub(rb"tree_sizes=.*", b"tree_sizes=" + b" ".join(b"%d" % size for size in sizes), data, count=1)


@pytest.mark.parametrize("case", sorted(DAMAGE))
def test_damage_is_found_before_the_library_sees_it(case: str) -> None:
    pattern, instead = DAMAGE[case]
    whole = text("lgb_pandas")
    damaged, count = re.subn(pattern, instead, whole, count=1, flags=re.DOTALL if case == "cut off" else 0)
    assert count == 1, "the model has nothing to damage like that"
    assert damaged != whole
    if "size" not in case and "cut" not in case and case[2:] != "tree too few":
        assert read_text_model(resized(whole), "m") == read_text_model(whole, "m")
        damaged = resized(damaged)
    with pytest.raises(ModelFormatError, match=r"^model\.lgb: ") as raised:
        read_text_model(damaged, "model.lgb")
    assert "not where it should be" not in str(raised.value) or case in (
        "a tree's size",
        "a tree's size below 0",
        "a tree too few",
    )


def test_linear_trees_are_looked_at_too() -> None:
    damaged = resized(re.sub(rb"leaf_features=\d+", b"leaf_features=77", text("lgb_linear"), count=1))
    assert damaged != text("lgb_linear")
    with pytest.raises(ModelFormatError, match="outside of 4 features"):
        read_text_model(damaged, "m")
