"""One look at an Iceberg table: pyiceberg plans which files count, their rows are read as Parquet pieces.

A file is read directly where its columns can be matched by field id and its deletes are positions in Parquet files.
Everything rarer (files without ids, of other formats, with columns that only exist as partition or default value,
deletion vectors, renamed children of structs) is left to pyiceberg's own reader, a task at a time. Row filters are used
for planning only: a piece has the same rows whatever is wanted from it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt
from pyiceberg.expressions import AlwaysTrue, BooleanExpression
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import ArrowScan, PyArrowFileIO, schema_to_pyarrow
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.schema import Schema
from pyiceberg.table import DataScan, FileScanTask, StaticTable, Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import IcebergType, ListType, MapType, NestedField, StructType

from yummy_feast.errors import SourceNotFoundError, SourceReadError, UnsupportedTableError, first_line, nearest
from yummy_feast.sources.base import NativeFile, NativeTable, Piece, Prune, Scan, SourceContext
from yummy_feast.sources.files import Location, StoredFile
from yummy_feast.sources.iceberg_filter import plan_filter
from yummy_feast.sources.iceberg_native import by_metadata, by_name
from yummy_feast.sources.iceberg_seen import data_files, iceberg_state, new_files, time_bounds
from yummy_feast.sources.parquet_native import native_file, readable_by_name
from yummy_feast.sources.parquet_pieces import FileColumn, ParquetFooter, parquet_pieces, read_footers, readable
from yummy_feast.sources.pruning import Wanted, WantedParts
from yummy_feast.sources.schemas import cast_column, plain_type

if TYPE_CHECKING:
    from pyiceberg.table.snapshots import Snapshot

_FIELD_ID = b"PARQUET:field_id"


def scan_type(kind: IcebergType) -> pa.DataType:
    """The Arrow type of an Iceberg type, without the large variants that pyiceberg prefers."""
    return _small(plain_type(schema_to_pyarrow(kind)))


def _small(kind: pa.DataType) -> pa.DataType:
    if pt.is_large_string(kind):
        return pa.string()
    if pt.is_large_binary(kind):
        return pa.binary()
    if pt.is_large_list(kind) or pt.is_list(kind):
        return pa.list_(_small(kind.value_type))
    if pt.is_map(kind):
        return pa.map_(_small(kind.key_type), _small(kind.item_type))
    if pt.is_struct(kind):
        return pa.struct([(child.name, _small(child.type)) for child in kind])
    return kind


class IcebergScan(Scan):
    """One snapshot of an Iceberg table."""

    format = "iceberg"

    def __init__(
        self,
        location: str,
        table: Table,
        snapshot_id: int | None,
        branch: str | None,
        date_partition: str = "",
        schema_id: int | None = None,
    ) -> None:
        """schema_id: of a pin, whose snapshot may also be None, which then means no rows."""
        self.location = location
        self._table = table
        is_empty = schema_id is not None and snapshot_id is None
        self._at = None if is_empty else _snapshot(table, snapshot_id, branch, location)
        self.snapshot = "no snapshot" if self._at is None else f"snapshot {self._at.snapshot_id}"
        self._fields = _schema_at(table, self._at, branch) if schema_id is None else table.schemas()[schema_id]
        self.schema = pa.schema([(item.name, scan_type(item.field_type)) for item in self._fields.fields])
        self._date_partition = date_partition
        self._footers: dict[str, ParquetFooter] = {}
        self._deletes: dict[str, pa.Table] = {}
        self._new: dict[str, frozenset[str] | None] = {}
        self._lock = threading.Lock()
        self._branch = branch
        # A scan of such a table may still be read by Spark.
        self._refusal = _equality_deletes(location) if _has_equality_deletes(self._at) else None

    @property
    def state(self) -> str:
        """See ``Scan.state``."""
        return iceberg_state(self._table, self._at)

    def pin(self, context: SourceContext) -> dict[str, Any]:
        """See ``Scan.pin``."""
        snapshot_id = None if self._at is None else self._at.snapshot_id
        uuid = str(self._table.metadata.table_uuid)
        return {"table_uuid": uuid, "snapshot_id": snapshot_id, "schema_id": self._fields.schema_id}

    def pieces(self, prune: Prune | None = None) -> list[Piece]:
        """See ``Scan.pieces``. SourceReadError if the snapshot names a file that is missing, UnsupportedTableError for
        equality deletes.
        """
        return [piece for _, _, pieces in self._by_file(prune) for piece in pieces]

    @property
    def total_pieces(self) -> int:
        """See ``Scan.total_pieces``; of a table that is refused, its files."""
        try:
            return len(self.pieces())
        except UnsupportedTableError:
            return 0 if self._at is None else len(data_files(self._table, self._at))

    def native(self, columns: Sequence[str], prune: Prune | None = None) -> NativeTable | None:
        """See ``Scan.native``: the snapshot's files as plain Parquet, if that is what they are; as an Iceberg table, if
        only its own reader can apply its deletes.
        """
        if self._at is None:
            return None
        try:
            found = self._by_file(prune)
        except UnsupportedTableError:
            return self._native_table(columns)
        if self.own_store or any(task.delete_files for task, _, _ in found):
            return None
        files = [(self._footers.get(task.file.file_path), columns_in) for task, columns_in, _ in found]
        plain = [(footer, columns_in) for footer, columns_in in files if footer is not None and columns_in is not None]
        if len(plain) < len(found) or not readable_by_name(columns, self.schema, plain):
            return None
        chosen = [native_file(file, columns, pieces) for file, (_, _, pieces) in zip(plain, found, strict=True)]
        return NativeTable("parquet", self.location, str(self._at.snapshot_id), tuple(chosen))

    def _native_table(self, columns: Sequence[str]) -> NativeTable | None:
        """This snapshot for Iceberg's own reader."""
        assert self._at is not None  # noqa: S101 - for mypy: native() has asked
        if self.own_store:
            if isinstance(self._table, StaticTable):
                return None
            found = by_name(self.location, self._table, self._at, self._fields, columns)
        else:
            branch = self._branch if self._branch is not None and _is_branch(self._table, self._branch) else None
            found = by_metadata(self.location, self._table, self._at, self._fields, columns, branch)
        return replace(found, files=tuple(NativeFile(path) for path in data_files(self._table, self._at)))

    def _by_file(self, prune: Prune | None) -> list[tuple[FileScanTask, Mapping[str, FileColumn] | None, list[Piece]]]:
        """The files that may hold wanted rows, how each has the columns (None: pyiceberg knows), and its pieces."""
        if self._refusal is not None:
            raise self._refusal
        parts = WantedParts(prune, self.schema, self._date_partition)
        if self._at is None or parts.new.nothing:
            return []
        new = self._new_since(parts.state)
        tasks = [
            (task, parts.of(seen=new is not None and task.file.file_path not in new))
            for task in self._tasks(plan_filter(_either_start(prune), self._fields, self._table.schema()))
        ]
        tasks = [(task, wanted) for task, wanted in tasks if wanted.may_hold(time_bounds(task.file, self._fields))]
        with self._lock:
            self._load([task for task, _ in tasks if _is_parquet(task)])
        found = []
        for task, wanted in tasks:
            columns, pieces = self._pieces_of(task, wanted)
            kept = [parts.marked(piece, wanted) for piece in pieces]
            if kept:
                found.append((task, columns, kept))
        return found

    # ------------------------------------------------------------------------------ planning

    def _new_since(self, state: str) -> frozenset[str] | None:
        """Files that ``state`` did not cover, asked of the manifests once; None: all."""
        assert self._at is not None  # noqa: S101 - for mypy: pieces() has asked
        if not state:
            return None
        with self._lock:
            if state not in self._new:
                self._new[state] = new_files(state, self._table, self._at)
            return self._new[state]

    def _tasks(self, row_filter: BooleanExpression) -> list[FileScanTask]:
        assert self._at is not None  # noqa: S101 - for mypy: pieces() has asked
        scan = DataScan(
            table_metadata=self._table.metadata,
            io=self._table.io,
            row_filter=row_filter,
            snapshot_id=self._at.snapshot_id,
        )
        try:
            tasks = list(scan.plan_files())
        except ValueError as error:
            if "equality deletes" not in str(error):
                raise
            raise _equality_deletes(self.location) from error
        except FileNotFoundError as error:
            raise self._missing(first_line(error)) from error
        # Manifests are listed from the newest to the oldest; rows are to come in the order of the commits.
        return tasks[::-1]

    # ------------------------------------------------------------------------------ reading

    def _load(self, tasks: Sequence[FileScanTask]) -> None:
        """Footers and position deletes of the tasks, each read once per scan."""
        new = [task.file.file_path for task in tasks if task.file.file_path not in self._footers]
        files = [StoredFile(self._location(path), size=None, modified=None, partition={}) for path in new]
        try:
            footers = read_footers(files)
            for task in tasks:
                for item in task.delete_files:
                    if _is_position_file(item) and item.file_path not in self._deletes:
                        self._deletes[item.file_path] = self._read_deletes(item.file_path)
        except SourceReadError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise self._missing(error.message) from error
            raise
        self._footers.update(zip(new, footers, strict=True))

    def _read_deletes(self, path: str) -> pa.Table:
        place = StoredFile(self._location(path), size=None, modified=None, partition={})
        with place.open() as handle, readable(place.text):
            return pq.read_table(handle, columns=["file_path", "pos"])

    def _location(self, path: str) -> Location:
        io = self._table.io
        if not isinstance(io, PyArrowFileIO):
            raise SourceReadError(
                f"{self.location}: files of {path} are read through pyarrow only", hint="drop py-io-impl"
            )
        scheme, netloc, inner = io.parse_location(path, io.properties)
        return Location(io.fs_by_scheme(scheme, netloc), inner, is_local=scheme == "file", prefix=f"{scheme}://")

    def _pieces_of(self, task: FileScanTask, wanted: Wanted) -> tuple[Mapping[str, FileColumn] | None, list[Piece]]:
        footer = self._footers.get(task.file.file_path)
        columns = None if footer is None else self._direct_columns(task, footer)
        if footer is None or columns is None:
            return None, [TaskPiece(self._table.metadata, self._table.io, self._fields, self.schema, task)]
        return columns, cast("list[Piece]", parquet_pieces(footer, columns, wanted, self._kept_rows(task, footer)))

    def _direct_columns(self, task: FileScanTask, footer: ParquetFooter) -> Mapping[str, FileColumn] | None:
        """How the file's columns become the scan's, by field id; None if the rules for rarer cases are needed."""
        if not all(_is_position_file(item) for item in task.delete_files):
            return None
        stored = {int((item.metadata or {}).get(_FIELD_ID, -1)): item for item in footer.schema}
        if -1 in stored:
            return None
        constants = _identity_sources(self._table, task)
        columns = {}
        for field, column in zip(self._fields.fields, self.schema, strict=True):
            found = stored.get(field.field_id)
            if found is None and (field.field_id in constants or field.initial_default is not None):
                return None
            if found is not None and not _same_names(field.field_type, found.type):
                return None
            columns[column.name] = FileColumn(column.type, stored=None if found is None else found.name)
        return columns

    def _kept_rows(self, task: FileScanTask, footer: ParquetFooter) -> npt.NDArray[np.bool_] | None:
        if not task.delete_files:
            return None
        keep = np.ones(footer.metadata.num_rows, bool)
        for item in task.delete_files:
            deletes = self._deletes[item.file_path]
            positions = deletes.filter(pc.equal(deletes["file_path"], task.file.file_path))["pos"]
            keep[positions.to_numpy()] = False
        return keep

    def _missing(self, what: str) -> SourceReadError:
        return SourceReadError(
            f"{self.location}: {self.snapshot} names a file that is missing: {what}", hint="restore it or roll back"
        )


@dataclass(frozen=True, slots=True)
class TaskPiece:
    """A data file read by pyiceberg, with all of its rules, and in memory as a whole."""

    metadata: TableMetadata
    io: FileIO
    fields: Schema
    schema: pa.Schema
    task: FileScanTask

    @property
    def rows(self) -> int | None:
        """See ``Piece.rows``: known where nothing was deleted."""
        return None if self.task.delete_files else int(self.task.file.record_count)

    def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """See ``Piece.read``."""
        names = list(columns) or [self.schema.names[0]]
        scan = ArrowScan(self.metadata, self.io, self.fields.select(*names), AlwaysTrue())
        schema = pa.schema([self.schema.field(name) for name in columns])
        place = self.task.file.file_path
        with readable(place):
            for batch in scan.to_record_batches([self.task]):
                arrays = [cast_column(batch.column(item.name), item.type, item.name, place) for item in schema]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema) if columns else batch.select([])


def _either_start(prune: Prune | None) -> Prune | None:
    """A prune for planning, which knows one start only: the earlier one."""
    if prune is None or prune.start is None or not prune.seen or prune.seen_start is None:
        return prune
    return replace(prune, start=min(prune.start, prune.seen_start))


def _snapshot(table: Table, snapshot_id: int | None, branch: str | None, place: str) -> Snapshot | None:
    if snapshot_id is not None:
        found = table.snapshot_by_id(snapshot_id)
        if found is None:
            known = nearest(str(snapshot_id), (str(item.snapshot_id) for item in table.snapshots()))
            raise SourceNotFoundError(f"{place}: no snapshot {snapshot_id}", hint=known)
        return found
    if branch is not None:
        found = table.snapshot_by_name(branch)
        if found is None:
            raise SourceNotFoundError(f"{place}: no branch or tag '{branch}'", hint=nearest(branch, table.refs()))
        return found
    return table.current_snapshot()


def _schema_at(table: Table, snapshot: Snapshot | None, branch: str | None) -> Schema:
    """The columns of the snapshot; of a branch those of today, as branches move on with the table."""
    is_branch = branch is not None and _is_branch(table, branch)
    if snapshot is None or snapshot.schema_id is None or is_branch or snapshot == table.current_snapshot():
        return table.schema()
    return table.schemas().get(snapshot.schema_id, table.schema())


def _is_branch(table: Table, name: str) -> bool:
    return bool(table.refs()[name].snapshot_ref_type == "branch")


def _has_equality_deletes(snapshot: Snapshot | None) -> bool:
    summary: Any = None if snapshot is None else snapshot.summary
    return summary is not None and int(summary.get("total-equality-deletes", "0") or 0) > 0


def _equality_deletes(place: str) -> UnsupportedTableError:
    return UnsupportedTableError(
        f"{place} has equality deletes, which cannot be applied here",
        hint="set `engine: spark`, or compact the table with Spark's rewrite_data_files",
    )


def _is_parquet(task: FileScanTask) -> bool:
    return bool(task.file.file_format == FileFormat.PARQUET)


def _is_position_file(item: DataFile) -> bool:
    return bool(item.content == DataFileContent.POSITION_DELETES and item.file_format == FileFormat.PARQUET)


def _identity_sources(table: Table, task: FileScanTask) -> set[int]:
    """Ids of columns whose value may stand in the file's partition instead of the file."""
    spec = table.specs()[task.file.spec_id]
    return {item.source_id for item in spec.fields if isinstance(item.transform, IdentityTransform)}


def _same_names(kind: IcebergType, stored: pa.DataType) -> bool:
    """Whether children of a nested column have the same names for the same ids in the file as in the table."""
    if isinstance(kind, StructType):
        if not pt.is_struct(stored):
            return False
        names = {item.name: int((item.metadata or {}).get(_FIELD_ID, -1)) for item in stored}
        return all(_same_child(child, names, stored) for child in kind.fields)
    if isinstance(kind, ListType):
        listed = pt.is_list(stored) or pt.is_large_list(stored) or pt.is_fixed_size_list(stored)
        return listed and _same_names(kind.element_type, stored.value_type)
    if isinstance(kind, MapType):
        return bool(
            pt.is_map(stored)
            and _same_names(kind.key_type, stored.key_type)
            and _same_names(kind.value_type, stored.item_type)
        )
    return True


def _same_child(child: NestedField, names: Mapping[str, int], stored: pa.StructType) -> bool:
    if child.name not in names:
        return child.field_id not in names.values() and child.initial_default is None
    return names[child.name] == child.field_id and _same_names(child.field_type, stored.field(child.name).type)
