"""The C library is found without LightGBM's Python package being imported, or its absence is told."""

import importlib.util
from typing import Any

import numpy as np
import pytest

from tests.unit.models.saved import SAVED, booster
from yummy_feast.errors import MissingExtraError, ModelFormatError
from yummy_feast.models import lightgbm_library
from yummy_feast.models.lightgbm_library import Native


@pytest.fixture
def forgotten() -> Any:
    lightgbm_library._library.cache_clear()
    yield
    lightgbm_library._library.cache_clear()


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, forgotten: None) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'yummy-feast\[models\]'"):
        Native.load(b"", 1, 1)


def test_what_the_library_says_is_one_line() -> None:
    with pytest.raises(ModelFormatError, match=r"^LightGBM: ") as raised:
        Native.load(b"tree\nversion=v4\n", 1, 1)
    assert "\n" not in str(raised.value)


def test_what_the_file_says_must_be_what_the_library_finds() -> None:
    data = (SAVED / "lgb_binary" / "model.lgb").read_bytes()
    with pytest.raises(ModelFormatError, match="finds 4 in NumFeature, the file says 5"):
        Native.load(data, 5, 1)


def test_a_model_of_lightgbms_own_package_is_not_freed_with_ours() -> None:
    model = booster()
    before = model.predict(np.zeros((1, 4)))
    native = Native(model._handle, 4, 1, owner=model)
    assert native.score_one([0.0] * 4) == before[0]
    native.close()
    assert model.predict(np.zeros((1, 4))) == before
