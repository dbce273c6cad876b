"""Delta and Iceberg tables read by their own readers of Spark, at the version or snapshot that our scan resolved.

For what only they can apply: deletes by value, structs whose children go by ids, features of tables we do not know.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from yummy_feast.errors import SourceReadError
from yummy_feast.sources.base import NativeTable
from yummy_feast.spark.columns import column_of
from yummy_feast.spark.failures import told
from yummy_feast.spark.frames import PIECE_BITS, PLACE
from yummy_feast.spark.writing import hadoop_path

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_FILE, _ROW, _KEY, _NUMBER = "__file", "__row", "__key", "__number"
_URI, _BLOCK, _ORDER = "__uri", "__block", "__order"
_SCHEME = "^([a-z0-9]+:)?/+"


def read_delta(session: SparkSession, table: NativeTable, fields: Sequence[pa.Field]) -> DataFrame:
    """See ``frames.READERS``."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F  # noqa: N812

    reader = session.read.format("delta").option("versionAsOf", table.snapshot).options(**table.options)
    frame = reader.load(hadoop_path(table.location))
    uri = F.url_decode(F.regexp_replace(F.col("_metadata.file_path"), r"\+", "%2B"))
    if "row_index" in frame.select("_metadata.*").columns:
        return _placed(session, frame, table, fields, uri, F.col("_metadata.row_index"))
    # Delta tells it of tables with deletion vectors or row tracking only.
    block, order = F.col("_metadata.file_block_start"), F.monotonically_increasing_id()
    frame = frame.select("*", uri.alias(_URI), block.alias(_BLOCK), order.alias(_ORDER))
    row = F.row_number().over(Window.partitionBy(_URI).orderBy(_BLOCK, _ORDER)).cast("bigint") - 1
    return _placed(session, frame, table, fields, F.col(_URI), row)


def read_iceberg(session: SparkSession, table: NativeTable, fields: Sequence[pa.Field]) -> DataFrame:
    """See ``frames.READERS``. By the metadata file, which never changes, or by the table's name and a snapshot."""
    from pyspark.sql import functions as F  # noqa: N812

    frame = session.read.format("iceberg").options(**table.options).load(hadoop_path(table.location))
    return _placed(session, frame, table, fields, F.col("_file"), F.col("_pos"))


def _placed(
    session: SparkSession, frame: DataFrame, table: NativeTable, fields: Sequence[pa.Field], file: Column, row: Column
) -> DataFrame:
    """The fields beside ``PLACE``: the number of the row's file in ``table.files``, and the row in it."""
    from pyspark.sql import functions as F  # noqa: N812

    names = list(dict.fromkeys(field.name for field in fields))
    place = F.regexp_replace(file, _SCHEME, "")
    wide = frame.select(*[column_of(name) for name in names], place.alias(_FILE), row.alias(_ROW))
    paths = [bare(item.path) for item in table.files]
    numbers = pa.table({_KEY: pa.array(paths, pa.string()), _NUMBER: pa.array(range(len(paths)), pa.int64())})
    joined = wide.join(F.broadcast(session.createDataFrame(numbers)), F.col(_FILE) == F.col(_KEY), "left")
    number = F.shiftleft(F.coalesce(F.col(_NUMBER), _unknown(table)), PIECE_BITS)
    return joined.select(*[column_of(name) for name in names], (number + F.col(_ROW)).alias(PLACE))


def _unknown(table: NativeTable) -> Column:
    """The number of a file that the scan has not listed: the reader sees another state of the table, so none."""
    from pyspark.sql import functions as F  # noqa: N812

    error = SourceReadError(
        f"{table.location}: Spark reads files that are not of {table.snapshot}", hint="has the table changed? run again"
    )
    return F.raise_error(F.lit(str(told(error)))).cast("bigint")


def bare(path: str) -> str:
    """A path without what each library writes in its own way: the scheme, and how many slashes follow it."""
    return re.sub(_SCHEME, "", path)
