"""Rows between here and Spark, in Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.types as pt

from yummy_feast.spark.carriers import carry
from yummy_feast.spark.columns import natural

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession
    from pyspark.sql.types import DataType, StructType


def fetched(frame: DataFrame) -> pa.Table:
    """The rows here, in no particular order."""
    found = frame.toArrow()
    return pa.Table.from_batches(map(sound, found.to_batches()), found.schema)


def sent(session: SparkSession, table: pa.Table, like: StructType) -> DataFrame:
    """The rows as a DataFrame in types that Spark's users expect, those of ``like`` where it has the column.

    Raises:
        ColumnTypeError: a column cannot travel through Spark.
    """
    from pyspark.sql import functions as F  # noqa: N812

    table = table.combine_chunks()
    columns = [
        carry(pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type))
        for column in table.columns
    ]
    names = [f"c{number}" for number in range(len(columns))]
    frame = session.createDataFrame(pa.table(columns, names))
    kinds = {field.name: field.dataType for field in like.fields}
    plain = frame.select(
        *(natural(F.col(name), field.type).alias(name) for name, field in zip(names, table.schema, strict=True))
    )
    found = [field.dataType for field in plain.schema.fields]
    return plain.select(
        *(
            _as_in(F.col(name), kind, kinds.get(field.name, kind)).alias(field.name)
            for name, kind, field in zip(names, found, table.schema, strict=True)
        )
    )


def _as_in(column: Column, kind: DataType, wanted: DataType) -> Column:
    from pyspark.sql import functions as F  # noqa: N812
    from pyspark.sql import types as T  # noqa: N812

    if kind == wanted:
        return column
    if isinstance(kind, T.TimestampType) and isinstance(wanted, T.TimestampNTZType):
        # Not by a cast, which asks for the session's zone.
        return F.timestamp_add("MICROSECOND", F.unix_micros(column), F.lit("1970-01-01 00:00:00").cast("timestamp_ntz"))
    return column.cast(wanted)


def sound(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch as Arrow's Java writes it, in which empty lists inside of lists have no offsets at all, with offsets:
    pyarrow reads the first one, whatever lies there.
    """
    if not any(pt.is_nested(kind) for kind in batch.schema.types):
        return batch
    return pa.RecordBatch.from_arrays([_sound(column) for column in batch.columns], schema=batch.schema)


def _sound(values: pa.Array) -> pa.Array:
    kind = values.type
    if not pt.is_nested(kind) or values.offset:
        return values
    if not len(values):
        return pa.array([], kind)
    if pt.is_list(kind):
        children = [values.values]
    elif pt.is_map(kind):
        children = [pa.StructArray.from_arrays([values.keys, values.items], fields=[kind.key_field, kind.item_field])]
    elif pt.is_struct(kind):
        children = [values.field(number) for number in range(kind.num_fields)]
    else:
        return values
    own = values.buffers()[: 1 if pt.is_struct(kind) else 2]
    return pa.Array.from_buffers(kind, len(values), own, values.null_count, children=[_sound(c) for c in children])
