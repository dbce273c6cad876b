"""The engine for what one machine cannot hold: every question is one lazy Spark plan, and only answers come back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from yummy_feast.offline.engines import spark_entities, spark_sql
from yummy_feast.offline.engines.base import Engine, EntityList
from yummy_feast.offline.engines.spark_answer import SparkAnswer
from yummy_feast.offline.engines.spark_newest import SparkNewest, newest_frame
from yummy_feast.offline.engines.spark_parts import SparkParts
from yummy_feast.offline.engines.spark_ranges import CHUNK, Range, open_range, ordered, rows_frame
from yummy_feast.offline.frame_rows import FrameRows
from yummy_feast.spark.arrow_rows import fetched
from yummy_feast.spark.failures import spark_errors
from yummy_feast.spark.frames import PLACE
from yummy_feast.spark.session import session
from yummy_feast.spark.settings import SparkSettings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from yummy_feast.offline.entity_rows import EntityRows
    from yummy_feast.offline.plan import ReadPlan, RetrievalPlan
    from yummy_feast.sources.base import SourceContext, YummySource


class SparkEngine(Engine):
    """Computes in Spark. See ``spark_join`` for how entity rows and feature rows meet."""

    name = "spark"

    @property
    def session(self) -> SparkSession:
        """The session of these settings; see ``spark.session``."""
        return session(self.settings.spark or SparkSettings.behind(self.settings.context, self.settings.threads))

    def point_in_time(self, plan: RetrievalPlan, rows: EntityRows) -> SparkAnswer:
        """One plan, see ``spark_join``."""
        return SparkAnswer(plan, rows, self.session, self.settings.context)

    def range_frame(self, read: ReadPlan, *, newest: bool) -> DataFrame:
        """The rows of the range, or the newest per key, as a DataFrame."""
        with spark_errors(f"the rows of {read.source.location}"):
            opened = open_range(self.session, self.settings.context, [read])
            return newest_frame(opened, read) if newest else rows_frame(opened, read)

    def newest(self, reads: Sequence[ReadPlan]) -> SparkNewest:
        """Picked at once and kept with the executors, see ``spark_newest``."""
        with spark_errors(f"the newest rows of {reads[0].source.location}"):
            opened = open_range(self.session, self.settings.context, reads)
        return SparkNewest(reads, opened)

    def newest_parts(self, reads: Sequence[ReadPlan]) -> SparkParts:
        """Picked where the work is done, see ``spark_parts``."""
        with spark_errors(f"the newest rows of {reads[0].source.location}"):
            return SparkParts(reads, open_range(self.session, self.settings.context, reads))

    def between(self, read: ReadPlan) -> pa.RecordBatchReader:
        """The rows of the range, a chunk at a time."""
        with spark_errors(f"the rows of {read.source.location}"):
            opened = open_range(self.session, self.settings.context, [read])
        return pa.RecordBatchReader.from_batches(opened.schema(read), _in_range(opened, read))

    def query(self, sql: str, sources: Mapping[str, YummySource]) -> pa.Table:
        """Spark SQL; see ``spark_sql``."""
        with spark_sql.selected(self.session, self.settings.context, sql, sources) as answer:
            return fetched(answer)

    def query_rows(self, sql: str, sources: Mapping[str, YummySource]) -> FrameRows:
        """The answer is computed at once, and stays in Spark until somebody asks for it."""
        with spark_sql.selected(self.session, self.settings.context, sql, sources) as answer:
            return FrameRows.computed(answer)

    def source_rows(self, source: YummySource, context: SourceContext) -> EntityRows:
        """They stay in Spark, unless they have a type that cannot."""
        rows = spark_entities.rows_of(self.session, context, source)
        return super().source_rows(source, context) if rows is None else rows

    def listed_rows(self, lists: Sequence[EntityList], as_of: datetime | None) -> EntityRows | None:
        """Listed in Spark, where they stay."""
        if not lists[0].keys and as_of is not None:
            return None
        return spark_entities.rows_listed(self.session, self.settings.context, lists, as_of)


def _in_range(opened: Range, read: ReadPlan) -> Iterator[pa.RecordBatch]:
    from pyspark.sql import functions as F  # noqa: N812

    inside = opened.inside(read)
    rows = opened.source.frame if inside is None else opened.source.frame.where(inside)
    columns = [opened.column(name).alias(f"f{number}") for number, name in enumerate(read.columns)]
    rows = rows.select(*columns, F.col(PLACE))
    with spark_errors(f"the rows of {read.source.location}"):
        known = opened.source.rows
        if known is not None and known <= CHUNK:
            yield from ordered(rows, known, opened.schema(read))
            return
        rows = rows.persist()
        try:
            yield from ordered(rows, rows.count(), opened.schema(read))
        finally:
            rows.unpersist()
