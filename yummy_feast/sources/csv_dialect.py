"""How a CSV file is written down: one place for every option of pyarrow's CSV reader and writer.

An unquoted empty value or ``NULL``, ``null``, ``NA``, ``N/A``, ``n/a``, ``#N/A`` is null; in quotes each of them is
text. Quoted text may span lines. ``.gz``, ``.bz2`` and ``.zst`` files are decompressed on the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.types as pt

from yummy_feast.errors import ColumnTypeError, SourceReadError, first_line
from yummy_feast.sources.files import StoredFile
from yummy_feast.sources.schemas import cast_column

NULLS = ("", "NULL", "null", "NA", "N/A", "n/a", "#N/A")
TRUE = ("true", "True", "TRUE")
FALSE = ("false", "False", "FALSE")
_BLOCK = 4 * 2**20
"""Bytes parsed at a time: a row must fit, and a batch is about one block."""
_CODECS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}


@dataclass(frozen=True, slots=True)
class Dialect:
    """delimiter: one character; header: whether the first row has the names; names: those of files without header."""

    delimiter: str = ","
    header: bool = True
    names: tuple[str, ...] = ()

    @contextmanager
    def opened(
        self, file: StoredFile, types: Mapping[str, pa.DataType] | None = None, columns: Sequence[str] | None = None
    ) -> Iterator[pacsv.CSVStreamingReader]:
        """Read ``columns`` (all if None) as ``types`` says, else as pyarrow guesses from the first block.

        SourceReadError for a file that is empty, ragged, or holds a value that its column's type does not.
        """
        with file.open() as handle, csv_readable(file.text):
            reader = pacsv.open_csv(
                _decompressed(handle, file.text),
                read_options=pacsv.ReadOptions(
                    use_threads=False,
                    block_size=_BLOCK,
                    column_names=list(self.names) or None,
                    autogenerate_column_names=not self.header and not self.names,
                ),
                parse_options=pacsv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
                convert_options=pacsv.ConvertOptions(
                    column_types=dict(types or {}),
                    include_columns=None if columns is None else list(columns),
                    null_values=list(NULLS),
                    true_values=list(TRUE),
                    false_values=list(FALSE),
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            )
            yield reader

    def names_of(self, file: StoredFile) -> list[str]:
        """Column names in order. SourceReadError if a name occurs twice."""
        with self.opened(file) as reader:
            names = list(reader.schema.names)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SourceReadError(f"{file.text} has two columns '{twice[0]}'", hint="rename one of them")
        return names

    def text_of(self, table: pa.Table, place: str, *, header: bool) -> bytes:
        """``table`` as CSV: text quoted, nulls empty, times in UTC (with ``Z``) or naive.

        ColumnTypeError for types that CSV cannot hold: bytes, lists, maps, structs.
        """
        sink = pa.BufferOutputStream()
        options = pacsv.WriteOptions(include_header=header, delimiter=self.delimiter)
        pacsv.write_csv(_writable(table, place), sink, options)
        return bytes(sink.getvalue())


def _decompressed(handle: pa.NativeFile, path: str) -> pa.NativeFile:
    codec = codec_of(path)
    return handle if codec is None else pa.CompressedInputStream(handle, codec)


def codec_of(path: str) -> str | None:
    """The compression that a file's name tells."""
    return next((codec for ending, codec in _CODECS.items() if path.lower().endswith(ending)), None)


@contextmanager
def csv_readable(place: str) -> Iterator[None]:
    """Turn what pyarrow raises about a malformed file into a SourceReadError that names it."""
    try:
        yield
    except SourceReadError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise SourceReadError(
            f"{place}: {first_line(error)}",
            hint="mend the row, or declare delimiter, header or schema on the CsvSource",
        ) from error


def _writable(table: pa.Table, place: str) -> pa.Table:
    columns = []
    for name, values in zip(table.column_names, table.columns, strict=True):
        kind = values.type
        if pt.is_nested(kind) or pt.is_binary(kind) or pt.is_large_binary(kind) or pt.is_fixed_size_binary(kind):
            raise ColumnTypeError(
                f"{place}: column '{name}' is {kind}, which CSV cannot hold", hint="use ParquetSource"
            )
        if pt.is_timestamp(kind) and kind.tz is not None:
            values = values.cast(pa.timestamp(kind.unit, tz="UTC"))
        elif pt.is_date64(kind):
            values = values.cast(pa.date32())
        elif pt.is_float16(kind):
            values = cast_column(values, pa.float32(), name, place)
        columns.append(values)
    return pa.table(columns, names=table.column_names)
