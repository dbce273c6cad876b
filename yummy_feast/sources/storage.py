"""Where saved datasets and feature logs go: any of our sources, as what Feast calls a storage and a destination.

Both keep the source's own registry entry as their payload, so that they come back as the same source. Feast finds the
classes by their path and by the kind ``yummy``, once this module is imported: never rename them.
"""

from __future__ import annotations

import base64
import json

from feast.data_source import DataSource
from feast.feature_logging import LOG_TIMESTAMP_FIELD, LoggingDestination
from feast.protos.feast.core.DataSource_pb2 import DataSource as DataSourceProto
from feast.protos.feast.core.FeatureService_pb2 import LoggingConfig as LoggingConfigProto
from feast.protos.feast.core.SavedDataset_pb2 import SavedDatasetStorage as SavedDatasetStorageProto
from feast.saved_dataset import _DATA_SOURCE_TO_SAVED_DATASET_STORAGE, SavedDatasetStorage

from yummy_feast.errors import ConfigError, nearest
from yummy_feast.sources.adapt import as_yummy_source
from yummy_feast.sources.base import YummySource
from yummy_feast.sources.delta import DeltaSource
from yummy_feast.sources.keywords import PathLike
from yummy_feast.sources.parquet import ParquetSource

_ENTRY = "source"


class SavedDatasetYummyStorage(SavedDatasetStorage):
    """A saved dataset: in a source of ours, or at ``path`` in ``format`` (``parquet`` or ``delta``).

    A source's timestamp_field must be the column of the entity rows' event times; with ``path`` it is
    ``event_timestamp``.
    """

    _proto_attr_name: str = "custom_storage"

    def __init__(
        self,
        source: YummySource | None = None,
        *,
        path: PathLike | None = None,
        format: str = "parquet",  # noqa: A002
    ) -> None:
        self.source = _given(type(self).__name__, source, path, format, "event_timestamp")

    @staticmethod
    def from_proto(storage_proto: SavedDatasetStorageProto) -> SavedDatasetYummyStorage:
        """The storage that a registry entry describes."""
        payload = json.loads(storage_proto.custom_storage.configuration)
        return SavedDatasetYummyStorage(_source_of(payload[_ENTRY]))

    def to_proto(self) -> SavedDatasetStorageProto:
        """The registry entry."""
        payload = json.dumps({"payload_version": 1, _ENTRY: _entry_of(self.source)}).encode()
        return self._custom_storage_proto(DataSourceProto.CustomSourceOptions(configuration=payload))

    def to_data_source(self) -> DataSource:
        """The source that reads the saved rows."""
        return self.source

    @staticmethod
    def from_data_source(data_source: DataSource) -> SavedDatasetYummyStorage:
        """A storage at the place of ``data_source``: one of ours, or Feast's FileSource."""
        return SavedDatasetYummyStorage(as_yummy_source(data_source))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SavedDatasetYummyStorage) and self.source == other.source

    def __hash__(self) -> int:
        return hash((type(self), self.source))


# From a source to the storage at its place Feast goes by the class's name; its offline server does when a client of
# `type: remote` saves a dataset.
for _kind in ("ParquetSource", "CsvSource", "DeltaSource", "IcebergSource"):
    _DATA_SOURCE_TO_SAVED_DATASET_STORAGE.setdefault(_kind, f"{__name__}.{SavedDatasetYummyStorage.__name__}")


class YummyLoggingDestination(LoggingDestination):
    """Where a feature service's logs are appended: to a source of ours, or at ``path`` in ``format``.

    path: made on first use. format: ``parquet`` (a folder, a new file per batch) or ``delta`` (a commit per batch).
    """

    _proto_kind: str = "yummy"

    def __init__(
        self,
        source: YummySource | None = None,
        *,
        path: PathLike | None = None,
        format: str = "parquet",  # noqa: A002
    ) -> None:
        self.source = _given(type(self).__name__, source, path, format, LOG_TIMESTAMP_FIELD)

    @classmethod
    def from_proto(cls, config_proto: LoggingConfigProto) -> YummyLoggingDestination:
        """The destination that a registry entry describes."""
        return cls(_source_of(config_proto.custom_destination.config[_ENTRY]))

    def to_proto(self) -> LoggingConfigProto:
        """The registry entry."""
        destination = LoggingConfigProto.CustomDestination(
            kind=self._proto_kind, config={_ENTRY: _entry_of(self.source)}
        )
        return LoggingConfigProto(custom_destination=destination)

    def to_data_source(self) -> DataSource:
        """The source that reads the logs."""
        return self.source

    def __eq__(self, other: object) -> bool:
        return isinstance(other, YummyLoggingDestination) and self.source == other.source

    def __hash__(self) -> int:
        return hash((type(self), self.source))


def _given(
    kind: str, source: YummySource | None, path: PathLike | None, name: str, timestamp_field: str
) -> YummySource:
    formats: dict[str, type[ParquetSource | DeltaSource]] = {"parquet": ParquetSource, "delta": DeltaSource}
    if (source is None) == (path is None):
        raise TypeError(f"{kind}() needs a source or a path, and not both")
    if name not in formats:
        raise ConfigError(f"{kind}: format '{name}' is unknown", hint=nearest(name, formats))
    return source or formats[name](path=path, timestamp_field=timestamp_field)


def _entry_of(source: YummySource) -> str:
    return base64.b64encode(source.to_proto().SerializeToString()).decode()


def _source_of(entry: str) -> YummySource:
    proto = DataSourceProto()
    proto.ParseFromString(base64.b64decode(entry))
    return as_yummy_source(DataSource.from_proto(proto))
