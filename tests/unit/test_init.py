"""The public names: they resolve, they are the classes of their modules, and Feast finds them by class path."""

import importlib
import importlib.metadata
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

import yummy_feast

CLASS_PATHS = {
    "CsvSource": "yummy_feast.sources.csv",
    "DeltaSource": "yummy_feast.sources.delta",
    "IcebergSource": "yummy_feast.sources.iceberg",
    "Lockfile": "yummy_feast.offline.lockfile",
    "ParquetSource": "yummy_feast.sources.parquet",
    "SavedDatasetYummyStorage": "yummy_feast.sources.storage",
    "YummyLoggingDestination": "yummy_feast.sources.storage",
    "YummyOfflineStore": "yummy_feast.offline.store",
    "YummyOfflineStoreConfig": "yummy_feast.offline.store",
    "YummyOnlineStore": "yummy_feast.online.store",
    "YummyOnlineStoreConfig": "yummy_feast.online.store",
    "YummyProvider": "yummy_feast.provider",
}
OLD_NAMES = {
    "CsvDataSource": "CsvSource",
    "DeltaDataSource": "DeltaSource",
    "IcebergDataSource": "IcebergSource",
    "ParquetDataSource": "ParquetSource",
}


@pytest.mark.parametrize("name", sorted(CLASS_PATHS))
def test_a_public_class_is_the_one_of_its_module(name: str) -> None:
    value = getattr(yummy_feast, name)
    assert value is getattr(importlib.import_module(CLASS_PATHS[name]), name)
    # The registry keeps this path of a source, and Feast looks for `<Class>Config` beside a store: it is a wire format.
    assert (value.__module__, value.__qualname__) == (CLASS_PATHS[name], name)


def test_all_names_what_resolves_and_nothing_else() -> None:
    assert set(yummy_feast.__all__) == {*CLASS_PATHS, "__version__", "feature_serve", "model_serve", "select_all"}
    assert callable(yummy_feast.select_all)
    assert set(yummy_feast.__all__) <= set(dir(yummy_feast))


@pytest.mark.parametrize(("old", "new"), sorted(OLD_NAMES.items()))
def test_an_old_spelling_warns_every_time_and_is_the_new_class(old: str, new: str) -> None:
    for _ in range(2):
        with pytest.warns(DeprecationWarning, match=f"yummy_feast.{old} is now yummy_feast.{new}") as seen:
            value = getattr(yummy_feast, old)
        assert value is getattr(yummy_feast, new)
        assert [warning.filename for warning in seen] == [__file__]


def test_a_new_spelling_does_not_warn() -> None:
    code = "from yummy_feast import ParquetSource, ParquetSource"
    with warnings.catch_warnings(record=True) as seen:
        exec(code, {})
    assert [str(warning.message) for warning in seen if "yummy_feast" in str(warning.message)] == []


def test_a_missing_name_is_an_attribute_error_with_the_name() -> None:
    missing: Any = yummy_feast
    with pytest.raises(AttributeError, match="module 'yummy_feast' has no attribute 'PolarsSource'"):
        _ = missing.PolarsSource


def test_the_version_is_the_one_installed() -> None:
    assert yummy_feast.__version__ == importlib.metadata.version("yummy-feast")


def test_feast_finds_the_stores_by_the_names_a_user_writes(tmp_path: Path) -> None:
    # In an interpreter of its own: here yummy_feast's names may have been resolved already.
    code = """
from feast.infra.provider import PROVIDERS_CLASS_FOR_TYPE, get_provider
from feast.repo_config import RepoConfig, get_offline_config_from_type, get_online_config_from_type
from feast.infra.offline_stores.offline_utils import get_offline_store_from_config
from feast.infra.online_stores.helpers import get_online_store_from_config
import sys

offline = get_offline_config_from_type("yummy_feast.YummyOfflineStore")
online = get_online_config_from_type("yummy_feast.YummyOnlineStore")
import yummy_feast
assert offline is yummy_feast.YummyOfflineStoreConfig
assert online is yummy_feast.YummyOnlineStoreConfig
config = RepoConfig(
    project="names",
    provider="yummy_feast.YummyProvider",
    registry=sys.argv[1] + "/registry.db",
    offline_store={"type": "yummy_feast.YummyOfflineStore"},
    online_store={"type": "yummy_feast.YummyOnlineStore"},
    entity_key_serialization_version=3,
)
assert type(config.offline_store) is offline
assert type(config.online_store) is online
assert type(get_offline_store_from_config(config.offline_store)) is yummy_feast.YummyOfflineStore
assert type(get_online_store_from_config(config.online_store)) is yummy_feast.YummyOnlineStore
assert type(get_provider(config)) is yummy_feast.YummyProvider
print("found")
"""
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert run.stdout == "found\n", run.stderr
