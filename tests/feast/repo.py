"""A feature repository in a folder, with our offline store (or Feast's, to compare), and rows in every format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from feast import FeatureStore, RepoConfig

from yummy_feast import CsvSource, DeltaSource, IcebergSource, ParquetSource
from yummy_feast.sources.base import YummySource

OURS = "yummy_feast.YummyOfflineStore"


def feature_store(
    folder: Path,
    offline: str = OURS,
    *,
    online: dict[str, Any] | None = None,
    project: str = "lab",
    top: dict[str, Any] | None = None,
    **settings: Any,
) -> FeatureStore:
    """A store in ``folder``: a registry file, no online store unless given. top: more keys of feature_store.yaml."""
    ours = {"catalogs": {"local": iceberg_keys(folder)}} if offline == OURS else {}
    keys = {
        "project": project,
        "provider": "yummy_feast.YummyProvider" if offline == OURS else "local",
        "registry": str(folder / "registry.db"),
        "offline_store": {"type": offline, **ours, **settings},
        "online_store": online,
        "entity_key_serialization_version": 3,
        "repo_path": folder,
    }
    return FeatureStore(config=RepoConfig(**{**keys, **(top or {})}))


def at(address: str, **settings: Any) -> dict[str, Any]:
    """Our online store on the server with this connection string."""
    return {"type": "yummy_feast.YummyOnlineStore", "connection_string": address, **settings}


def iceberg_keys(folder: Path) -> dict[str, str]:
    return {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"file://{folder}/warehouse"}


def in_parquet(folder: Path, name: str, table: pa.Table, **options: Any) -> ParquetSource:
    """Two files in small row groups."""
    (folder / name).mkdir()
    half = table.num_rows // 2
    for number, part in enumerate((table.slice(0, half), table.slice(half))):
        pq.write_table(part, folder / name / f"{number}.parquet", row_group_size=3)
    return ParquetSource(path=name, name=name, **options)


def in_csv(folder: Path, name: str, table: pa.Table, **options: Any) -> CsvSource:
    pacsv.write_csv(table, folder / f"{name}.csv")
    return CsvSource(path=f"{name}.csv", name=name, **options)


def in_delta(folder: Path, name: str, table: pa.Table, **options: Any) -> DeltaSource:
    """Two commits."""
    from deltalake import write_deltalake

    half = table.num_rows // 2
    for part in (table.slice(0, half), table.slice(half)):
        write_deltalake(folder / name, part, mode="append")
    return DeltaSource(path=name, name=name, **options)


def in_iceberg(folder: Path, name: str, table: pa.Table, **options: Any) -> IcebergSource:
    """Two snapshots."""
    from pyiceberg.catalog import load_catalog

    catalog: Any = load_catalog("local", **iceberg_keys(folder))
    catalog.create_namespace_if_not_exists("lake")
    stored = catalog.create_table(f"lake.{name}", schema=table.schema)
    half = table.num_rows // 2
    for part in (table.slice(0, half), table.slice(half)):
        stored.append(part)
    # The engine keeps connections open, and pytest turns their late end into an error.
    catalog.engine.dispose()
    return IcebergSource(table=f"local.lake.{name}", name=name, **options)


FORMATS: dict[str, Callable[..., YummySource]] = {
    "parquet": in_parquet,
    "csv": in_csv,
    "delta": in_delta,
    "iceberg": in_iceberg,
}
