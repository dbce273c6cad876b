"""Models saved by MLflow, and small ones made here."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

SAVED = Path(__file__).resolve().parents[2] / "saved_models"
NAMES = sorted(path.parent.name for path in SAVED.glob("*/MLmodel"))
COLUMNS = ("a", "b", "c", "d")


def copy_of(name: str, folder: Path) -> Path:
    """A folder of MLflow's that may be changed."""
    return Path(shutil.copytree(SAVED / name, folder / name))


def numbers(rows: int = 200, width: int = 4, seed: int = 5) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(rows, width))


@cache
def booster(objective: str = "binary", **more: Any) -> Any:
    """A LightGBM model over four numbers."""
    import lightgbm

    x = numbers()
    y = (x[:, 0] + x[:, 1] > 0).astype(int) if objective == "binary" else np.digitize(x[:, 0], [-0.5, 0.5])
    settings = {"verbosity": -1, "num_leaves": 5, "min_data_in_leaf": 5, "num_threads": 1, "objective": objective}
    return lightgbm.train({**settings, **more}, lightgbm.Dataset(x, y), 5)


def write_folder(folder: Path, flavors: dict[str, Any], inputs: list[tuple[str, str]] | None = None) -> Path:
    """An MLmodel file with these flavors, and a signature if there are inputs."""
    folder.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {"flavors": flavors, "mlflow_version": "3.17.2", "model_uuid": "u-1"}
    if inputs is not None:
        specs = [{"name": name, "type": type_, "required": True} for name, type_ in inputs]
        document["signature"] = {"inputs": json.dumps(specs), "outputs": None, "params": None}
    (folder / "MLmodel").write_text(yaml.safe_dump(document))
    return folder


def save_booster(model: Any, folder: Path, inputs: list[tuple[str, str]] | None = None, **function: Any) -> Path:
    """A Booster as mlflow.lightgbm saves it."""
    flavors = {
        "lightgbm": {"data": "model.lgb", "model_class": "lightgbm.basic.Booster"},
        "python_function": {"data": "model.lgb", "loader_module": "mlflow.lightgbm", **function},
    }
    write_folder(folder, flavors, inputs)
    model.save_model(str(folder / "model.lgb"))
    return folder
