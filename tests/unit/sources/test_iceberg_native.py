"""Which snapshot Iceberg's own reader is told to read, and of which columns it would not know what they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.types import ListType, LongType, MapType, NestedField, StringType, StructType

from tests.contract.format_cases import IcebergTable, rows
from tests.unit.sources.handmade import commit_deletes
from yummy_feast.errors import UnsupportedTableError
from yummy_feast.sources.base import NativeTable

IDS = pa.schema([pa.field("id", pa.int64(), metadata={"PARQUET:field_id": "2"})])
SNAPSHOT = "versionAsOf"


@pytest.fixture
def case(tmp_path: Path) -> IcebergTable:
    """A table that only Spark reads."""
    made = IcebergTable(tmp_path)
    made.lay([rows(1, 2), rows(3)])
    commit_deletes(stored(made), pa.table([[3]], schema=IDS), equality_ids=[2])
    return made


def stored(case: IcebergTable) -> Any:
    with case.catalog() as catalog:
        return catalog.load_table("lake.rows")


def native(case: IcebergTable, *columns: str, by_name: bool = True, **keywords: Any) -> NativeTable:
    scan = case.source(**keywords).scan(case.context)
    scan.own_store = by_name
    found = scan.native(columns or ["id"])
    assert found is not None
    return found


def test_a_table_by_its_name_is_of_a_snapshot(case: IcebergTable) -> None:
    """Whether it is the newest, or a branch, or older than the columns of today."""
    at = stored(case).current_snapshot().snapshot_id
    with stored(case).manage_snapshots() as manage:
        manage.create_tag(at, "tag").create_branch(at, "branch")
    for keywords in ({}, {"branch": "branch"}, {"branch": "tag"}, {"snapshot_id": at}):
        found = native(case, **keywords)
        assert (found.location, found.snapshot, found.options) == ("local.lake.rows", str(at), {SNAPSHOT: str(at)})
    with stored(case).update_schema() as update:
        update.add_column("more", LongType())
    for keywords in ({}, {"branch": "branch"}, {"branch": "tag"}, {"snapshot_id": at}):
        found = native(case, "id", "name", **keywords)
        assert (found.location, found.options) == ("local.lake.rows", {SNAPSHOT: str(at)})


def test_columns_that_the_snapshot_has_otherwise_are_refused(case: IcebergTable) -> None:
    at = stored(case).current_snapshot().snapshot_id
    with stored(case).update_schema() as update:
        update.rename_column("name", "label").add_column("more", LongType())
    for name in ("label", "more"):
        with pytest.raises(UnsupportedTableError, match=rf"column '{name}' has changed since snapshot {at} \(add rows"):
            native(case, "id", name)
        # The metadata file knows the columns of today beside the snapshot.
        assert native(case, "id", name, by_name=False).options == {}
    assert native(case, "id", "ts").options == {SNAPSHOT: str(at)}
    commit_deletes(stored(case), pa.table([[2]], schema=IDS), equality_ids=[2])
    assert SNAPSHOT in native(case, "id", "label", "more").options


def test_children_are_columns_too(tmp_path: Path) -> None:
    case = IcebergTable(tmp_path)
    case.lay([rows(1)])
    deep = StructType(
        NestedField(50, "a", StringType(), required=False), NestedField(51, "b", StringType(), required=False)
    )
    with stored(case).update_schema() as update:
        update.add_column("lists", ListType(52, deep, element_required=False))
        update.add_column("maps", MapType(53, StringType(), 54, LongType(), value_required=False))
    commit_deletes(stored(case), pa.table([[3]], schema=IDS), equality_ids=[2])
    assert SNAPSHOT in native(case, "lists", "maps").options
    with stored(case).update_schema() as update:
        update.rename_column(("lists", "a"), "z")
    with stored(case).update_schema() as update:
        update.rename_column(("lists", "b"), "a")
    assert SNAPSHOT in native(case, "maps").options
    with pytest.raises(UnsupportedTableError, match="column 'lists' has changed"):
        native(case, "lists")


def test_a_pin_of_other_columns_than_the_snapshots_is_refused(case: IcebergTable) -> None:
    with stored(case).update_schema() as update:
        update.rename_column("name", "label")
    source = case.source()
    pin = source.scan(case.context).pin(case.context)
    assert native(case, "label", by_name=False).options == {}
    source.append(rows(9).rename_columns(["ts", "id", "label"]), case.context)
    scan = source.scan_at(pin, case.context)
    with pytest.raises(UnsupportedTableError, match="column 'label' has changed since snapshot"):
        scan.native(["label"])
    assert scan.native(["id"]).options == {SNAPSHOT: str(pin["snapshot_id"])}
