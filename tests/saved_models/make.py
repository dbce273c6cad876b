"""Save models with MLflow and write down what its own scoring server answers to all kinds of bodies.

Run by an interpreter that has mlflow, lightgbm, catboost and scikit-learn: ``python make.py FOLDER [NAME ...]``. One
folder a model, as MLflow wrote it but for the files that only describe environments, with ``answers.json`` beside it:
``[{"case", "content_type", "body" | "base64", "status", "answer"}]``.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "true"
warnings.filterwarnings("ignore")

import catboost  # noqa: E402
import lightgbm  # noqa: E402
import mlflow  # noqa: E402
import mlflow.catboost  # noqa: E402
import mlflow.lightgbm  # noqa: E402
import mlflow.sklearn  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from bodies import bodies  # noqa: E402 - a script finds what lies beside it
from mlflow.models import infer_signature  # noqa: E402

KEPT = ("MLmodel", "model.lgb", "model.cb", "model.pkl", "model.skops")
IS_OLD = mlflow.__version__.startswith("1.")
RNG = np.random.default_rng(7)
ROWS = 240

NUMBERS = pd.DataFrame(RNG.normal(size=(ROWS, 4)).round(4), columns=["a", "b", "c", "d"])
LABEL = (NUMBERS["a"] + NUMBERS["b"] > 0).astype(int)
CLASSES = (NUMBERS["a"] * 2).round().clip(-1, 1).astype(int) + 1
VALUE = NUMBERS["a"] * 2 - NUMBERS["c"] + NUMBERS["b"] ** 2
MIXED = pd.DataFrame(
    {
        "real": NUMBERS["a"],
        "single": NUMBERS["b"].astype("float32"),
        "whole": RNG.integers(-5, 90, ROWS),
        "small": RNG.integers(0, 7, ROWS).astype("int32"),
        "flag": RNG.random(ROWS) > 0.5,
        "gap": NUMBERS["d"].where(RNG.random(ROWS) > 0.3),
    }
)
CITIES = RNG.choice(["Oslo", "Łódź", "São Paulo", "5"], ROWS)
TOWNS = MIXED[["real", "whole"]].assign(city=CITIES, zone=RNG.integers(0, 4, ROWS))
# What makes the categories matter.
BY_TOWN = VALUE + (TOWNS["city"] == "Oslo") * 3 - (TOWNS["city"] == "5") * 2 + (TOWNS["zone"] % 2) * 2
BY_SMALL = VALUE + (MIXED["small"] % 2) * 3 + MIXED["flag"] * 2 + MIXED["gap"].isna() * 2 + MIXED["whole"] / 20
GROUPS = [24] * (ROWS // 24)
LIGHT: dict[str, Any] = {"verbosity": -1, "num_leaves": 5, "min_data_in_leaf": 8, "num_threads": 1, "seed": 3}
LIGHT |= {"min_data_per_group": 5, "cat_smooth": 1}
CAT: dict[str, Any] = {"iterations": 6, "depth": 3, "verbose": 0, "allow_writing_files": False, "random_seed": 3}
Saved = tuple[Any, pd.DataFrame]


def booster(x: Any, y: Any, objective: str, rounds: int = 6, **more: Any) -> lightgbm.Booster:
    group = more.pop("group", None)
    categorical = more.pop("categorical_feature", "auto")
    data = lightgbm.Dataset(x, y, group=group, categorical_feature=categorical)
    return lightgbm.train({**LIGHT, "objective": objective, **more}, data, rounds)


def save(folder: Path, model: Any, x: Any, *, signature: bool = True, how: Any = None, **more: Any) -> None:
    module = how or (mlflow.catboost if type(model).__module__.startswith("catboost") else mlflow.lightgbm)
    inferred = infer_signature(x, model.predict(x)) if signature else None
    module.save_model(model, str(folder), signature=inferred, **more)


# ---------------------------------------------------------------------------------------------------------- models


def lgb_binary(folder: Path) -> pd.DataFrame:
    save(folder, booster(NUMBERS, LABEL, "binary"), NUMBERS)
    return NUMBERS


def lgb_multiclass(folder: Path) -> pd.DataFrame:
    save(folder, booster(NUMBERS, CLASSES, "multiclass", num_class=3), NUMBERS)
    return NUMBERS


def lgb_mixed(folder: Path) -> pd.DataFrame:
    model = booster(MIXED, BY_SMALL, "regression", categorical_feature=["small"])
    save(folder, model, MIXED)
    return MIXED


def lgb_ranking(folder: Path) -> pd.DataFrame:
    save(folder, booster(NUMBERS, CLASSES, "lambdarank", group=GROUPS), NUMBERS)
    return NUMBERS


def lgb_tensor(folder: Path) -> pd.DataFrame:
    x = NUMBERS.to_numpy()
    save(folder, booster(x, VALUE, "poisson" if VALUE.min() >= 0 else "regression"), x)
    return NUMBERS


def lgb_bare(folder: Path) -> pd.DataFrame:
    """No signature."""
    save(folder, booster(NUMBERS, LABEL, "binary", extra_trees=True), NUMBERS, signature=False)
    return NUMBERS


def lgb_linear(folder: Path) -> pd.DataFrame:
    save(folder, booster(NUMBERS, VALUE, "regression", linear_tree=True), NUMBERS)
    return NUMBERS


def lgb_forest(folder: Path) -> pd.DataFrame:
    more = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6, "feature_fraction": 0.6}
    save(folder, booster(NUMBERS, LABEL, "binary", **more), NUMBERS)
    return NUMBERS


def lgb_params(folder: Path) -> pd.DataFrame:
    model = booster(NUMBERS, LABEL, "binary")
    known = {"n": 3, "ratio": 0.5, "name": "x", "list": [1, 2]}
    mlflow.lightgbm.save_model(model, str(folder), signature=infer_signature(NUMBERS, model.predict(NUMBERS), known))
    return NUMBERS


def lgb_pandas(folder: Path) -> pd.DataFrame:
    """pandas' categories, without a signature: MLflow itself scores them with a DataFrame only."""
    typed = TOWNS.assign(city=pd.Categorical(TOWNS["city"]), zone=pd.Categorical(TOWNS["zone"]))
    save(folder, booster(typed, BY_TOWN, "regression"), typed, signature=False)
    return typed


def cat_binary(folder: Path) -> pd.DataFrame:
    save(folder, catboost.CatBoostClassifier(**CAT).fit(NUMBERS, LABEL), NUMBERS)
    return NUMBERS


def cat_names(folder: Path) -> pd.DataFrame:
    """Classes that are words."""
    words = CLASSES.map({0: "low", 1: "mid", 2: "high"})
    save(folder, catboost.CatBoostClassifier(**CAT).fit(NUMBERS, words), NUMBERS)
    return NUMBERS


def cat_multiclass(folder: Path) -> pd.DataFrame:
    save(folder, catboost.CatBoostClassifier(**CAT).fit(NUMBERS, CLASSES), NUMBERS)
    return NUMBERS


def cat_multilabel(folder: Path) -> pd.DataFrame:
    labels = np.column_stack([LABEL, CLASSES > 0])
    save(folder, catboost.CatBoostClassifier(loss_function="MultiLogloss", **CAT).fit(NUMBERS, labels), NUMBERS)
    return NUMBERS


def cat_regression(folder: Path) -> pd.DataFrame:
    save(folder, catboost.CatBoostRegressor(**CAT).fit(MIXED, BY_SMALL), MIXED)
    return MIXED


def cat_ranking(folder: Path) -> pd.DataFrame:
    group = np.repeat(np.arange(len(GROUPS)), GROUPS)
    model = catboost.CatBoostRanker(loss_function="YetiRank", **CAT).fit(NUMBERS, CLASSES, group_id=group)
    save(folder, model, NUMBERS)
    return NUMBERS


def cat_base(folder: Path) -> pd.DataFrame:
    model = catboost.CatBoost({"loss_function": "MultiClass", **CAT}).fit(NUMBERS, CLASSES)
    save(folder, model, NUMBERS, signature=False)
    return NUMBERS


def cat_towns(folder: Path) -> pd.DataFrame:
    """Categories: text, and whole numbers."""
    model = catboost.CatBoostClassifier(cat_features=["city", "zone"], **CAT).fit(
        TOWNS, (BY_TOWN / 2).round().clip(-1, 1)
    )
    save(folder, model, TOWNS)
    return TOWNS


def sk_classes(folder: Path) -> pd.DataFrame:
    model = lightgbm.LGBMClassifier(n_estimators=5, **LIGHT).fit(NUMBERS, CLASSES.map({0: "low", 1: "mid", 2: "high"}))
    save(folder, model, NUMBERS, serialization_format="cloudpickle")
    return NUMBERS


def sk_skops(folder: Path) -> pd.DataFrame:
    save(folder, lightgbm.LGBMRegressor(n_estimators=5, **LIGHT).fit(MIXED, BY_SMALL), MIXED)
    return MIXED


def sk_proba(folder: Path) -> pd.DataFrame:
    model = lightgbm.LGBMClassifier(n_estimators=5, **LIGHT).fit(NUMBERS, LABEL)
    how = {"how": mlflow.sklearn, "pyfunc_predict_fn": "predict_proba", "serialization_format": "pickle"}
    save(folder, model, NUMBERS, **how)
    return NUMBERS


def sk_ranking(folder: Path) -> pd.DataFrame:
    model = lightgbm.LGBMRanker(n_estimators=5, **LIGHT).fit(NUMBERS, CLASSES, group=GROUPS)
    save(folder, model, NUMBERS, serialization_format="cloudpickle")
    return NUMBERS


NATIVE = (
    lgb_binary,
    lgb_multiclass,
    lgb_mixed,
    lgb_ranking,
    lgb_tensor,
    lgb_bare,
    lgb_linear,
    lgb_forest,
    lgb_params,
    lgb_pandas,
    cat_binary,
    cat_names,
    cat_multiclass,
    cat_multilabel,
    cat_regression,
    cat_ranking,
    cat_base,
    cat_towns,
)
PICKLED = (sk_classes, sk_skops, sk_proba, sk_ranking)
OLD = (lgb_binary, lgb_multiclass, cat_binary, cat_multiclass)


# --------------------------------------------------------------------------------------------------------- answers


def answers(folder: Path, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """What MLflow's server answers to each."""
    model = mlflow.pyfunc.load_model(str(folder))
    send = old_client(model) if IS_OLD else client(model)
    found = []
    # The protocol of 1.x was another one: from there, predictions alone.
    for case, kind, body in islice(bodies(frame), 2 if IS_OLD else None):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        status, text = send(content, kind)
        try:
            answer = json.loads(text)
        except ValueError:
            answer = text
        if isinstance(answer, dict) and "message" in answer:
            # Its words hold sets, in any order, and tracebacks.
            answer = {"error_code": answer["error_code"]}
        sent = {"base64": base64.b64encode(content).decode()}
        with suppress(UnicodeDecodeError):
            sent = {"body": content.decode()}
        found.append({"case": case, "content_type": kind, **sent, "status": status, "answer": answer})
    return found


def client(model: Any) -> Callable[[bytes, str], tuple[int, str]]:
    from fastapi.testclient import TestClient
    from mlflow.pyfunc import scoring_server

    http = TestClient(scoring_server.init(model), raise_server_exceptions=False)

    def send(content: bytes, kind: str) -> tuple[int, str]:
        answer = http.post("/invocations", content=content, headers={"content-type": kind})
        return answer.status_code, answer.text

    return send


def old_client(model: Any) -> Callable[[bytes, str], tuple[int, str]]:
    def send(content: bytes, kind: str) -> tuple[int, str]:
        body = json.loads(content)["dataframe_split"]
        predicted = model.predict(pd.DataFrame(**body))
        return 200, json.dumps({"predictions": np.asarray(predicted).tolist()})

    return send


def predictions(folder: Path, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """pyfunc's own predictions for a DataFrame, where its server has no way to send one."""
    predicted = np.asarray(mlflow.pyfunc.load_model(str(folder)).predict(frame)).tolist()
    kind, body = next((kind, body) for case, kind, body in bodies(frame) if case == "split")
    content = json.dumps(body)
    return [
        {"case": "split", "content_type": kind, "body": content, "status": 200, "answer": {"predictions": predicted}}
    ]


def main(out: Path, names: list[str]) -> None:
    makers = OLD if IS_OLD else (*NATIVE, *PICKLED)
    for make in makers:
        name = f"{make.__name__}_{mlflow.__version__.replace('.', '_')}" if IS_OLD else make.__name__
        if names and make.__name__ not in names:
            continue
        folder = out / name
        shutil.rmtree(folder, ignore_errors=True)
        frame = make(folder).head(3)
        found = predictions(folder, frame) if make is lgb_pandas else answers(folder, frame)
        for path in folder.iterdir():
            if path.name not in KEPT:
                path.unlink() if path.is_file() else shutil.rmtree(path)
        (folder / "answers.json").write_text(json.dumps(found, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
        sys.stdout.write(f"{name}: {len(found)} bodies\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
