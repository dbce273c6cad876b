"""What tests of sources share."""

from __future__ import annotations

import pyarrow as pa
import pytest

from yummy_feast.sources.files import StoredFile


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of the files that are opened, in order."""
    paths: list[str] = []
    plain = StoredFile.open

    def counted(file: StoredFile) -> pa.NativeFile:
        paths.append(file.location.path)
        return plain(file)

    monkeypatch.setattr(StoredFile, "open", counted)
    return paths
