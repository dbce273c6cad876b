"""Entity rows that Spark itself takes from sources: a file of them, or every entity of views. They stay there, in
carriers, and come back in the very types and order that the embedded engine gives.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property, reduce
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from yummy_feast.errors import ColumnTypeError
from yummy_feast.offline.engines.base import EntityList
from yummy_feast.offline.engines.spark_newest import newest_rows
from yummy_feast.offline.engines.spark_ranges import Range, open_range
from yummy_feast.offline.engines.spark_rows import ROW
from yummy_feast.offline.engines.spark_values import instant, own_unit
from yummy_feast.offline.entity_rows import EntityRows, refuse_twins, time_column_of
from yummy_feast.offline.frame_rows import FrameRows
from yummy_feast.offline.plan import EVENT_TIMESTAMP
from yummy_feast.spark.arrow_rows import fetched
from yummy_feast.spark.carriers import carrier, restored
from yummy_feast.spark.columns import in_unit, natural, spark_type
from yummy_feast.spark.failures import spark_errors
from yummy_feast.spark.frames import PLACE, frame_of

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from yummy_feast.sources.base import SourceContext, YummySource


class SourceRows(FrameRows):
    """Entity rows in carriers. frame: ``c0, c1, …``, of the schema's types; and ``PLACE``, which orders the rows,
    unless they lie in their order.

    Raises:
        EntityRowsError: two columns of one name, or no time column.
    """

    def __init__(self, frame: DataFrame, schema: pa.Schema) -> None:
        refuse_twins(schema.names)
        name = time_column_of({field.name: pt.is_timestamp(field.type) for field in schema})
        # Refused, or in UTC, as any table is.
        time = EntityRows.of_arrow(schema.empty_table()).column(name).type
        self._schema = schema.set(schema.names.index(name), pa.field(name, time))
        self._hold(frame, name)

    @cached_property
    def rows(self) -> DataFrame:
        """The rows, cached while this lives. What is lost of them, or asked for later, is read again: from files that
        stay as they are the same rows come again, so that no job fails with the executor that held some.
        """
        kept = self._given.persist()
        weakref.finalize(self, kept.unpersist)
        return kept

    @property
    def time_unit(self) -> str:
        """The source's."""
        return str(self.kind(self.time_column).unit)

    @property
    def names(self) -> list[str]:
        """Columns, in order."""
        return list(self._schema.names)

    @property
    def _columns(self) -> dict[str, pa.ChunkedArray | pa.Array]:
        if not self._held:
            with spark_errors("the entity rows"):
                found = fetched(self.rows.select(self.row_number().alias(ROW), *map(self.user_column, self.names)))
            found = found.take(pa.array(np.argsort(found.column(ROW).to_numpy(), kind="stable")))
            self._held = {
                name: self.brought(column, name)
                for name, column in zip(self.names, found.drop_columns([ROW]).columns, strict=True)
            }
        return self._held

    def kind(self, name: str) -> pa.DataType:
        """The source's."""
        return self._schema.field(name).type

    def row_number(self) -> Column:
        """See ``FrameRows``."""
        from pyspark.sql import functions as F  # noqa: N812

        return F.col(PLACE) if PLACE in self._given.columns else super().row_number()

    def instants(self) -> Column:
        """See ``FrameRows``."""
        return self.key_column(self.time_column)

    def key_column(self, name: str) -> Column:
        """See ``FrameRows``."""
        from pyspark.sql import functions as F  # noqa: N812

        return F.col(f"c{self._schema.names.index(name)}")

    def user_column(self, name: str) -> Column:
        """See ``FrameRows``."""
        return self.key_column(name)

    def shown(self, travelled: Column, name: str) -> Column:
        """See ``FrameRows``."""
        return natural(travelled, self.kind(name))

    def brought(self, travelled: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
        """See ``FrameRows``."""
        return restored(travelled, self.kind(name))


def rows_of(session: SparkSession, context: SourceContext, source: YummySource) -> SourceRows | None:
    """All rows of a source; None where it has a column that cannot travel through Spark."""
    scan = context.scan(source)
    try:
        with spark_errors(f"the entity rows of {source.location}"):
            frame = frame_of(session, scan, scan.schema.names).frame
    except ColumnTypeError:
        return None
    return SourceRows(frame, scan.schema)


def rows_listed(
    session: SparkSession, context: SourceContext, lists: Sequence[EntityList], as_of: datetime | None
) -> SourceRows | None:
    """See ``Engine.listed_rows``; None where it takes Arrow to bring the keys of several views into one type."""
    opened = [open_range(session, context, [one.read]) for one in lists]
    schemas = [_schema(found, one, timed=as_of is None) for found, one in zip(opened, lists, strict=True)]
    schema = pa.unify_schemas(schemas, promote_options="permissive")
    if not all(_is_simple(own.field(name).type, schema.field(name).type) for own in schemas for name in own.names):
        return None
    with spark_errors("the entities of " + ", ".join(found.scan.location for found in opened)):
        parts = [
            _entities(number, found, one, own, schema, timed=as_of is None)
            for number, (found, one, own) in enumerate(zip(opened, lists, schemas, strict=True))
        ]
        return _distinct(reduce(lambda left, right: left.unionAll(right), parts), schema, as_of)


def _schema(opened: Range, one: EntityList, *, timed: bool) -> pa.Schema:
    fields = [pa.field(key, opened.scan.schema.field(source).type) for key, source in one.keys]
    if timed:
        time = opened.scan.schema.field(one.read.time).type
        unit = time.unit if pt.is_timestamp(time) else "us"
        fields.append(pa.field(EVENT_TIMESTAMP, pa.timestamp(unit, "UTC")))
    return pa.schema(fields)


def _is_simple(kind: pa.DataType, to: pa.DataType) -> bool:
    if kind == to or pt.is_null(kind):
        return True
    if pt.is_integer(kind) and not pt.is_uint64(kind):
        return bool(pt.is_signed_integer(to))
    return bool(pt.is_timestamp(kind) and pt.is_timestamp(to) and kind.tz == to.tz)


def _entities(
    number: int, opened: Range, one: EntityList, own: pa.Schema, schema: pa.Schema, *, timed: bool
) -> DataFrame:
    """The view's entities in carriers of the schema's types: ``c0, c1, …``; and ``first``, which orders them."""
    from pyspark.sql import functions as F  # noqa: N812

    if timed:
        inside = opened.inside(one.read)
        frame = opened.source.frame if inside is None else opened.source.frame.where(inside)
        columns = {source: opened.column(source) for _, source in one.keys}
    else:
        frame = newest_rows(opened, one.read).where("NOT keyless").select("w.*")
        columns = {name: F.col(f"f{place}") for place, name in enumerate(one.read.columns)}
    found = [_widened(columns[source], own.field(key).type, schema.field(key).type) for key, source in one.keys]
    if timed:
        kind = opened.scan.schema.field(one.read.time).type
        time = instant(opened.column(one.read.time), kind)
        found.append(_moved(time, own_unit(kind), schema.field(EVENT_TIMESTAMP).type.unit))
    named = [column.alias(f"c{place}") for place, column in enumerate(found)]
    first = F.struct(F.lit(number).alias("list"), F.col(PLACE).alias("place")).alias("first")
    return frame.select(*named, first).dropna(subset=[f"c{place}" for place in range(len(named))])


def _distinct(frame: DataFrame, schema: pa.Schema, as_of: datetime | None) -> SourceRows:
    from pyspark.sql import functions as F  # noqa: N812

    names = [f"c{number}" for number in range(len(schema))]
    found = frame.groupBy(*names).agg(F.min("first").alias("first"))
    if as_of is None:
        return SourceRows(found.orderBy(names[-1], "first").select(*names), schema)
    time = pa.scalar(as_of, pa.timestamp("us", "UTC"))
    moment = F.lit(time.value).cast("bigint").alias(f"c{len(schema)}")
    rows = found.orderBy("first").select(*names, moment)
    return SourceRows(rows, schema.append(pa.field(EVENT_TIMESTAMP, time.type)))


def _widened(column: Column, kind: pa.DataType, to: pa.DataType) -> Column:
    if kind == to:
        return column
    return _moved(column, kind.unit, to.unit) if pt.is_timestamp(kind) else column.cast(spark_type(carrier(to)))


def _moved(column: Column, unit: str, to: str) -> Column:
    from pyspark.sql import functions as F  # noqa: N812

    if unit == to:
        return column
    moved = in_unit(column, unit, to)
    wrong = F.raise_error(F.lit(f"a time of a view does not fit timestamp[{to}], in which the other views have them"))
    return F.when(column.isNull() | moved.isNotNull(), moved).otherwise(wrong)
