"""From a folder to a model that scores; pickles only where they are trusted."""

import pickle
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest

from tests.unit.models.saved import COLUMNS, NAMES, SAVED, booster, copy_of, numbers, save_booster, write_folder
from yummy_feast.errors import ModelFormatError, UntrustedModelError, YummyError
from yummy_feast.models.base import Batch
from yummy_feast.models.loading import load_model


@pytest.mark.parametrize("name", ["lgb_mixed", "cat_towns"])
def test_a_folder_is_loaded(name: str) -> None:
    model = load_model(str(SAVED / name))
    assert model.arranger.names == tuple(feature.name for feature in model.scorer.features)
    assert 0 < model.seconds_per_row < 0.1
    assert model.version == model.about.model_id


def pickled(folder: Path, model: Any, form: str = "pickle", verb: str = "predict") -> Path:
    flavors = {
        "sklearn": {"pickled_model": "model.pkl", "serialization_format": form, "sklearn_version": "1"},
        "python_function": {"loader_module": "mlflow.sklearn", "model_path": "model.pkl", "predict_fn": verb},
    }
    write_folder(folder, flavors, [(name, "double") for name in COLUMNS])
    (folder / "model.pkl").write_bytes(pickle.dumps(model))
    return folder


def classifier() -> Any:
    x = numbers()
    labels = np.array(["no", "yes"])[(x[:, 0] > 0).astype(int)]
    return lightgbm.LGBMClassifier(n_estimators=4, num_leaves=4, verbosity=-1, n_jobs=1).fit(x, labels)


@pytest.mark.parametrize("verb", ["predict", "predict_proba"])
def test_a_pickle_is_loaded_when_it_is_trusted(tmp_path: Path, verb: str) -> None:
    folder = str(pickled(tmp_path, classifier(), "cloudpickle", verb))
    with pytest.raises(UntrustedModelError, match=r"model\.pkl is a model in cloudpickle form.*--allow-pickle"):
        load_model(folder)
    model = load_model(folder, allow_pickle=True)
    x = numbers()
    assert (model.scorer.score(Batch(len(x), matrix=x)) == getattr(classifier(), verb)(x)).all()


class Evil:
    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.path),)

    def __init__(self, path: str) -> None:
        self.path = path


def test_an_untrusted_pickle_runs_nothing(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    folder = pickled(tmp_path / "m", Evil(str(trace)))
    with pytest.raises(UntrustedModelError):
        load_model(str(folder))
    assert not trace.exists()
    with pytest.raises(ModelFormatError, match="no model of LightGBM"):
        load_model(str(folder), allow_pickle=True)
    assert trace.exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x05.", b"cos\nsystem_that_is_not_there\n.", b"not a pickle"])
def test_a_pickle_that_cannot_be_read_is_told(tmp_path: Path, content: bytes) -> None:
    folder = pickled(tmp_path, 5)
    (folder / "model.pkl").write_bytes(content)
    with pytest.raises(ModelFormatError, match=r"model\.pkl cannot be loaded|no model"):
        load_model(str(folder), allow_pickle=True)


def test_skops_form(tmp_path: Path) -> None:
    skops = pytest.importorskip("skops.io")
    model = classifier()
    folder = pickled(tmp_path, model, "skops")
    trusted = [*skops.get_untrusted_types(data=skops.dumps(model))]
    skops.dump(model, folder / "model.pkl")
    text = (folder / "MLmodel").read_text().replace("sklearn_version: '1'", f"skops_trusted_types: {trusted}")
    (folder / "MLmodel").write_text(text)
    found = load_model(str(folder), allow_pickle=True)
    x = numbers()
    assert (found.scorer.score(Batch(len(x), matrix=x)) == model.predict(x)).all()


def test_a_verb_that_a_booster_has_not_is_refused(tmp_path: Path) -> None:
    folder = save_booster(booster(), tmp_path, predict_fn="predict_proba")
    with pytest.raises(ModelFormatError, match="predict_fn is 'predict_proba'"):
        load_model(str(folder))


def test_a_signature_of_another_model_is_refused_with_the_place(tmp_path: Path) -> None:
    folder = save_booster(booster(), tmp_path, [("a", "double")])
    with pytest.raises(ModelFormatError, match=f"^{tmp_path}: the signature has 1 inputs, and the model takes 4"):
        load_model(str(folder))


@pytest.mark.parametrize("name", [name for name in NAMES if name in ("lgb_binary", "cat_binary")])
def test_a_damaged_file_is_an_error_with_the_place(tmp_path: Path, name: str) -> None:
    folder = copy_of(name, tmp_path)
    file = next(path for path in folder.iterdir() if path.name.startswith("model."))
    file.write_bytes(file.read_bytes()[:-300])
    with pytest.raises(YummyError, match=rf"^{folder}: model\.") as raised:
        load_model(str(folder))
    assert len(str(raised.value).splitlines()) == 1
