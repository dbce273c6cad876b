"""Workers that do not read the same archives again for each task."""

from __future__ import annotations

import importlib
import sys
import zipimport
from pathlib import Path
from zipfile import ZipFile

import pytest

from yummy_feast.spark.workers import task


def test_a_task_leaves_no_archive_to_be_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "zipped.zip"
    with ZipFile(archive, "w") as made:
        made.writestr("zipped_lately/__init__.py", "")
        made.writestr("zipped_lately/a.py", "x = 'a'")
    monkeypatch.syspath_prepend(str(archive))
    read: list[str] = []
    real = zipimport._read_directory  # type: ignore[attr-defined]
    monkeypatch.setattr(zipimport, "_read_directory", lambda path: read.append(path) or real(path))
    try:
        with task():
            assert importlib.import_module("zipped_lately.a").x == "a"
        read.clear()
        importlib.invalidate_caches()
        assert read == []
        with pytest.raises(ModuleNotFoundError), task():
            importlib.import_module("zipped_lately.c")
        importlib.invalidate_caches()
        assert read == []
    finally:
        for name in [name for name in sys.modules if name.startswith("zipped_lately")]:
            del sys.modules[name]
