"""An MLmodel folder, as MLflow 1.30 to 3.x writes it: which flavor, which file, which verb, which signature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from yummy_feast.errors import ConfigError, ModelFormatError, ModelNotFoundError, UntrustedModelError
from yummy_feast.models.signature import Signature, parse_signature
from yummy_feast.settings import load_yaml

FILE: Final = "MLmodel"
# From what python_function is loaded by to the section that describes the same model natively.
_FLAVORS: Final = {"mlflow.lightgbm": "lightgbm", "mlflow.catboost": "catboost", "mlflow.sklearn": "sklearn"}
_BOOSTER: Final = "lightgbm.basic.Booster"


@dataclass(frozen=True, slots=True)
class MlModel:
    """What an MLmodel file says.

    flavor: ``lightgbm``, ``catboost`` or ``sklearn``. section: of that flavor.
    data: the model's file, relative to the folder.
    pickled: how, if the file runs code when it is loaded; empty for native files.
    predict_fn: the verb of the model to call.
    model_id: what tells this model from others, if it says so.
    """

    flavor: str
    section: Mapping[str, Any]
    data: str
    pickled: str
    predict_fn: str
    signature: Signature | None
    mlflow_version: str
    model_id: str

    def check_trusted(self, place: str) -> None:
        """Raise UntrustedModelError for a file that is loaded by running what is in it."""
        if not self.pickled:
            return
        name = str(self.section.get("model_class") or self.section.get("sklearn_version") or "").rpartition(".")[2]
        what = f"{name} " if name.startswith("LGBM") else ""
        raise UntrustedModelError(
            f"{place}: {self.data} is a {what}model in {self.pickled} form, and loading it runs code that came with it",
            hint="save it natively: mlflow.lightgbm.save_model(model.booster_, path), which answers the Booster's "
            "values, probabilities for a classifier; or trust it with --allow-pickle",
        )


def parse_mlmodel(text: str, name: str) -> MlModel:
    """What the ``text`` of an MLmodel file says; ``name`` is for errors. ModelFormatError."""
    try:
        document = load_yaml(text, name, fill=False)
    except ConfigError as error:
        raise ModelFormatError(error.message, hint=error.hint) from None
    except RecursionError:
        raise ModelFormatError(f"{name}: is nested without end", hint="is it an MLmodel file?") from None
    flavors = document.get("flavors") if isinstance(document, dict) else None
    if not isinstance(flavors, dict) or not flavors:
        raise ModelFormatError(f"{name}: has no flavors", hint="is it an MLmodel file?")
    try:
        return _parse(document, flavors)
    except ModelFormatError as error:
        raise ModelFormatError(f"{name}: {error.message}", hint=error.hint) from None


def read_mlmodel(folder: Path) -> MlModel:
    """What the MLmodel file of ``folder`` says. ModelNotFoundError for none, or for a file of it that is missing."""
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise ModelNotFoundError(
            f"{folder}: there is no {FILE} file", hint="name the folder that mlflow.*.save_model wrote"
        ) from None
    except UnicodeDecodeError as error:
        raise ModelFormatError(f"{path}: is no text (byte {error.start})") from None
    model = parse_mlmodel(text, str(path))
    if not (folder / model.data).is_file():
        raise ModelNotFoundError(f"{path}: names {model.data}, which is not there", hint="copy the whole folder")
    return model


def _parse(document: Mapping[str, Any], flavors: Mapping[str, Any]) -> MlModel:
    function = _mapping(flavors.get("python_function"), "python_function")
    loader = function.get("loader_module")
    flavor = _FLAVORS.get(str(loader)) if loader else None
    if flavor is None and not loader:
        flavor = next((each for each in _FLAVORS.values() if each in flavors), None)
    if flavor is None or flavor not in flavors:
        served = "served are LightGBM and CatBoost, saved by mlflow.lightgbm, mlflow.catboost or mlflow.sklearn"
        raise ModelFormatError(f"its flavors are {', '.join(map(str, flavors))}", hint=served)
    section = _mapping(flavors[flavor], flavor)
    default = {"lightgbm": "model.lgb", "catboost": "model.cb", "sklearn": "model.pkl"}[flavor]
    data = section.get("data") or section.get("pickled_model") or function.get("data") or function.get("model_path")
    # Before 1.23 a scikit-learn flavor named its file here, and python_function the same one.
    return MlModel(
        flavor,
        section,
        _inside(str(data or default)),
        _pickled(flavor, section),
        str(function.get("predict_fn") or "predict"),
        parse_signature(_mapping(document.get("signature"), "signature")),
        str(document.get("mlflow_version") or ""),
        str(document.get("model_id") or document.get("model_uuid") or document.get("run_id") or ""),
    )


def _pickled(flavor: str, section: Mapping[str, Any]) -> str:
    if flavor == "catboost":
        return ""
    if flavor == "lightgbm" and section.get("model_class", _BOOSTER) == _BOOSTER:
        return ""
    return str(section.get("serialization_format") or "cloudpickle")


def _inside(data: str) -> str:
    """``data`` itself, unless it leads out of the folder."""
    path = PurePosixPath(data)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in data:
        raise ModelFormatError(f"its file {data!r} is not inside of its folder")
    return data


def _mapping(section: Any, name: str) -> Mapping[str, Any]:
    if section is None:
        return {}
    if not isinstance(section, dict):
        raise ModelFormatError(f"{name} is {section!r}: not a mapping")
    return section
