"""The newest row per key in parts, each worked on by the task that has it: one shuffle by key, and only what is told
comes to the driver.

A part is what Spark's hash of the join keys says, in as many parts as the session shuffles into: then the shuffle that
brings rows of a key together makes the parts as well. Spark's hash is the same in every run. Adaptive execution, which
joins small partitions, would make others; it is told not to meanwhile, and every row is checked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import pyarrow as pa
import pyarrow.compute as pc

from yummy_feast.errors import RetrievalError, YummyError
from yummy_feast.offline.engines.spark_newest import key_family, newest_of_keys, tell_of_keyless
from yummy_feast.offline.engines.spark_ranges import Range
from yummy_feast.offline.engines.spark_values import KEY_TYPES
from yummy_feast.offline.newest import NewestParts, Work
from yummy_feast.offline.plan import ReadPlan
from yummy_feast.spark import failures
from yummy_feast.spark.arrow_rows import fetched
from yummy_feast.spark.borrowed import borrowed
from yummy_feast.spark.carriers import restore
from yummy_feast.spark.workers import task

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

PART, KEYLESS, ROWS = "__part", "__keyless", "__rows"
"""Columns beside those of a row: its part; whether it stands for all rows without a key, and for how many then."""

_COALESCE = "spark.sql.adaptive.coalescePartitions.enabled"


class SparkParts(NewestParts):
    """See ``NewestParts``. Nothing is read before ``run``."""

    def __init__(self, reads: Sequence[ReadPlan], opened: Range) -> None:
        self._reads = reads
        self._range = opened
        self._what = f"the newest rows of {opened.scan.location}"
        self.state = opened.scan.state
        self.schemas = tuple(opened.schema(read) for read in reads)
        self._session = opened.source.frame.sparkSession
        shuffled = self._session.conf.get("spark.sql.shuffle.partitions") or ""
        # Some platforms say "auto".
        parts = int(shuffled) if shuffled.isdigit() else 200
        self.counts = tuple(parts if read.join_keys else 1 for read in reads)
        self.divisions = tuple(
            " ".join(["spark-hash", str(count), *(KEY_TYPES[key_family(opened, name)] for name in read.join_keys)])
            for read, count in zip(reads, self.counts, strict=True)
        )

    def run(self, read: int, work: Work, told: pa.Schema, skip: Collection[int] = ()) -> pa.Table:
        """See ``NewestParts.run``: one Spark job."""
        from pyspark.sql.pandas.types import from_arrow_schema

        keyless = told.append(pa.field(KEYLESS, pa.int64()))
        worker = _Task(work, self.schemas[read], keyless)
        # Partitions stay as they were asked for: each is a part.
        with failures.spark_errors(self._what), borrowed(self._session, _COALESCE, "false"):
            rows = self._divided(self._reads[read], self.counts[read], skip)
            answer = fetched(rows.mapInArrow(cast("Any", worker), from_arrow_schema(keyless)))
        tell_of_keyless(self._range, self._reads[read], pc.sum(answer.column(KEYLESS)).as_py() or 0)
        return answer.drop_columns([KEYLESS]).cast(told)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held."""

    def _divided(self, read: ReadPlan, count: int, skip: Collection[int]) -> DataFrame:
        """The rows, those of a part in the partition of its number."""
        from pyspark.sql import functions as F  # noqa: N812

        def part_of(keys: Sequence[Column]) -> Column:
            return F.pmod(F.hash(*keys), F.lit(count)) if keys else F.lit(0)

        def wanted(keys: Sequence[Column]) -> Column | None:
            return ~part_of(keys).isin(*sorted(skip)) if skip else None

        found = newest_of_keys(self._range, read, wanted)
        keys = [F.col(f"k{number}") for number in range(len(read.join_keys))]
        divided = found.repartition(count, *keys)
        columns = [F.col(f"w.f{number}").alias(f"f{number}") for number in range(len(read.columns))]
        beside = [part_of(keys).alias(PART), F.col("keyless").alias(KEYLESS), F.col("n").alias(ROWS)]
        return divided.select(*columns, *beside)


@dataclass(frozen=True, slots=True)
class _Task:
    """What runs on an executor: the rows of one part in, what is told of it out."""

    work: Work
    schema: pa.Schema
    told: pa.Schema

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext

        context = TaskContext.get()
        part = context.partitionId() if context is not None else 0
        lost = [0]
        try:
            with task():
                answer = self.work(part, self._rows(part, batches, lost))
        except YummyError as error:
            raise failures.told(error) from error
        keyless = pa.array([lost[0], *[0] * (answer.num_rows - 1)], pa.int64())
        yield pa.RecordBatch.from_arrays([*answer.columns, keyless], schema=self.told)

    def _rows(self, part: int, batches: Iterator[pa.RecordBatch], lost: list[int]) -> Iterator[pa.RecordBatch]:
        """The rows in the source's types; how many have no key goes to ``lost``."""
        for batch in batches:
            table = pa.table(batch)
            if pc.any(pc.not_equal(table.column(PART), part)).as_py():
                raise RetrievalError(
                    f"Spark has put rows of another part into partition {part}",
                    hint="please report this, with the platform's name; engine: duckdb does not depend on it",
                )
            if pc.any(table.column(KEYLESS)).as_py():
                lost[0] += pc.sum(table.filter(table.column(KEYLESS)).column(ROWS)).as_py()
                table = table.filter(pc.invert(table.column(KEYLESS)))
            for rows in table.to_batches():
                columns = [
                    restore(column, field.type) for column, field in zip(rows.columns, self.schema, strict=False)
                ]
                yield pa.RecordBatch.from_arrays(columns, schema=self.schema)
