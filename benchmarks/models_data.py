"""Models of the model servers' benchmark, what they are asked, and what they must answer.

python -m benchmarks.models_data FOLDER [NAME ...]: 50 numbers, 100 trees, LightGBM and CatBoost, as MLmodel folders.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.measure import report

WIDTH = 50
KINDS = ("lightgbm", "catboost")
TREES = 100
_CLASSES = {"lightgbm": "lightgbm.basic.Booster", "catboost": "CatBoostClassifier"}


def names(given: list[str] | None = None) -> list[str]:
    return given or [f"f{number}" for number in range(WIDTH)]


def train(kind: str, x: Any, y: Any) -> Any:
    if kind == "lightgbm":
        import lightgbm

        settings = {"objective": "binary", "num_leaves": 31, "verbosity": -1, "num_threads": 1}
        return lightgbm.train(settings, lightgbm.Dataset(x, y), TREES)
    import catboost

    return catboost.CatBoostClassifier(iterations=TREES, verbose=0, allow_writing_files=False, thread_count=1).fit(x, y)


def save(kind: str, folder: Path, columns: list[str], scale: float = 1.0) -> list[float]:
    """An MLmodel folder, and what the model's own Python package predicts for the rows of `rows`."""
    import pandas as pd

    chance = np.random.default_rng(1)
    x = pd.DataFrame(chance.normal(size=(4000, len(columns))) * scale + (scale if scale != 1 else 0), columns=columns)
    y = (x.iloc[:, 0] + x.iloc[:, 1] * x.iloc[:, 2] / scale > x.iloc[:, 3]).astype(int)
    model = train(kind, x, y)
    folder.mkdir(parents=True)
    file = {"lightgbm": "model.lgb", "catboost": "model.cb"}[kind]
    model.save_model(str(folder / file))
    section = {"data": file, "model_class": _CLASSES[kind]}
    if kind == "catboost":
        section = {"data": file, "model_type": _CLASSES[kind], "save_format": "cbm"}
    document = {
        "flavors": {kind: section, "python_function": {"data": file, "loader_module": f"mlflow.{kind}"}},
        "mlflow_version": "3.17.2",
        "model_uuid": f"bench-{kind}",
        "signature": {
            "inputs": json.dumps([{"name": name, "type": "double", "required": True} for name in columns]),
            "outputs": None,
            "params": None,
        },
    }
    (folder / "MLmodel").write_text(yaml.safe_dump(document))
    predicted: list[float] = model.predict(pd.DataFrame(rows(), columns=columns)).tolist()
    return predicted


def rows(count: int = 2000) -> list[list[float]]:
    """What is asked: numbers with six digits, as clients send them."""
    found: list[list[float]] = np.random.default_rng(2).normal(size=(count, WIDTH)).round(6).tolist()
    return found


def bodies(file: Path, size: int, columns: list[str]) -> None:
    """A body a line, of ``size`` rows each, rows in the order of `rows`."""
    data = rows()
    with file.open("w") as out:
        for start in range(0, len(data), size):
            split = {"columns": columns, "data": data[start : start + size]}
            out.write(json.dumps({"dataframe_split": split}, separators=(",", ":")) + "\n")


def bare(kind: str, folder: Path) -> dict[str, float]:
    """Calls of one row a second: by the library's own Python package, and by the room of ours, without any server."""
    import time

    from yummy_feast.models.loading import load_model

    model = load_model(str(folder))
    asked = rows()
    if kind == "lightgbm":
        import lightgbm

        library = lightgbm.Booster(model_file=str(folder / "model.lgb"))
        theirs = [np.array([row]) for row in asked]
    else:
        import catboost

        library = catboost.CatBoostClassifier()
        library.load_model(str(folder / "model.cb"))
        theirs = [np.array([row]) for row in asked]

    def rate(call: Any, given: Any) -> float:
        for one in given[:50]:
            call(one)
        started = time.perf_counter()
        for one in given:
            call(one)
        return len(given) / (time.perf_counter() - started)

    return {"library": rate(library.predict, theirs), "ours": rate(model.scorer.score_one, asked)}


def main(folder: str, *columns: str) -> None:
    found = {}
    for kind in KINDS:
        # With names of features, the models of the case `entities`, whose values are whole numbers up to 10,000.
        predicted = save(kind, Path(folder) / kind, names(list(columns)), 5000.0 if columns else 1.0)
        found[kind] = {"predictions": predicted, "bare": None if columns else bare(kind, Path(folder) / kind)}
    report(**found)


if __name__ == "__main__":
    main(*sys.argv[1:])
