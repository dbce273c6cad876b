"""Rows that come from Spark or go there: what Arrow's Java leaves out is put in, and no type becomes another."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from yummy_feast.offline.engines.base import EngineSettings
from yummy_feast.offline.engines.spark import SparkEngine
from yummy_feast.offline.frame_rows import FrameRows
from yummy_feast.sources.base import SourceContext
from yummy_feast.spark.arrow_rows import fetched, sent, sound


def test_lists_from_java_may_lack_their_first_offset() -> None:
    inner = pa.ListArray.from_buffers(
        pa.list_(pa.int64()), 0, [None, pa.py_buffer(b"")], children=[pa.array([], "int64")]
    )
    kind = pa.list_(pa.list_(pa.int64()))
    offsets = pa.py_buffer(np.zeros(3, np.int32).tobytes())
    lists = pa.Array.from_buffers(kind, 2, [pa.py_buffer(b"\x00"), offsets], 2, children=[inner])
    structs = pa.StructArray.from_arrays([lists], fields=[pa.field("f", kind)])
    kept = sound(pa.record_batch({"plain": lists, "inside": structs}))
    kept.validate(full=True)
    assert kept.to_pydict() == {"plain": [None, None], "inside": [{"f": None}, {"f": None}]}
    assert kept.column("plain").values.buffers()[1].size == 4
    assert kept.column("inside").field(0).values.buffers()[1].size == 4


def test_what_is_nested_stays_as_it_is() -> None:
    columns = {
        "maps": pa.array([[("a", [1])], None, []], pa.map_(pa.string(), pa.list_(pa.int64()))),
        "structs": pa.array([{"a": [[1], None]}, None, {"a": []}], pa.struct([("a", pa.list_(pa.list_(pa.int8())))])),
        "lists": pa.array([[[1], []], None, [None]], pa.list_(pa.list_(pa.int64()))),
    }
    batch = pa.record_batch(columns)
    assert sound(batch).equals(batch)
    sound(batch).validate(full=True)


EMPTY = (
    "SELECT TIMESTAMP '2026-01-01 00:00:00' AS event_timestamp, "
    "CAST(NULL AS ARRAY<ARRAY<BIGINT>>) AS lists, "
    "ARRAY(CAST(NULL AS ARRAY<STRING>)) AS inside, "
    "NAMED_STRUCT('a', CAST(NULL AS ARRAY<ARRAY<STRING>>)) AS within, "
    "CAST(NULL AS ARRAY<MAP<STRING, ARRAY<BIGINT>>>) AS maps FROM RANGE(3)"
)


@pytest.mark.slow
@pytest.mark.spark
def test_nested_lists_of_nulls_come_whole(spark_session: Any, tmp_path: Any) -> None:
    as_rows = FrameRows(spark_session.sql(EMPTY)).table()
    as_answer = SparkEngine(EngineSettings(SourceContext(tmp_path), threads=2)).query(EMPTY, {})
    for table in (as_rows, as_answer, fetched(spark_session.sql(EMPTY))):
        table.validate(full=True)
        assert len(table) == 3
        for name, expected in (("lists", None), ("inside", [None]), ("within", {"a": None}), ("maps", None)):
            assert table[name].to_pylist() == [expected] * 3
            assert all(has_offsets(chunk) for chunk in table[name].chunks), name


def has_offsets(values: pa.Array) -> bool:
    """Whether there is one offset more than there are lists, at every level: pyarrow reads them unseen."""
    kind = values.type
    if pa.types.is_struct(kind):
        return all(has_offsets(values.field(number)) for number in range(kind.num_fields))
    if pa.types.is_list(kind) or pa.types.is_map(kind):
        below = [values.values] if pa.types.is_list(kind) else [values.keys, values.items]
        offsets = values.buffers()[1]
        return offsets is not None and offsets.size >= 4 * (len(values) + 1) and all(map(has_offsets, below))
    return True


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
COLUMNS = {
    "instants": (pa.array([NOON, None], pa.timestamp("ns", "UTC")), "timestamp", [NOON, None]),
    "naive": (pa.array([NOON.replace(tzinfo=None), None], pa.timestamp("us")), "timestamp", [NOON, None]),
    "wide": (pa.array([2**64 - 1, None], pa.uint64()), "decimal(20,0)", [Decimal(2**64 - 1), None]),
    "small": (pa.array([255, None], pa.uint8()), "smallint", [255, None]),
    "text": (pa.array(["a", None], pa.large_string()), "string", ["a", None]),
    "coded": (pa.array(["a", None]).dictionary_encode(), "string", ["a", None]),
    "days": (pa.array([date(2026, 1, 1), None], pa.date32()), "date", [date(2026, 1, 1), None]),
    "lists": (
        pa.array([[[1], None], None], pa.list_(pa.list_(pa.int64()))),
        "array<array<bigint>>",
        [[[1], None], None],
    ),
    "maps": (pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())), "map<string,bigint>", [{"a": 1}, None]),
    "deep": (
        pa.array([{"A": 1, "b": None}, None], pa.struct([("A", pa.int8()), ("b", pa.int8())])),
        "struct<A:tinyint,b:tinyint>",
        [(1, None), None],
    ),
}


@pytest.mark.slow
@pytest.mark.spark
def test_rows_are_sent_in_types_that_spark_expects(spark_session: Any) -> None:
    table = pa.table({name: column for name, (column, _, _) in COLUMNS.items()})
    halves = pa.concat_tables([table.slice(1), table.slice(0, 1)]).slice(1).append_column("n", pa.array([1]))
    frame = sent(
        spark_session,
        pa.concat_tables([table.append_column("n", pa.array([0, 0])), halves]),
        spark_session.range(1).schema,
    )
    assert dict(frame.dtypes) == {name: kind for name, (_, kind, _) in COLUMNS.items()} | {"n": "bigint"}
    found = fetched(frame)
    for name, (_, kind, values) in COLUMNS.items():
        if kind.startswith(("map", "struct")):
            continue
        assert found[name].to_pylist() == [*values, values[0]], name
    rows = frame.collect()
    assert [row["maps"] for row in rows] == [{"a": 1}, None, {"a": 1}]
    assert [row["deep"] and tuple(row["deep"]) for row in rows] == [(1, None), None, (1, None)]


@pytest.mark.slow
@pytest.mark.spark
def test_a_frame_to_be_like_says_the_types(spark_session: Any) -> None:
    like = spark_session.sql("SELECT timestamp_ntz'2026-01-01 12:00:00' AS naive, 7 AS n, 1.5D AS other")
    zone = spark_session.conf.get("spark.sql.session.timeZone")
    spark_session.conf.set("spark.sql.session.timeZone", "America/New_York")
    try:
        table = pa.table({"n": [7], "naive": pa.array([NOON.replace(tzinfo=None)], pa.timestamp("us"))})
        frame = sent(spark_session, table, like.schema)
        assert dict(frame.dtypes) == {"n": "int", "naive": "timestamp_ntz"}
        assert tuple(frame.collect()[0]) == (7, NOON.replace(tzinfo=None))
    finally:
        spark_session.conf.set("spark.sql.session.timeZone", zone)


def test_a_table_without_rows_or_columns_is_sound() -> None:
    for batch in (pa.record_batch({"a": pa.array([], pa.list_(pa.list_(pa.int8())))}), pa.record_batch({})):
        assert sound(batch).equals(batch)
