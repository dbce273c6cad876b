"""A model that ends the process is found out by a process of its own."""

from pathlib import Path

import pytest

from tests.unit.models.saved import SAVED
from yummy_feast.errors import ModelFormatError
from yummy_feast.models import trial
from yummy_feast.models.trial import try_out


@pytest.mark.parametrize("name", ["lgb_pandas", "cat_towns"])
def test_a_model_that_is_well_passes(name: str) -> None:
    try_out(SAVED / name, name)


def test_what_is_merely_wrong_is_left_to_others(tmp_path: Path) -> None:
    try_out(tmp_path, "nothing")


def test_a_model_that_ends_the_process_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # What tests/property/test_damaged_models.py comes upon by chance.
    monkeypatch.setattr(trial, "_PROGRAM", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(ModelFormatError, match="m: is damaged: loading and scoring it ends the process"):
        try_out(SAVED / "cat_binary", "m")


def test_one_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_PATIENCE", 0.01)
    with pytest.raises(ModelFormatError, match=r"takes more than 0\.01 s"):
        try_out(SAVED / "lgb_binary", "m")
