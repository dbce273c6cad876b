"""What all sources share with Feast: keywords, the registry, the repo's settings."""

from __future__ import annotations

import copy
import datetime as dt
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from feast.credentials import ConnectionRef
from feast.data_source import DataSource
from feast.infra.registry.registry import Registry
from feast.repo_config import RegistryConfig, RepoConfig

from yummy_feast.errors import ConfigError
from yummy_feast.sources.base import SourceContext, YummySource, context_of
from yummy_feast.sources.csv import CsvSource
from yummy_feast.sources.delta import DeltaSource
from yummy_feast.sources.iceberg import IcebergSource
from yummy_feast.sources.parquet import ParquetSource

EXAMPLES: list[YummySource] = [
    ParquetSource(["a", "b/*.parquet"], timestamp_field="ts", name="p"),
    CsvSource("a", timestamp_field="ts", delimiter=";", header=False, schema={"ts": "timestamp[s]"}),
    DeltaSource("a", timestamp_field="ts", version=3),
    IcebergSource(table="c.n.t", timestamp_field="ts", snapshot_id=2**62),
]


@pytest.mark.parametrize("source", EXAMPLES, ids=lambda source: source.format)
def test_a_real_registry_keeps_a_source(source: YummySource, tmp_path: Path) -> None:
    config = RegistryConfig(path=str(tmp_path / "registry.db"))
    Registry("p", config, tmp_path).apply_data_source(source, "p", commit=True)
    (kept,) = Registry("p", config, tmp_path).list_data_sources("p")
    assert kept == source
    assert kept.payload() == source.payload()
    assert copy.deepcopy(kept) == source


@pytest.mark.parametrize("source", EXAMPLES, ids=lambda source: source.format)
def test_every_setting_tells_two_sources_apart(source: YummySource) -> None:
    for name, value in source.payload().items():
        if name in source.settings:
            other = copy.deepcopy(source)
            setattr(other, name, f"not {value}")
            assert other != source


def test_connection_references_survive_and_stay_out_of_the_tags() -> None:
    reference = ConnectionRef(provider="env", name="X", params={"a": "b"})
    source = ParquetSource("a", timestamp_field="ts", tags={"team": "x"}, connection_ref=reference)
    again = DataSource.from_proto(source.to_proto())
    assert (again.connection_ref, again.tags) == (reference, {"team": "x"})
    assert again == source


def test_timestamps_of_the_registry_survive() -> None:
    source = ParquetSource("a", timestamp_field="ts")
    source.created_timestamp = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    for again in (DataSource.from_proto(source.to_proto()), ParquetSource.from_proto(source.to_proto())):
        assert again.created_timestamp == source.created_timestamp


def test_feasts_own_checks_still_hold() -> None:
    with pytest.raises(ValueError, match="same column"):
        ParquetSource("a", timestamp_field="ts", created_timestamp_column="ts")
    with pytest.raises(ConfigError, match=r"DeltaSource 'a' needs timestamp_field"):
        DeltaSource("a")


# ------------------------------------------------------------------------------ old spellings


@pytest.mark.parametrize(
    ("keyword", "value", "words"),
    [
        ("event_timestamp_column", "ts", "timestamp_field"),
        ("range_join", 10, "no effect"),
        ("s3_endpoint_override", "http://localhost:9", "storage_options"),
        ("date_partition_column", "day", "prune"),
    ],
)
def test_old_spellings_work_and_warn_where_they_are_written(keyword: str, value: Any, words: str) -> None:
    keywords: Any = {keyword: value, **({} if keyword == "event_timestamp_column" else {"timestamp_field": "ts"})}
    with pytest.warns(DeprecationWarning, match=words) as caught:
        source = DeltaSource("a", **keywords)
    assert caught[0].filename == __file__
    assert source.timestamp_field == "ts"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = DataSource.from_proto(source.to_proto())
    assert again == source
    if keyword != "range_join" and keyword != "event_timestamp_column":
        assert getattr(again, keyword) == value
        assert again != DeltaSource("a", timestamp_field="ts")


@pytest.mark.parametrize("kind", [ParquetSource, CsvSource, DeltaSource])
def test_the_warning_names_the_line_that_made_the_source(kind: type[YummySource]) -> None:
    make: Any = kind
    with pytest.warns(DeprecationWarning, match="no effect") as caught:
        make("a", timestamp_field="ts", range_join=1)
    assert [item.filename for item in caught] == [__file__]


def test_none_is_no_old_spelling() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ParquetSource("a", timestamp_field="ts", range_join=None, date_partition_column=None, s3_endpoint_override=None)


def test_names_of_the_first_yummy() -> None:
    import yummy_feast

    for old, new in (("ParquetDataSource", ParquetSource), ("DeltaDataSource", DeltaSource)):
        with pytest.warns(DeprecationWarning, match=new.__name__):
            assert getattr(yummy_feast, old) is new


# ------------------------------------------------------------------------------ the repo


def test_the_context_of_a_repo_with_our_store(tmp_path: Path) -> None:
    config = RepoConfig(
        project="p",
        provider="local",
        registry=str(tmp_path / "r.db"),
        offline_store={
            "type": "yummy_feast.YummyOfflineStore",
            "storage_options": {"endpoint": "http://x", "secret": "hush", "key": "k"},
            "catalogs": {"local": {"type": "sql", "uri": "sqlite:///c.db"}},
        },
        entity_key_serialization_version=3,
        repo_path=tmp_path,
    )
    context = context_of(config)
    assert context.repo_path == tmp_path
    assert context.catalogs == {"local": {"type": "sql", "uri": "sqlite:///c.db"}}
    assert context.storage_options["secret"] == "hush"
    assert "hush" not in repr(context)


def test_the_context_of_a_repo_with_another_store(tmp_path: Path) -> None:
    config = RepoConfig(
        project="p",
        provider="local",
        registry=str(tmp_path / "r.db"),
        offline_store={"type": "dask"},
        entity_key_serialization_version=3,
        repo_path=tmp_path,
    )
    assert context_of(config) == SourceContext(tmp_path)


def test_options_are_text_whatever_yaml_made_of_them() -> None:
    store = SimpleNamespace(storage_options={"allow_http": True, "timeout": 5}, catalogs={"c": {"a": False}})
    config: Any = SimpleNamespace(repo_path=None, offline_store=store)
    context = context_of(config)
    assert context.storage_options == {"allow_http": "true", "timeout": "5"}
    assert context.catalogs == {"c": {"a": "false"}}
    assert context.repo_path == Path.cwd()


def test_renamed_columns_are_found_under_their_own_name() -> None:
    source = ParquetSource("a", timestamp_field="when", field_mapping={"ts": "when"})
    assert (source.stored_name("when"), source.stored_name("other")) == ("ts", "other")
