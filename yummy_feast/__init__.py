"""Yummy: a Feast plugin that reads Parquet, CSV, Delta and Iceberg and serves features from Redis.

The public names are imported when they are first asked for, so that `import yummy_feast` costs next to nothing:

- `ParquetSource`, `CsvSource`, `DeltaSource`, `IcebergSource`: data sources for feature views;
- `YummyProvider`, `YummyOfflineStore`, `YummyOnlineStore` and their configs: named by feature_store.yaml;
- `SavedDatasetYummyStorage`, `YummyLoggingDestination`: where saved datasets and feature logs go;
- `feature_serve`, `model_serve`: the feature server and the model server;
- `Lockfile`: what a historical fetch read, to read it again;
- `select_all`: entity rows that stand for "every entity as of a time".

A missing name raises AttributeError, as in any module. The spellings of the first yummy (`ParquetDataSource` and its
siblings) still answer, with a DeprecationWarning.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yummy_feast.offline.entity_rows import select_all
    from yummy_feast.offline.lockfile import Lockfile
    from yummy_feast.offline.store import YummyOfflineStore, YummyOfflineStoreConfig
    from yummy_feast.online.store import YummyOnlineStore, YummyOnlineStoreConfig
    from yummy_feast.provider import YummyProvider
    from yummy_feast.serving.features.serve import feature_serve
    from yummy_feast.serving.models.serve import model_serve
    from yummy_feast.sources.csv import CsvSource
    from yummy_feast.sources.delta import DeltaSource
    from yummy_feast.sources.iceberg import IcebergSource
    from yummy_feast.sources.parquet import ParquetSource
    from yummy_feast.sources.storage import SavedDatasetYummyStorage, YummyLoggingDestination

    __version__: str

__all__ = [
    "CsvSource",
    "DeltaSource",
    "IcebergSource",
    "Lockfile",
    "ParquetSource",
    "SavedDatasetYummyStorage",
    "YummyLoggingDestination",
    "YummyOfflineStore",
    "YummyOfflineStoreConfig",
    "YummyOnlineStore",
    "YummyOnlineStoreConfig",
    "YummyProvider",
    "__version__",
    "feature_serve",
    "model_serve",
    "select_all",
]

_HOMES = {
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
    "feature_serve": "yummy_feast.serving.features.serve",
    "model_serve": "yummy_feast.serving.models.serve",
    "select_all": "yummy_feast.offline.entity_rows",
}

_OLD_NAMES = {
    "CsvDataSource": "CsvSource",
    "DeltaDataSource": "DeltaSource",
    "IcebergDataSource": "IcebergSource",
    "ParquetDataSource": "ParquetSource",
}


def __getattr__(name: str) -> object:
    """Import a public name on first use and keep it; an old spelling warns each time and is not kept."""
    if name in _OLD_NAMES:
        import warnings

        new_name = _OLD_NAMES[name]
        warnings.warn(f"yummy_feast.{name} is now yummy_feast.{new_name}", DeprecationWarning, stacklevel=2)
        return __getattr__(new_name)
    if name == "__version__":
        # importlib.metadata costs as much as everything else here, and few ask for the version.
        from importlib.metadata import version

        value: object = version("yummy-feast")
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the lazy names too, so that completion in a shell shows them."""
    return sorted({*globals(), *__all__})
