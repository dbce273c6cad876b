"""The newest row per key, picked by Spark: one shuffle per set of join keys, after each task has kept the newest of
what it saw.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

import pyarrow as pa

from yummy_feast.errors import ColumnTypeError
from yummy_feast.offline.engines.codes import family
from yummy_feast.offline.engines.spark_ranges import Range, ordered
from yummy_feast.offline.engines.spark_values import canonical_key
from yummy_feast.offline.newest import Newest
from yummy_feast.offline.plan import ReadPlan
from yummy_feast.spark.columns import natural
from yummy_feast.spark.failures import spark_errors
from yummy_feast.spark.frames import PLACE

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

logger = logging.getLogger(__name__)


class SparkNewest(Newest):
    """See ``Newest``. The rows are picked at once and stay with the executors until the block is left."""

    def __init__(self, reads: Sequence[ReadPlan], opened: Range) -> None:
        self._range = opened
        self._what = f"the newest rows of {opened.scan.location}"
        self.state = opened.scan.state
        self.schemas = tuple(opened.schema(read) for read in reads)
        self._frames: list[DataFrame] = []
        rows: list[int] = []
        try:
            for read in reads:
                with spark_errors(self._what):
                    self._frames.append(newest_rows(opened, read).persist())
                    rows.append(self._counted(read, self._frames[-1]))
        except BaseException:
            self._free()
            raise
        self.rows = tuple(rows)

    def batches(self, skip: Sequence[int] = ()) -> Iterator[tuple[int, pa.RecordBatch]]:
        """See ``Newest.batches``."""
        skipped = list(skip) or [0] * len(self.rows)
        for number, frame in enumerate(self._frames):
            if skipped[number] >= self.rows[number]:
                continue
            schema = self.schemas[number]
            found = frame.where("NOT keyless").select("w.*")
            with spark_errors(self._what):
                for batch in ordered(found, self.rows[number], schema, skipped[number]):
                    yield number, batch

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._free()

    def _free(self) -> None:
        for frame in self._frames:
            frame.unpersist()

    def _counted(self, read: ReadPlan, frame: DataFrame) -> int:
        from pyspark.sql import functions as F  # noqa: N812

        lost = F.when(F.col("keyless"), F.col("n"))
        count, keyless = frame.agg(F.count_if(~F.col("keyless")), F.sum(lost)).collect()[0]
        tell_of_keyless(self._range, read, keyless or 0)
        return int(count)


def tell_of_keyless(opened: Range, read: ReadPlan, rows: int) -> None:
    """A warning about rows that nobody can ever ask for."""
    if rows:
        keys = ", ".join(read.join_keys)
        logger.warning("%s: left out %d rows whose join key %s is null", opened.scan.location, rows, keys)


def newest_frame(opened: Range, read: ReadPlan) -> DataFrame:
    """The newest rows per key in types that Spark's users expect."""
    from pyspark.sql import functions as F  # noqa: N812

    found = newest_rows(opened, read).where("NOT keyless").select("w.*")
    return found.select(
        *(
            natural(F.col(f"f{number}"), opened.scan.schema.field(name).type).alias(name)
            for number, name in enumerate(read.columns)
        )
    )


def newest_rows(opened: Range, read: ReadPlan) -> DataFrame:
    """Per key ``w``: its newest row, a struct of ``f0, f1, …`` (the read's columns, in carriers) and ``PLACE``; beside
    it ``keyless`` (the rows without a key, all in one) and ``n`` (rows of that key).
    """
    return newest_of_keys(opened, read).select("keyless", "n", "w")


def newest_of_keys(
    opened: Range, read: ReadPlan, wanted_keys: Callable[[Sequence[Column]], Column | None] | None = None
) -> DataFrame:
    """The same beside the keys, ``k0, k1, …`` as they are compared. wanted_keys: a condition on the keys."""
    from pyspark.sql import functions as F  # noqa: N812

    time = opened.instant(read.time)
    wanted = time.isNotNull()
    inside = opened.inside(read)
    rows = opened.source.frame.where(wanted if inside is None else wanted & inside)
    created = opened.instant(read.created) if read.created else F.lit(None).cast("bigint")
    columns = [opened.column(name).alias(f"f{number}") for number, name in enumerate(read.columns)]
    keys = []
    for name in read.join_keys:
        kind = opened.scan.schema.field(name).type
        keys.append(canonical_key(opened.column(name), kind, key_family(opened, name)))
    whole = F.lit(True)
    for key in keys:
        whole = whole & key.isNotNull()
    # Rows without a key become one group, so that nobody has to count them in a pass of their own.
    named = [F.when(whole, key).alias(f"k{number}") for number, key in enumerate(keys)]
    narrow = rows.select(
        *named,
        F.struct(*columns, F.col(PLACE)).alias("w"),
        F.struct(time.alias("t"), created.alias("c"), F.col(PLACE).alias("p")).alias("rank"),
    )
    names = [f"k{number}" for number in range(len(keys))]
    condition = wanted_keys([F.col(name) for name in names]) if wanted_keys else None
    narrow = narrow if condition is None else narrow.where(condition)
    found = narrow.groupBy(*names).agg(F.max_by("w", "rank").alias("w"), F.count(F.lit(1)).alias("n"))
    keyless = F.col("k0").isNull() if names else F.lit(False)
    return found.where(F.col("w").isNotNull()).select(*names, keyless.alias("keyless"), "n", "w")


def key_family(opened: Range, name: str) -> str:
    """How a join key is compared, see ``codes``. Raises ColumnTypeError for a type that cannot be one."""
    kind = opened.scan.schema.field(name).type
    found = family(kind)
    if found is None:
        raise ColumnTypeError(
            f"column '{name}' of {opened.scan.location} holds {kind}, which cannot be a join key",
            hint="use text, whole numbers or timestamps",
        )
    return found
