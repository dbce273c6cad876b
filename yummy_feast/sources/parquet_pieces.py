"""Parquet files as pieces: shared by every format whose rows lie in Parquet files.

A file is opened once per scan for its footer. Its row groups are bundled into pieces of about ``ROWS_PER_PIECE`` rows;
a bundle loses the row groups that cannot hold wanted rows, and vanishes with its last one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from yummy_feast.errors import ColumnNotFoundError, SourceReadError, first_line, nearest
from yummy_feast.sources.files import StoredFile
from yummy_feast.sources.pruning import Bounds, BoundsOf, Wanted, comparable, domain_of, micros_of_count
from yummy_feast.sources.schemas import cast_column, plain_type

ROWS_PER_PIECE = 262_144
"""Rows a piece has at least, where a file has as many. Measured with two threads: from one row group of 131,072 rows to
eight the speed is the same; below, opening the file costs; above, threads wait for the last piece."""
BATCH_ROWS = 131_072
"""Rows per batch at most. From here on, streaming is as fast as reading whole row groups, and needs less memory."""
BATCH_BYTES = 8 * 2**20
"""Bytes per batch, about: rows with embeddings come in smaller batches."""
_BUFFER = 256 * 1024
"""Bytes of a column that are read at a time from a local file: whole columns of a row group would add up."""
_OPENERS = 8
"""Footers read at once: remote stores answer slowly, and local files do not care."""
_UNITS = {"milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}


@dataclass(frozen=True, slots=True)
class ParquetFooter:
    """A Parquet file and what its footer says."""

    file: StoredFile
    metadata: pq.FileMetaData
    schema: pa.Schema
    """As stored."""


@dataclass(frozen=True, slots=True)
class FileColumn:
    """How one column of a scan comes out of one file: by its name there, or as one value for all rows (None: null)."""

    type: pa.DataType
    stored: str | None = None
    constant: pa.Scalar | None = None


@dataclass(frozen=True, slots=True)
class ParquetPiece:
    """Some row groups of one file, with the columns of the scan."""

    footer: ParquetFooter
    groups: tuple[int, ...]
    columns: Mapping[str, FileColumn]
    keep: npt.NDArray[np.bool_] | None = field(default=None, repr=False)
    """Which rows of the whole file still exist; None: all."""

    @property
    def rows(self) -> int:
        """See ``Piece.rows``."""
        if self.keep is not None:
            return int(self._kept().sum())
        return sum(self.footer.metadata.row_group(group).num_rows for group in self.groups)

    def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """See ``Piece.read``. SourceReadError for damage, ColumnTypeError for a value that does not fit."""
        plan = [(name, self._column(name)) for name in columns]
        stored = list(dict.fromkeys(column.stored for _, column in plan if column.stored is not None))
        schema = pa.schema([pa.field(name, column.type) for name, column in plan])
        kept, position = (None if self.keep is None else self._kept()), 0
        for batch in self._stored_batches(stored):
            if kept is not None:
                mask = kept[position : position + batch.num_rows]
                position += batch.num_rows
                batch = batch.filter(pa.array(mask)) if not mask.all() else batch
            yield _projected(batch, plan, schema, self.footer.file.text)

    def _column(self, name: str) -> FileColumn:
        try:
            return self.columns[name]
        except KeyError:
            raise ColumnNotFoundError(
                f"{self.footer.file.text}: no column '{name}'", hint=nearest(name, self.columns)
            ) from None

    def _stored_batches(self, stored: list[str]) -> Iterator[pa.RecordBatch]:
        metadata = self.footer.metadata
        if not stored:
            for group in self.groups:
                yield _row_count_batch(metadata.row_group(group).num_rows)
            return
        names = set(stored)
        groups = [metadata.row_group(group) for group in self.groups]
        with opened(self.footer.file, metadata, _buffer(groups, names)) as reader, readable(self.footer.file.text):
            rows = _batch_rows(groups[0], names)
            yield from reader.iter_batches(rows, row_groups=list(self.groups), columns=stored, use_threads=False)

    def _kept(self) -> npt.NDArray[np.bool_]:
        starts = _group_starts(self.footer.metadata)
        masks = [] if self.keep is None else [self.keep[starts[group] : starts[group + 1]] for group in self.groups]
        return np.concatenate(masks)


def _projected(
    batch: pa.RecordBatch, plan: list[tuple[str, FileColumn]], schema: pa.Schema, place: str
) -> pa.RecordBatch:
    """``batch`` in the scan's columns and types."""
    if not plan:
        return batch.select([])
    arrays = []
    for name, column in plan:
        if column.stored is not None:
            arrays.append(cast_column(batch.column(column.stored), column.type, name, place))
        elif column.constant is not None:
            arrays.append(pa.repeat(column.constant, batch.num_rows))
        else:
            arrays.append(pa.nulls(batch.num_rows, column.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _batch_rows(group: pq.RowGroupMetaData, stored: set[str]) -> int:
    sizes = (column.total_uncompressed_size for column in _chunks(group, stored))
    per_row = sum(sizes) / max(group.num_rows, 1)
    return int(min(BATCH_ROWS, max(1024, BATCH_BYTES // max(per_row, 1))))


def _buffer(groups: Sequence[pq.RowGroupMetaData], stored: set[str]) -> int:
    """Bytes of each column to read at a time; 0: whole chunks, where none is larger than a buffer. A buffer is made as
    large as it may get, and hundreds of them for small chunks take longer than reading.
    """
    largest = max(column.total_compressed_size for group in groups for column in _chunks(group, stored))
    return _BUFFER if largest > _BUFFER else 0


def _chunks(group: pq.RowGroupMetaData, stored: set[str]) -> Iterator[pq.ColumnChunkMetaData]:
    for column in map(group.column, range(group.num_columns)):
        if column.path_in_schema in stored or column.path_in_schema.split(".", 1)[0] in stored:
            yield column


def _row_count_batch(rows: int) -> pa.RecordBatch:
    return pa.record_batch({"rows": pa.nulls(rows)}).select([])


def _group_starts(metadata: pq.FileMetaData) -> list[int]:
    starts = [0]
    for group in range(metadata.num_row_groups):
        starts.append(starts[-1] + metadata.row_group(group).num_rows)
    return starts


@contextmanager
def readable(place: str) -> Iterator[None]:
    """Turn what pyarrow raises about a damaged file into a SourceReadError that names it."""
    try:
        yield
    except SourceReadError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise SourceReadError(f"{place} cannot be read: {first_line(error)}", hint="is the file whole?") from error


@contextmanager
def opened(
    file: StoredFile, metadata: pq.FileMetaData | None = None, buffer: int = _BUFFER
) -> Iterator[pq.ParquetFile]:
    """The file's Parquet reader. buffer: bytes of a column that are read at a time where the file is local."""
    with file.open() as handle:
        yield _reader(file, handle, metadata, buffer)


def _reader(
    file: StoredFile, handle: pa.NativeFile, metadata: pq.FileMetaData | None = None, buffer: int = _BUFFER
) -> pq.ParquetFile:
    with readable(file.text):
        return pq.ParquetFile(
            handle,
            metadata=metadata,
            pre_buffer=not file.location.is_local,
            buffer_size=buffer if file.location.is_local else 0,
            # INT96 of old Spark counts nanoseconds from a wide range of days, which do not fit an int64.
            coerce_int96_timestamp_unit="us",
        )


def read_footer(file: StoredFile) -> ParquetFooter:
    """The file's footer; its ``file`` has a mark from now on.

    SourceReadError if the file is not whole or no Parquet at all, or names a column twice.
    """
    with file.open() as handle:
        reader = _reader(file, handle)
        schema = reader.schema_arrow
        if len(set(schema.names)) != len(schema.names):
            twice = next(name for name in schema.names if schema.names.count(name) > 1)
            raise SourceReadError(f"{file.text} has two columns '{twice}'", hint="rename one of them")
        return ParquetFooter(file.marked(handle), reader.metadata, schema)


def read_footers(files: Sequence[StoredFile]) -> list[ParquetFooter]:
    """The footers in the order of the files."""
    if len(files) < 2:
        return [read_footer(file) for file in files]
    with ThreadPoolExecutor(_OPENERS) as pool:
        return list(pool.map(read_footer, files))


def columns_of(footer: ParquetFooter, schema: pa.Schema, constants: Mapping[str, pa.Scalar]) -> dict[str, FileColumn]:
    """How each column of a scan with ``schema`` comes out of a file: by its name, unless ``constants`` has a value."""
    stored = set(footer.schema.names)
    return {
        column.name: FileColumn(
            column.type,
            stored=column.name if column.name in stored and column.name not in constants else None,
            constant=constants.get(column.name),
        )
        for column in schema
    }


def parquet_pieces(
    footer: ParquetFooter,
    columns: Mapping[str, FileColumn],
    wanted: Wanted,
    keep: npt.NDArray[np.bool_] | None = None,
) -> list[ParquetPiece]:
    """The file's pieces that may hold wanted rows."""
    bounds_of = _FileBounds(footer, columns)
    pieces = []
    for bundle in _bundles(footer.metadata):
        groups = tuple(group for group in bundle if wanted.may_hold(bounds_of.group(group)))
        if groups:
            pieces.append(ParquetPiece(footer, groups, columns, keep))
    return pieces


def _bundles(metadata: pq.FileMetaData) -> list[list[int]]:
    bundles: list[list[int]] = []
    rows = ROWS_PER_PIECE
    for group in range(metadata.num_row_groups):
        if rows >= ROWS_PER_PIECE:
            bundles.append([])
            rows = 0
        bundles[-1].append(group)
        rows += metadata.row_group(group).num_rows
    return bundles


class _FileBounds:
    """Bounds of columns per row group, from the footer's statistics and the constants of the file."""

    def __init__(self, footer: ParquetFooter, columns: Mapping[str, FileColumn]) -> None:
        self._metadata = footer.metadata
        self._schema = footer.schema
        self._columns = columns
        self._leaves: dict[str, tuple[int, Callable[[Any], Any]] | None] = {}

    def group(self, group: int) -> BoundsOf:
        def bounds_of(name: str) -> Bounds | None:
            column = self._columns[name]
            if column.constant is not None:
                value = comparable(column.constant.as_py(), column.type)
                return None if value is None else Bounds(value, value)
            return None if column.stored is None else self._stored_bounds(group, column.stored, column.type)

        return bounds_of

    def _stored_bounds(self, group: int, name: str, scan_type: pa.DataType) -> Bounds | None:
        if name not in self._leaves:
            self._leaves[name] = self._leaf(name, scan_type)
        leaf = self._leaves[name]
        if leaf is None:
            return None
        index, convert = leaf
        statistics = self._metadata.row_group(group).column(index).statistics
        if statistics is None or not statistics.has_min_max:
            return None
        return Bounds(convert(statistics.min_raw), convert(statistics.max_raw))

    def _leaf(self, name: str, scan_type: pa.DataType) -> tuple[int, Callable[[Any], Any]] | None:
        """Where the column's statistics are, and how their raw values enter its domain; None: do not use them."""
        stored_type = plain_type(self._schema.field(name).type)
        # A dot could mean a nested column of the same path.
        if domain_of(stored_type) is None or domain_of(stored_type) != domain_of(scan_type) or "." in name:
            return None
        schema = self._metadata.schema
        index = next(i for i in range(len(schema)) if schema.column(i).path == name)
        convert = _converter(schema.column(index), stored_type)
        return None if convert is None else (index, convert)


def _converter(leaf: pq.ColumnSchema, stored_type: pa.DataType) -> Callable[[Any], Any] | None:
    """From the raw value of a statistic to the domain. Raw, because Python's datetime has no nanoseconds."""
    domain = domain_of(stored_type)
    logical = json.loads(leaf.logical_type.to_json())
    if domain == "bytes":
        return bytes if leaf.physical_type == "BYTE_ARRAY" else None
    if leaf.physical_type not in ("INT32", "INT64"):
        return None
    if logical["Type"] == "Timestamp" and domain == "time":
        unit = _UNITS[logical["timeUnit"]]
        return lambda raw: micros_of_count(raw, unit)
    if logical["Type"] == "Date" and domain == "time":
        return lambda raw: raw * 86_400 * 10**6
    if domain == "int" and (logical["Type"] == "None" or logical.get("isSigned", False)):
        return int
    return None
