"""What every data source is: a place where rows live that answers with a Scan.

A source (``YummySource``) is what users write and what Feast's registry keeps. A ``Scan`` is one resolved look at it:
fixed files or a fixed snapshot, with an Arrow schema. A ``Piece`` is a part of a scan that can be read on its own.
Engines see scans and pieces only, so a new format is one file beside this one and no engine changes.

The contract of a piece: ``read(columns)`` yields the same rows in the same order every time, whatever the columns, so
the n-th row of a piece is a stable address. Engines rely on it: they read keys and times first, decide which rows
they want, and read the wide feature columns of just those rows in a second pass."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, Unpack

import pyarrow as pa
from feast.credentials import TAG_PREFIX, ConnectionRef, get_connection_config_override
from feast.data_source import DataSource
from feast.protos.feast.core.DataSource_pb2 import DataSource as DataSourceProto

from yummy_feast.errors import ColumnTypeError, ConfigError, SourceMovedError, ValueTypeError
from yummy_feast.sources.keywords import SourceKeywords, checked_keywords
from yummy_feast.sources.object_store import overriding
from yummy_feast.sources.schemas import check_time_column
from yummy_feast.sources.stores import is_ours_alone
from yummy_feast.sources.type_names import parse_type
from yummy_feast.values import value_type_of

if TYPE_CHECKING:
    from feast.repo_config import RepoConfig
    from feast.value_type import ValueType

    from yummy_feast.sources.looks import Looks

_PAYLOAD_VERSION = 1
MOVED = "bring back what was read, or fetch without the lockfile and write a new one"


@dataclass(frozen=True, slots=True)
class SourceContext:
    """Everything about the outside that a source may need: where relative paths start, object-store settings, Iceberg
    catalogs.
    """

    repo_path: Path
    # Both may hold secrets: kept out of the repr, and so out of logs and tracebacks.
    storage_options: Mapping[str, str] = field(default_factory=dict, repr=False)
    catalogs: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    looks: Looks | None = field(default=None, repr=False, compare=False)
    """Of the fetch that this context belongs to."""

    def scan(self, source: YummySource) -> Scan:
        """``source.scan``, at what this fetch has already seen of it. Engines ask here."""
        return source.scan(self) if self.looks is None else self.looks.scan(source, self)


@dataclass(frozen=True, slots=True)
class Prune:
    """What a reader may leave out. A hint: a scan drops what it can prove irrelevant from statistics and partitions,
    never more.

    time_field: the source's event timestamp column.
    start, end: event times outside ``[start, end]`` are not wanted; microseconds since 1970 UTC, both inclusive, None
    = open. keys: for a column, the only values that are wanted (for partition columns and statistics).
    seen, seen_start: the ``Scan.state`` of an earlier read of all there was. Of parts that were there then, event times
    from ``seen_start`` on are wanted, in place of ``start``; what came since is wanted from ``start`` on. A scan that
    cannot tell, because it does not know the state, takes every part as new. Without ``seen_start`` nothing changes."""

    time_field: str
    start: int | None = None
    end: int | None = None
    keys: Mapping[str, pa.Array] = field(default_factory=dict)
    seen: str = ""
    seen_start: int | None = None


class Piece(Protocol):
    """A part of a scan that is read on its own: a file, a few row groups, one scan task."""

    @property
    def rows(self) -> int | None:
        """Number of rows if known without reading, else None."""

    def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The piece's rows with exactly ``columns`` in that order and in the scan's types; thread-safe, repeatable,
        same row order.

        ``columns`` may be empty: batches then carry only their row counts.
        """


@dataclass(frozen=True, slots=True)
class SeenPiece:
    """A piece that an earlier read saw: of its rows, only those from ``start`` on (see ``Prune.seen_start``) are
    wanted.
    """

    piece: Piece
    start: int

    @property
    def rows(self) -> int | None:
        """See ``Piece.rows``."""
        return self.piece.rows

    def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """See ``Piece.read``."""
        return self.piece.read(columns)


@dataclass(frozen=True, slots=True)
class NativeFile:
    """One file of a ``NativeTable``. constants: columns that the file does not hold, with the one value of all its
    rows (None: null). start: as of a ``SeenPiece``.
    """

    path: str
    constants: Mapping[str, Any] = field(default_factory=dict)
    start: int | None = None


@dataclass(frozen=True, slots=True)
class NativeTable:
    """What a reader that is not ours (Spark's) needs to read the very rows of a scan, in plain data.

    format: ``parquet``, ``delta`` or ``iceberg``. location: the table's folder or name. snapshot: the version or
    snapshot id that the scan resolved. files: the files to read where there is no table log, in the order of the
    source. options: of the reader. storage_options: as in ``SourceContext``.
    """

    format: str
    location: str
    snapshot: str = ""
    files: tuple[NativeFile, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    storage_options: Mapping[str, str] = field(default_factory=dict, repr=False)


class Scan(ABC):
    """One resolved look at a source."""

    format: str
    schema: pa.Schema
    """Columns as stored (partition columns included, before any field mapping), in Arrow types."""
    snapshot: str
    """What is read, for people: ``3 files``, ``version 7``, ``snapshot 8123…``."""
    location: str
    """Path or table name, for people and for errors."""
    own_store: bool = False
    """Whether readers that are not ours cannot open its files: the settings are not those of
    ``SourceContext.storage_options``, or a path does not say all."""

    @abstractmethod
    def pieces(self, prune: Prune | None = None) -> list[Piece]:
        """The parts to read after pruning, in a fixed order. A part may hold unwanted rows; no wanted row is ever
        missing. Equal prunes give equal parts, so that the number of a part is an address too.
        """

    def native(self, columns: Sequence[str], prune: Prune | None = None) -> NativeTable | None:
        """How an engine with readers of its own reads these columns; None where it would read other values than
        ``pieces``, or where nobody has made sure. ``prune`` as for ``pieces``.
        """
        return None

    @property
    def state(self) -> str:
        """What this scan covers, as a text to keep and to give a later scan in ``Prune.seen``; empty: not known.

        Only a scan of the same source makes sense of it. Scans with the same state have the same rows.
        """
        return ""

    def pin(self, context: SourceContext) -> dict[str, Any]:
        """What ``YummySource.scan_at`` needs to see the same rows again, as JSON; empty: not known."""
        return {"state": self.state} if self.state else {}

    @property
    def total_pieces(self) -> int:
        """Parts there are without pruning."""
        return len(self.pieces())


class YummySource(DataSource):
    """Base of our data sources: what users write in a feature repo and what Feast's registry keeps.

    A format sets ``format`` and ``settings`` (the keywords of its own, each kept as an attribute of that name that
    JSON can hold) and answers ``scan``, ``append`` and ``replace``. The class path
    (``yummy_feast.sources.delta.DeltaSource``) and the names in ``settings`` are written into registries: never
    rename one."""

    format: ClassVar[str]
    settings: ClassVar[tuple[str, ...]] = ()
    moments: ClassVar[tuple[str, ...]] = ()
    """Settings that choose one of a table's snapshots."""

    s3_endpoint_override: str = ""
    """Old spelling: takes the place of ``endpoint`` in the storage options."""

    def __init__(self, default_name: str, **common: Unpack[SourceKeywords]) -> None:
        keywords = checked_keywords(type(self).__name__, self.settings, dict(common))
        self.s3_endpoint_override = keywords.pop("s3_endpoint_override", None) or ""
        super().__init__(**{**keywords, "name": keywords.get("name") or default_name})
        if not self.timestamp_field:
            raise ConfigError(
                f"{type(self).__name__} '{self.name}' needs timestamp_field",
                hint="name the column of the event timestamp",
            )

    # ------------------------------------------------------------------------------ what engines ask

    @abstractmethod
    def scan(self, context: SourceContext) -> Scan:
        """Look at the source now. SourceNotFoundError, SourceReadError, UnsupportedTableError, MissingExtraError."""

    def scan_at(self, pin: Mapping[str, Any], context: SourceContext) -> Scan:
        """The rows that the scan with this ``Scan.pin`` had. SourceMovedError if they are not there any more."""
        scan = self.scan(context)
        if pin and pin != scan.pin(context):
            raise SourceMovedError(f"source '{self.name}' moved: {self.location} has other rows", hint=MOVED)
        return scan

    @abstractmethod
    def append(self, table: pa.Table, context: SourceContext, *, create: bool = False) -> None:
        """Add rows, all or none; they are cast to the stored types, and stored columns that ``table`` lacks become
        null.

        create: make the source with the table's own schema if it does not exist (else SourceNotFoundError).
        ColumnNotFoundError for a column that is not stored, ColumnTypeError for a value that does not fit.
        """

    @abstractmethod
    def replace(self, table: pa.Table, context: SourceContext, *, allow_overwrite: bool) -> None:
        """Make ``table`` the whole content, with its schema; for saved datasets.

        Raises Feast's SavedDatasetLocationAlreadyExists if something is there and may not be overwritten.
        """

    takes_files: ClassVar[bool] = False
    """Whether ``replace_by`` works: the content is a folder of Parquet files."""

    def replace_by(self, write: Callable[[str], int], context: SourceContext, *, allow_overwrite: bool) -> None:
        """As ``replace``, with rows that ``write`` puts as Parquet files into the folder it is given; it returns how
        many. SourceReadError if they are not there then, with all as it was before.
        """
        raise NotImplementedError

    @property
    @abstractmethod
    def location(self) -> str:
        """The path or table as the user wrote it."""

    def settled(self, context: SourceContext) -> SourceContext:
        """``context`` with what this source says itself: the S3 settings of ``connection_ref``, the old endpoint."""
        own = get_connection_config_override(self) or {}
        if self.s3_endpoint_override:
            own["endpoint"] = self.s3_endpoint_override
        return replace(context, storage_options=overriding(context.storage_options, own)) if own else context

    def has_own_store(self, context: SourceContext) -> bool:
        """Whether only we know how to open its files. See ``Scan.own_store``."""
        return self.settled(context) is not context or is_ours_alone(self.location, context.storage_options)

    def stored_name(self, column: str) -> str:
        """The source's own name of a column that ``field_mapping`` may have renamed."""
        return next((stored for stored, mapped in self.field_mapping.items() if mapped == column), column)

    # ------------------------------------------------------------------------------ what Feast asks

    def validate(self, config: RepoConfig) -> None:
        """Check that the source can be read and has its timestamp columns, in types that are times."""
        scan = self.scan(context_of(config))
        for role in ("timestamp_field", "created_timestamp_column"):
            declared = getattr(self, role)
            if declared:
                check_time_column(scan.schema, self.stored_name(declared), role, scan.location)

    def get_table_column_names_and_types(self, config: RepoConfig) -> Iterable[tuple[str, str]]:
        """Columns in order with the text of their Arrow types."""
        scan = self.scan(context_of(config))
        return [(column.name, _TypeText.of(column, scan.location)) for column in scan.schema]

    @staticmethod
    def source_datatype_to_feast_value_type() -> Callable[[str], ValueType]:
        """From the text of an Arrow type to Feast's value type."""
        return _value_type_of_name

    def source_type(self) -> DataSourceProto.SourceType.ValueType:
        """Feast's kind for sources of plugins."""
        return DataSourceProto.CUSTOM_SOURCE

    def payload(self) -> dict[str, Any]:
        """The settings of this format, as the registry keeps them."""
        own = {name: getattr(self, name) for name in (*self.settings, "s3_endpoint_override")}
        return {
            "payload_version": _PAYLOAD_VERSION,
            **{name: value for name, value in own.items() if value not in (None, "")},
        }

    def _to_proto_impl(self) -> DataSourceProto:
        kind = type(self)
        return DataSourceProto(
            name=self.name,
            type=DataSourceProto.CUSTOM_SOURCE,
            data_source_class_type=f"{kind.__module__}.{kind.__qualname__}",
            timestamp_field=self.timestamp_field,
            created_timestamp_column=self.created_timestamp_column,
            date_partition_column=self.date_partition_column,
            field_mapping=self.field_mapping,
            description=self.description,
            tags=self.tags,
            owner=self.owner,
            custom_options=DataSourceProto.CustomSourceOptions(configuration=json.dumps(self.payload()).encode()),
        )

    @classmethod
    def from_proto(cls, data_source: DataSourceProto) -> Self:
        """The source that a registry entry describes. Settings of a later version of this package are left out."""
        payload = json.loads(data_source.custom_options.configuration or b"{}")
        source = cls(
            **{name: payload[name] for name in cls.settings if name in payload},
            name=data_source.name,
            timestamp_field=data_source.timestamp_field,
            created_timestamp_column=data_source.created_timestamp_column,
            field_mapping=dict(data_source.field_mapping),
            description=data_source.description,
            # Feast writes a connection reference between the tags; left there, a source would differ from its own
            # entry.
            tags={name: value for name, value in data_source.tags.items() if not name.startswith(TAG_PREFIX)},
            owner=data_source.owner,
            connection_ref=ConnectionRef.from_tags(dict(data_source.tags)),
        )
        # Not as keywords: who loads a registry did not write the old spellings and needs no warning.
        source.date_partition_column = data_source.date_partition_column
        source.s3_endpoint_override = payload.get("s3_endpoint_override", "")
        source._extract_timestamps_from_proto(data_source)
        return source

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, YummySource) or type(other) is not type(self):
            return False
        same_to_feast: bool = DataSource.__eq__(self, other)
        return same_to_feast and self.payload() == other.payload()

    def __hash__(self) -> int:
        return hash((type(self), self.name, self.timestamp_field))


def context_of(config: RepoConfig) -> SourceContext:
    """The SourceContext of a repo; offline stores other than ours give no storage options and no catalogs."""
    store = config.offline_store
    return SourceContext(
        repo_path=Path(config.repo_path) if config.repo_path is not None else Path.cwd(),
        storage_options=_texts(getattr(store, "storage_options", None)),
        catalogs={name: _texts(keys) for name, keys in (getattr(store, "catalogs", None) or {}).items()},
    )


def _texts(options: Mapping[str, Any] | None) -> dict[str, str]:
    """YAML turns ``true`` and ``5`` into other types than text, which is what the libraries want."""
    return {
        str(name): str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in (options or {}).items()
    }


class _TypeText(str):
    """The text of an Arrow type that remembers whose it is: Feast asks for its value type without saying."""

    __slots__ = ("column", "location")

    column: str
    location: str

    @classmethod
    def of(cls, column: pa.Field, location: str) -> _TypeText:
        text = cls(column.type)
        text.column, text.location = column.name, location
        return text


def _value_type_of_name(type_name: str) -> ValueType:
    whose = f"{type_name.location}: column '{type_name.column}': " if isinstance(type_name, _TypeText) else ""
    hint = "declare the feature view's schema without it, or cast the column in the source"
    try:
        found = value_type_of(parse_type(type_name))
    except ValueTypeError as error:
        raise ColumnTypeError(f"{whose}{error.message}", hint=hint) from error
    if found.name == "NULL":
        # Feast has such a value type and no such dtype.
        raise ColumnTypeError(f"{whose}nothing but nulls, which have no type", hint=hint)
    return found
