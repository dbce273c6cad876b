"""Our model server beside MLflow's own, on folders that MLflow saved: the same bodies, and what each answered.

What MLflow answered lies beside each folder (see tests/saved_models/make.py); the slow test asks it anew.
"""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.mlflow_environment import environment, mlflow_python
from tests.unit.models.saved import NAMES, SAVED
from tests.unit.serving.kit import Answered, call
from yummy_feast.serving.models.app import ModelApp
from yummy_feast.serving.models.options import ModelOptions

Case = dict[str, Any]

# Where MLflow's answer is wrong without a word, ours is an error: a number that overflows, text as a flag.
SILENT = {"is a huge number", "is text", "is text of a number", "is a list", "is an object"}
# Without names, or with a signature that has none, MLflow asks for one form of rows and we take the others, too.
WIDER = {
    "split without names",
    "instances as records",
    "inputs by column",
    "inputs as records",
    "inputs of one row",
    "csv",
    "csv with a gap",
    "parquet",
}
# Both refuse; MLflow looks for something else first, and calls it by another of its two names.
OTHER_CODE = {
    "instances, one lacks a key",
    "instances as an array",
    "inputs as an array",
    "inputs of one dimension",
    "inputs with ragged columns",
    "no records",
}


def known_difference(name: str, case: Case, got: Answered) -> bool:
    """Whether docs/models.md tells of this one."""
    what, word = case["case"], case["case"].partition(" ")[2]
    bare = name in ("lgb_bare", "cat_base", "lgb_tensor")
    if case["status"] == 200:
        silent = name in ("lgb_mixed", "cat_regression", "cat_towns", "sk_skops") and word in SILENT
        odd = bare and what in ("split with a name twice", "inputs of one dimension")
        return got.status == 400 and (silent or odd)
    if case["status"] == 400 and got.status == 200:
        return bare and (what in WIDER or word in ("is text of a number", "is true"))
    return got.status == case["status"] == 400 and (what in OTHER_CODE or word == "is a list")


def is_same(case: Case, got: Answered) -> bool:
    if got.status != case["status"]:
        return False
    if got.status == 415:
        return True
    if got.status != 200:
        return bool(got.json["error_code"] == case["answer"]["error_code"])
    ours, theirs = got.json["predictions"], case["answer"]["predictions"]
    if ours == theirs:
        return True
    return np.shape(ours) == np.shape(theirs) and bool(np.allclose(ours, theirs, rtol=1e-12, atol=1e-12))


def differences(folder: Path, cases: list[Case]) -> list[str]:
    async def ask() -> list[str]:
        app = ModelApp({"default": str(folder)}, ModelOptions(allow_pickle=True))
        found = []
        for case in cases:
            body = case["body"].encode() if "body" in case else base64.b64decode(case["base64"])
            got = await call(app, "/invocations", body, headers={"content-type": case["content_type"]})
            if not is_same(case, got) and not known_difference(folder.name, case, got):
                found.append(
                    f"{case['case']}: MLflow {case['status']} {case['answer']}, ours {got.status} {got.body!r}"
                )
        await app.stop()
        return found

    return asyncio.run(ask())


@pytest.mark.parametrize("name", NAMES)
def test_the_same_bodies_are_answered_alike(name: str) -> None:
    cases = json.loads((SAVED / name / "answers.json").read_text(encoding="utf-8"))
    found = differences(SAVED / name, cases)
    assert not found, "\n" + "\n".join(found)


def test_the_comparison_sees_a_difference() -> None:
    cases = json.loads((SAVED / "lgb_binary" / "answers.json").read_text(encoding="utf-8"))
    split = next(case for case in cases if case["case"] == "split")
    split["answer"]["predictions"][0] += 1e-9
    assert len(differences(SAVED / "lgb_binary", [split])) == 1
    split["status"] = 400
    assert len(differences(SAVED / "lgb_binary", [split])) == 1


@pytest.mark.slow
def test_models_saved_and_bodies_answered_by_mlflow_now(tmp_path: Path) -> None:
    make = [mlflow_python(), SAVED / "make.py", tmp_path]
    done = subprocess.run(make, capture_output=True, text=True, check=False, env=environment(), timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    folders = sorted(path.parent for path in tmp_path.glob("*/MLmodel"))
    assert {folder.name for folder in folders} >= {"lgb_mixed", "cat_towns", "sk_classes", "sk_skops", "sk_proba"}
    found = []
    for folder in folders:
        cases = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
        found += [f"{folder.name}: {line}" for line in differences(folder, cases)]
    assert not found, "\n" + "\n".join(found)
