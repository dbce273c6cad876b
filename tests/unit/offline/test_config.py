"""The offline_store block: sizes, old spellings, variables, and one line for what is wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from feast.repo_config import RepoConfig

from yummy_feast import YummyOfflineStore, YummyOfflineStoreConfig
from yummy_feast.errors import ConfigError
from yummy_feast.offline.config import engine_settings
from yummy_feast.offline.engines.base import EngineSettings
from yummy_feast.offline.engines.duckdb import DuckDBEngine
from yummy_feast.offline.engines.table import ENGINES, engine_of
from yummy_feast.sources.base import SourceContext
from yummy_feast.spark.settings import SparkSettings


def repo(folder: Path, **offline: Any) -> RepoConfig:
    return RepoConfig(
        project="lab",
        provider="local",
        registry=str(folder / "registry.db"),
        offline_store={"type": "yummy_feast.YummyOfflineStore"} | offline,
        online_store=None,
        repo_path=folder,
        entity_key_serialization_version=3,
    )


def test_defaults() -> None:
    config = YummyOfflineStoreConfig()
    assert (config.engine, config.memory_limit, config.temp_directory) == ("duckdb", None, None)
    assert config.threads == (os.cpu_count() or 1)


def test_feast_finds_the_store_by_its_config(tmp_path: Path) -> None:
    from feast.infra.offline_stores.offline_utils import get_offline_store_from_config

    config = repo(tmp_path).offline_store
    assert isinstance(config, YummyOfflineStoreConfig)
    assert isinstance(get_offline_store_from_config(config), YummyOfflineStore)


@pytest.mark.parametrize(
    ("given", "size"),
    [("4GB", 4 * 10**9), ("512 MiB", 2**29), (1000, 1000), ("1.5g", 1_500_000_000), (None, None)],
)
def test_memory_limit_is_bytes_or_text(given: Any, size: int | None) -> None:
    assert YummyOfflineStoreConfig(memory_limit=given).memory_limit == size


def test_old_spellings_warn_and_work() -> None:
    with pytest.warns(DeprecationWarning, match="backend is now called engine") as warned:
        assert YummyOfflineStoreConfig(backend="duckdb").engine == "duckdb"
    assert warned[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="config is now called spark_conf"):
        assert YummyOfflineStoreConfig(config={"a": 1}).spark_conf == {"a": 1}


def test_spark_gets_what_the_embedded_engine_has(tmp_path: Path) -> None:
    store = {
        "type": "yummy_feast.YummyOfflineStore",
        "engine": "spark",
        "spark_conf": {"master": "local[2]", "spark.ui.enabled": True},
        "spark_jars": "jars",
        "memory_limit": "2GiB",
        "threads": 3,
        "temp_directory": "/spill",
        "storage_options": {"allow_http": True},
        "catalogs": {"ice": {"type": "rest", "uri": "http://host"}},
    }
    config = RepoConfig(project="p", registry="r.db", provider="local", offline_store=store, repo_path=tmp_path)
    spark = engine_settings(config).spark
    assert spark == SparkSettings(
        conf={"spark.master": "local[2]", "spark.ui.enabled": "true"},
        jars=tmp_path / "jars",
        storage_options={"allow_http": "true"},
        catalogs={"ice": {"type": "rest", "uri": "http://host"}},
        threads=3,
        memory_limit=2 << 30,
        repo_path=tmp_path,
        scratch=Path("/spill"),
    )
    config.offline_store.engine = "duckdb"
    assert engine_settings(config).spark is None


@pytest.mark.parametrize("old", ["polars", "dask", "ray"])
def test_engines_of_old_are_duckdb(old: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"engine {old} is now duckdb"):
        assert YummyOfflineStoreConfig(engine=old).engine == "duckdb"


@pytest.mark.filterwarnings("ignore:offline_store:DeprecationWarning")
def test_an_old_spelling_of_an_old_engine_beside_the_new_one() -> None:
    assert YummyOfflineStoreConfig(backend="polars").engine == "duckdb"
    assert YummyOfflineStoreConfig(backend="spark", engine="duckdb").engine == "duckdb"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"memory_limt": 1},
            "offline_store has no setting 'memory_limt' (did you mean 'memory_limit'? known: catalogs, ",
        ),
        (
            {"engine": "spark", "spark_conf": {"mastr": "local"}},
            "offline_store.spark_conf has 'mastr', which is no setting of Spark (did you mean 'master'?",
        ),
        ({"engine": "duckbd"}, "offline_store.engine is 'duckbd' (did you mean 'duckdb'? known: duckdb"),
        (
            {"memory_limit": "4 parsecs"},
            "offline_store.memory_limit: '4 parsecs' is not a size (write bytes, or a unit",
        ),
        ({"memory_limit": -1}, "offline_store.memory_limit: -1 is not a size"),
        ({"threads": 0}, "offline_store.threads: 0: Input should be greater than or equal to 1"),
        ({"threads": "all"}, "offline_store.threads: 'all': Input should be a valid integer"),
        ({"catalogs": {"local": 5}}, "offline_store.catalogs.local: 5: Input should be a valid dictionary"),
        (
            {"temp_directory": "${NOWHERE_SET}"},
            "offline_store.temp_directory: the environment variable NOWHERE_SET is not",
        ),
        ({"catalogs": {"a": {"uri": "${"}}}, "offline_store.catalogs.a.uri: '${' is no variable"),
    ],
    ids=str,
)
def test_what_is_wrong_is_one_line(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        YummyOfflineStoreConfig(**values)
    assert str(caught.value).startswith(f"feature_store.yaml: {text}")
    assert "\n" not in str(caught.value)


def test_variables_are_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKE_KEY", "s3cret")
    monkeypatch.delenv("LIMIT", raising=False)
    config = YummyOfflineStoreConfig(
        memory_limit="${LIMIT:-2GB}",
        threads="${LIMIT:-3}",
        storage_options={"key": "${LAKE_KEY}", "region": "${REGION:-eu}"},
        catalogs={"local": {"uri": "sqlite:///${LAKE_KEY}.db"}},
    )
    assert (config.memory_limit, config.threads) == (2 * 10**9, 3)
    assert config.storage_options == {"key": "s3cret", "region": "eu"}
    assert config.catalogs == {"local": {"uri": "sqlite:///s3cret.db"}}


def test_settings_of_the_engine(tmp_path: Path) -> None:
    settings = engine_settings(
        repo(
            tmp_path, memory_limit="1GB", threads=3, temp_directory="spill", storage_options={"secure": True, "port": 9}
        )
    )
    assert (settings.memory_limit, settings.threads, settings.scratch) == (10**9, 3, tmp_path / "spill")
    assert settings.context.repo_path == tmp_path
    assert settings.context.storage_options == {"secure": "true", "port": "9"}
    assert engine_settings(repo(tmp_path)).scratch is None
    assert engine_settings(repo(tmp_path, temp_directory="/elsewhere")).scratch == Path("/elsewhere")


def test_another_offline_store_is_refused(tmp_path: Path) -> None:
    config = repo(tmp_path, type="dask")
    with pytest.raises(ConfigError, match=r"is DaskOfflineStoreConfig \(set it to yummy_feast.YummyOfflineStore\)"):
        engine_settings(config)


def test_engines_by_name(tmp_path: Path) -> None:
    settings = EngineSettings(SourceContext(tmp_path), threads=1)
    for name in ENGINES:
        assert engine_of(name, settings).name == name
    assert isinstance(engine_of("duckdb", settings), DuckDBEngine)
    with pytest.raises(ConfigError, match=r"no engine 'duckdp' \(did you mean 'duckdb'"):
        engine_of("duckdp", settings)
