"""What every data source is: a place where rows live that answers with a Scan.

A source (``YummySource``) is what users write and what Feast's registry keeps. A ``Scan`` is one resolved look at it: fixed files or
a fixed snapshot, with an Arrow schema. A ``Piece`` is a part of a scan that can be read on its own. Engines see scans and pieces only,
so a new format is one file beside this one and no engine changes.

The contract of a piece: ``read(columns)`` yields the same rows in the same order every time, whatever the columns, so the n-th row of
a piece is a stable address. Engines rely on it: they read keys and times first, decide which rows they want, and read the wide
feature columns of just those rows in a second pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class SourceContext:
    """Everything about the outside that a source may need: where relative paths start, object-store settings, Iceberg catalogs."""

    repo_path: Path
    storage_options: Mapping[str, str] = field(default_factory=dict)
    catalogs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prune:
    """What a reader may leave out. A hint: a scan drops what it can prove irrelevant from statistics and partitions, never more.

    time_field: the source's event timestamp column.
    start, end: event times outside ``[start, end]`` are not wanted; microseconds since 1970 UTC, both inclusive, None = open.
    keys: for a column, the only values that are wanted (for partition columns and statistics).
    """

    time_field: str
    start: int | None = None
    end: int | None = None
    keys: Mapping[str, pa.Array] = field(default_factory=dict)


class Piece(Protocol):
    """A part of a scan that is read on its own: a file, a few row groups, one scan task."""

    @property
    def rows(self) -> int | None:
        """Number of rows if known without reading, else None."""

    def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The piece's rows with exactly ``columns`` in that order and in the scan's types; thread-safe, repeatable, same row order.

        ``columns`` may be empty: batches then carry only their row counts.
        """


class Scan(ABC):
    """One resolved look at a source."""

    format: str
    schema: pa.Schema
    """Columns as stored (partition columns included, before any field mapping), in Arrow types."""
    snapshot: str
    """What is read, for people: ``3 files``, ``version 7``, ``snapshot 8123…``."""
    location: str
    """Path or table name, for people and for errors."""

    @abstractmethod
    def pieces(self, prune: Prune | None = None) -> list[Piece]:
        """The parts to read after pruning, in a fixed order. A part may hold unwanted rows; no wanted row is ever missing."""

    @property
    def total_pieces(self) -> int:
        """Parts there are without pruning."""
        return len(self.pieces())
