"""The newest rows of a source, as materialization reads them: what an engine answers, without saying how."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

import pyarrow as pa


class Newest(ABC):
    """The newest row per key (by event, then created time, then place in the source) of each of several reads of one
    source. A context manager: leaving the block frees what it holds.

    rows: how many there are, per read. schemas: of the batches, per read. state: what of the source was read, see
    ``Scan.state``.
    """

    rows: tuple[int, ...]
    schemas: tuple[pa.Schema, ...]
    state: str

    @abstractmethod
    def batches(self, skip: Sequence[int] = ()) -> Iterator[tuple[int, pa.RecordBatch]]:
        """(number of the read, some of its rows), each read's rows in the order of the source: the same order every
        time, as long as the state is the same. ``skip``: rows per read to leave out at the start.
        """

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
