"""What tests of the offline store share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile
from zipimport import zipimporter

import pytest


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[str]:
    """A zip that Python has an importer of, as Spark's workers have of pyspark's."""
    path = tmp_path / "zipped.zip"
    with ZipFile(path, "w") as made:
        made.writestr("zipped.py", "")
    sys.path_importer_cache[str(path)] = zipimporter(str(path))
    yield str(path)
    sys.path_importer_cache.pop(str(path), None)
