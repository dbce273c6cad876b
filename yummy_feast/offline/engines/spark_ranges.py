"""Ranges of one source in Spark: which rows are inside, and how rows come to the driver in the source's order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from yummy_feast.errors import ColumnNotFoundError, nearest
from yummy_feast.offline.engines.spark_values import instant, own_unit, within
from yummy_feast.offline.times import unit_of
from yummy_feast.sources.base import Prune, SourceContext
from yummy_feast.spark.arrow_rows import fetched
from yummy_feast.spark.carriers import restored
from yummy_feast.spark.columns import natural
from yummy_feast.spark.frames import PLACE, START, SourceFrame, frame_of

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from yummy_feast.offline.plan import ReadPlan
    from yummy_feast.sources.base import Scan

CHUNK = 500_000
"""Rows that come to the driver at a time."""
_BATCH = 65_536


@dataclass(frozen=True, slots=True)
class Range:
    """A source opened for reads that differ in join keys and features alone. columns: of the frame: ``c0, c1, …``."""

    scan: Scan
    source: SourceFrame
    columns: tuple[str, ...]

    def column(self, name: str) -> Column:
        """A source column, in its carrier."""
        from pyspark.sql import functions as F  # noqa: N812

        return F.col(f"c{self.columns.index(name)}")

    def instant(self, name: str) -> Column:
        """A time column as a long in its own unit."""
        return instant(self.column(name), self.scan.schema.field(name).type)

    def inside(self, read: ReadPlan) -> Column | None:
        """Which rows lie in the range, exactly; None: all of them, those without a time too."""
        from pyspark.sql import functions as F  # noqa: N812

        time, unit = self.instant(read.time), own_unit(self.scan.schema.field(read.time).type)
        wanted = None
        if read.start is not None or self.source.has_start:
            first = F.lit(read.start).cast("bigint")
            first = F.coalesce(F.col(START), first) if self.source.has_start else first
            wanted = first.isNull() | (within(time, unit, "us") >= first)
        if read.end is not None:
            ends = within(time, unit, "us", up=True) <= F.lit(read.end)
            wanted = ends if wanted is None else wanted & ends
        return None if wanted is None else wanted & time.isNotNull()

    def schema(self, read: ReadPlan) -> pa.Schema:
        """Of the answer."""
        return pa.schema([self.scan.schema.field(name) for name in read.columns])


def open_range(session: SparkSession, context: SourceContext, reads: Sequence[ReadPlan]) -> Range:
    """The source of ``reads`` as it is now, its columns checked."""
    read = reads[0]
    scan = context.scan(read.source)
    names = tuple(dict.fromkeys(name for one in reads for name in one.columns))
    for name in names:
        if name not in scan.schema.names:
            raise ColumnNotFoundError(f"{scan.location} has no column '{name}'", hint=nearest(name, scan.schema.names))
    for name in filter(None, (read.time, read.created)):
        unit_of(name, scan.schema.field(name).type, scan.location)
    prune = Prune(read.time, read.start, read.end, seen=read.seen, seen_start=read.seen_start)
    return Range(scan, frame_of(session, scan, names, prune), names)


def rows_frame(opened: Range, read: ReadPlan) -> DataFrame:
    """The rows of the range in types that Spark's users expect."""
    inside = opened.inside(read)
    frame = opened.source.frame if inside is None else opened.source.frame.where(inside)
    return frame.select(
        *(natural(opened.column(name), opened.scan.schema.field(name).type).alias(name) for name in read.columns)
    )


def ordered(frame: DataFrame, rows: int, schema: pa.Schema, skip: int = 0) -> Iterator[pa.RecordBatch]:
    """The frame's rows (``f0, f1, …`` in carriers of the schema's types, and ``PLACE``) in the order of their places, a
    chunk of them at a time. rows: how many there are, about. skip: rows to leave out at the start.

    The frame should be persisted when there is more than one chunk: each is a Spark job.
    """
    for part in _chunks(frame, rows):
        if skip and (count := part.count()) <= skip:
            skip -= count
            continue
        found = fetched(part)
        order = np.argsort(found.column(PLACE).to_numpy())[skip:]
        skip = 0
        found = found.drop_columns([PLACE]).take(pa.array(order)).combine_chunks()
        columns = [restored(column, field.type) for column, field in zip(found.columns, schema, strict=True)]
        yield from pa.Table.from_arrays(columns, schema=schema).to_batches(max_chunksize=_BATCH)


def _chunks(frame: DataFrame, rows: int) -> Iterator[DataFrame]:
    from pyspark.sql import functions as F  # noqa: N812

    parts = -(-rows // CHUNK)
    if parts <= 1:
        yield frame
        return
    shares = [number / parts for number in range(1, parts)]
    cuts = frame.agg(F.percentile_approx(PLACE, shares, 10_000)).collect()[0][0] or []
    place, low = F.col(PLACE), None
    for high in [*dict.fromkeys(cuts), None]:
        part = frame if low is None else frame.where(place > low)
        yield part if high is None else part.where(place <= high)
        low = high
