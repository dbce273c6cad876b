"""Ranges of one source (the newest row per key, all rows) and SQL over sources, by every engine."""

from __future__ import annotations

import os
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.contract.engine_kit import HOUR, Kit, MemorySource, micros, read, rows_of
from yummy_feast.errors import ColumnNotFoundError, ColumnTypeError, EntityRowsError, SourceReadError
from yummy_feast.sources.parquet import ParquetSource

# --------------------------------------------------------------------------------------------- newest


def latest(kit: Kit, *args: Any, **options: Any) -> list[dict[str, Any]]:
    """Rows without their times, by v."""
    table = kit.engine.latest(read(*args, **options)).read_all()
    table.validate(full=True)
    rows: list[dict[str, Any]] = table.drop_columns(["t"]).to_pylist()
    return rows


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("cuts", [(), (3,), (1, 2, 5)], ids=["one file", "two files", "four files"])
def test_latest_is_the_newest_event_then_created_then_the_last_row(
    kit: Kit, cuts: tuple[int, ...], threads: int
) -> None:
    kit.settings["threads"] = threads
    table = rows_of(
        k=[1, 1, 1, 2, 2, 3, 3, 4, 4],
        t=[5, 9, 9, 7, 7, 7, 7, 8, 1],
        made=[99, 1, 2, 5, None, None, None, None, 5],
        v=list(range(9)),
    )
    source = kit.source(table, *cuts)
    found = kit.engine.latest(read(source, "v", created="made")).read_all()
    assert found.column_names == ["k", "v", "t", "made"]
    assert found["v"].to_pylist() == [2, 3, 6, 7]
    assert latest(kit, source, "v") == [{"k": 1, "v": 2}, {"k": 2, "v": 4}, {"k": 3, "v": 6}, {"k": 4, "v": 7}]


def test_latest_takes_both_ends_of_the_range(kit: Kit) -> None:
    source = kit.source(rows_of(k=[1, 1, 1, 2, 3], t=[10, 20, 30, 9, 31], v=[10, 20, 30, 9, 31]))
    assert latest(kit, source, "v", start=10, end=20) == [{"k": 1, "v": 20}]
    assert latest(kit, source, "v", start=10, end=10) == [{"k": 1, "v": 10}]
    assert latest(kit, source, "v", end=9) == [{"k": 2, "v": 9}]
    assert latest(kit, source, "v", start=31) == [{"k": 3, "v": 31}]
    assert latest(kit, source, "v", start=32, end=40) == []
    assert latest(kit, source, "v", start=20, end=10) == []


def test_latest_rounds_nothing_into_the_range(kit: Kit) -> None:
    table = pa.table({"k": [1, 2, 3], "t": pa.array([9_999, 10_000, 10_001], pa.timestamp("ns")), "v": [0, 1, 2]})
    assert latest(kit, kit.source(table), "v", start=10, end=10) == [{"k": 2, "v": 1}]


@pytest.mark.parametrize("end", [None, 99])
def test_latest_leaves_out_rows_without_a_key_or_a_time(kit: Kit, end: int | None) -> None:
    source = kit.source(rows_of(k=[None, 1, 2, 2], t=[5, None, None, 3], v=[0, 1, 2, 3]))
    assert latest(kit, source, "v", end=end) == [{"k": 2, "v": 3}]
    pairs = kit.source(rows_of(k=[1, None, 1], s=["x", "x", None], t=[1, 1, 1], v=[0, 1, 2]))
    assert latest(kit, pairs, "v", keys=("k", "s"), end=end) == [{"k": 1, "s": "x", "v": 0}]


def test_latest_keeps_null_features_of_the_newest_row(kit: Kit) -> None:
    source = kit.source(rows_of(k=[1, 1], t=[1, 2], v=[7, None], w=["a", None]))
    assert latest(kit, source, "v", "w") == [{"k": 1, "v": None, "w": None}]


def test_latest_without_join_keys_is_one_row(kit: Kit) -> None:
    source = kit.source(rows_of(t=[1, 3, 2], v=[1, 3, 2]), 2)
    assert latest(kit, source, "v", keys=()) == [{"v": 3}]
    assert latest(kit, source, "v", keys=(), start=50) == []


@pytest.mark.parametrize(
    "keys",
    [
        pa.array([2**64 - 1, 2**63, 2**64 - 1], pa.uint64()),
        pa.array([-1, 2**62, -1], pa.int64()),
        pa.array([True, False, True]),
        pa.array(["", "a", ""], pa.large_string()),
        pa.array([b"\0", b"", b"\0"]),
        pa.array([1, 2, 1], pa.timestamp("ns", "UTC")),
        pa.array([1, 2, 1], pa.date32()),
        pa.array([0.5, 0.25, 0.5], pa.float32()),
        pa.array(["low", "high", "low"]).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_latest_tells_keys_of_every_type_apart(kit: Kit, keys: pa.Array) -> None:
    source = kit.source(rows_of(k=keys, t=[1, 1, 2], v=[0, 1, 2]), 1)
    found = kit.engine.latest(read(source, "v")).read_all()
    assert found["v"].to_pylist() == [1, 2]
    assert found["k"].to_pylist() == [keys[1].as_py(), keys[2].as_py()]
    if kit.stored_in == "memory":
        assert found.schema.field("k").type == keys.type


def test_latest_of_an_empty_source(kit: Kit) -> None:
    source = kit.source(rows_of(k=[1], s=["x"], t=[1], v=[1]).slice(0, 0))
    assert latest(kit, source, "v", keys=("k", "s")) == []
    assert latest(kit, source, "v", keys=()) == []


def test_latest_refuses_keys_that_are_none(kit: Kit) -> None:
    source = kit.source(rows_of(k=pa.array([[1]]), t=[1], v=[1]))
    with pytest.raises(ColumnTypeError, match=r"'k' of .* holds list.*, which cannot be a join key"):
        latest(kit, source, "v")


# ------------------------------------------------------------------------------------------- all rows


@pytest.mark.parametrize("threads", [1, 4])
def test_between_keeps_the_order_of_the_source(kit: Kit, threads: int) -> None:
    kit.settings["threads"] = threads
    table = rows_of(k=[3, 1, None, 1, 2, 2], t=[9, 5, 7, 5, 10, 11], v=[0, 1, 2, 3, 4, None])
    found = kit.engine.between(read(kit.source(table, 1, 2, 3, 5), "v", start=5, end=10)).read_all()
    assert found.column_names == ["k", "v", "t"]
    assert found["v"].to_pylist() == [0, 1, 2, 3, 4]
    assert found["k"].to_pylist() == [3, 1, None, 1, 2]


def test_between_takes_both_ends_and_open_ends(kit: Kit) -> None:
    source = kit.source(rows_of(k=[1] * 4, t=[1, 2, 3, None], v=[1, 2, 3, 4]))

    def found(start: int | None = None, end: int | None = None) -> Any:
        return kit.engine.between(read(source, "v", start=start, end=end)).read_all()["v"].to_pylist()

    assert found(start=2, end=2) == [2]
    assert found(start=2) == [2, 3]
    assert found(end=2) == [1, 2]
    assert found() == [1, 2, 3, 4]


def test_between_names_each_column_once(kit: Kit) -> None:
    source = kit.source(rows_of(k=[1], t=[1], made=[2], v=[3]))
    found = kit.engine.between(read(source, "v", "t", "k", created="made")).read_all()
    assert found.column_names == ["k", "v", "t", "made"]


@pytest.mark.parametrize("what", ["latest", "between"])
def test_a_missing_column_is_named(kit: Kit, what: str) -> None:
    source = kit.source(rows_of(k=[1], t=[1], speed=[1]))
    with pytest.raises(ColumnNotFoundError, match=r"no column 'sped' \(did you mean 'speed'"):
        getattr(kit.engine, what)(read(source, "sped")).read_all()


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("what", ["latest", "between"])
def test_an_error_of_the_source_comes_out_as_it_is(kit: Kit, what: str, threads: int) -> None:
    kit.settings["threads"] = threads
    error = SourceReadError("data/x.parquet cannot be read", hint="is the file whole?")
    source = MemorySource([rows_of(k=[1] * 50, t=[1] * 50, v=[1] * 50)] * 3, error=error)
    with pytest.raises(SourceReadError) as caught:
        getattr(kit.engine, what)(read(source, "v")).read_all()
    assert str(caught.value) == "data/x.parquet cannot be read (is the file whole?)"


# -------------------------------------------------------------------------------------------------- SQL


def test_sql_reads_sources_by_name(kit: Kit) -> None:
    trips = kit.source(rows_of(k=[1, 2, 2], t=[HOUR, 2 * HOUR, 3 * HOUR], v=[1, 2, 3]), 1)
    users = kit.source(rows_of(k=[2], t=[1], name=["Ada"]))
    sql = """
        SELECT name, t.t AS event_timestamp, count(*) OVER () AS n
        FROM "my trips" t JOIN USERS u USING (k) ORDER BY event_timestamp DESC
    """
    found = kit.engine.query(sql, {"my trips": trips, "users": users})
    assert found.to_pydict() == {
        "name": ["Ada", "Ada"],
        "event_timestamp": micros(3 * HOUR, 2 * HOUR).to_pylist(),
        "n": [2, 2],
    }
    assert found.schema.field("event_timestamp").type == pa.timestamp("us", "UTC")


def test_sql_reads_only_the_sources_it_names(kit: Kit) -> None:
    used, unused = MemorySource([rows_of(t=[1])]), MemorySource([rows_of(t=[1])])
    kit.engine.query("SELECT * FROM used", {"used": used, "unused": unused})
    assert (used.scans, unused.scans) == (1, 0)


@pytest.mark.parametrize("name", ["local.flights.rows", "flights.rows"])
def test_sql_names_an_iceberg_table_as_its_source_is_called(kit: Kit, name: str) -> None:
    sources = {name: kit.source(rows_of(k=[1, 2])), "rows": kit.source(rows_of(k=[3]))}
    assert kit.engine.query(f"SELECT k FROM {name} ORDER BY k", sources).to_pydict() == {"k": [1, 2]}
    assert kit.engine.query(f'SELECT k FROM "{name}" JOIN rows USING (k)', sources).num_rows == 0


def test_sql_without_a_source(kit: Kit) -> None:
    found = kit.engine.query(
        "WITH days AS (SELECT 1 AS k) SELECT k, TIMESTAMP '2026-01-01' AS event_timestamp FROM days", {}
    )
    assert found.num_rows == 1


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE x AS SELECT 1",
        "COPY (SELECT 1) TO 'stolen.csv'",
        "SELECT 1; SELECT 2",
        "SET memory_limit = '1GB'",
        "ATTACH 'other.db'",
        "INSTALL httpfs",
        "DROP TABLE rows",
        "",
        "  -- nothing\n",
    ],
)
def test_sql_that_is_not_one_select_is_refused(kit: Kit, sql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(kit.folder)
    with pytest.raises(EntityRowsError, match="must be one SELECT statement") as caught:
        kit.engine.query(sql, {"rows": MemorySource([rows_of(t=[1])])})
    assert "\n" not in str(caught.value)
    assert os.listdir(kit.folder) == []


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELEC 1", "SELEC"),
        ("SELECT nothing FROM rows", "nothing"),
        ("SELECT (1 FROM rows", "FROM"),
        ("SELECT CAST('x' AS INT)", "INT"),
    ],
)
def test_an_error_in_sql_is_one_line_that_lists_the_sources(kit: Kit, sql: str, reason: str) -> None:
    with pytest.raises(EntityRowsError) as caught:
        kit.engine.query(sql, {"rows": MemorySource([rows_of(t=[1])])})
    text = str(caught.value)
    assert reason in text
    assert "sources: rows" in text
    assert "\n" not in text


def test_sql_sees_no_python_variables(kit: Kit) -> None:
    frame = rows_of(t=[1])  # would be found by its name
    assert frame.num_rows
    with pytest.raises(EntityRowsError, match="frame"):
        kit.engine.query("SELECT * FROM frame", {})


def test_an_error_of_a_source_under_sql_comes_out_as_it_is(kit: Kit) -> None:
    path = kit.folder / "rows.parquet"
    pq.write_table(rows_of(k=list(range(1000)), t=[1] * 1000), path, row_group_size=100)
    whole = path.read_bytes()
    path.write_bytes(bytes([whole[0]]) + whole[:4] * 500 + whole[2001:])
    with pytest.raises(SourceReadError, match=r"rows\.parquet") as caught:
        kit.engine.query("SELECT * FROM broken", {"broken": ParquetSource(path=path, timestamp_field="t")})
    assert "\n" not in str(caught.value)
