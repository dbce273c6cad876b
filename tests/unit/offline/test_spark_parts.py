"""What runs on an executor, without one: rows of a part in, in carriers; what is told of it out."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from yummy_feast.errors import ValueTypeError
from yummy_feast.offline.engines.spark_parts import KEYLESS, PART, ROWS, _Task
from yummy_feast.spark.carriers import carry

pytest.importorskip("pyspark")

SCHEMA = pa.schema([("id", pa.uint64()), ("at", pa.timestamp("ns", "Asia/Tokyo")), ("name", pa.large_string())])
TOLD = pa.schema([("rows", pa.int64())])
VALUES = pa.table({"id": [2**64 - 1, 2, 3], "at": [1, None, 3], "name": ["a", None, "c"]}, schema=pa.schema([*SCHEMA]))


class Work:
    """Counts rows, and keeps them."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, pa.Table]] = []

    def __call__(self, part: int, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch:
        table = pa.Table.from_batches(batches, SCHEMA)
        self.seen.append((part, table))
        return pa.RecordBatch.from_pydict({"rows": [len(table), 0]}, TOLD)


def sent(part: int = 0, keyless: list[bool] | None = None) -> pa.RecordBatch:
    """As Spark hands it over."""
    columns = [carry(VALUES.column(name).combine_chunks()) for name in SCHEMA.names]
    count = len(VALUES)
    beside = {PART: [part] * count, KEYLESS: keyless or [False] * count, ROWS: [1, 40, 1]}
    return pa.record_batch({f"f{at}": column for at, column in enumerate(columns)} | beside)


def task(work: Any) -> _Task:
    return _Task(work, SCHEMA, TOLD.append(pa.field(KEYLESS, pa.int64())))


def test_rows_are_in_the_types_of_the_source_again() -> None:
    work = Work()
    [told] = task(work)(iter([sent(), sent()]))
    assert work.seen == [(0, pa.concat_tables([VALUES, VALUES]))]
    assert told.to_pylist() == [{"rows": 6, KEYLESS: 0}, {"rows": 0, KEYLESS: 0}]


def test_the_row_that_stands_for_those_without_a_key_is_counted_and_left_out() -> None:
    work = Work()
    [told] = task(work)(iter([sent(keyless=[False, True, False])]))
    assert work.seen[0][1].column("name").to_pylist() == ["a", "c"]
    assert told.to_pylist() == [{"rows": 2, KEYLESS: 40}, {"rows": 0, KEYLESS: 0}]


def test_a_part_without_rows_is_told_too() -> None:
    [told] = task(Work())(iter([]))
    assert told.to_pylist()[0] == {"rows": 0, KEYLESS: 0}


def test_the_worker_reads_no_archive_again_for_its_next_task(archive: str) -> None:
    list(task(Work())(iter([sent()])))
    assert archive not in sys.path_importer_cache


def test_rows_of_another_part_are_not_taken_for_this_one() -> None:
    """Parts that are done are left out next time: a wrong number would lose rows."""
    with pytest.raises(RuntimeError, match="rows of another part into partition 0"):
        list(task(Work())(iter([sent(part=3)])))


def test_our_errors_travel_as_text() -> None:
    def work(part: int, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch:
        raise ValueTypeError("column 'n' is too much", hint="have less")

    with pytest.raises(RuntimeError) as error:
        list(task(work)(iter([sent()])))
    said = json.loads(str(error.value).partition(": ")[2])
    assert said == {"kind": "ValueTypeError", "message": "column 'n' is too much", "hint": "have less"}


def test_a_task_pickles() -> None:
    again = pickle.loads(pickle.dumps(task(Work())))
    assert (again.schema, again.told) == (SCHEMA, task(Work()).told)
