"""Train "leaves more than 15 minutes late" twice, with and without the feature store, and judge both on later weeks."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
import yaml
from sklearn.metrics import roc_auc_score

from feature_repo_example.console import progress

TIMETABLE = ("hour", "weekday", "carrier", "origin", "dest", "distance")
"""What the flight itself tells, without any feature store."""
FEATURES = {
    "weather": ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"),
    "carrier_delays": ("departures", "mean_delay", "late_share", "overdue", "airport_overdue", "airport_late_share"),
    "last_arrival": ("arrived_in", "last_dep_delay", "last_arr_delay"),
    "plane": ("built", "manufacturer", "engines", "seats"),
    "at_departure": ("crosswind", "headwind", "hours_since_arrival"),
}
"""Model inputs per feature view."""
ENRICHED = TIMETABLE + tuple(name for names in FEATURES.values() for name in names)

_ROUNDS = 150
_PARAMETERS = {
    "objective": "binary",
    "learning_rate": 0.08,
    "num_leaves": 31,
    "max_bin": 63,
    "min_data_in_leaf": 100,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "feature_fraction": 0.7,
    "verbosity": -1,
    "seed": 7,
    # Seconds on one core; two threads that share a busy core wait for each other, ten times as long.
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
}


@dataclass(frozen=True, slots=True)
class Model:
    """A trained booster with what it needs to read rows again, and its scores on the held-out flights."""

    booster: lightgbm.Booster
    columns: tuple[str, ...]
    categories: dict[str, pd.Index]
    auc: float
    scores: np.ndarray

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """Probability of leaving late, one a row; `rows` needs the columns the model was trained on."""
        return np.asarray(self.booster.predict(_inputs(rows, self.columns, self.categories)))

    def gain(self) -> pd.Series:
        """How much of the training loss each column explains, in shares of one, largest first."""
        gain = pd.Series(self.booster.feature_importance("gain"), index=list(self.columns))
        return (gain / gain.sum()).sort_values(ascending=False)


def split(rows: pd.DataFrame) -> pd.Series:
    """True for the later flights, which judge: the last sixth of the time that `rows` (with `scheduled`) spans.

    By time, never at random: two flights of one stormy evening on both sides would make any model look good.
    """
    first, last = rows["scheduled"].min(), rows["scheduled"].max()
    return rows["scheduled"] > last - (last - first) / 6


def train(rows: pd.DataFrame, columns: Sequence[str], label: str) -> Model:
    """Fit on the earlier flights, score the later ones; `rows` carries `late` (bool), `scheduled` and the `columns`."""
    later = split(rows)
    texts = [name for name in columns if not pd.api.types.is_numeric_dtype(rows[name])]
    categories = {name: pd.Index(sorted(rows.loc[~later, name].dropna().unique())) for name in texts}
    inputs = _inputs(rows, columns, categories)
    data = lightgbm.Dataset(inputs[~later], rows.loc[~later, "late"].astype("int8"))
    with progress(_ROUNDS, label) as bar:
        booster = lightgbm.train(_PARAMETERS, data, num_boost_round=_ROUNDS, callbacks=[lambda _: bar.update()])
    scores = np.asarray(booster.predict(inputs[later]))
    return Model(booster, tuple(columns), categories, float(roc_auc_score(rows.loc[later, "late"], scores)), scores)


def _inputs(rows: pd.DataFrame, columns: Sequence[str], categories: dict[str, pd.Index]) -> pd.DataFrame:
    """Numbers as floats, texts as the categories seen in training; a text never seen there is missing."""
    inputs = {
        name: pd.Categorical(rows[name], categories=categories[name])
        if name in categories
        else pd.to_numeric(rows[name]).astype("float64")
        for name in columns
    }
    return pd.DataFrame(inputs, index=rows.index)


def save(model: Model, folder: Path) -> Path:
    """Write an MLmodel folder, as `mlflow.lightgbm.save_model` would; MLflow itself is not needed.

    In the signature texts are strings and everything else is a double that may be missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    inputs = [
        {"name": name, "type": "string" if name in model.categories else "double", "required": name in TIMETABLE}
        for name in model.columns
    ]
    document = {
        "flavors": {
            "lightgbm": {
                "data": "model.lgb",
                "lgb_version": lightgbm.__version__,
                "model_class": "lightgbm.basic.Booster",
            },
            "python_function": {"data": "model.lgb", "loader_module": "mlflow.lightgbm"},
        },
        "signature": {"inputs": json.dumps(inputs)},
    }
    model.booster.save_model(folder / "model.lgb")
    (folder / "MLmodel").write_text(yaml.safe_dump(document), encoding="utf-8")
    return folder
