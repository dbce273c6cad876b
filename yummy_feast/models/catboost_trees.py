"""CatBoost's symmetric trees over numbers, for single rows.

CatBoost makes a table of each call, and looks at it as at a training set: a hundred microseconds before the first tree.
Its symmetric trees are simple: on each level of a tree all nodes ask the same question, so the answers, read as the
digits of a number, are the place of the leaf. Asked of all trees at once that takes ten microseconds in numpy.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import numpy.typing as npt

# Answers of a tree fit into a byte.
_DEEPEST: Final = 8
_TRUE: Final = "AsTrue"


class SymmetricTrees:
    """Raw values of one row. ValueError, KeyError or TypeError for a model that is of another kind.

    Args:
        document: the model as CatBoost writes it in JSON.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        trees = document["oblivious_trees"]
        numbers = document["features_info"]["float_features"]
        place = {feature["feature_index"]: feature["flat_feature_index"] for feature in numbers}
        self._missing_is_large = {
            feature["flat_feature_index"] for feature in numbers if feature.get("nan_value_treatment") == _TRUE
        }
        scale, bias = document["scale_and_bias"]
        self.outputs = len(bias) if isinstance(bias, list) else 1
        self._scale, self._bias = float(scale), np.array(bias, np.float64).reshape(-1)
        asked = np.zeros((len(trees), _DEEPEST), np.intp)
        # Nothing is larger: levels that a tree has not are answered with no.
        borders = np.full((len(trees), _DEEPEST), np.inf, np.float32)
        leaves: list[float] = []
        starts = []
        for number, tree in enumerate(trees):
            splits = tree.get("splits") or []
            if len(splits) > _DEEPEST or any(split["split_type"] != "FloatFeature" for split in splits):
                raise ValueError("not a tree over numbers")
            if len(tree["leaf_values"]) != self.outputs << len(splits):
                raise ValueError("another number of leaves")
            for level, split in enumerate(splits):
                asked[number, level] = place[split["float_feature_index"]]
                borders[number, level] = split["border"]
            starts.append(len(leaves) // self.outputs)
            leaves += tree["leaf_values"]
        self._asked = asked.reshape(-1)
        self._borders = borders.reshape(-1)
        self._starts = np.array(starts, np.intp)
        values = np.array(leaves, np.float64)
        self._leaves = values if self.outputs == 1 else values.reshape(-1, self.outputs)

    def raw(self, row: Sequence[float], pack: Callable[..., bytes]) -> Any:
        """The value of a row, or an array of them; ``pack`` makes 32-bit floats of it.

        struct.error or OverflowError unless the row is so many numbers that fit.
        """
        packed = np.frombuffer(pack(*row), np.float32)
        if self._missing_is_large and any(row[at] != row[at] for at in self._missing_is_large):
            packed = packed.copy()
            for at in self._missing_is_large:
                if math.isnan(row[at]):
                    packed[at] = np.inf
        answers = packed.take(self._asked) > self._borders
        # Eight answers a byte, the first one its lowest digit.
        found = self._leaves.take(np.packbits(answers, bitorder="little") + self._starts, axis=0)
        if self.outputs == 1:
            return float(np.add.reduce(found)) * self._scale + float(self._bias[0])
        return np.add.reduce(found, axis=0) * self._scale + self._bias


def single_row_scorer(
    model: Any, verb: str, width: int, check: Callable[[Sequence[float]], Any], rows: npt.NDArray[np.float64]
) -> Callable[[Sequence[Any]], Any] | None:
    """The function that answers one row as ``verb`` of ``model`` does; None where only CatBoost itself can.

    Args:
        check: the same, by CatBoost; both must agree on every one of ``rows``.
    """
    from catboost import CatBoostError

    try:
        finish = _finisher(model, verb)
        trees = SymmetricTrees(_as_json(model))
    except (ValueError, KeyError, TypeError, IndexError, CatBoostError):
        return None
    pack = struct.Struct(f"{width}f").pack

    def score_one(row: Sequence[Any]) -> Any:
        return finish(trees.raw(row, pack))

    for row in rows.tolist():
        try:
            ours, theirs = score_one(row), check(row)
        except OverflowError:
            # Beyond 32 bits; whoever asks goes to CatBoost then, too.
            continue
        if not _agree(ours, theirs):
            return None
    return score_one


def _agree(ours: Any, theirs: Any) -> bool:
    if type(ours) is not type(theirs):
        return False
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(_agree, ours, theirs))
    return math.isclose(ours, theirs, rel_tol=1e-12, abs_tol=1e-12) if isinstance(ours, float) else ours == theirs


def _as_json(model: Any) -> dict[str, Any]:
    with TemporaryDirectory(prefix="yummy-model-") as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json")
        document: dict[str, Any] = json.loads(path.read_bytes())
        return document


def _finisher(model: Any, verb: str) -> Callable[[Any], Any]:
    """From raw values to what the model's verb answers. ValueError for a verb that is not known here."""
    kind = type(model).__name__
    loss = str(model.get_all_params().get("loss_function") or "") if hasattr(model, "get_all_params") else ""
    classes = np.asarray(model.classes_).tolist() if kind == "CatBoostClassifier" else []
    if loss.startswith(("MultiLogloss", "MultiCrossEntropy", "RMSEWithUncertainty", "Poisson", "Tweedie")):
        raise ValueError(loss)
    if not classes:
        if verb != "predict":
            raise ValueError(verb)
        return _plain
    if verb == "predict" and model.get_probability_threshold() in (None, 0.5):
        if len(classes) == 2:
            no, yes = classes
            return lambda raw: yes if raw > 0 else no
        return lambda raw: [classes[int(raw.argmax())]]
    if verb == "predict_proba":
        return _probability if len(classes) == 2 else _softmax
    raise ValueError(verb)


def _plain(raw: Any) -> Any:
    return raw if isinstance(raw, float) else raw.tolist()


def _probability(raw: float) -> list[float]:
    yes = 1.0 / (1.0 + math.exp(-raw)) if raw > -700 else 0.0
    return [1.0 - yes, yes]


def _softmax(raw: npt.NDArray[np.float64]) -> Any:
    powers = np.exp(raw - raw.max())
    return (powers / powers.sum()).tolist()
