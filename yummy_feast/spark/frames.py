"""A source as a Spark DataFrame: the columns that were asked for, in carriers, beside each row's place in the source.

Two ways lead there. Where a reader of Spark's own sees the same values (``Scan.native``), it reads, and executors need
no Python. Everything else (CSV dialects, files that differ, types Spark lacks, sources of users) is read by the very
pieces the embedded engine reads, shipped to the executors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, cast

import pyarrow as pa

from yummy_feast.errors import UnsupportedTableError
from yummy_feast.sources.base import NativeTable, Prune, Scan, SeenPiece
from yummy_feast.spark.carriers import carrier

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

PLACE = "__place"
"""Column (long): orders rows as the source does. File or piece in the upper bits, row in it in the lower 40."""
START = "__start"
"""Column (long), where ``Prune.seen_start`` makes a difference: event times before it (microseconds) are not wanted."""
PIECE_BITS = 40

READERS = {
    "delta": "yummy_feast.spark.frames_lake:read_delta",
    "iceberg": "yummy_feast.spark.frames_lake:read_iceberg",
    "parquet": "yummy_feast.spark.frames_parquet:read",
}
"""Per native format a function ``(session, table, fields) -> DataFrame`` with columns named as the fields, in whatever
type Spark has them, and ``PLACE`` (and ``START``, if a file of the table has one)."""

Reader = Callable[["SparkSession", NativeTable, Sequence[pa.Field]], "DataFrame"]


@dataclass(frozen=True, slots=True)
class SourceFrame:
    """Rows of a source, not read yet.

    frame: columns ``c0, c1, …`` in the carriers of the scan's types, in the order asked for; ``PLACE``; and ``START``
    if ``has_start``. pieces: how many are read. rows: in those pieces, None where nobody knows without reading. native:
    read by Spark itself.
    """

    frame: DataFrame
    pieces: int
    rows: int | None
    native: bool
    has_start: bool


def frame_of(session: SparkSession, scan: Scan, columns: Sequence[str], prune: Prune | None = None) -> SourceFrame:
    """The rows that ``scan.pieces(prune)`` has, as a lazy DataFrame.

    Raises:
        ColumnTypeError: a column cannot travel through Spark. SourceError and its children, as of ``Scan.pieces``.
    """
    fields = [scan.schema.field(name) for name in columns]
    for field in fields:
        carrier(field.type)
    try:
        pieces = scan.pieces(prune)
    except UnsupportedTableError:
        # Refused by our own readers: Spark's may know how.
        table = scan.native(columns, prune)
        if table is None:
            raise
        frame = _selected(reader_of(table.format)(session, table, fields), fields, has_start=False)
        return SourceFrame(frame, len(table.files), None, native=True, has_start=False)
    counts = [piece.rows for piece in pieces]
    known = [count for count in counts if count is not None]
    rows = sum(known) if len(known) == len(counts) else None
    has_start = any(isinstance(piece, SeenPiece) for piece in pieces)
    table = scan.native(columns, prune) if pieces else None
    if table is not None:
        frame = _selected(reader_of(table.format)(session, table, fields), fields, has_start=has_start)
    else:
        from yummy_feast.spark.frames_pieces import read_pieces

        frame = read_pieces(session, pieces, fields, has_start=has_start)
    return SourceFrame(frame, len(pieces), rows, table is not None, has_start)


def reader_of(name: str) -> Reader:
    """The reader of a native format."""
    module, _, attribute = READERS[name].partition(":")
    return cast("Reader", getattr(import_module(module), attribute))


def _selected(frame: DataFrame, fields: Sequence[pa.Field], *, has_start: bool) -> DataFrame:
    from pyspark.sql import functions as F  # noqa: N812 - as all of Spark's users call it

    from yummy_feast.spark.columns import carried, column_of

    found = {field.name: field.dataType for field in frame.schema.fields}
    columns = [
        carried(column_of(field.name), found[field.name], field.type).alias(f"c{number}")
        for number, field in enumerate(fields)
    ]
    extra = [F.col(PLACE), *([F.col(START)] if has_start else [])]
    return frame.select(*columns, *extra)
