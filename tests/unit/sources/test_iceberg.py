"""What only Iceberg tables do: catalogs, snapshots, branches, evolution by field id, deletes, reading by path."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table
from pyiceberg.transforms import BucketTransform, DayTransform
from pyiceberg.types import DoubleType, LongType, StringType, StructType

from tests.contract.format_cases import read
from tests.unit.sources.handmade import commit_deletes, position_deletes
from yummy_feast.errors import (
    ColumnNotFoundError,
    ConfigError,
    MissingExtraError,
    SourceNotFoundError,
    SourceReadError,
    UnsupportedTableError,
)
from yummy_feast.sources.base import Prune, SourceContext
from yummy_feast.sources.iceberg import IcebergSource
from yummy_feast.sources.iceberg_scan import TaskPiece
from yummy_feast.sources.parquet_pieces import ParquetPiece

SECOND = 1_000_000
UTC = pa.timestamp("us", tz="UTC")


@pytest.fixture
def context(tmp_path: Path) -> SourceContext:
    keys = {"type": "sql", "uri": "sqlite:///meta/catalog.db", "warehouse": "lake"}
    return SourceContext(tmp_path, catalogs={"local": keys})


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Any]:
    (tmp_path / "meta").mkdir()
    uri, warehouse = f"sqlite:///{tmp_path}/meta/catalog.db", f"file://{tmp_path}/lake"
    with load_catalog("local", type="sql", uri=uri, warehouse=warehouse) as made:
        made.create_namespace("ns")
        yield made


def rows(*ids: int, **more: Any) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64()), "ts": pa.array([i * SECOND for i in ids], UTC), **more})


def made(catalog: Any, *tables: pa.Table, **options: Any) -> Table:
    table: Table = catalog.create_table("ns.t", schema=tables[0].schema, **options)
    for part in tables:
        table.append(part)
    return table


def source(**keywords: Any) -> IcebergSource:
    return IcebergSource(**{"table": "local.ns.t", "timestamp_field": "ts", **keywords})


def ours(context: SourceContext, **keywords: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read(source(**keywords).scan(context)).sort_by("id").to_pylist()
    return found


def same_as_pyiceberg(context: SourceContext, table: Table, **keywords: Any) -> list[dict[str, Any]]:
    """Our rows, after making sure that pyiceberg's own reader gives the same."""
    found = ours(context, **keywords)
    snapshot = table.snapshot_by_name(keywords["branch"]) if "branch" in keywords else None
    snapshot_id = keywords.get("snapshot_id", snapshot and snapshot.snapshot_id)
    assert found == table.scan(snapshot_id=snapshot_id).to_arrow().sort_by("id").to_pylist()
    return found


# ------------------------------------------------------------------------------ snapshots and branches


def test_snapshots_branches_and_tags(catalog: Any, context: SourceContext) -> None:
    table = made(catalog, rows(1), rows(2))
    first, second = (item.snapshot_id for item in table.snapshots())
    with table.manage_snapshots() as manage:
        manage.create_tag(first, "old").create_branch(first, "trial")
    source(branch="trial").append(rows(7), context)
    table = catalog.load_table("ns.t")
    assert [row["id"] for row in same_as_pyiceberg(context, table)] == [1, 2]
    assert [row["id"] for row in same_as_pyiceberg(context, table, snapshot_id=first)] == [1]
    assert [row["id"] for row in same_as_pyiceberg(context, table, branch="old")] == [1]
    assert [row["id"] for row in same_as_pyiceberg(context, table, branch="trial")] == [1, 7]
    assert source().scan(context).snapshot == f"snapshot {second}"
    with pytest.raises(SourceNotFoundError, match=rf"no snapshot 5 \(.*{first}"):
        source(snapshot_id=5).scan(context)
    with pytest.raises(SourceNotFoundError, match=r"no branch or tag 'trail'.*'trial'"):
        source(branch="trail").scan(context)
    with pytest.raises(ConfigError, match="pinned"):
        source(snapshot_id=first).append(rows(1), context)
    with pytest.raises(ConfigError, match="snapshot_id and branch"):
        source(snapshot_id=first, branch="old")


def test_a_table_without_snapshot(catalog: Any, context: SourceContext) -> None:
    catalog.create_table("ns.t", schema=rows(1).schema)
    scan = source().scan(context)
    assert (scan.snapshot, scan.pieces(), scan.schema.names) == ("no snapshot", [], ["id", "ts"])


# ------------------------------------------------------------------------------ evolution


def test_columns_are_followed_by_id(catalog: Any, context: SourceContext) -> None:
    small = rows(1, name=["a"], gone=[True]).set_column(0, "id", pa.array([1], pa.int32()))
    table = made(catalog, small)
    (first,) = table.snapshots()
    with table.update_schema() as update:
        update.rename_column("name", "label").delete_column("gone")
        update.update_column("id", LongType())
    with table.update_schema() as update:
        update.add_column("gone", DoubleType()).add_column("name", StringType())
    table.append(rows(2, label=["b"], gone=[1.5], name=["c"]).set_column(0, "id", pa.array([2**40])))
    found = same_as_pyiceberg(context, table)
    assert [(row["id"], row["label"], row["gone"], row["name"]) for row in found] == [
        (1, "a", None, None),
        (2**40, "b", 1.5, "c"),
    ]
    assert all(isinstance(piece, ParquetPiece) for piece in source().scan(context).pieces())
    assert ours(context, snapshot_id=first.snapshot_id) == small.to_pylist()
    for prune, kept in (
        (Prune("ts", None, None, {"label": pa.array(["a"])}), [1]),
        (Prune("ts", None, None, {"id": pa.array([2**40, 2**62])}), [2**40]),
        (Prune("ts", None, None, {"id": pa.array(range(1000))}), [1]),
    ):
        scan = source().scan(context)
        assert read(scan, ["id"], scan.pieces(prune))["id"].to_pylist() == kept
    old = source(snapshot_id=first.snapshot_id).scan(context)
    assert read(old, ["id"], old.pieces(Prune("ts", 0, None, {"name": pa.array(["a"])})))["id"].to_pylist() == [1]
    assert old.pieces(Prune("ts", None, None, {"name": pa.array(["zzz"])})) == []


def test_children_of_structs_that_were_renamed(catalog: Any, context: SourceContext) -> None:
    struct = pa.struct([("a", pa.int64()), ("b", pa.string())])
    table = made(catalog, rows(1, deep=pa.array([{"a": 1, "b": "x"}], struct), list=[[1, 2]]))
    assert isinstance(source().scan(context).pieces()[0], ParquetPiece)
    same_as_pyiceberg(context, table)
    with table.update_schema() as update:
        update.rename_column("deep.a", "z")
    with table.update_schema() as update:
        update.add_column(("deep", "a"), StringType())
    (row,) = same_as_pyiceberg(context, table)
    assert row["deep"] == {"z": 1, "b": "x", "a": None}
    (piece,) = source().scan(context).pieces()
    assert isinstance(piece, TaskPiece)
    assert piece.rows == 1
    assert [batch.num_rows for batch in piece.read([])] == [1]


def test_partitions_prune_and_may_change(catalog: Any, context: SourceContext) -> None:
    day = 86_400
    columns = rows(0, day, 2 * day, kind=["a", "b", None])
    table = catalog.create_table("ns.t", schema=columns.schema)
    with table.update_spec() as update:
        update.add_field("ts", DayTransform(), "day").add_identity("kind")
    table.append(columns)
    with table.update_spec() as update:
        update.remove_field("day").add_field("id", BucketTransform(4), "bucket")
    table.append(rows(3 * day, 4 * day, kind=["a", "b"]))
    assert [row["kind"] for row in same_as_pyiceberg(context, table)] == ["a", "b", None, "a", "b"]
    scan = source().scan(context)
    for prune, ids in (
        (Prune("ts", day * SECOND, 2 * day * SECOND), [day, 2 * day]),
        (Prune("ts", None, None, {"kind": pa.array(["b"])}), [day, 4 * day]),
        (Prune("ts", 10 * day * SECOND, None), []),
    ):
        assert sorted(read(scan, ["id"], scan.pieces(prune))["id"].to_pylist()) == ids


def test_files_without_ids_are_left_to_pyiceberg(catalog: Any, context: SourceContext, tmp_path: Path) -> None:
    table = made(catalog, rows(1, name=["a"]))
    pq.write_table(rows(2, 3, name=["b", "c"]), tmp_path / "foreign.parquet")
    table.add_files([f"file://{tmp_path}/foreign.parquet"])
    assert [row["name"] for row in same_as_pyiceberg(context, table)] == ["a", "b", "c"]
    scan = source().scan(context)
    assert sorted(type(piece).__name__ for piece in scan.pieces()) == ["ParquetPiece", "TaskPiece"]
    assert read(scan, ["name", "id"]).sort_by("id").to_pylist() == [
        {"name": name, "id": number} for number, name in enumerate("abc", 1)
    ]
    with table.update_schema() as update:
        update.rename_column("name", "label")
    assert [row["label"] for row in same_as_pyiceberg(context, table)] == ["a", "b", "c"]


# ------------------------------------------------------------------------------ deletes


def test_position_deletes(catalog: Any, context: SourceContext) -> None:
    table = made(catalog, rows(*range(100)), rows(*range(100, 200)))
    before = table.current_snapshot()
    paths = sorted(task.file.file_path for task in table.scan().plan_files())
    commit_deletes(table, position_deletes(paths[0], [0, 50, 99]))
    commit_deletes(table, position_deletes(paths[0], [1, 50]))
    commit_deletes(table, position_deletes(paths[1], [7]))
    found = same_as_pyiceberg(context, table)
    assert len(found) == 200 - 5
    scan = source().scan(context)
    assert sorted(piece.rows or 0 for piece in scan.pieces()) == [96, 99]
    assert sum(batch.num_rows for piece in scan.pieces() for batch in piece.read([])) == 195
    for piece in scan.pieces(Prune("ts", 10 * SECOND, 20 * SECOND)):
        ids = [i for batch in piece.read(["id"]) for i in batch.column(0).to_pylist()]
        assert ids == [i for batch in piece.read(["ts", "id"]) for i in batch.column(1).to_pylist()]
        assert len(ids) in (96, 99)
    assert before is not None
    assert len(ours(context, snapshot_id=before.snapshot_id)) == 200
    table.append(rows(500))
    assert len(same_as_pyiceberg(context, table)) == 196


@pytest.mark.parametrize("counted", [True, False])
def test_equality_deletes_are_refused_with_the_way_out(catalog: Any, context: SourceContext, counted: bool) -> None:
    table = made(catalog, rows(1, 2))
    ids = pa.schema([pa.field("id", pa.int64(), metadata={"PARQUET:field_id": "1"})])
    commit_deletes(table, pa.table([[1]], schema=ids), equality_ids=[1], counted=counted)
    with pytest.raises(UnsupportedTableError, match=r"local\.ns\.t has equality deletes.*engine: spark"):
        source().scan(context).pieces()


# ------------------------------------------------------------------------------ places


def test_by_path(catalog: Any, context: SourceContext, tmp_path: Path) -> None:
    table = made(catalog, rows(1), rows(2))
    assert [row["id"] for row in ours(context, table=None, path="lake/ns/t")] == [1, 2]
    versions = sorted((tmp_path / "lake/ns/t/metadata").glob("*.metadata.json"))
    assert [row["id"] for row in ours(context, table=None, path=versions[-2])] == [1]
    hint = tmp_path / "lake/ns/t/metadata/version-hint.text"
    hint.write_text(versions[-2].name)
    assert [row["id"] for row in ours(context, table=None, path="lake/ns/t")] == [1]
    hint.unlink()
    (versions[0].parent / "v9.metadata.json").write_bytes(versions[-2].read_bytes())
    assert [row["id"] for row in ours(context, table=None, path="lake/ns/t")] == [1]
    hint.write_text("1")
    (versions[0].parent / "v1.metadata.json").write_bytes(versions[-1].read_bytes())
    assert [row["id"] for row in ours(context, table=None, path="lake/ns/t")] == [1, 2]
    with pytest.raises(ConfigError, match="nothing can commit"):
        source(table=None, path="lake/ns/t").append(rows(3), context)
    for nowhere in ("lake/ns", "lake/ns/t/metadata/v8.metadata.json"):
        with pytest.raises(SourceNotFoundError, match=nowhere):
            source(table=None, path=nowhere).scan(context)
    assert table is not None


def test_names_that_lead_nowhere(catalog: Any, context: SourceContext, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no catalog 'lcoal'.*'local'"):
        source(table="lcoal.ns.t").scan(context)
    with pytest.raises(ConfigError, match=r"no catalog 'local'.*pyiceberg"):
        source().scan(SourceContext(tmp_path))
    for name in ("local.ns.nope", "local.nope.t"):
        with pytest.raises(SourceNotFoundError, match=name):
            source(table=name).scan(context)
        with pytest.raises(SourceNotFoundError, match=name):
            source(table=name).append(rows(1), context)
    lost = SourceContext(tmp_path, catalogs={"local": {"type": "sql", "uri": "sqlite:///gone.db", "warehouse": "lake"}})
    with pytest.raises(SourceNotFoundError, match=r"gone\.db"):
        source().scan(lost)
    assert not (tmp_path / "gone.db").exists()
    (tmp_path / "gone.db").write_text("no database, just text" * 99)
    with pytest.raises(SourceReadError, match=r"local\.ns\.t"):
        source().scan(lost)


def test_old_spelling_and_keywords() -> None:
    with pytest.warns(DeprecationWarning, match=r"table='local\.ns\.t'"):
        old = IcebergSource(path="local.ns.t", timestamp_field="ts")
    assert (old.table, old.path, old.name) == ("local.ns.t", None, "local.ns.t")
    assert IcebergSource.from_proto(old.to_proto()) == old
    assert IcebergSource(path="a/b.c.d", timestamp_field="ts").path == "a/b.c.d"
    for keywords in ({}, {"table": "a.b.c", "path": "x"}):
        with pytest.raises(TypeError, match="table or path"):
            IcebergSource(timestamp_field="ts", **keywords)
    with pytest.raises(ConfigError, match=r"catalog\.namespace\.table"):
        IcebergSource(table="ns.t", timestamp_field="ts")
    number: Any = "12"
    with pytest.raises(ConfigError, match=r"source 'a\.b\.c': snapshot_id is '12' "):
        IcebergSource(table="a.b.c", timestamp_field="ts", snapshot_id=number)
    number = np.int64(12)
    assert IcebergSource(table="a.b.c", timestamp_field="ts", snapshot_id=number).payload()["snapshot_id"] == 12


def test_the_extra_is_named(context: SourceContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyiceberg.exceptions", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'yummy-feast\[iceberg\]'"):
        source().scan(context)


# ------------------------------------------------------------------------------ writing


def test_a_commit_that_lost_the_race_is_tried_again(
    catalog: Any, context: SourceContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(catalog, rows(1))
    append, lost = Table.append, []

    def sometimes(self: Table, *arguments: Any, **keywords: Any) -> None:
        if len(lost) < 2:
            lost.append(1)
            raise CommitFailedException("somebody was faster")
        append(self, *arguments, **keywords)

    monkeypatch.setattr(Table, "append", sometimes)
    source().append(rows(2), context)
    assert [row["id"] for row in ours(context)] == [1, 2]
    monkeypatch.setattr(Table, "append", lambda *_, **__: (_ for _ in ()).throw(CommitFailedException("always")))
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(SourceReadError, match=r"local\.ns\.t: always"):
        source().append(rows(3), context)


def test_rows_for_a_partitioned_table(catalog: Any, context: SourceContext, monkeypatch: pytest.MonkeyPatch) -> None:
    table = catalog.create_table("ns.t", schema=rows(1).schema)
    with table.update_spec() as update:
        update.add_field("ts", DayTransform(), "day")
    source().append(rows(1, 100_000), context)
    assert [row["id"] for row in ours(context)] == [1, 100_000]
    monkeypatch.setitem(sys.modules, "pyiceberg_core", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'yummy-feast\[iceberg\]'"):
        source().append(rows(2), context)


def test_a_required_column_must_be_given(catalog: Any, context: SourceContext) -> None:
    schema = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("ts", UTC)])
    catalog.create_table("ns.t", schema=schema)
    source().append(rows(1), context)
    with pytest.raises(TypeError, match="'id' must not be null"):
        source().append(rows(1).drop_columns(["id"]), context)
    with pytest.raises(ColumnNotFoundError, match="more"):
        source().append(rows(1, more=[1]), context)
    assert len(ours(context)) == 1


def test_struct_types_survive(catalog: Any, context: SourceContext) -> None:
    table = made(catalog, rows(1, s=pa.array([{"a": [{"b": 1}]}])))
    assert isinstance(table.schema().find_field("s").field_type, StructType)
    scan = source().scan(context)
    assert scan.schema.field("s").type == pa.struct([("a", pa.list_(pa.struct([("b", pa.int64())])))])
    same_as_pyiceberg(context, table)
