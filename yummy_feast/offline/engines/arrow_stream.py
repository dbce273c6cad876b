"""Arrow batches as a table that SQL in DuckDB can read, once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pyarrow as pa

STREAM = "yummy_stream"
"""What SQL calls the stream."""


@contextmanager
def streamed(
    connection: duckdb.DuckDBPyConnection, schema: pa.Schema, batches: Iterator[pa.RecordBatch]
) -> Iterator[None]:
    """Let SQL read the batches as table ``STREAM``. What a source raises meanwhile comes out as it is, not as DuckDB's
    text about it.
    """
    failed: list[BaseException] = []

    def watched() -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except GeneratorExit:
            raise
        except BaseException as error:
            failed.append(error)
            raise

    connection.register(STREAM, pa.RecordBatchReader.from_batches(schema, watched()))
    try:
        yield
    except duckdb.Error:
        if failed:
            raise failed[0] from None
        raise
    finally:
        connection.unregister(STREAM)
