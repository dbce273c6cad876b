"""The ``offline_store`` block of feature_store.yaml."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from feast.repo_config import FeastConfigBaseModel, RepoConfig
from pydantic import Field

from yummy_feast.errors import ConfigError, nearest
from yummy_feast.offline.engines.base import EngineSettings
from yummy_feast.offline.engines.table import ENGINES
from yummy_feast.settings import interpolate_all, parse_duration, parse_size, reading_feature_store_yaml
from yummy_feast.sources.base import context_of
from yummy_feast.spark.settings import SparkSettings, conf_of

OLD_ENGINES = ("polars", "dask", "ray")
OLD_KEYS = {"backend": "engine", "config": "spark_conf"}


class YummyOfflineStoreConfig(FeastConfigBaseModel):
    """How historical features are computed. Raises ConfigError for a key or value that is wrong."""

    type: str = "yummy_feast.YummyOfflineStore"
    """Class path of the store, as Feast wants it."""

    engine: str = "duckdb"
    """``duckdb`` (embedded) or ``spark``."""

    memory_limit: int | None = None
    """Bytes one fetch may hold, or text such as ``4GB``; larger answers and joins go to disk. None = no limit."""

    threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
    """Threads of one fetch."""

    temp_directory: str | None = None
    """Where to spill; relative to the repo. None = the system's temporary folder."""

    staging_location: str | None = None
    """Folder, local (relative to the repo) or ``s3://``, below which ``job.to_remote_storage()`` writes."""

    lateness: float = 3600.0
    """Seconds that rows may arrive after their event time, or text such as ``6h``: `materialize-incremental` looks for
    rows that late in what is new of a source. The tag ``lateness`` of a feature view overrides it.
    """

    spark_conf: dict[str, Any] = {}
    """Settings of the Spark session in Spark's own names; ``master`` may be written without its ``spark.``."""

    spark_jars: str | None = None
    """Folder of Spark's jars (see ``yummy spark jars``); relative to the repo. None = Spark fetches what it needs."""

    storage_options: dict[str, Any] = {}
    """Object-store settings: endpoint, key, secret, region, …"""

    catalogs: dict[str, dict[str, Any]] = {}
    """Named Iceberg catalogs with pyiceberg's own keys."""

    def __init__(self, **values: Any) -> None:
        with reading_feature_store_yaml("offline_store"):
            super().__init__(**_checked(values, type(self).model_fields))


def _checked(given: dict[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """The settings in today's spelling, with variables filled in."""
    values: dict[str, Any] = interpolate_all(given, "offline_store")
    for old, new in OLD_KEYS.items():
        if old in values:
            # 3 = the line that made the config: it -> __init__ -> here.
            warnings.warn(f"offline_store.{old} is now called {new}", DeprecationWarning, stacklevel=3)
            values.setdefault(new, values.pop(old))
    for key in values:
        if key not in known:
            raise ConfigError(f"offline_store has no setting '{key}'", hint=nearest(key, known))
    engine = values.get("engine", "duckdb")
    if engine in OLD_ENGINES:
        warnings.warn(f"offline_store.engine {engine} is now duckdb", DeprecationWarning, stacklevel=3)
        values["engine"] = engine = "duckdb"
    if engine not in ENGINES:
        raise ConfigError(f"offline_store.engine is '{engine}'", hint=nearest(str(engine), ENGINES))
    if values.get("memory_limit") is not None:
        values["memory_limit"] = parse_size(values["memory_limit"], "offline_store.memory_limit")
    if engine == "spark" and values.get("spark_conf"):
        values["spark_conf"] = conf_of(values["spark_conf"], "offline_store.spark_conf")
    if "lateness" in values:
        values["lateness"] = parse_duration(values["lateness"], "offline_store.lateness")
    return values


# Feast looks for the store in the module that its config class names (offline_utils.py, get_offline_store_from_config).
YummyOfflineStoreConfig.__module__ = "yummy_feast.offline.store"


def engine_settings(config: RepoConfig) -> EngineSettings:
    """What the engine needs to know, from a repo's configuration.

    Raises:
        ConfigError: the repo's offline store is not ours.
    """
    store = config.offline_store
    if not isinstance(store, YummyOfflineStoreConfig):
        raise ConfigError(
            f"offline_store.type is {type(store).__name__}", hint="set it to yummy_feast.YummyOfflineStore"
        )
    repo_path = Path(config.repo_path or ".")
    scratch = (repo_path / Path(store.temp_directory).expanduser()) if store.temp_directory else None
    context = context_of(config)
    spark = None
    if store.engine == "spark":
        spark = SparkSettings(
            conf=store.spark_conf,
            jars=(repo_path / Path(store.spark_jars).expanduser()) if store.spark_jars else None,
            storage_options=context.storage_options,
            catalogs=context.catalogs,
            threads=store.threads,
            memory_limit=store.memory_limit,
            repo_path=context.repo_path,
            scratch=scratch,
        )
    return EngineSettings(context, store.threads, store.memory_limit, scratch, spark)
