"""What is read for a view and what is written: the source's columns under Feast's names, as declared, gathered."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from feast import FeatureView, Field
from feast.types import Array, Float64, Int64, String, UnixTimestamp, ZonedTimestamp

from tests.unit.materialization.memory_stores import DRIVER, REGION, view
from yummy_feast.errors import ColumnTypeError, RetrievalError, ValueTypeError
from yummy_feast.materialization import columns as module
from yummy_feast.materialization.columns import Gathering, ViewColumns, growing
from yummy_feast.sources.parquet import ParquetSource

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MICROS = pa.timestamp("us", "UTC")
MAPPED = ParquetSource(
    "rows.parquet",
    name="rows",
    timestamp_field="at",
    created_timestamp_column="saved",
    field_mapping={"driver": "id", "when": "at", "stored": "saved", "m": "n"},
)


def rows(*drivers: int, **more: Any) -> pa.Table:
    return pa.table({"id": drivers, "n": drivers, "at": pa.array([NOON] * len(drivers), MICROS), **more})


def written(table: pa.Table, limit: int | None = None, **options: Any) -> list[pa.RecordBatch]:
    return list(ViewColumns.of(view(**options)).batches(table, limit))


# ------------------------------------------------------------------------------------------------------------ names


def test_the_source_is_asked_by_its_own_names_and_answers_under_feasts() -> None:
    columns = ViewColumns.of(view(source=MAPPED))
    assert columns.stored == {"id": "driver", "n": "m", "at": "when", "saved": "stored"}
    assert (columns.join_keys, columns.features) == (("driver",), ("m",))
    assert (columns.time, columns.created) == ("at", "saved")
    assert columns.source == MAPPED
    times = pa.array([NOON], MICROS)
    table = pa.table({"extra": [0], "driver": [1], "m": [2], "when": times, "stored": times})
    [batch] = columns.batches(table, None)
    assert batch.schema.names == ["id", "n", "at", "saved"]
    assert batch.to_pylist() == [{"id": 1, "n": 2, "at": NOON, "saved": NOON}]


def test_a_created_timestamp_is_read_where_there_is_one() -> None:
    columns = ViewColumns.of(view())
    assert columns.created is None
    assert columns.stored == {"id": "id", "n": "n", "at": "at"}


def test_a_feature_may_be_a_time_and_have_the_name_of_another_column() -> None:
    mapped = ParquetSource("rows.parquet", timestamp_field="at", field_mapping={"a": "b"})
    fields = [Field(name="b", dtype=Int64), Field(name="at", dtype=UnixTimestamp)]
    columns = ViewColumns.of(view(source=mapped, features=fields))
    assert columns.features == ("a", "at")
    assert list(columns.stored) == ["id", "b", "at"]
    [batch] = columns.batches(rows(1, a=[10], b=[20]), None)
    assert batch.to_pylist() == [{"id": 1, "b": 10, "at": NOON}]


def test_a_view_without_entities_asks_for_no_key() -> None:
    columns = ViewColumns.of(view(entities=[]))
    assert columns.join_keys == ()
    [batch] = columns.batches(rows(1), None)
    assert batch.schema.names == ["n", "at"]
    # What `feast apply` makes of it.
    dummy = view(entities=[], features=[Field(name="__dummy_id", dtype=String), Field(name="n", dtype=Int64)])
    assert "__dummy_id" not in ViewColumns.of(dummy).join_keys


def test_join_keys_are_those_of_all_entities() -> None:
    assert set(ViewColumns.of(view(entities=[REGION, DRIVER])).join_keys) == {"id", "region"}


def test_a_view_without_a_source_is_named() -> None:
    bare = FeatureView(name="bare", entities=[DRIVER], schema=[Field(name="n", dtype=Int64)])
    with pytest.raises(RetrievalError, match=r"^feature view 'bare' has no batch source"):
        ViewColumns.of(bare)


# ------------------------------------------------------------------------------------------------------------ types


def test_features_come_as_declared_and_keep_a_zone_where_it_is_part_of_the_value() -> None:
    tokyo = pa.timestamp("us", "Asia/Tokyo")
    table = rows(
        1,
        moment=pa.array([NOON], tokyo),
        zoned=pa.array([NOON], tokyo),
        plain=pa.array([NOON.replace(tzinfo=None)], pa.timestamp("us")),
        ratio=pa.array([3], pa.int8()),
        text=pa.array(["x"]).dictionary_encode(),
    )
    kinds = {
        "moment": UnixTimestamp,
        "zoned": ZonedTimestamp,
        "plain": ZonedTimestamp,
        "ratio": Float64,
        "text": String,
    }
    [batch] = written(table, features=[Field(name=name, dtype=kind) for name, kind in kinds.items()])
    assert {name: str(batch.schema.field(name).type) for name in kinds} == {
        "moment": "timestamp[us, tz=UTC]",
        "zoned": "timestamp[us, tz=Asia/Tokyo]",
        "plain": "timestamp[us, tz=UTC]",
        "ratio": "double",
        "text": "string",
    }
    assert batch["zoned"][0].as_py().tzinfo == ZoneInfo("Asia/Tokyo")


def test_a_column_of_another_kind_is_named_as_the_source_has_it() -> None:
    table = pa.table({"driver": [1], "m": [1], "when": pa.array([NOON], MICROS), "stored": pa.array([NOON], MICROS)})
    with pytest.raises(ColumnTypeError, match=r"column 'm' of rows\.parquet holds int64, but is declared string"):
        written(table, source=MAPPED, features=[Field(name="n", dtype=String)])


def vectors(length: int, *, declared: bool = True) -> list[Field]:
    options: dict[str, Any] = {"vector_index": True, "vector_length": length} if declared else {}
    return [Field(name="v", dtype=Array(Float64), **options)]


def test_vectors_have_the_length_they_are_declared_with() -> None:
    table = rows(1, 2, v=[[0.5, 1.5], None])
    [batch] = written(table, features=vectors(2))
    assert batch["v"].to_pylist() == [[0.5, 1.5], None]
    with pytest.raises(ValueTypeError, match="Vector length 2 does not match expected 3 for feature 'v'"):
        written(table, features=vectors(3))
    assert written(table, features=vectors(3, declared=False))


# ---------------------------------------------------------------------------------------------------------- batches


@pytest.mark.parametrize(("limit", "sizes"), [(None, [5]), (2, [2, 2, 1]), (100, [5])])
def test_feasts_batch_size_is_kept(limit: int | None, sizes: list[int]) -> None:
    table = pa.concat_tables([rows(1, 2, 3), rows(4, 5)])
    batches = written(table, limit)
    assert [batch.num_rows for batch in batches] == sizes
    assert [key for batch in batches for key in batch["id"].to_pylist()] == [1, 2, 3, 4, 5]


def gathered(*batches: pa.RecordBatch) -> list[int]:
    gathering = Gathering()
    tables = [table for batch in batches if (table := gathering.add(batch)) is not None]
    left = gathering.rest()
    assert gathering.rest() is None
    return [table.num_rows for table in (*tables, *([left] if left is not None else []))]


def test_few_rows_of_many_pieces_are_written_together() -> None:
    many = [pa.record_batch({"id": [number]}) for number in range(1000)]
    assert gathered(*many) == [1000]
    assert gathered() == []


def test_many_rows_and_wide_rows_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    four = pa.record_batch({"id": list(range(4))})
    assert module._ROWS == 16 * 1024
    monkeypatch.setattr(module, "_ROWS", 10)
    monkeypatch.setattr(module, "_FIRST_ROWS", 10)
    assert gathered(*[four] * 7) == [12, 12, 4]
    monkeypatch.setattr(module, "_BYTES", four.nbytes * 2)
    assert gathered(*[four] * 5) == [8, 8, 4]
    # A batch is as large as what it shows of its buffers.
    assert gathered(*[four.slice(1, 1)] * 9) == [8, 1]


def test_rows_are_gathered_in_their_order() -> None:
    gathering = Gathering()
    for number in range(5):
        assert gathering.add(pa.record_batch({"id": [number]})) is None
    table = gathering.rest()
    assert table is not None
    assert table["id"].to_pylist() == [0, 1, 2, 3, 4]


def test_the_first_rows_do_not_wait_for_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROWS", 10)
    monkeypatch.setattr(module, "_FIRST_ROWS", 3)
    assert gathered(*[pa.record_batch({"id": [1, 2]})] * 8) == [4, 10, 2]


def test_first_rows_go_in_parts_that_grow() -> None:
    table = pa.table({"id": range(10_000)})
    parts = list(growing(table))
    assert [len(part) for part in parts] == [1024, 3072, 5904]
    assert pa.concat_tables(parts) == table
    assert list(growing(table.slice(0, 0))) == []
