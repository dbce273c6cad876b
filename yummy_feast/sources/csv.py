"""CSV files as a data source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Unpack, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
from feast.types import ComplexFeastType, PrimitiveFeastType

from yummy_feast.errors import (
    ColumnNotFoundError,
    ColumnTypeError,
    ConfigError,
    SourceReadError,
    ValueTypeError,
    nearest,
)
from yummy_feast.sources.base import Piece, Prune, Scan, SourceContext
from yummy_feast.sources.csv_dialect import Dialect, codec_of, csv_readable
from yummy_feast.sources.csv_types import ColumnText, FileTypes, file_types, first_misfit
from yummy_feast.sources.file_pins import pin_of_files
from yummy_feast.sources.files import StoredFile, marked
from yummy_feast.sources.files_source import FilesSource, partition_constants
from yummy_feast.sources.keywords import PathLike, SourceKeywords
from yummy_feast.sources.pruning import Bounds, WantedParts, comparable
from yummy_feast.sources.schemas import cast_column, common_type, plain_type
from yummy_feast.sources.seen import files_state, seen_files
from yummy_feast.sources.type_names import parse_type
from yummy_feast.sources.writing import Sink, conformed
from yummy_feast.values import arrow_type_of

_TIME = pa.timestamp("us", tz="UTC")


class CsvSource(FilesSource):
    """Rows in CSV files.

    path: a file, a folder, a glob or a list of these, ``.gz`` too; local or ``s3://``; relative to the feature repo.
    delimiter: one character. header: whether the first row has the column names.
    schema: types of some or all columns, as text (``int64``, ``timestamp[us, tz=UTC]``), Arrow types or Feast types;
    what it leaves out is inferred over the whole file. Without header it names the columns in order (else ``f0``, ...).
    Timestamps are ISO 8601, with or without zone; integers are times if ``schema`` says so (``timestamp[s]``).
    """

    format: ClassVar[str] = "csv"
    extensions: ClassVar[tuple[str, ...]] = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".csv.bz2", ".csv.zst")
    settings: ClassVar[tuple[str, ...]] = ("path", "delimiter", "header", "schema")

    def __init__(
        self,
        path: PathLike | Sequence[PathLike] | None = None,
        *,
        delimiter: str = ",",
        header: bool = True,
        schema: Mapping[str, Any] | None = None,
        **common: Unpack[SourceKeywords],
    ) -> None:
        super().__init__(path, **common)
        if len(delimiter) != 1:
            raise ConfigError(f"source '{self.name}': delimiter {delimiter!r} is not one character")
        if not isinstance(header, bool):
            raise ConfigError(f"source '{self.name}': header is {header!r}", hint="give True or False")
        self.delimiter = delimiter
        self.header = header
        self.schema = {
            name: str(_declared_type(self.name, name, declared)) for name, declared in (schema or {}).items()
        }

    @property
    def dialect(self) -> Dialect:
        """How the files are written down."""
        return Dialect(self.delimiter, self.header, () if self.header else tuple(self.schema))

    def scan(self, context: SourceContext) -> CsvScan:
        """See ``YummySource.scan``. Reads the files once through unless ``schema`` has all their columns."""
        return self.scan_of(self.files(context), context)

    def scan_of(self, files: list[StoredFile], context: SourceContext) -> CsvScan:
        """See ``FilesSource.scan_of``."""
        declared = {name: parse_type(text) for name, text in self.schema.items()}
        times = [self.stored_name(name) for name in (self.timestamp_field, self.created_timestamp_column) if name]
        return CsvScan(self, marked(files), declared, times)

    def get_table_query_string(self) -> str:
        """DuckDB's call that reads the files; relative paths then start where the process runs."""
        paths = [self.path] if isinstance(self.path, str) else self.path
        quoted = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
        return f"read_csv([{quoted}], delim = '{self.delimiter}', header = {str(self.header).lower()})"

    def write(self, table: pa.Table, path: str, sink: Sink) -> None:
        """See ``FilesSource.write``."""
        _write_bytes([self.dialect.text_of(table, path, header=self.header)], sink, codec_of(path))

    def rewrite(self, file: StoredFile, table: pa.Table, sink: Sink) -> None:
        """See ``FilesSource.rewrite``. The rows that were there stay as they are, byte for byte."""
        declared = {name: parse_type(text) for name, text in self.schema.items()}
        columns = _file_columns(file, self.dialect, declared)
        schema = pa.schema([(name, _append_type(column, table, name)) for name, column in columns.items()])
        try:
            rows = conformed(table, schema, file.text)
        except ColumnTypeError as error:
            # Nothing but its text so far says what a column of CSV holds: 1, 2, 3 does not mean that 2.5 is wrong.
            raise ColumnTypeError(
                error.message, hint="mend the value, or declare the column's type with CsvSource(schema=...)"
            ) from error
        stored = [
            column.to_stored(values, name, file.text)
            for (name, column), values in zip(columns.items(), rows.columns, strict=True)
        ]
        added = self.dialect.text_of(pa.table(stored, names=list(columns)), file.text, header=False)
        _write_bytes([*_raw(file), added], sink, codec_of(file.text))


@dataclass(frozen=True, slots=True)
class CsvColumn:
    """How a column of one file is read: parsed as ``stored``, then cast to ``type``.

    blank: quoted empty values are nulls; pyarrow does not know that, so the column is parsed as text first.
    """

    stored: pa.DataType
    type: pa.DataType
    blank: bool = False

    @property
    def parsed(self) -> pa.DataType:
        """The type that pyarrow is told."""
        return pa.string() if self.blank or pt.is_null(self.stored) else self.stored

    def convert(self, values: pa.Array, name: str, place: str) -> pa.Array:
        """Parsed values in the scan's type."""
        if pt.is_null(self.stored):
            return pa.nulls(len(values), self.type)
        if self.blank and not pt.is_string(self.stored):
            values = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
            values = cast_column(values, self.stored, name, place)
        return cast_column(values, self.type, name, place)

    def to_stored(self, values: pa.ChunkedArray, name: str, place: str) -> pa.ChunkedArray:
        """Values of the scan's type as the file writes them down: a time declared over integers as integers."""
        return values if pt.is_null(self.stored) else cast_column(values, self.stored, name, place)


class CsvScan(Scan):
    """One look at CSV files, a piece each."""

    format = "csv"

    def __init__(
        self, source: CsvSource, files: list[StoredFile], declared: dict[str, pa.DataType], times: list[str]
    ) -> None:
        self.location = source.location
        self.snapshot = f"{len(files)} file{'s' if len(files) != 1 else ''}"
        dialect = source.dialect
        columns = [_file_columns(file, dialect, declared) for file in files]
        merged: dict[str, pa.DataType] = {}
        for per_file in columns:
            for name, column in per_file.items():
                # Text holds whatever the files disagree about; a number in one file is then read as text there too.
                merged[name] = (
                    (common_type(merged[name], column.type) or pa.string()) if name in merged else column.type
                )
        unknown = [name for name in declared if name not in merged]
        if unknown:
            raise ColumnNotFoundError(
                f"{self.location}: no column '{unknown[0]}' (schema)", hint=nearest(unknown[0], merged)
            )
        without_values = {name: _TIME if name in times else pa.string() for name in merged}
        merged = {name: without_values[name] if pt.is_null(found) else found for name, found in merged.items()}
        _check_times(files, dialect, columns, merged, times)
        types, constants = partition_constants(files, merged)
        self.schema = pa.schema([*merged.items(), *((name, types[name]) for name in types if name not in merged)])
        self._date_partition = source.date_partition_column
        self._files = files
        self._pieces = [
            CsvPiece(file, dialect, _retyped(per_file, merged), self.schema, values)
            for file, per_file, values in zip(files, columns, constants, strict=True)
        ]

    @property
    def state(self) -> str:
        """See ``Scan.state``."""
        return files_state(self._files)

    def pin(self, context: SourceContext) -> dict[str, Any]:
        """See ``Scan.pin``."""
        return pin_of_files(self._files, context)

    def pieces(self, prune: Prune | None = None) -> list[Piece]:
        """See ``Scan.pieces``. CSV has no statistics: only ``key=value`` folders let a file be left out."""
        parts = WantedParts(prune, self.schema, self._date_partition)
        seen = seen_files(parts.state, self._files)
        return [
            parts.marked(cast("Piece", piece), parts.of(seen=known))
            for piece, known in zip(self._pieces, seen, strict=True)
            if parts.of(seen=known).may_hold(piece.bounds)
        ]


@dataclass(frozen=True, slots=True)
class CsvPiece:
    """One CSV file."""

    file: StoredFile
    dialect: Dialect
    columns: Mapping[str, CsvColumn]
    schema: pa.Schema
    constants: Mapping[str, pa.Scalar]

    @property
    def rows(self) -> None:
        """Unknown before the file is read."""
        return

    def bounds(self, name: str) -> Bounds | None:
        """Bounds of a column: those of the folders."""
        if name not in self.constants:
            return None
        value = comparable(self.constants[name].as_py(), self.schema.field(name).type)
        return None if value is None else Bounds(value, value)

    def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """See ``Piece.read``. SourceReadError for a malformed row, ColumnTypeError for a value not of its type."""
        unknown = [name for name in columns if name not in self.schema.names]
        if unknown:
            raise ColumnNotFoundError(
                f"{self.file.text}: no column '{unknown[0]}'", hint=nearest(unknown[0], self.schema.names)
            )
        stored = [name for name in dict.fromkeys(columns) if name in self.columns and name not in self.constants]
        # Some column has to be parsed, or there are no rows to count.
        parsed = stored or [next(iter(self.columns))]
        types = {name: self.columns[name].parsed for name in self.columns}
        schema = pa.schema([self.schema.field(name) for name in columns])
        for batch in self._parsed(parsed, types):
            if columns:
                arrays = [self._values(batch, name) for name in columns]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)
            else:
                yield batch.select([])

    def _parsed(self, names: list[str], types: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        try:
            with self.dialect.opened(self.file, types, names) as reader, csv_readable(self.file.text):
                yield from reader
        except SourceReadError as error:
            # pyarrow says neither row nor name. Where rows themselves are malformed, its own words are the best.
            for name in names:
                with suppress(SourceReadError):
                    misfit = first_misfit(self.file, self.dialect, name, types[name])
                    if misfit is not None:
                        row, text = misfit
                        raise ColumnTypeError(
                            f"{self.file.text}: row {row}, column '{name}': '{text}' is no {types[name]}",
                            hint="mend the value, or declare the column's type with CsvSource(schema=...)",
                        ) from error
            raise

    def _values(self, batch: pa.RecordBatch, name: str) -> pa.Array:
        if name in self.constants:
            return pa.repeat(self.constants[name], batch.num_rows)
        if name not in self.columns:
            return pa.nulls(batch.num_rows, self.schema.field(name).type)
        return self.columns[name].convert(batch.column(name), name, self.file.text)


def _file_columns(file: StoredFile, dialect: Dialect, declared: Mapping[str, pa.DataType]) -> dict[str, CsvColumn]:
    """How each column of a file is read. A declared column is only looked at where its text can take several forms."""
    names = dialect.names_of(file)
    looked_at = [name for name in names if name not in declared or pt.is_timestamp(declared[name])]
    types: FileTypes = file_types(file, dialect, looked_at)
    columns = {}
    for name in names:
        text = types.texts.get(name)
        if text is None:
            columns[name] = CsvColumn(declared[name], declared[name])
        elif name in declared:
            columns[name] = _declared_time(file, dialect, name, text, declared[name])
        else:
            columns[name] = CsvColumn(text.type, text.type, text.blank)
    return columns


def _declared_time(file: StoredFile, dialect: Dialect, name: str, text: ColumnText, declared: pa.DataType) -> CsvColumn:
    """A column declared as a timestamp: ISO text of any form, or integers that count the declared unit since 1970."""
    if pt.is_string(text.type) or pt.is_floating(text.type) or pt.is_boolean(text.type):
        raise _bad_time(file, dialect, name)
    return CsvColumn(text.type, declared, text.blank)


def _check_times(
    files: list[StoredFile],
    dialect: Dialect,
    columns: list[dict[str, CsvColumn]],
    merged: Mapping[str, pa.DataType],
    times: list[str],
) -> None:
    """Find the value that keeps a timestamp column from being one, while its row can still be named."""
    for name in times:
        if name not in merged or pt.is_timestamp(merged[name]) or pt.is_date(merged[name]):
            continue
        for file, per_file in zip(files, columns, strict=True):
            if name in per_file and pt.is_integer(per_file[name].type):
                raise ColumnTypeError(
                    f"{file.text}: column '{name}' holds integers, not times",
                    hint=f"if they count seconds since 1970: CsvSource(schema={{'{name}': 'timestamp[s]'}})",
                )
            if name in per_file and not pt.is_null(per_file[name].type):
                raise _bad_time(file, dialect, name)


def _bad_time(file: StoredFile, dialect: Dialect, name: str) -> ColumnTypeError:
    """The error for the first value that is no time like the one before it."""
    hint = "mend the value; times are ISO 8601, either all with a zone or all without"
    for candidate in (pa.timestamp("ns", tz="UTC"), pa.timestamp("ns")):
        misfit = first_misfit(file, dialect, name, candidate)
        if misfit is not None and misfit[0] > 1:
            break
    row, text = misfit or (1, "")
    return ColumnTypeError(f"{file.text}: row {row}, column '{name}': '{text}' is no timestamp", hint=hint)


def _retyped(columns: Mapping[str, CsvColumn], merged: Mapping[str, pa.DataType]) -> dict[str, CsvColumn]:
    """``columns`` in the types of the scan. What becomes text is parsed as text: ``007`` must not turn into ``7``."""
    out = {}
    for name, column in columns.items():
        target = merged[name]
        as_text = pt.is_string(target) and not pt.is_null(column.stored)
        out[name] = CsvColumn(pa.string() if as_text else column.stored, target, column.blank and not as_text)
    return out


def _append_type(column: CsvColumn, table: pa.Table, name: str) -> pa.DataType:
    """The type that new rows must have; a column without any value so far takes what comes."""
    if pt.is_null(column.type):
        return plain_type(table.schema.field(name).type) if name in table.column_names else pa.string()
    return column.type


def _declared_type(source: str, name: str, declared: Any) -> pa.DataType:
    where = f"source '{source}': schema: column '{name}'"
    try:
        if isinstance(declared, pa.DataType):
            found = declared
        else:
            is_feasts = isinstance(declared, PrimitiveFeastType | ComplexFeastType)
            found = arrow_type_of(declared) if is_feasts else parse_type(str(declared))
    except (ConfigError, ValueTypeError) as error:
        raise ConfigError(f"{where}: {error.message}", hint=error.hint) from error
    if pt.is_nested(found) or pt.is_binary(found) or pt.is_large_binary(found):
        raise ConfigError(f"{where} is {found}, which CSV cannot hold", hint="use ParquetSource")
    return found


def _raw(file: StoredFile) -> Iterator[bytes]:
    """The file's text in chunks, ending in a line break."""
    last = b"\n"
    with file.open() as handle:
        codec = codec_of(file.text)
        stream = handle if codec is None else pa.CompressedInputStream(handle, codec)
        try:
            while chunk := stream.read(2**20):
                last = chunk
                yield chunk
        except OSError as error:
            raise SourceReadError(f"{file.text}: {error}", hint="is the file whole?") from error
    if not last.endswith(b"\n"):
        yield b"\n"


def _write_bytes(chunks: Sequence[bytes] | Iterator[bytes], sink: Sink, codec: str | None) -> None:
    if isinstance(sink, Path):
        with pa.OSFile(str(sink), "wb") as stream:
            _write_bytes(chunks, stream, codec)
        return
    if codec is None:
        for chunk in chunks:
            sink.write(chunk)
        return
    with pa.CompressedOutputStream(sink, codec) as compressed:
        for chunk in chunks:
            compressed.write(chunk)
