"""From whatever a feature view names as its source to one of ours, so that stock Feast repositories work unchanged."""

from __future__ import annotations

from typing import Any

from feast.data_format import DeltaFormat, ParquetFormat
from feast.data_source import DataSource, KafkaSource, KinesisSource, PushSource
from feast.infra.offline_stores.file_source import FileSource

from yummy_feast.errors import ConfigError
from yummy_feast.sources.base import YummySource
from yummy_feast.sources.delta import DeltaSource
from yummy_feast.sources.parquet import ParquetSource

_NO_TIMESTAMP = "event_timestamp"
"""Feast's own name for the column where a source of a saved dataset or a log declares none."""


def as_yummy_source(source: DataSource) -> YummySource:
    """``source`` itself if it is ours; the batch source of a push or stream source; Feast's FileSource in its format.

    Raises:
        ConfigError: a source whose rows we cannot read.
    """
    if isinstance(source, YummySource):
        return source
    if isinstance(source, (PushSource, KafkaSource, KinesisSource)):
        if source.batch_source is None:
            raise ConfigError(f"source '{source.name}' has no batch_source", hint="give it one to read history from")
        return as_yummy_source(source.batch_source)
    if isinstance(source, FileSource):
        return _of_file(source)
    raise ConfigError(
        f"source '{source.name}' is a {type(source).__name__}, which this offline store cannot read",
        hint="use ParquetSource, CsvSource, DeltaSource or IcebergSource",
    )


def _of_file(source: FileSource) -> YummySource:
    kinds: dict[type, type[ParquetSource | DeltaSource]] = {
        type(None): ParquetSource,
        ParquetFormat: ParquetSource,
        DeltaFormat: DeltaSource,
    }
    kind = kinds.get(type(source.file_format))
    if kind is None:
        raise ConfigError(
            f"source '{source.name}' is a FileSource of {type(source.file_format).__name__}",
            hint="ParquetFormat and DeltaFormat can be read",
        )
    common: dict[str, Any] = {
        "name": source.name,
        "timestamp_field": source.timestamp_field or _NO_TIMESTAMP,
        "created_timestamp_column": source.created_timestamp_column,
        "field_mapping": source.field_mapping,
        "description": source.description,
        "tags": source.tags,
        "owner": source.owner,
        "connection_ref": source.connection_ref,
    }
    adapted = kind(path=source.path, **common)
    # Not as a keyword: Feast's spelling is not one of our old ones, and needs no warning.
    adapted.s3_endpoint_override = source.s3_endpoint_override or ""
    return adapted
