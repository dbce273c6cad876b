"""Parquet files as a data source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import pyarrow as pa
import pyarrow.parquet as pq

from yummy_feast.sources.base import NativeTable, Piece, Prune, Scan, SourceContext
from yummy_feast.sources.file_pins import pin_of_files
from yummy_feast.sources.files import StoredFile
from yummy_feast.sources.files_source import FilesSource, partition_constants
from yummy_feast.sources.parquet_native import native_file, readable_by_others
from yummy_feast.sources.parquet_pieces import (
    BATCH_ROWS,
    ParquetFooter,
    columns_of,
    opened,
    parquet_pieces,
    read_footers,
    readable,
)
from yummy_feast.sources.pruning import WantedParts
from yummy_feast.sources.schemas import merged_schema
from yummy_feast.sources.seen import files_state, seen_files
from yummy_feast.sources.writing import Sink, conformed


class ParquetSource(FilesSource):
    """Rows in Parquet files.

    path: a file, a folder (with all below it), a glob (``*``, ``?``, ``[ab]``, ``**``) or a list of these; local or
    ``s3://``; relative to the feature repo. Folders named ``key=value`` are columns: int64, date32 or string. Files may
    differ: a column that is missing in one is null there, and types widen (see ``schemas.common_type``). All else as in
    Feast's sources.
    """

    format: ClassVar[str] = "parquet"
    extensions: ClassVar[tuple[str, ...]] = (".parquet", ".parq", ".pq")

    def scan(self, context: SourceContext) -> ParquetScan:
        """See ``YummySource.scan``. Reads the footers of all files."""
        return self.scan_of(self.files(context), context)

    def scan_of(self, files: list[StoredFile], context: SourceContext) -> ParquetScan:
        """See ``FilesSource.scan_of``."""
        scan = ParquetScan(self.location, read_footers(files), self.date_partition_column)
        scan.own_store = self.has_own_store(context)
        return scan

    @property
    def takes_files(self) -> bool:  # type: ignore[override]
        """See ``YummySource``: a folder, and not one file."""
        return isinstance(self.path, str) and not self.path.lower().endswith(self.extensions)

    def get_table_query_string(self) -> str:
        """DuckDB's call that reads the files; relative paths then start where the process runs."""
        paths = [self.path] if isinstance(self.path, str) else self.path
        quoted = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
        return f"read_parquet([{quoted}], union_by_name = true)"

    def write(self, table: pa.Table, path: str, sink: Sink) -> None:
        """See ``FilesSource.write``."""
        pq.write_table(table, sink, row_group_size=BATCH_ROWS)

    def rewrite(self, file: StoredFile, table: pa.Table, sink: Sink) -> None:
        """See ``FilesSource.rewrite``.

        Small row groups are joined on the way, so that many small appends do not end in many small groups.
        """
        with opened(file) as reader:
            schema = reader.schema_arrow
            rows = conformed(table, schema, file.text)
            with pq.ParquetWriter(sink, schema, compression=_compression(reader.metadata)) as writer:
                waiting: list[pa.Table] = []
                for group in range(reader.num_row_groups):
                    with readable(file.text):
                        waiting.append(reader.read_row_group(group, use_threads=False))
                    if sum(part.num_rows for part in waiting) >= BATCH_ROWS:
                        writer.write_table(pa.concat_tables(waiting))
                        waiting = []
                writer.write_table(pa.concat_tables([*waiting, rows]))


class ParquetScan(Scan):
    """One look at Parquet files: their footers are in memory, and with them every row's place."""

    format = "parquet"

    def __init__(self, location: str, footers: list[ParquetFooter], date_partition: str = "") -> None:
        self.location = location
        self.snapshot = f"{len(footers)} file{'s' if len(footers) != 1 else ''}"
        stored = merged_schema((footer.file.text, footer.schema) for footer in footers)
        self._stored = [footer.file for footer in footers]
        types, constants = partition_constants(self._stored, {column.name: column.type for column in stored})
        added = [pa.field(name, found) for name, found in types.items() if name not in stored.names]
        self.schema = pa.schema([*stored, *added])
        self._date_partition = date_partition
        self._files = [
            (footer, columns_of(footer, self.schema, values)) for footer, values in zip(footers, constants, strict=True)
        ]

    @property
    def state(self) -> str:
        """See ``Scan.state``."""
        return files_state(self._stored)

    def pin(self, context: SourceContext) -> dict[str, Any]:
        """See ``Scan.pin``."""
        return pin_of_files(self._stored, context)

    def pieces(self, prune: Prune | None = None) -> list[Piece]:
        """See ``Scan.pieces``. Decided from the footers in memory."""
        return [piece for _, pieces in self._by_file(prune) for piece in pieces]

    def native(self, columns: Sequence[str], prune: Prune | None = None) -> NativeTable | None:
        """See ``Scan.native``. Of a file that may hold wanted rows all row groups are read."""
        if self.own_store or not readable_by_others(columns, self.schema, self._files):
            return None
        files = [native_file(self._files[number], columns, pieces) for number, pieces in self._by_file(prune) if pieces]
        return NativeTable(self.format, self.location, files=tuple(files))

    def _by_file(self, prune: Prune | None) -> list[tuple[int, list[Piece]]]:
        """Number of each file, and its pieces after pruning."""
        parts = WantedParts(prune, self.schema, self._date_partition)
        seen = seen_files(parts.state, self._stored)
        found = []
        for number, ((footer, columns), known) in enumerate(zip(self._files, seen, strict=True)):
            wanted = parts.of(seen=known)
            found.append(
                (
                    number,
                    [parts.marked(cast("Piece", piece), wanted) for piece in parquet_pieces(footer, columns, wanted)],
                )
            )
        return found


def _compression(metadata: pq.FileMetaData) -> str:
    """The codec of the file's first column."""
    if metadata.num_row_groups == 0 or metadata.num_columns == 0:
        return "snappy"
    codec = str(metadata.row_group(0).column(0).compression).lower()
    return "none" if codec == "uncompressed" else codec
