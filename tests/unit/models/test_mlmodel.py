"""MLmodel files of several ages and kinds."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.models.saved import NAMES, SAVED, copy_of, write_folder
from yummy_feast.errors import ModelFormatError, ModelNotFoundError, UntrustedModelError
from yummy_feast.models.mlmodel import parse_mlmodel, read_mlmodel

PYFUNC = {"python_function": {"loader_module": "mlflow.lightgbm", "data": "model.lgb"}}


@pytest.mark.parametrize("name", NAMES)
def test_what_mlflow_writes_is_read(name: str) -> None:
    found = read_mlmodel(SAVED / name)
    assert found.flavor == ("lightgbm" if name.startswith("lgb") else "catboost")
    assert (found.pickled, found.predict_fn) == ("", "predict")
    assert found.mlflow_version.startswith("1.30" if "1_30" in name else "3.")
    assert found.model_id
    assert (found.signature is None) == (name in ("lgb_bare", "lgb_pandas", "cat_base"))


def sklearn(**section: Any) -> dict[str, Any]:
    return {
        "sklearn": {"pickled_model": "model.pkl", **section},
        "python_function": {"loader_module": "mlflow.sklearn", "predict_fn": "predict_proba"},
    }


@pytest.mark.parametrize(
    ("flavors", "pickled", "data"),
    [
        ({"lightgbm": {"data": "m.lgb"}, **PYFUNC}, "", "m.lgb"),
        (
            {"lightgbm": {"data": "m.skops", "model_class": "lightgbm.sklearn.LGBMClassifier"}, **PYFUNC},
            "cloudpickle",
            "",
        ),
        (sklearn(serialization_format="skops"), "skops", "model.pkl"),
        ({"lightgbm": {}}, "", "model.lgb"),
        ({"catboost": {"data": "model.cb"}}, "", "model.cb"),
    ],
)
def test_which_files_run_code(tmp_path: Path, flavors: Any, pickled: str, data: str) -> None:
    folder = write_folder(tmp_path, flavors)
    found = parse_mlmodel((folder / "MLmodel").read_text(), "MLmodel")
    assert found.pickled == pickled
    assert not data or found.data == data
    if pickled:
        with pytest.raises(UntrustedModelError, match="save it natively"):
            found.check_trusted("here")
    else:
        found.check_trusted("here")


def test_the_verb_of_pyfunc_is_kept(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, sklearn())
    assert parse_mlmodel((folder / "MLmodel").read_text(), "MLmodel").predict_fn == "predict_proba"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no flavors"),
        ("flavors: {}", "has no flavors"),
        ("[", "not YAML"),
        ("flavors: {pytorch: {}}", "its flavors are pytorch"),
        ("flavors: {lightgbm: 5}", "lightgbm is 5: not a mapping"),
        ("flavors: {lightgbm: {data: ../../etc/passwd}}", "is not inside of its folder"),
        ("flavors: {lightgbm: {data: /etc/passwd}}", "is not inside of its folder"),
        ("flavors: {lightgbm: {}}\nsignature: {inputs: '['}", "signature.inputs is not JSON"),
        ("flavors: {lightgbm: {}}\nsignature: 5", "signature is 5"),
        ("flavors: {python_function: {loader_module: mlflow.lightgbm}}", "its flavors are python_function"),
        ("a: " + "[" * 3000, "nested without end"),
        ("flavors: !!python/object/apply:os.system [x]", "not YAML"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(text: str, said: str) -> None:
    with pytest.raises(ModelFormatError, match=f"(?i)^MLmodel.*({said})"):
        parse_mlmodel(text, "MLmodel")


def test_folders_without_what_they_need(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="there is no MLmodel file"):
        read_mlmodel(tmp_path)
    folder = copy_of("lgb_binary", tmp_path)
    (folder / "model.lgb").unlink()
    with pytest.raises(ModelNotFoundError, match=r"names model\.lgb, which is not there"):
        read_mlmodel(folder)
    (folder / "MLmodel").write_bytes(b"\xff\xfe")
    with pytest.raises(ModelFormatError, match="is no text"):
        read_mlmodel(folder)
