"""What only Delta tables do: versions, partitions, statistics, deletion vectors, column mapping."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from feast.data_source import DataSource

from tests.contract.format_cases import read
from tests.unit.sources.handmade import delete_rows, mapped_table
from yummy_feast.errors import (
    ColumnTypeError,
    ConfigError,
    MissingExtraError,
    SourceNotFoundError,
    SourceReadError,
    UnsupportedTableError,
)
from yummy_feast.sources.base import Prune, SourceContext
from yummy_feast.sources.delta import DeltaSource

SECOND = 1_000_000
UTC = pa.timestamp("us", tz="UTC")


@pytest.fixture
def context(tmp_path: Path) -> SourceContext:
    return SourceContext(tmp_path)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "t"


def rows(*ids: int, **more: Any) -> pa.Table:
    return pa.table({"id": list(ids), "ts": pa.array([i * SECOND for i in ids], UTC), **more})


def source(**keywords: Any) -> DeltaSource:
    return DeltaSource("t", **{"timestamp_field": "ts", **keywords})


def as_deltalake_reads(table: Path) -> list[dict[str, Any]]:
    """deltalake's own reader, which knows deletion vectors and column mapping but no row order."""
    found: list[dict[str, Any]] = pa.RecordBatchReader.from_stream(DeltaTable(table).scan()).read_all().to_pylist()
    return sorted(found, key=lambda row: row["id"])


def ours(context: SourceContext, **keywords: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read(source(**keywords).scan(context)).to_pylist()
    return sorted(found, key=lambda row: row["id"])


# ------------------------------------------------------------------------------ versions


def test_versions_and_times(table: Path, context: SourceContext) -> None:
    for number in range(3):
        write_deltalake(table, rows(number), mode="append")
        entry = table / "_delta_log" / f"{number:020}.json"
        lines = [json.loads(line) for line in entry.read_text().splitlines()]
        for line in lines:
            if "commitInfo" in line:
                line["commitInfo"]["timestamp"] = 1_000_000 + number * 10_000
        entry.write_text("\n".join(map(json.dumps, lines)))
        os.utime(entry, (1_000 + number * 10,) * 2)
    assert [row["id"] for row in ours(context)] == [0, 1, 2]
    assert [row["id"] for row in ours(context, version=1)] == [0, 1]
    assert source(version=1).scan(context).snapshot == "version 1"
    middle = dt.datetime.fromtimestamp(1_015, dt.UTC)
    for moment in (middle, middle.isoformat(), middle.replace(tzinfo=None), "1970-01-01T01:16:55+01:00"):
        assert [row["id"] for row in ours(context, timestamp=moment)] == [0, 1]
    with pytest.raises(SourceNotFoundError, match="no version as old as 1970-01-01T00:00:05"):
        source(timestamp="1970-01-01T00:00:05").scan(context)
    with pytest.raises(SourceNotFoundError, match=r"no version 1099511627776 .the newest is"):
        source(version=2**40).scan(context)
    with pytest.raises(SourceNotFoundError, match="no version 7"):
        source(version=7).scan(context)


def test_pins_survive_the_registry_and_no_pin_stays_none(context: SourceContext) -> None:
    for pin in ({}, {"version": 0}, {"version": 7}, {"timestamp": "2026-11-01T00:00:00+00:00"}):
        again = DataSource.from_proto(source(**pin).to_proto())
        assert isinstance(again, DeltaSource)
        assert (again.version, again.timestamp) == (pin.get("version"), pin.get("timestamp"))


def test_pins_that_make_no_sense(table: Path, context: SourceContext) -> None:
    with pytest.raises(ConfigError, match="version and timestamp"):
        source(version=1, timestamp="2026-11-01")
    with pytest.raises(ConfigError, match="'soon' is no time"):
        source(timestamp="soon")
    for nonsense in (-1, 1.5, "1", True):
        with pytest.raises(ConfigError, match=f"source .*: version is {nonsense!r} "):
            source(version=nonsense)
    write_deltalake(table, rows(1))
    with pytest.raises(ConfigError, match="pinned"):
        source(version=0).append(rows(2), context)


# ------------------------------------------------------------------------------ partitions and statistics


def test_partitions_of_every_type(table: Path, context: SourceContext) -> None:
    columns: dict[str, Any] = {
        "day": pa.array([dt.date(2026, 11, 1), None, dt.date(2026, 11, 3)]),
        "text": ["a b", "c/d=%20", None],
        "number": pa.array([1, None, -3], pa.int32()),
        "flag": [True, False, None],
        "moment": pa.array([dt.datetime(2026, 11, 1, 1, 2, 3, 4), None, None], UTC),  # noqa: DTZ001
    }
    write_deltalake(table, rows(1, 2, 3, **columns), partition_by=list(columns))
    assert ours(context) == rows(1, 2, 3, **columns).to_pylist() == as_deltalake_reads(table)
    scan = source().scan(context)
    for keys in ({"number": pa.array([-3])}, {"text": pa.array(["a b"])}):
        assert len(scan.pieces(Prune("ts", None, None, keys))) < 3
    third = int(dt.datetime(2026, 11, 3, tzinfo=dt.UTC).timestamp()) * SECOND
    assert [piece.rows for piece in scan.pieces(Prune("day", third, third))] == [1, 1]


def test_files_are_left_out_by_the_log_alone(table: Path, context: SourceContext) -> None:
    for start in range(0, 50, 10):
        write_deltalake(table, rows(*range(start, start + 10)), mode="append")
    scan = source().scan(context)
    for file in DeltaTable(table).file_uris():
        if read_ids(file)[0] != 20:
            Path(file).unlink()
    (piece,) = scan.pieces(Prune("ts", 21 * SECOND, 25 * SECOND))
    assert [i for batch in piece.read(["id"]) for i in batch.column(0).to_pylist()] == list(range(20, 30))


def read_ids(file: str) -> list[int]:
    import pyarrow.parquet as pq

    ids: list[int] = pq.read_table(file)["id"].to_pylist()
    return ids


def test_statistics_cut_to_milliseconds_lose_nothing(table: Path, context: SourceContext) -> None:
    late = pa.table({"id": [1], "ts": pa.array([1_000_999], UTC), "name": ["x" * 40]})
    write_deltalake(table, late)
    entry = table / "_delta_log" / f"{0:020}.json"
    lines = [json.loads(line) for line in entry.read_text().splitlines()]
    (add,) = (line["add"] for line in lines if "add" in line)
    stats = json.loads(add["stats"])
    stats["maxValues"].update(ts="1970-01-01T00:00:01.000Z", name="x" * 32)
    stats["minValues"].update(ts="1970-01-01T00:00:01.000Z", name="x" * 32)
    add["stats"] = json.dumps(stats)
    entry.write_text("\n".join(map(json.dumps, lines)))
    scan = source().scan(context)
    assert scan.pieces(Prune("ts", 1_000_999, None, {"name": pa.array(["x" * 40])}))
    assert not scan.pieces(Prune("ts", 1_002_000, None))


def test_a_table_without_statistics(table: Path, context: SourceContext) -> None:
    write_deltalake(table, rows(1, 2))
    entry = table / "_delta_log" / f"{0:020}.json"
    lines = [json.loads(line) for line in entry.read_text().splitlines()]
    for line in lines:
        if "add" in line:
            line["add"].pop("stats")
    entry.write_text("\n".join(map(json.dumps, lines)))
    assert [row["id"] for row in ours(context)] == [1, 2]
    assert len(source().scan(context).pieces(Prune("ts", 0, 1, {"id": pa.array([1])}))) == 0


def test_files_elsewhere_are_followed(table: Path, context: SourceContext, tmp_path: Path) -> None:
    write_deltalake(table, rows(1, 2))
    (file,) = table.glob("*.parquet")
    moved = file.rename(tmp_path / "a b.parquet")
    entry = table / "_delta_log" / f"{0:020}.json"
    text = entry.read_text()
    for path in (f"{tmp_path}/a%20b.parquet", f"file://{tmp_path}/a%20b.parquet"):
        entry.write_text(text.replace(file.name, path))
        assert [row["id"] for row in ours(context)] == [1, 2]
    assert moved.exists()


def test_a_schema_that_grew(table: Path, context: SourceContext) -> None:
    write_deltalake(table, rows(1))
    write_deltalake(table, rows(2, more=[1.5]), mode="append", schema_mode="merge")
    assert [row["more"] for row in ours(context)] == [None, 1.5]


def test_a_log_with_a_checkpoint(table: Path, context: SourceContext) -> None:
    for number in range(4):
        write_deltalake(table, rows(number), mode="append")
    DeltaTable(table).create_checkpoint()
    DeltaTable(table).delete("id = 2")
    (table / "_delta_log" / f"{0:020}.json").unlink()
    assert [row["id"] for row in ours(context)] == [0, 1, 3]


# ------------------------------------------------------------------------------ deletion vectors and column mapping


def test_deletion_vectors(table: Path, context: SourceContext) -> None:
    count = 200_000
    parts = rows(*range(count), part=["ab"[i % 2] for i in range(count)])
    write_deltalake(table, parts, partition_by=["part"], configuration={"delta.enableDeletionVectors": "true"})
    delete_rows(table, [[0, 3, 65_535, 65_536, count // 2 - 1], [1]])
    expected = pa.RecordBatchReader.from_stream(DeltaTable(table).scan()).read_all().select(["id"]).sort_by("id")
    assert expected.num_rows == count - 6
    scan = source().scan(context)
    assert read(scan).sort_by("id")["id"].to_pylist() == expected["id"].to_pylist()
    assert sum(piece.rows or 0 for piece in scan.pieces()) == count - 6
    assert sum(batch.num_rows for piece in scan.pieces() for batch in piece.read([])) == count - 6
    assert read(source(version=0).scan(context), ["id"]).num_rows == count


def test_deletion_vectors_behind_a_link(table: Path, context: SourceContext, tmp_path: Path) -> None:
    write_deltalake(tmp_path / "real", rows(1, 2, 3), configuration={"delta.enableDeletionVectors": "true"})
    delete_rows(tmp_path / "real", [[1]])
    table.symlink_to(tmp_path / "real")
    assert [row["id"] for row in ours(context)] == [1, 3]


def test_a_deletion_vector_that_cannot_be_placed_is_an_error(
    table: Path, context: SourceContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_deltalake(table, rows(1, 2, 3), configuration={"delta.enableDeletionVectors": "true"})
    delete_rows(table, [[1]])
    stray = pa.table({"filepath": ["file:///elsewhere.parquet"], "selection_vector": [[True, False]]})
    monkeypatch.setattr(DeltaTable, "deletion_vectors", lambda _: stray)
    with pytest.raises(UnsupportedTableError, match=r"elsewhere\.parquet has a deletion vector"):
        source().scan(context)


MAPPED = {
    "id": ("col-1", "long", pa.int64()),
    "ts": ("col-2", "timestamp", UTC),
    "part": ("col-3", "integer", None),
    "a name": ("col-4", "string", pa.string()),
    "new": ("col-5", "double", pa.float64()),
}


@pytest.mark.parametrize("mode", ["name", "id"])
def test_column_mapping(table: Path, context: SourceContext, mode: str) -> None:
    stored = rows(1, 2, name=["x", None]).rename_columns(["col-1", "col-2", "col-4"])
    mapped_table(table, mode, MAPPED, stored)
    found = ours(context)
    assert found == as_deltalake_reads(table)
    assert [(row["id"], row["part"], row["a name"], row["new"]) for row in found] == [
        (1, 7, "x", None),
        (2, 7, None, None),
    ]
    scan = source().scan(context)
    assert not scan.pieces(Prune("ts", 5 * SECOND, None))
    assert scan.pieces(Prune("ts", None, None, {"part": pa.array([7])}))
    assert not scan.pieces(Prune("ts", None, None, {"part": pa.array([8])}))


def test_column_mapping_by_id_ignores_names_in_the_file(table: Path, context: SourceContext) -> None:
    stored = rows(1, name=["x"]).rename_columns(["col-1", "col-2", "col-4"])
    mapped_table(table, "id", MAPPED, stored)
    import pyarrow.parquet as pq

    file = table / "one.parquet"
    renamed = pq.read_table(file).rename_columns(["what", "ever", "col-5"])
    pq.write_table(
        renamed.cast(
            pa.schema([f.with_metadata(o.metadata) for f, o in zip(renamed.schema, pq.read_schema(file), strict=True)])
        ),
        file,
    )
    (row,) = ours(context)
    assert (row["id"], row["a name"], row["new"]) == (1, "x", None)


def test_nested_columns_under_mapping_are_refused(table: Path, context: SourceContext) -> None:
    inner = {"delta.columnMapping.id": 9, "delta.columnMapping.physicalName": "col-9"}
    kind = {"type": "struct", "fields": [{"name": "a", "type": "long", "nullable": True, "metadata": inner}]}
    columns = {**MAPPED, "deep": ("col-6", kind, pa.struct([("col-9", pa.int64())]))}
    mapped_table(table, "name", columns, rows(1).rename_columns(["col-1", "col-2"]))
    scan = source().scan(context)
    with pytest.raises(UnsupportedTableError, match=r"'deep'.*engine: spark"):
        scan.pieces()
    # For Spark the scan is whole: what to read, at which version, and how many files that is.
    native = scan.native(["id", "deep"])
    assert native is not None
    assert (native.format, native.location, native.snapshot) == ("delta", str(table), "0")
    assert [file.path for file in native.files] == [str(table / "one.parquet")]
    assert scan.schema.field("deep").type == pa.struct([("a", pa.int64())])
    assert scan.total_pieces == 1


@pytest.mark.parametrize("feature", ["catalogManaged", "tomorrowsFeature", "checkpointProtection"])
def test_an_unknown_reader_feature_is_refused(table: Path, context: SourceContext, feature: str) -> None:
    features = [feature, "columnMapping"]
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features}
    mapped_table(table, "name", MAPPED, rows(1).rename_columns(["col-1", "col-2"]), protocol=protocol)
    with pytest.raises(UnsupportedTableError, match=r"/t: .*engine: spark"):
        source().scan(context).pieces()


# ------------------------------------------------------------------------------ errors


def test_a_file_that_the_log_names_is_missing(table: Path, context: SourceContext) -> None:
    write_deltalake(table, rows(1))
    (file,) = table.glob("*.parquet")
    file.unlink()
    with pytest.raises(SourceReadError, match=rf"the log of version 0 names a file that is missing.*{file.name}"):
        source().scan(context).pieces()


def test_no_table_and_a_broken_log(table: Path, context: SourceContext) -> None:
    with pytest.raises(SourceNotFoundError, match="/t: no Delta table"):
        source().scan(context)
    table.mkdir()
    with pytest.raises(SourceNotFoundError, match="/t: no Delta table"):
        source().scan(context)
    write_deltalake(table, rows(1))
    (table / "_delta_log" / f"{0:020}.json").write_text("{nonsense")
    with pytest.raises(SourceReadError, match="/t: ") as caught:
        source().scan(context)
    assert "\n" not in str(caught.value)


def test_the_extra_is_named(context: SourceContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deltalake", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'yummy-feast\[delta\]'"):
        source().scan(context)


def test_what_delta_cannot_hold(table: Path, context: SourceContext) -> None:
    with pytest.raises(ColumnTypeError, match="'t' is time64"):
        source().append(rows(1, t=pa.array([1], pa.time64("us"))), context, create=True)
    source().append(rows(1, n=pa.nulls(1), u=pa.array([2**32 - 1], pa.uint32())), context, create=True)
    (row,) = ours(context)
    assert (row["n"], row["u"]) == (None, 2**32 - 1)


def test_path_is_needed() -> None:
    with pytest.raises(TypeError, match="needs path"):
        DeltaSource(timestamp_field="ts")
    assert DeltaSource(Path("t"), timestamp_field="ts").get_table_query_string() == "delta_scan('t')"


# ------------------------------------------------------------------------------ for readers that are not ours


def test_plain_files_are_named_with_their_partitions(table: Path, context: SourceContext) -> None:
    write_deltalake(table, rows(1, 2, part=["a", "b"]), partition_by=["part"])
    scan = source().scan(context)
    write_deltalake(table, rows(3, part=["c"]), mode="append")
    native = scan.native(["id", "part"])
    assert native is not None
    assert (native.format, native.snapshot) == ("parquet", "0")
    assert sorted(file.constants["part"] for file in native.files) == ["a", "b"]
    few = source().scan(context).native(["id", "part"], Prune("ts", None, None, {"part": pa.array(["c"])}))
    assert few is not None
    assert [file.constants for file in few.files] == [{"part": "c"}]


def test_what_goes_by_other_names_is_not_left_to_others(table: Path, context: SourceContext) -> None:
    stored = rows(1, name=["x"]).rename_columns(["col-1", "col-2", "col-4"])
    mapped_table(table, "name", MAPPED, stored)
    assert source().scan(context).native(["id"]) is None


def test_deletion_vectors_are_applied_by_ours(table: Path, context: SourceContext) -> None:
    write_deltalake(table, rows(1, 2, 3), configuration={"delta.enableDeletionVectors": "true"})
    delete_rows(table, [[1]])
    assert source().scan(context).native(["id"]) is None
    assert source(version=0).scan(context).native(["id"]) is not None
