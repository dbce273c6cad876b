"""Pieces of a scan read on executors, by the same code that the embedded engine reads them with."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa

from yummy_feast.errors import YummyError
from yummy_feast.sources.base import SeenPiece
from yummy_feast.spark.carriers import carrier, carry
from yummy_feast.spark.failures import told
from yummy_feast.spark.workers import task

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from yummy_feast.sources.base import Piece

_ALONE = 64
"""Pieces up to which each has a task of its own."""


def read_pieces(
    session: SparkSession, pieces: Sequence[Piece], fields: Sequence[pa.Field], *, has_start: bool
) -> DataFrame:
    """The rows of the pieces as ``SourceFrame.frame`` says: one partition per piece, or per few of very many."""
    from pyspark.cloudpickle import dumps
    from pyspark.sql.pandas.types import from_arrow_schema

    # Each on its own: a task that unpacked all to read one would make a thousand small files a million.
    packed = tuple(cast("Any", dumps)(piece) for piece in pieces)
    reader = _Reader(packed, tuple(field.name for field in fields), _schema(fields, has_start))
    count = len(pieces)
    tasks = max(min(count, _ALONE + count // 32), 1)
    return session.range(0, count, 1, tasks).mapInArrow(cast("Any", reader), from_arrow_schema(reader.schema))


def _schema(fields: Sequence[pa.Field], has_start: bool) -> pa.Schema:
    from yummy_feast.spark.frames import PLACE, START

    carried = [pa.field(f"c{number}", carrier(field.type)) for number, field in enumerate(fields)]
    return pa.schema([*carried, (PLACE, pa.int64()), *([(START, pa.int64())] if has_start else [])])


@dataclass(frozen=True, slots=True)
class _Reader:
    """What runs on an executor: numbers of pieces (pickled) in, their rows out."""

    pieces: tuple[bytes, ...]
    names: tuple[str, ...]
    schema: pa.Schema

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with task():
            for number in (number for batch in batches for number in batch.column(0).to_pylist()):
                try:
                    yield from self._rows(number)
                except YummyError as error:
                    raise told(error) from error

    def _rows(self, number: int) -> Iterator[pa.RecordBatch]:
        from yummy_feast.spark.frames import PIECE_BITS

        piece, offset = cast("Piece", pickle.loads(self.pieces[number])), 0  # noqa: S301 - our own, see above
        start = pa.scalar(piece.start if isinstance(piece, SeenPiece) else None, pa.int64())
        for batch in piece.read(list(dict.fromkeys(self.names))):
            count = batch.num_rows
            place = np.arange(offset, offset + count, dtype=np.int64) + (number << PIECE_BITS)
            offset += count
            columns = [carry(batch.column(name)) for name in self.names]
            columns.append(pa.array(place))
            if len(columns) < len(self.schema):
                columns.append(pa.repeat(start, count))
            yield pa.RecordBatch.from_arrays(columns, schema=self.schema)
