"""What only Parquet files do: partitions, globs, lists, drift, row groups, damage, appending to each kind of place."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.contract.format_cases import read
from yummy_feast.errors import ColumnTypeError, ConfigError, SourceReadError, UnsupportedTableError
from yummy_feast.sources import parquet_pieces
from yummy_feast.sources.base import Prune, SourceContext
from yummy_feast.sources.parquet import ParquetScan, ParquetSource

SECOND = 1_000_000
TIME = pa.timestamp("us", tz="UTC")


@pytest.fixture
def context(tmp_path: Path) -> SourceContext:
    return SourceContext(tmp_path)


def put(context: SourceContext, path: str, columns: dict[str, Any], **options: Any) -> Path:
    target = context.repo_path / path
    target.parent.mkdir(parents=True, exist_ok=True)
    rows = len(next(iter(columns.values())))
    times = pa.array([i * SECOND for i in range(rows)], pa.int64()).cast(TIME)
    pq.write_table(pa.table({"ts": times, **columns}), target, **options)
    return target


def scan(context: SourceContext, path: Any, **keywords: Any) -> ParquetScan:
    return ParquetSource(path, **{"timestamp_field": "ts", **keywords}).scan(context)


# ------------------------------------------------------------------------------ places


def test_a_glob_and_a_list(context: SourceContext) -> None:
    for number in range(3):
        put(context, f"d/{number}.parquet", {"id": [number]})
    assert read(scan(context, "d/[01].parquet"))["id"].to_pylist() == [0, 1]
    listed = scan(context, [Path("d/2.parquet"), "d/0.parquet"])
    assert read(listed)["id"].to_pylist() == [2, 0]
    assert listed.snapshot == "2 files"
    assert ParquetSource(["d/2.parquet", "d/0.parquet"], timestamp_field="ts").name == "d/2.parquet,d/0.parquet"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "02", "-3"], pa.int64()),
        (["2026-11-01", "2026-11-02"], pa.date32()),
        (["1", "b%2Fc", "__HIVE_DEFAULT_PARTITION__"], pa.string()),
    ],
)
def test_hive_partitions_are_typed_columns(context: SourceContext, values: list[str], kind: pa.DataType) -> None:
    for value in values:
        put(context, f"d/k={value}/x.parquet", {"id": [value]})
    found = scan(context, "d")
    assert found.schema.names == ["ts", "id", "k"]
    assert found.schema.field("k").type == kind
    by_folder = {"b%2Fc": "b/c", "__HIVE_DEFAULT_PARTITION__": None, "02": 2, "2026-11-01": dt.date(2026, 11, 1)}
    for row in read(found).to_pylist():
        assert row["k"] == by_folder.get(row["id"], row["k"])
        assert row["k"] is None or row["id"] not in by_folder or row["k"] == by_folder[row["id"]]


def test_partitions_prune(context: SourceContext) -> None:
    for day in range(1, 8):
        put(context, f"d/day=2026-11-0{day}/k={day}/x.parquet", {"id": [day]})
    found = scan(context, "d")

    def left(prune: Prune, source: ParquetScan = found) -> list[int]:
        found_ids: list[int] = read(source, ["id"], source.pieces(prune))["id"].to_pylist()
        return found_ids

    assert left(Prune("ts", None, None, {"k": pa.array([3, 9])})) == [3]
    fourth = int(dt.datetime(2026, 11, 4, tzinfo=dt.UTC).timestamp()) * SECOND
    assert left(Prune("day", fourth, fourth)) == [4]
    with pytest.warns(DeprecationWarning, match="date_partition_column"):
        source = ParquetSource("d", timestamp_field="ts", date_partition_column="day")
    assert left(Prune("ts", fourth, fourth), source.scan(context)) == []
    wide = source.scan(context).pieces(Prune("ts", None, fourth))
    assert len(wide) == 5


def test_a_column_in_folder_and_file_keeps_the_files_type(context: SourceContext) -> None:
    put(context, "d/k=1/x.parquet", {"k": pa.array(["9"])})
    assert read(scan(context, "d"))["k"].to_pylist() == ["1"]
    put(context, "e/k=x/x.parquet", {"k": [9]})
    with pytest.raises(UnsupportedTableError, match="k=x"):
        scan(context, "e")


@pytest.mark.parametrize(
    ("mark", "right"), [("_delta_log/0.json", "DeltaSource"), ("metadata/version-hint.text", "Iceberg")]
)
def test_the_folder_of_a_table_is_refused(context: SourceContext, mark: str, right: str) -> None:
    put(context, "d/x.parquet", {"id": [1]})
    (context.repo_path / "d" / mark).parent.mkdir()
    (context.repo_path / "d" / mark).touch()
    with pytest.raises(UnsupportedTableError, match=right):
        scan(context, "d")
    with pytest.raises(UnsupportedTableError, match=right):
        ParquetSource("d", timestamp_field="ts").replace(pa.table({"ts": [1]}), context, allow_overwrite=True)


# ------------------------------------------------------------------------------ files that differ


def test_drift_between_files(context: SourceContext) -> None:
    put(context, "d/1.parquet", {"id": pa.array([1], pa.int32()), "x": pa.array([1], pa.int64()), "s": ["a"]})
    put(context, "d/2.parquet", {"id": pa.array([2], pa.int64()), "x": [2.5], "new": [True]})
    found = scan(context, "d")
    assert dict(zip(found.schema.names, found.schema.types, strict=True)) == {
        "ts": TIME,
        "id": pa.int64(),
        "x": pa.float64(),
        "s": pa.string(),
        "new": pa.bool_(),
    }
    assert read(found, ["id", "x", "s", "new"]).to_pylist() == [
        {"id": 1, "x": 1.0, "s": "a", "new": None},
        {"id": 2, "x": 2.5, "s": None, "new": True},
    ]
    assert read(found, ["new", "new"]).num_columns == 2


def test_files_that_cannot_agree_are_named_with_the_column(context: SourceContext) -> None:
    put(context, "d/1.parquet", {"x": [1]})
    put(context, "d/2.parquet", {"x": ["a"]})
    with pytest.raises(ColumnTypeError, match=r"2\.parquet: column 'x' is string, but int64 in .*1\.parquet"):
        scan(context, "d")


def test_a_value_that_would_be_rounded_is_an_error(context: SourceContext) -> None:
    put(context, "d/1.parquet", {"x": [2**53 + 1]})
    put(context, "d/2.parquet", {"x": [0.5]})
    with pytest.raises(ColumnTypeError, match=r"1\.parquet: column 'x'"):
        read(scan(context, "d"))


def test_columns_with_dots_beside_nested_ones(context: SourceContext) -> None:
    struct = pa.array([{"b": 2, "c": 3}])
    put(context, "x.parquet", {"a.b": [1], "a": struct, "a.c": ["text"]})
    found = scan(context, "x.parquet")
    for names in (["a.b"], ["a"], ["a.c", "a"], ["a", "a.b"]):
        assert read(found, names).to_pylist() == [
            {name: {"a.b": 1, "a": {"b": 2, "c": 3}, "a.c": "text"}[name] for name in names}
        ]


def test_a_column_that_occurs_twice_is_refused(context: SourceContext) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    pq.write_table(table, context.repo_path / "x.parquet")
    with pytest.raises(SourceReadError, match=r"two columns 'x'"):
        scan(context, "x.parquet")


def test_int96_timestamps_of_any_year(context: SourceContext) -> None:
    times = pa.array([dt.datetime(9999, 12, 31), dt.datetime(1, 1, 1)], pa.timestamp("us"))  # noqa: DTZ001
    pq.write_table(pa.table({"ts": times}), context.repo_path / "x.parquet", use_deprecated_int96_timestamps=True)
    assert read(scan(context, "x.parquet"))["ts"].to_pylist() == times.to_pylist()


# ------------------------------------------------------------------------------ pieces and statistics


def test_pieces_are_bundles_of_row_groups(context: SourceContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_pieces, "ROWS_PER_PIECE", 25)
    put(context, "x.parquet", {"id": list(range(105))}, row_group_size=10)
    found = scan(context, "x.parquet")
    assert [piece.rows for piece in found.pieces()] == [30, 30, 30, 15]
    some = found.pieces(Prune("ts", 45 * SECOND, 65 * SECOND))
    assert [piece.rows for piece in some] == [20, 10]
    assert read(found, ["id"], some)["id"].to_pylist() == list(range(40, 70))


def test_a_large_row_comes_in_small_batches(context: SourceContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_pieces, "BATCH_BYTES", 2**20)
    rows, width = 4_000, 100
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(range(rows * width), pa.float64()), width)
    put(context, "x.parquet", {"v": vectors}, row_group_size=rows, compression="none", use_dictionary=False)
    (piece,) = scan(context, "x.parquet").pieces()
    sizes = [batch.num_rows for batch in piece.read(["v"])]
    assert sum(sizes) == rows
    assert max(sizes) * width * 8 <= 2**20
    assert next(iter(piece.read(["ts"]))).num_rows == rows


def test_bounds_that_mislead_are_not_used(context: SourceContext) -> None:
    columns: dict[str, Any] = {
        "nan": [float("nan"), 1.0],
        "big": pa.array([0, 2**64 - 1], pa.uint64()),
        "tiny": pa.array([-1, 1], pa.timestamp("ns")),
    }
    put(context, "x.parquet", columns)
    put(context, "y.parquet", columns, write_statistics=False)
    for name in ("x.parquet", "y.parquet"):
        found = scan(context, name)
        for keys in ({"nan": pa.array([1.0])}, {"big": pa.array([2**64 - 1], pa.uint64())}):
            assert found.pieces(Prune("ts", None, None, keys))
        assert found.pieces(Prune("tiny", 0, 0))
        assert found.pieces(Prune("tiny", -1, -1))
    assert not scan(context, "x.parquet").pieces(Prune("tiny", 1, None))
    assert scan(context, "y.parquet").pieces(Prune("tiny", 1, None))


def test_rows_that_were_masked_are_gone_in_every_subset(context: SourceContext) -> None:
    import numpy as np

    from yummy_feast.sources.pruning import Wanted

    put(context, "x.parquet", {"id": list(range(100))}, row_group_size=10)
    (footer,) = parquet_pieces.read_footers(ParquetSource("x.parquet", timestamp_field="ts").files(context))
    columns = parquet_pieces.columns_of(footer, footer.schema, {})
    keep = np.arange(100) % 7 != 0
    wanted = Wanted(Prune("ts", 35 * SECOND, None), footer.schema)
    (piece,) = parquet_pieces.parquet_pieces(footer, columns, wanted, keep)
    expected = [i for i in range(30, 100) if i % 7]
    assert [i for batch in piece.read(["id"]) for i in batch.column(0).to_pylist()] == expected
    assert sum(batch.num_rows for batch in piece.read([])) == len(expected) == piece.rows


# ------------------------------------------------------------------------------ damage


def test_a_truncated_file_is_named(context: SourceContext) -> None:
    path = put(context, "d/x.parquet", {"id": list(range(1000))})
    whole = path.read_bytes()
    for size in (0, 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(SourceReadError, match=r"d/x\.parquet cannot be read.*is the file whole") as caught:
            scan(context, "d")
        assert "\n" not in str(caught.value)


def test_damaged_pages_are_named(context: SourceContext) -> None:
    path = put(context, "x.parquet", {"id": list(range(100_000))}, compression="zstd")
    whole = path.read_bytes()
    path.write_bytes(whole[:1000] + b"\xff" * (len(whole) - 3000) + whole[-2000:])
    found = scan(context, "x.parquet")
    with pytest.raises(SourceReadError, match=r"x\.parquet cannot be read"):
        read(found)


def test_a_file_replaced_between_two_passes_is_an_error(context: SourceContext) -> None:
    put(context, "x.parquet", {"id": [1]})
    found = scan(context, "x.parquet")
    read(found, ["ts"])
    put(context, "x.parquet", {"id": [1, 2]})
    with pytest.raises(SourceReadError, match="was replaced"):
        read(found, ["id"])


# ------------------------------------------------------------------------------ keywords


def test_path_is_needed_and_keywords_are_checked() -> None:
    with pytest.raises(TypeError, match="needs path"):
        ParquetSource(timestamp_field="ts")
    with pytest.raises(TypeError, match=r"'paht'.*did you mean 'path'"):
        ParquetSource(paht="x", timestamp_field="ts")  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="timestamp_field"):
        ParquetSource("x")


def test_query_string_is_duckdbs() -> None:
    import duckdb

    text = ParquetSource("it's/x.parquet", timestamp_field="ts").get_table_query_string()
    assert text == "read_parquet(['it''s/x.parquet'], union_by_name = true)"
    with pytest.raises(duckdb.IOException, match="No files found"):
        duckdb.sql(f"select * from {text}")


@pytest.mark.parametrize(("rows", "buffer"), [(1000, 0), (100_000, 256 * 1024)])
def test_only_large_chunks_are_read_through_buffers(
    context: SourceContext, monkeypatch: pytest.MonkeyPatch, rows: int, buffer: int
) -> None:
    """A buffer per column costs more than reading where chunks are small."""
    put(context, "d.parquet", {"id": [1] * rows, "n": list(range(rows))}, use_dictionary=["id"])
    [piece] = scan(context, "d.parquet").pieces(Prune("ts"))
    used, real = [], pq.ParquetFile

    def spied(*arguments: Any, **options: Any) -> pq.ParquetFile:
        used.append(options["buffer_size"])
        return real(*arguments, **options)

    monkeypatch.setattr(pq, "ParquetFile", spied)
    assert sum(batch.num_rows for batch in piece.read(["id", "n"])) == rows
    assert sum(batch.num_rows for batch in piece.read(["id"])) == rows
    # The chunk of ``id``, one value, is small in either file.
    assert used == [buffer, 0]
