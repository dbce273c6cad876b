"""Opening a feature_store.yaml for a command."""

from __future__ import annotations

from pathlib import Path

import pytest
from feast.infra.offline_stores.dask import DaskOfflineStoreConfig

from tests.unit.online.servers import output, python
from yummy_feast.errors import ConfigError
from yummy_feast.repository import open_feature_store

HEAD = """
project: p
registry: registry.db
provider: local
entity_key_serialization_version: 3
online_store: {type: redis, connection_string: 'localhost:1'}
"""
OPEN = """
import sys
from yummy_feast.repository import open_feature_store
open_feature_store(sys.argv[1])
print([name for name in ("dask", "scipy") if name in sys.modules])
"""


def _file(folder: Path, text: str) -> str:
    path = folder / "feature_store.yaml"
    path.write_text(HEAD + text)
    return str(path)


@pytest.mark.parametrize(
    "text", ["", "offline_store: {}", "offline_store: {type: file}", "offline_store: {type: dask}"]
)
def test_feasts_offline_store_is_there_when_asked_for(tmp_path: Path, text: str) -> None:
    assert isinstance(open_feature_store(_file(tmp_path, text)).config.offline_store, DaskOfflineStoreConfig)


def test_and_not_before(tmp_path: Path) -> None:
    assert output(python(OPEN, _file(tmp_path, ""))) == "[]"


@pytest.mark.parametrize(
    "text",
    ["offline_store: {type: dask, pfad: x}", "offline_store: {type: yummy_feast.YummyOfflineStore, engine: x}"],
)
def test_what_is_wrong_with_it_belongs_to_the_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"feature_store\.yaml: "):
        open_feature_store(_file(tmp_path, text))
