"""Arrow batches under SQL: read once, in a stream, with the errors of whoever makes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from yummy_feast.errors import SourceReadError
from yummy_feast.offline.engines.arrow_stream import STREAM, streamed

SCHEMA = pa.schema([("n", pa.int64())])


def numbers(batches: int, error: BaseException | None = None, ended: list[bool] | None = None) -> Iterator[Any]:
    try:
        for number in range(batches):
            yield pa.record_batch({"n": pa.array([number] * 1000, pa.int64())})
        if error is not None:
            raise error
    finally:
        if ended is not None:
            ended.append(True)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as made:
        yield made


def total(connection: duckdb.DuckDBPyConnection) -> Any:
    return connection.execute(f"SELECT count(*), sum(n) FROM {STREAM}").fetchall()[0]


def test_sql_reads_the_batches(connection: duckdb.DuckDBPyConnection) -> None:
    with streamed(connection, SCHEMA, numbers(10)):
        assert total(connection) == (10_000, 45_000)


def test_no_batches_are_an_empty_table(connection: duckdb.DuckDBPyConnection) -> None:
    with streamed(connection, SCHEMA, numbers(0)):
        assert total(connection) == (0, None)


def test_afterwards_the_name_is_free(connection: duckdb.DuckDBPyConnection) -> None:
    for batches in (1, 2):
        with streamed(connection, SCHEMA, numbers(batches)):
            assert total(connection)[0] == batches * 1000
    with pytest.raises(duckdb.CatalogException, match=STREAM):
        total(connection)


@pytest.mark.parametrize(
    "error",
    [SourceReadError("rows.parquet is damaged", hint="mend it"), KeyError("n"), MemoryError()],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_the_source_comes_out_as_it_is(connection: duckdb.DuckDBPyConnection, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, streamed(connection, SCHEMA, numbers(3, error)):
        total(connection)
    assert caught.value is error
    # Without DuckDB's text about it.
    assert caught.value.__suppress_context__
    # And the connection is as good as before.
    with streamed(connection, SCHEMA, numbers(1)):
        assert total(connection)[0] == 1000


def test_an_error_of_the_sql_is_duckdbs(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(duckdb.BinderException, match="nothing"), streamed(connection, SCHEMA, numbers(3)):
        connection.execute(f"SELECT nothing FROM {STREAM}")


def test_a_stream_that_is_not_read_to_its_end_is_ended(connection: duckdb.DuckDBPyConnection) -> None:
    ended: list[bool] = []
    with streamed(connection, SCHEMA, numbers(10_000, ended=ended)):
        assert connection.execute(f"SELECT n FROM {STREAM} LIMIT 1").fetchall() == [(0,)]
    connection.execute("SELECT 1")
    assert ended == [True]
