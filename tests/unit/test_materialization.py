"""What travels between the stores: gathered batches under Feast's names, in declared types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pytest
from feast import BatchFeatureView, Entity, FeatureView, Field, PushSource, StreamFeatureView
from feast.aggregation import Aggregation
from feast.types import Float64, Int64, String, UnixTimestamp, ZonedTimestamp
from feast.value_type import ValueType

from yummy_feast import materialization
from yummy_feast.errors import ColumnTypeError, RetrievalError, ValueTypeError
from yummy_feast.materialization import BEGINNING, is_plain, materialize
from yummy_feast.online.writer import Written
from yummy_feast.sources.parquet import ParquetSource

pytestmark = [
    pytest.mark.filterwarnings("ignore:Stream feature views are experimental features:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Batch feature views are experimental features:RuntimeWarning"),
]

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MICROS = pa.timestamp("us", "UTC")
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
SOURCE = ParquetSource(
    "rows.parquet",
    name="rows",
    timestamp_field="at",
    created_timestamp_column="saved",
    field_mapping={"id": "driver_id", "when": "at", "n": "trips"},
)


def view(**options: Any) -> FeatureView:
    given: dict[str, Any] = {"name": "stats", "entities": [DRIVER], "source": SOURCE, "schema": SCHEMA, **options}
    return FeatureView(**given)


SCHEMA = [Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)]


def batch(*drivers: int, trips: pa.DataType | None = None) -> pa.RecordBatch:
    times = pa.array([NOON] * len(drivers), MICROS)
    values = pa.array(drivers, trips or pa.int64())
    return pa.record_batch({"id": pa.array(drivers, pa.int64()), "n": values, "when": times, "saved": times})


class Offline:
    """An offline store that has read ``batches``; keeps what it was asked."""

    def __init__(self, *batches: pa.RecordBatch) -> None:
        self.batches = batches
        self.asked: dict[str, Any] = {}

    def pull_latest_from_table_or_query(self, **asked: Any) -> Any:
        self.asked = asked
        return SimpleNamespace(to_record_batch_reader=lambda: iter(self.batches))


class Online:
    """An online store that takes any rows; keeps them."""

    def __init__(self) -> None:
        self.batches: list[pa.RecordBatch] = []
        self.times: tuple[Any, ...] = ()

    def write_arrow(self, config: Any, view: FeatureView, batches: Iterable[pa.RecordBatch], *times: Any) -> Written:
        *self.times, progress = times  # type: ignore[assignment]
        for rows in batches:
            self.batches.append(rows)
            progress(rows.num_rows)
        return Written(written=sum(rows.num_rows for rows in self.batches))


class Bar:
    """A progress bar of Feast's kind."""

    rows = 0

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, count: int) -> None:
        self.rows += count


def run(offline: Offline, online: Online, table: FeatureView | None = None, size: int | None = None) -> tuple[Any, Bar]:
    config: Any = SimpleNamespace(materialization_config=SimpleNamespace(online_write_batch_size=size))
    bar = Bar()
    stores: Any = (offline, online)
    return materialize(config, table or view(), BEGINNING, NOON, *stores, lambda _: bar), bar


def test_the_source_is_asked_by_its_own_names_and_answers_under_feasts() -> None:
    offline, online = Offline(batch(1, 2), batch(3)), Online()
    written, bar = run(offline, online)
    assert {name: offline.asked[name] for name in offline.asked if name != "config"} == {
        "data_source": SOURCE,
        "join_key_columns": ["id"],
        "feature_name_columns": ["n"],
        "timestamp_field": "when",
        "created_timestamp_column": "saved",
        "start_date": datetime(1, 1, 1, tzinfo=UTC),
        "end_date": NOON,
    }
    (rows,) = online.batches
    assert rows.schema.names == ["driver_id", "trips", "at", "saved"]
    assert rows["trips"].to_pylist() == [1, 2, 3]
    assert list(online.times) == ["at", "saved"]
    assert written == Written(written=3)
    assert bar.rows == 3


def test_few_rows_of_many_pieces_are_written_together() -> None:
    online = Online()
    run(Offline(*(batch(number) for number in range(1000))), online)
    (rows,) = online.batches
    assert rows["driver_id"].to_pylist() == list(range(1000))


def test_many_rows_and_wide_rows_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    online = Online()
    monkeypatch.setattr(materialization, "_ROWS", 10)
    run(Offline(*(batch(*range(4)) for _ in range(7))), online)
    assert [rows.num_rows for rows in online.batches] == [12, 12, 4]
    online = Online()
    monkeypatch.setattr(materialization, "_BYTES", batch(1, 2).nbytes * 2)
    run(Offline(*(batch(1, 2) for _ in range(5))), online)
    assert [rows.num_rows for rows in online.batches] == [4, 4, 2]


def test_nothing_holds_all_rows() -> None:
    """The first rows are written while the last ones have not been read."""
    online = Online()
    seen: list[int] = []

    def reading() -> Iterator[pa.RecordBatch]:
        for _ in range(5):
            seen.append(len(online.batches))
            yield batch(*range(materialization._ROWS))

    offline = Offline()
    offline.batches = reading()  # type: ignore[assignment]
    run(offline, online)
    assert seen == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("size", "expected"), [(None, [5]), (2, [2, 2, 1]), (100, [5])])
def test_feasts_batch_size_is_kept(size: int | None, expected: list[int]) -> None:
    online = Online()
    run(Offline(batch(1, 2, 3), batch(4, 5)), online, size=size)
    assert [rows.num_rows for rows in online.batches] == expected


def test_no_rows_at_all() -> None:
    online = Online()
    assert run(Offline(), online)[0] == Written()
    assert online.batches == []


def test_features_come_as_declared_and_keep_a_zone_where_it_is_part_of_the_value() -> None:
    tokyo = pa.timestamp("us", "Asia/Tokyo")
    rows = batch(1)
    for name in ("moment", "zoned"):
        rows = rows.append_column(name, pa.array([NOON], tokyo))
    rows = rows.append_column("plain", pa.array([NOON.replace(tzinfo=None)], pa.timestamp("us")))
    rows = rows.append_column("ratio", pa.array([3], pa.int8()))
    online = Online()
    fields = [("moment", UnixTimestamp), ("zoned", ZonedTimestamp), ("plain", ZonedTimestamp), ("ratio", Float64)]
    run(Offline(rows), online, view(schema=[SCHEMA[0], *(Field(name=n, dtype=t) for n, t in fields)]))
    (written,) = online.batches
    assert {name: str(written.schema.field(name).type) for name, _ in fields} == {
        "moment": "timestamp[us, tz=UTC]",
        "zoned": "timestamp[us, tz=Asia/Tokyo]",
        "plain": "timestamp[us, tz=UTC]",
        "ratio": "double",
    }
    assert written["zoned"][0].as_py().tzinfo == ZoneInfo("Asia/Tokyo")


def test_a_column_of_another_kind_is_named_as_the_source_has_it() -> None:
    online = Online()
    with pytest.raises(ColumnTypeError, match=r"column 'n' of rows\.parquet holds int64, but is declared string"):
        run(Offline(batch(1)), online, view(schema=[SCHEMA[0], Field(name="trips", dtype=String)]))


def test_what_the_online_store_refuses_is_told_with_view_and_source() -> None:
    class Refusing(Online):
        def write_arrow(self, *given: Any) -> Written:
            raise ValueTypeError("column 'trips' is too much", hint="have less")

    with pytest.raises(ValueTypeError) as caught:
        run(Offline(batch(1)), Refusing())
    assert str(caught.value) == "feature view 'stats' from rows.parquet: column 'trips' is too much (have less)"


def test_vectors_are_checked_as_feast_checks_them() -> None:
    from feast.types import Array

    rows = batch(1).append_column("v", pa.array([[0.5, 1.5]]))
    fields = [SCHEMA[0], Field(name="v", dtype=Array(Float64), vector_index=True, vector_length=3)]
    with pytest.raises(ValueError, match="Vector length 2 does not match expected 3 for feature 'v'"):
        run(Offline(rows), Online(), view(schema=fields))


def test_a_view_without_a_source() -> None:
    bare = FeatureView(name="bare", entities=[DRIVER], schema=SCHEMA)
    with pytest.raises(RetrievalError, match="feature view 'bare' has no batch source"):
        run(Offline(), Online(), bare)


def _same(data: pd.DataFrame) -> pd.DataFrame:
    return data


def _stream(**options: Any) -> StreamFeatureView:
    pushed = PushSource(name="pushed", batch_source=SOURCE)
    return StreamFeatureView(name="stream", entities=[DRIVER], schema=SCHEMA, source=pushed, **options)


def _batch(**options: Any) -> BatchFeatureView:
    return BatchFeatureView(name="batch", entities=[DRIVER], schema=SCHEMA, **{"source": SOURCE, **options})


def _filtered() -> FeatureView:
    table = view()
    table.filter = "trips > 1"  # type: ignore[attr-defined] # Feast's engine looks for it
    return table


@pytest.mark.parametrize(
    ("table", "plain"),
    [
        (view, True),
        (lambda: view(ttl=None, online=False, offline=True), True),
        (_stream, True),
        (_batch, True),
        (lambda: _stream(udf=_same, mode="pandas"), False),
        (lambda: _batch(udf=_same, mode="pandas"), False),
        (lambda: _batch(aggregations=[Aggregation(column="trips", function="sum")]), False),
        (lambda: _batch(source=[view()], sink_source=SOURCE), False),
        (lambda: view(enable_validation=True), False),
        (_filtered, False),
        (lambda: FeatureView(name="bare", entities=[DRIVER], schema=SCHEMA), False),
    ],
)
def test_which_views_are_their_sources_rows(table: Any, plain: bool) -> None:
    assert is_plain(table()) is plain
