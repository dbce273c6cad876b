"""What an engine is: four questions about sources, answered in Arrow.

An engine knows how to compute, not what is right: the point-in-time rule stands in ``offline.plan``. A new engine is
one file beside this one and one row in ``ENGINES``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import pyarrow as pa

from yummy_feast.offline.entity_rows import EntityRows
from yummy_feast.offline.newest import Newest, NewestParts
from yummy_feast.sources.base import SourceContext
from yummy_feast.spark.settings import SparkSettings

if TYPE_CHECKING:
    from yummy_feast.offline.plan import ReadPlan, RetrievalPlan
    from yummy_feast.sources.base import YummySource


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How much an engine may use. memory_limit: bytes, None = no limit of ours; threads: of one fetch."""

    context: SourceContext
    threads: int
    memory_limit: int | None = None
    scratch: Path | None = None
    """Where to spill; None = the system's temporary folder."""
    spark: SparkSettings | None = None
    """For the engine that needs a session; None: those that follow from the context."""


@dataclass(frozen=True, slots=True)
class ViewReport:
    """What a fetch did for one feature view. expired: the newest visible row was older than the ttl; unmatched: there
    was none among the rows read (rows outside the fetch's time range are not read).
    """

    view: str
    format: str
    location: str
    snapshot: str
    pieces_read: int
    pieces_total: int
    columns: tuple[str, ...]
    time_field: str
    start: str
    end: str
    ttl: str
    rows_read: int | None = None
    matched: int | None = None
    expired: int | None = None
    unmatched: int | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """How an answer comes about; ``str()`` is the plan for people."""

    engine: str
    summary: str
    views: tuple[ViewReport, ...] = field(default_factory=tuple)

    def __str__(self) -> str:
        return "\n".join([f"{self.engine}: {self.summary}", *(_paragraph(view) for view in self.views)])


def _paragraph(view: ViewReport) -> str:
    lines = [
        f"  {view.view}",
        f"    source     {view.format} {view.location} ({view.snapshot})",
        f"    reads      {view.pieces_read} of {view.pieces_total} pieces"
        + (f", {view.rows_read:,} rows" if view.rows_read is not None else ""),
        f"    columns    {', '.join(view.columns)}",
        f"    time       {view.time_field} from {view.start} to {view.end}, ttl {view.ttl}",
    ]
    if view.matched is not None:
        lines.append(f"    rows       {view.matched:,} matched, {view.expired:,} expired, {view.unmatched:,} unmatched")
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class EntityList:
    """A view that lists entities. keys: (entity column, source column), in the order of the entity rows."""

    read: ReadPlan
    keys: tuple[tuple[str, str], ...]


class FeatureAnswer(Protocol):
    """The features of a fetch, one row per entity row, computed when asked for."""

    def table(self) -> pa.Table:
        """Feature columns in the order of the plan's outputs, in their declared types; as many rows as entity rows,
        same order.
        """

    def together(self) -> pa.Table | None:
        """Entity columns, then feature columns, where the entity rows never were on this machine; else None."""

    def frame(self) -> Any | None:
        """The same as a lazy DataFrame of the engine's own; None: it has none."""

    def explanation(self) -> Explanation:
        """How; matching runs if it has not yet, features are not read."""


class Engine(ABC):
    """Computes plans."""

    name: str
    repeats_cheaply: ClassVar[bool] = False
    """Whether an answer that is asked for once more costs much less than the first time."""

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings

    @abstractmethod
    def point_in_time(self, plan: RetrievalPlan, rows: EntityRows) -> FeatureAnswer:
        """The features visible to each entity row by the rule in ``offline.plan``."""

    @abstractmethod
    def newest(self, reads: Sequence[ReadPlan]) -> Newest:
        """For each key the newest row of the range; rows with a null key or time are left out. ``reads`` differ in join
        keys and features alone, and the source is read once for all of them.
        """

    def newest_parts(self, reads: Sequence[ReadPlan]) -> NewestParts | None:
        """The same in parts that stay where they are computed; None where that is here, and ``newest`` is the way."""
        return None

    def latest(self, read: ReadPlan) -> pa.RecordBatchReader:
        """The newest rows of one read as a stream."""
        found = self.newest([read])

        def rows() -> Iterator[pa.RecordBatch]:
            with found:
                for _, batch in found.batches():
                    yield batch

        return pa.RecordBatchReader.from_batches(found.schemas[0], rows())

    @abstractmethod
    def between(self, read: ReadPlan) -> pa.RecordBatchReader:
        """Every row of the range, in the source's order; rows with a null time are left out when the range has an end
        or a start.
        """

    def range_frame(self, read: ReadPlan, *, newest: bool) -> Any | None:
        """All rows of the range, or the newest per key, as a lazy DataFrame of the engine's own; None: it has none."""
        return None

    @abstractmethod
    def query(self, sql: str, sources: Mapping[str, YummySource]) -> pa.Table:
        """The answer to one SELECT over sources by name.

        Raises:
            EntityRowsError: no SELECT, or an error in it.
        """

    def query_rows(self, sql: str, sources: Mapping[str, YummySource]) -> EntityRows:
        """The same as entity rows."""
        return EntityRows.of_arrow(self.query(sql, sources))

    def source_rows(self, source: YummySource, context: SourceContext) -> EntityRows:
        """All rows of a source as entity rows."""
        scan = context.scan(source)
        names = scan.schema.names
        batches = (batch for piece in scan.pieces() for batch in piece.read(names))
        return EntityRows.of_arrow(pa.Table.from_batches(batches, scan.schema))

    def listed_rows(self, lists: Sequence[EntityList], as_of: datetime | None) -> EntityRows | None:
        """The entity rows of ``every_entity`` where the engine lists them by itself; None: they are listed here.

        Raises:
            pa.ArrowInvalid, pa.ArrowTypeError: the keys of the views do not go together.
        """
        return None
