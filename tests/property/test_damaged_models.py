"""Damaged model files never end the process that loads them: they are refused, or score whatever they still say."""

import random
from pathlib import Path

import numpy as np
import pytest

from tests.unit.models.saved import copy_of
from yummy_feast.errors import ModelError, ModelFormatError
from yummy_feast.models.base import Batch
from yummy_feast.models.lightgbm_text import read_text_model
from yummy_feast.models.loading import load_model

SAVED = ("lgb_mixed", "lgb_linear", "lgb_pandas", "lgb_multiclass")
SPLICES = (b"0", b"-1", b"99999999999", b"nan", b" ", b"\n", b"=", b"\xff", b"Tree=0\n", b"1e309", b"")


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """Some bytes of ``whole`` replaced, removed, repeated, or all after some place cut off."""
    text = bytearray(whole)
    for _ in range(chance.choice((1, 1, 2, 5, 40))):
        at = chance.randrange(len(text))
        kind = chance.randrange(4)
        if kind == 0:
            text[at] = chance.randrange(256)
        elif kind == 1:
            text[at : at + chance.randrange(1, 12)] = chance.choice(SPLICES)
        elif kind == 2:
            stop = at + chance.randrange(1, 200)
            text[at:at] = text[at:stop]
        elif chance.random() < 0.3:
            del text[at:]
            break
    return bytes(text) or b" "


@pytest.mark.parametrize("name", SAVED)
def test_the_check_of_lightgbms_text_says_yes_or_no(name: str, tmp_path: Path) -> None:
    whole = (copy_of(name, tmp_path) / "model.lgb").read_bytes()
    refused = 0
    for seed in range(300):
        try:
            read_text_model(damaged(whole, random.Random(seed)), name)
        except ModelFormatError:
            refused += 1
    assert 30 < refused < 300


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count"), [("lgb_mixed", 80), ("lgb_pandas", 80), ("cat_binary", 40), ("cat_towns", 40)]
)
def test_a_damaged_model_is_refused_or_scores(name: str, count: int, tmp_path: Path) -> None:
    folder = copy_of(name, tmp_path)
    file = next(path for path in folder.iterdir() if path.name.startswith("model."))
    whole = file.read_bytes()
    refused = 0
    for seed in range(count):
        file.write_bytes(damaged(whole, random.Random(seed)))
        try:
            model = load_model(str(folder))
        except ModelError:
            refused += 1
            continue
        width = len(model.scorer.features)
        matrix = np.random.default_rng(seed).normal(size=(50, width)) * 10
        if model.scorer.is_numeric:
            model.scorer.score(Batch(50, matrix=matrix))
            [model.scorer.score_one(row) for row in matrix.tolist()]
    assert 0 < refused < count
