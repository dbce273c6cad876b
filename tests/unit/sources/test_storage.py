"""Saved datasets and feature logs in our sources."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from feast import FileSource
from feast.feature_logging import LOG_TIMESTAMP_FIELD, LoggingConfig
from feast.saved_dataset import SavedDataset, SavedDatasetStorage

from tests.contract.format_cases import read
from yummy_feast.errors import ConfigError
from yummy_feast.sources.base import SourceContext, YummySource
from yummy_feast.sources.csv import CsvSource
from yummy_feast.sources.delta import DeltaSource
from yummy_feast.sources.iceberg import IcebergSource
from yummy_feast.sources.parquet import ParquetSource
from yummy_feast.sources.storage import SavedDatasetYummyStorage, YummyLoggingDestination

SOURCES: list[YummySource] = [
    ParquetSource("a", timestamp_field="ts", tags={"x": "y"}),
    DeltaSource("s3://b/a", timestamp_field="ts"),
    CsvSource("a", timestamp_field="ts", delimiter=";"),
    IcebergSource(table="c.n.t", timestamp_field="ts"),
]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.format)
def test_a_saved_dataset_comes_back_from_the_registry(source: YummySource) -> None:
    storage = SavedDatasetYummyStorage(source)
    assert SavedDatasetStorage.from_proto(storage.to_proto()) == storage
    dataset = SavedDataset("d", ["v:f"], ["id"], storage)
    assert SavedDataset.from_proto(dataset.to_proto()).storage == storage
    assert storage.to_data_source() is source
    assert hash(storage) == hash(SavedDatasetYummyStorage(source))
    assert storage != SavedDatasetYummyStorage(path="elsewhere")


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.format)
def test_a_destination_comes_back_from_the_registry(source: YummySource) -> None:
    destination = YummyLoggingDestination(source)
    config = LoggingConfig.from_proto(LoggingConfig(destination, 0.5).to_proto())
    assert config is not None
    assert (config.destination, config.sample_rate) == (destination, 0.5)
    assert destination.to_data_source() is source
    assert hash(destination) == hash(YummyLoggingDestination(source))
    assert destination != YummyLoggingDestination(path="elsewhere")


def test_the_names_in_the_registry_are_a_wire_format() -> None:
    proto = SavedDatasetYummyStorage(SOURCES[0]).to_proto()
    path = b'"saved_dataset_storage_class": "yummy_feast.sources.storage.SavedDatasetYummyStorage"'
    assert path in proto.custom_storage.configuration
    assert YummyLoggingDestination(SOURCES[0]).to_proto().custom_destination.kind == "yummy"


def test_from_a_data_source_of_ours_or_feasts() -> None:
    assert SavedDatasetYummyStorage.from_data_source(SOURCES[0]).source == SOURCES[0]
    stored = SavedDatasetYummyStorage.from_data_source(FileSource(path="a", timestamp_field="ts"))
    assert stored.source == ParquetSource("a", timestamp_field="ts")


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.format)
def test_feast_knows_the_storage_of_a_source(source: YummySource) -> None:
    assert SavedDatasetStorage.from_data_source(source) == SavedDatasetYummyStorage(source)


@pytest.mark.parametrize(("form", "kind"), [("parquet", ParquetSource), ("delta", DeltaSource)])
def test_a_path_is_enough(form: str, kind: type[YummySource], tmp_path: Path) -> None:
    context = SourceContext(tmp_path)
    saved = SavedDatasetYummyStorage(path="saved", format=form).to_data_source()
    logs = YummyLoggingDestination(path=Path("logs"), format=form).to_data_source()
    assert isinstance(saved, kind)
    assert isinstance(logs, kind)
    assert (saved.timestamp_field, logs.timestamp_field) == ("event_timestamp", LOG_TIMESTAMP_FIELD)
    for number in range(2):
        logs.append(pa.table({"n": [number]}), context, create=True)
    assert sorted(read(logs.scan(context))["n"].to_pylist()) == [0, 1]
    saved.replace(pa.table({"n": [7]}), context, allow_overwrite=False)
    assert read(saved.scan(context))["n"].to_pylist() == [7]


@pytest.mark.parametrize("kind", [SavedDatasetYummyStorage, YummyLoggingDestination])
def test_what_makes_no_sense(kind: Any) -> None:
    for keywords in ({}, {"source": SOURCES[0], "path": "a"}):
        with pytest.raises(TypeError, match="a source or a path"):
            kind(**keywords)
    with pytest.raises(ConfigError, match=r"'delat' is unknown.*'delta'"):
        kind(path="a", format="delat")
