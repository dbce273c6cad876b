"""From whatever a feature view names as its source to one of ours."""

from __future__ import annotations

from feast.data_format import DeltaFormat
from feast.data_source import DataSource, KafkaSource, KinesisSource, PushSource
from feast.infra.offline_stores.file_source import FileSource

from yummy_feast.errors import ConfigError
from yummy_feast.sources.base import YummySource
from yummy_feast.sources.keywords import SourceKeywords


def as_yummy_source(source: DataSource) -> YummySource:
    """``source`` itself if it is ours; the batch source of a stream; Feast's FileSource as the format it names.

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
        f"source '{source.name}' is a {type(source).__name__}",
        hint="use ParquetSource, CsvSource, DeltaSource or IcebergSource",
    )


def _of_file(source: FileSource) -> YummySource:
    common: SourceKeywords = {
        "name": source.name,
        # Feast's file storage of saved datasets and logs names none: whoever reads it says which column it is.
        "timestamp_field": source.timestamp_field or "event_timestamp",
        "created_timestamp_column": source.created_timestamp_column,
        "field_mapping": source.field_mapping,
        "description": source.description,
        "tags": source.tags,
        "owner": source.owner,
    }
    if isinstance(source.file_format, DeltaFormat):
        from yummy_feast.sources.delta import DeltaSource

        return DeltaSource(path=source.path, **common)
    from yummy_feast.sources.parquet import ParquetSource

    return ParquetSource(path=source.path, **common)
