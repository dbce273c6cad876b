"""LightGBM's text model, read and checked without LightGBM.

The library trusts its own files: an index that points outside of a tree is followed, in C, when a row is scored. So
every index is looked at before the library sees the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from yummy_feast.errors import ModelFormatError

_CATEGORICAL: Final = 1
_PANDAS: Final = b"\npandas_categorical:"
_END: Final = b"end of trees"
_PARAMETERS: Final = b"\nparameters:"
_PARAMETERS_END: Final = b"\nend of parameters"
_MOST_CLASSES: Final = 100_000


@dataclass(frozen=True, slots=True)
class TextModel:
    """The head of a text model.

    features: names in the model's order. categorical: positions of features that are split by category.
    most_codes: for those, one more than the largest category's code.
    pandas_categories: categories of each column that pandas called categorical, in the columns' order.
    outputs: predictions a row. objective: its name; empty for a custom one.
    """

    features: tuple[str, ...]
    categorical: tuple[int, ...]
    most_codes: tuple[int, ...]
    pandas_categories: tuple[tuple[Any, ...], ...]
    outputs: int
    objective: str


def read_text_model(data: bytes, name: str) -> TextModel:
    """What the bytes of a model file say. ModelFormatError, which names the file, unless all of it holds together."""
    try:
        return _read(data)
    except ModelFormatError as error:
        raise ModelFormatError(f"{name}: {error.message}", hint=error.hint) from None
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        raise ModelFormatError(f"{name}: is damaged: {error}", hint="copy it again, or save the model again") from error


def _read(data: bytes) -> TextModel:
    first = data.find(b"\nTree=")
    end = data.find(_END)
    if not data.startswith(b"tree\n") or end < 0 or b"\0" in data:
        raise ModelFormatError(
            "is no LightGBM text model, or not the whole of one", hint="Booster.save_model writes such a file"
        )
    head = _pairs(data[: first + 1 if 0 <= first < end else end])
    width = int(head["max_feature_idx"]) + 1
    names = tuple(head["feature_names"].split(" "))
    infos = head["feature_infos"].split(" ")
    if not len(names) == len(infos) == width:
        raise ValueError(f"{width} features, {len(names)} names and {len(infos)} ranges")
    outputs = _outputs(head)
    trees = _trees(data, first + 1, end, head) if 0 <= first < end else []
    if len(trees) % outputs:
        raise ValueError(f"{len(trees)} trees for {outputs} outputs")
    for number, tree in enumerate(trees):
        try:
            _check_tree(_pairs(tree), width)
        except (ValueError, KeyError) as error:
            raise ValueError(f"tree {number}: {error}") from None
    codes = {at: _most_code(info) for at, info in enumerate(infos) if ":" in info and not info.startswith("[")}
    objective = head.get("objective", "").split(" ")[0]
    return TextModel(names, tuple(codes), tuple(codes.values()), _pandas_categories(data), outputs, objective)


def _pairs(block: bytes) -> dict[str, str]:
    lines = (line.partition("=") for line in block.decode("utf-8").split("\n"))
    return {key: value for key, _, value in lines if key}


def _outputs(head: Mapping[str, str]) -> int:
    """Predictions a row. What the classes, the trees and the objective say must agree: buffers are that large."""
    classes, per_iteration = int(head["num_class"]), int(head["num_tree_per_iteration"])
    if classes != per_iteration or not 1 <= classes <= _MOST_CLASSES:
        raise ValueError(f"num_class {classes}, num_tree_per_iteration {per_iteration}")
    name, *settings = head.get("objective", "").split(" ")
    said = [int(setting.removeprefix("num_class:")) for setting in settings if setting.startswith("num_class:")]
    fits = said == [classes] if name.startswith("multiclass") else classes == 1 and not said
    # A custom objective has no name, and as many outputs as it was told.
    if name and not fits:
        raise ValueError(f"objective {head['objective']!r} with {classes} classes")
    return classes


def _trees(data: bytes, start: int, end: int, head: Mapping[str, str]) -> list[bytes]:
    """The text of each tree, cut where the library will cut it."""
    if "tree_sizes" not in head:
        return [b"Tree=" + part for part in data[start:end].split(b"\nTree=")]
    trees = []
    for number, size in enumerate(map(int, head["tree_sizes"].split(" "))):
        tree = data[start : start + size]
        if size <= 0 or start + size > end or not tree.startswith(b"Tree=%d\n" % number):
            raise ValueError(f"tree {number} is not where it should be")
        trees.append(tree)
        start += size
    if data[start:end].strip():
        raise ValueError(f"something follows the last of {len(trees)} trees")
    return trees


def _check_tree(tree: Mapping[str, str], width: int) -> None:
    leaves = int(tree["num_leaves"])
    splits = leaves - 1
    _numbers(tree, "leaf_value", leaves, np.float64)
    if int(tree.get("is_linear", "0")):
        _check_linear(tree, leaves, width)
    if splits < 1:
        if leaves != 1:
            raise ValueError(f"{leaves} leaves")
        return
    feature = _numbers(tree, "split_feature", splits, np.int64)
    if feature.min() < 0 or feature.max() >= width:
        raise ValueError(f"split_feature {feature.max()} of {width} features")
    threshold = _numbers(tree, "threshold", splits, np.float64)
    kinds = _numbers(tree, "decision_type", splits, np.int64)
    order = np.arange(splits)
    for side in ("left_child", "right_child"):
        child = _numbers(tree, side, splits, np.int64)
        # Splits are numbered as they were made, so a child comes after its parent, and no path goes in a circle.
        if not (((child > order) & (child < splits)) | ((child < 0) & (child >= -leaves))).all():
            raise ValueError(f"{side} points outside of the tree")
    _check_categories(tree, threshold[(kinds & _CATEGORICAL) > 0])


def _check_categories(tree: Mapping[str, str], used: npt.NDArray[Any]) -> None:
    count = int(tree["num_cat"])
    if count < 0 or (used.size and not ((used >= 0) & (used < count)).all()):
        raise ValueError(f"a split by category {used} of {count}")
    if not count:
        return
    bounds = _numbers(tree, "cat_boundaries", count + 1, np.int64)
    sets = _numbers(tree, "cat_threshold", int(bounds[-1]), np.int64)
    if bounds[0] != 0 or (np.diff(bounds) < 0).any() or (sets < 0).any() or (sets >= 1 << 32).any():
        raise ValueError("cat_boundaries do not rise")


def _check_linear(tree: Mapping[str, str], leaves: int, width: int) -> None:
    _numbers(tree, "leaf_const", leaves, np.float64)
    counts = _numbers(tree, "num_features", leaves, np.int64)
    used = _numbers(tree, "leaf_features", int(counts.sum()), np.int64)
    _numbers(tree, "leaf_coeff", int(counts.sum()), np.float64)
    if (counts < 0).any() or (used < 0).any() or (used >= width).any():
        raise ValueError(f"leaf_features outside of {width} features")


def _numbers(tree: Mapping[str, str], key: str, count: int, dtype: type) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = np.array(tree.get(key, "").split(), dtype=dtype)
    if len(values) != count:
        raise ValueError(f"{key} has {len(values)} values instead of {count}")
    return values


def _most_code(info: str) -> int:
    return max(int(code) for code in info.split(":")) + 1


def _pandas_categories(data: bytes) -> tuple[tuple[Any, ...], ...]:
    at = data.rfind(_PANDAS)
    parameters, ended = data.rfind(_PARAMETERS), data.rfind(_PARAMETERS_END)
    if ended < parameters or (at < 0 and parameters >= 0 and data[ended + len(_PARAMETERS_END) :].strip()):
        raise ValueError("its end is missing")
    if at < 0:
        return ()
    line = data[at + len(_PANDAS) :].strip()
    found = json.loads(line) if line else None
    if found is None:
        return ()
    if not isinstance(found, list) or not all(isinstance(each, list) for each in found):
        raise ValueError("pandas_categorical is no list of lists")
    return tuple(tuple(each) for each in found)
