"""The newest rows of a source, as materialization reads them: what an engine answers, without saying how."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
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


Work = Callable[[int, Iterator[pa.RecordBatch]], pa.RecordBatch]
"""What is done with one part where it is: (its number, its rows) -> what is told of it. Plain data, which travels."""


class NewestParts(ABC):
    """The same rows in parts that stay where they are computed, on machines of a cluster. A context manager.

    divisions: per read, how its keys are divided into parts: where that text and the state are the same, a part has the
    same rows every time. counts: how many parts, per read. schemas, state: as of ``Newest``.
    """

    divisions: tuple[str, ...]
    counts: tuple[int, ...]
    schemas: tuple[pa.Schema, ...]
    state: str

    @abstractmethod
    def run(self, read: int, work: Work, told: pa.Schema, skip: Collection[int] = ()) -> pa.Table:
        """Do ``work`` with every part of a read but those in ``skip``; what was told of all of them, in any order.

        A part is worked on again when its machine is lost, and may be worked on twice at a time: what counts is told
        once. Nothing but what is told comes to this process. Raises what ``work`` raises, if that is one of our errors.
        """

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
