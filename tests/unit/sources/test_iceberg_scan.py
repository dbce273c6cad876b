"""What a scan of an Iceberg table opens, and what it tells readers that are not ours."""

from __future__ import annotations

import pickle
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.table import Table
from pyiceberg.transforms import BucketTransform, DayTransform, HourTransform, IdentityTransform, TruncateTransform
from pyiceberg.types import LongType

from tests.contract.format_cases import SECOND, IcebergTable, read, rows
from tests.unit.sources.handmade import commit_deletes, position_deletes
from yummy_feast.sources.base import NativeTable, Prune
from yummy_feast.sources.iceberg_scan import TaskPiece
from yummy_feast.sources.parquet_pieces import ParquetPiece

MINUTE = 60 * SECOND
DAY = 24 * 60


@pytest.fixture
def case(tmp_path: Path) -> IcebergTable:
    return IcebergTable(tmp_path)


def stored(case: IcebergTable) -> Table:
    with case.catalog() as catalog:
        table: Table = catalog.load_table("lake.rows")
        return table


@pytest.mark.parametrize(
    ("column", "transform", "prune", "files", "ids"),
    [
        ("ts", DayTransform(), Prune("ts", DAY * MINUTE, (2 * DAY - 1) * MINUTE), 1, [DAY, DAY + 1]),
        ("ts", HourTransform(), Prune("ts", DAY * MINUTE, DAY * MINUTE), 1, [DAY, DAY + 1]),
        ("id", BucketTransform(64), Prune("ts", None, None, {"id": pa.array([DAY])}), 1, [DAY]),
        ("name", IdentityTransform(), Prune("ts", None, None, {"name": pa.array(["name 0"])}), 1, [0]),
        ("name", TruncateTransform(7), Prune("ts", None, None, {"name": pa.array(["name 2880"])}), 1, [2 * DAY]),
    ],
    ids=lambda item: type(item).__name__ if hasattr(item, "transform") else None,
)
def test_hidden_partitions_are_pruned(
    case: IcebergTable, column: str, transform: object, prune: Prune, files: int, ids: list[int]
) -> None:
    table = rows(0, 1, DAY, DAY + 1, 2 * DAY)
    case.lay([table.slice(0, 0)])
    with stored(case).update_spec() as update:
        update.add_field(column, transform, "part")
    case.source().append(table, case.context)
    scan = case.source().scan(case.context)
    assert scan.total_pieces >= 3
    # A look at what the table has must not have opened what is asked for now.
    scan = case.source().scan(case.context)
    pieces = scan.pieces(prune)
    assert len(pieces) == files
    assert read(scan, ["id"], pieces)["id"].to_pylist() == ids
    assert len(scan._footers) == files


def native(case: IcebergTable, *columns: str, **keywords: object) -> NativeTable:
    found = case.source(**keywords).scan(case.context).native(columns or ["id"])
    assert found is not None
    return found


def test_plain_files_are_named(case: IcebergTable) -> None:
    case.lay([rows(1), rows(2), rows(300)])
    snapshot = stored(case).current_snapshot()
    assert snapshot is not None
    whole = native(case, "id", "name")
    assert (whole.format, whole.snapshot, len(whole.files)) == ("parquet", str(snapshot.snapshot_id), 3)
    late = case.source().scan(case.context).native(["id"], Prune("ts", 200 * MINUTE, None))
    assert late is not None
    assert late.files == whole.files[2:]


def test_renamed_and_widened_columns_are_read_by_ours(case: IcebergTable) -> None:
    case.lay([rows(1).set_column(1, "id", pa.array([1], pa.int32()))])
    with stored(case).update_schema() as update:
        update.rename_column("name", "label").update_column("id", LongType())
    scan = case.source().scan(case.context)
    assert scan.native(["label"]) is None
    assert scan.native(["id"]) is None
    assert native(case, "ts").format == "parquet"


def test_a_name_that_was_used_before_does_not_bring_back_the_old_column(case: IcebergTable) -> None:
    case.lay([rows(1)])
    with stored(case).update_schema() as update:
        update.delete_column("name")
    with stored(case).update_schema() as update:
        update.add_column("name", LongType())
    assert case.source().scan(case.context).native(["name"]) is None
    assert read(case.source().scan(case.context), ["name"])["name"].to_pylist() == [None]


def test_equality_deletes_are_left_to_iceberg_at_this_snapshot(case: IcebergTable) -> None:
    case.lay([rows(1, 2), rows(3)])
    table = stored(case)
    first = table.snapshots()[0]
    (old, new) = sorted((task.file for task in table.scan().plan_files()), key=lambda file: -file.record_count)
    commit_deletes(table, position_deletes(old.file_path, [0]))
    assert case.source().scan(case.context).native(["id"]) is None
    ids = pa.schema([pa.field("id", pa.int64(), metadata={"PARQUET:field_id": "2"})])
    commit_deletes(table, pa.table([[3]], schema=ids), equality_ids=[2])
    table = stored(case)
    found = native(case)
    assert (found.format, found.location) == ("iceberg", table.metadata_location)
    assert [file.path for file in found.files] == [old.file_path, new.file_path]
    assert native(case, snapshot_id=first.snapshot_id).format == "parquet"
    snapshot = table.current_snapshot()
    assert snapshot is not None
    with table.manage_snapshots() as manage:
        manage.create_tag(snapshot.snapshot_id, "t").create_branch(snapshot.snapshot_id, "b")
    assert native(case).options == {}
    assert native(case, branch="b").options == {"branch": "b"}
    assert native(case, branch="t").options == {}
    case.source().append(rows(4), case.context)
    assert native(case, branch="t").options == {"versionAsOf": str(snapshot.snapshot_id)}
    # Refused here, counted all the same.
    assert case.source().scan(case.context).total_pieces == 3


def test_pieces_travel_to_other_processes(case: IcebergTable) -> None:
    case.lay([rows(1, 2)])
    commit_deletes(stored(case), position_deletes(next(iter(stored(case).scan().plan_files())).file.file_path, [0]))
    scan = case.source().scan(case.context)
    (piece,) = scan.pieces()
    assert isinstance(piece, ParquetPiece)
    table = stored(case)
    (task,) = table.scan().plan_files()
    other = TaskPiece(table.metadata, table.io, table.schema(), scan.schema, task)
    for item in (piece, other):
        again = pickle.loads(pickle.dumps(item))
        assert read(scan, ["id"], [again])["id"].to_pylist() == [2]
