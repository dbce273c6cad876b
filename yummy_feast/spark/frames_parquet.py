"""Parquet files read by Spark: every number as it is stored, times included, so that no unit or calendar of Spark's
changes a value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.types as pt

from yummy_feast.sources.base import NativeTable
from yummy_feast.spark.carriers import carrier, carry, is_list
from yummy_feast.spark.columns import column_of, spark_type
from yummy_feast.spark.frames import PIECE_BITS, PLACE, START
from yummy_feast.spark.writing import hadoop_path

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_URI, _NUMBER, _ROW = "__uri", "__number", "__row"
_FILE = "^file:/+"


def read(session: SparkSession, table: NativeTable, fields: Sequence[pa.Field]) -> DataFrame:
    """See ``frames.READERS``."""
    from pyspark.sql import functions as F  # noqa: N812
    from pyspark.sql.types import StructField, StructType

    constant = {name for file in table.files for name in file.constants}
    fields = list({field.name: field for field in fields}.values())
    stored = [field for field in fields if field.name not in constant]
    schema = StructType([StructField(field.name, spark_type(stored_as(field.type))) for field in stored])
    # Names are names here, not patterns.
    reader = session.read.schema(schema).option("__globPaths__", "false").options(**table.options)
    frame = reader.parquet(*[hadoop_path(file.path) for file in table.files])
    columns = [column_of(field.name) for field in stored]
    row = F.col("_metadata.row_index")
    starts = any(file.start is not None for file in table.files)
    if len(table.files) == 1 and not constant and not starts:
        return frame.select(*columns, row.alias(PLACE))
    files = _files(session, frame, table, [field for field in fields if field.name in constant])
    wide = frame.select(*columns, row.alias(_ROW), F.regexp_replace("_metadata.file_path", _FILE, "file:/").alias(_URI))
    place = (F.shiftleft(F.col(_NUMBER), PIECE_BITS) + F.col(_ROW)).alias(PLACE)
    joined = wide.join(F.broadcast(files), _URI)
    found = [column_of(field.name) for field in fields]
    return joined.select(*found, place, *([F.col(START)] if starts else []))


def stored_as(kind: pa.DataType) -> pa.DataType:
    """The type to ask Spark's reader for: carriers, but maps and structs as they are stored."""
    if is_list(kind):
        return pa.list_(stored_as(kind.value_type))
    if pt.is_map(kind):
        return pa.map_(stored_as(kind.key_type), stored_as(kind.item_type))
    if pt.is_struct(kind):
        return pa.struct([(child.name, stored_as(child.type)) for child in kind])
    return carrier(kind)


def _files(session: SparkSession, frame: DataFrame, table: NativeTable, constant: Sequence[pa.Field]) -> DataFrame:
    """Per file, by the name Spark gives it: its number, its start and what its rows have in common."""
    number_of = {_bare(hadoop_path(file.path)): number for number, file in enumerate(table.files)}
    uris = frame.inputFiles()
    numbers = [number_of[_bare(unquote(uri))] for uri in uris]
    files = [table.files[number] for number in numbers]
    columns = {
        # Two spellings of one place: file:/a of a row, file:///a of a list of files.
        _URI: pa.array([re.sub(_FILE, "file:/", uri) for uri in uris], pa.string()),
        _NUMBER: pa.array(numbers, pa.int64()),
        START: pa.array([file.start for file in files], pa.int64()),
    }
    for field in constant:
        columns[field.name] = carry(pa.array([file.constants.get(field.name) for file in files], field.type))
    return session.createDataFrame(pa.table(columns))


def _bare(path: str) -> str:
    """Bucket and key, or the path of a local file."""
    if "://" not in path and not path.startswith("file:"):
        return path
    scheme, _, rest = path.partition(":")
    return "/" + rest.lstrip("/") if scheme == "file" else rest.lstrip("/")
