"""Parquet whose files take their time, and leave a mark each time one is read: for tests that do harm meanwhile."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from yummy_feast import ParquetSource
from yummy_feast.sources.base import NativeTable, Piece, Prune, Scan, SourceContext

MARKS = "marks"
"""Folder beside the files; a mark is named NUMBER-PID-RANDOM."""
SECONDS = 0.5


@dataclass(frozen=True)
class SlowPiece:
    """A piece of a Parquet file."""

    piece: Piece
    number: int
    marks: Path

    @property
    def rows(self) -> int | None:
        return self.piece.rows

    def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        time.sleep(SECONDS)
        (self.marks / f"{self.number}-{os.getpid()}-{uuid.uuid4().hex}").touch()
        yield from self.piece.read(columns)


class SlowScan(Scan):
    """A scan that no reader of Spark's own takes over."""

    format = "parquet"

    def __init__(self, scan: Scan, marks: Path) -> None:
        self.schema, self.location, self.snapshot = scan.schema, scan.location, scan.snapshot
        self._scan, self._marks = scan, marks

    def pieces(self, prune: Prune | None = None) -> list[Piece]:
        return [SlowPiece(piece, number, self._marks) for number, piece in enumerate(self._scan.pieces(prune))]

    def native(self, columns: Sequence[str], prune: Prune | None = None) -> NativeTable | None:
        return None


class SlowParquetSource(ParquetSource):
    """See above."""

    def scan(self, context: SourceContext) -> Scan:
        marks = context.repo_path / MARKS
        marks.mkdir(exist_ok=True)
        return SlowScan(super().scan(context), marks)
