"""What is new in an Iceberg table since a snapshot."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog import load_catalog
from pyiceberg.manifest import DataFile, ManifestFile
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import DateType, LongType, NestedField, TimestampNanoType, TimestamptzType

from tests.contract.format_cases import read
from tests.unit.sources.handmade import commit_deletes, position_deletes
from yummy_feast.sources.base import Prune, SourceContext
from yummy_feast.sources.iceberg import IcebergSource
from yummy_feast.sources.iceberg_scan import IcebergScan
from yummy_feast.sources.iceberg_seen import time_bounds
from yummy_feast.sources.pruning import DAY, Bounds

SECOND = 1_000_000
UTC = pa.timestamp("us", tz="UTC")
NEVER = 1_000 * SECOND


@pytest.fixture
def context(tmp_path: Path) -> SourceContext:
    keys = {"type": "sql", "uri": "sqlite:///catalog.db", "warehouse": "lake"}
    return SourceContext(tmp_path, catalogs={"local": keys})


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Any]:
    with load_catalog(
        "local", type="sql", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}/lake"
    ) as made:
        made.create_namespace("ns")
        yield made


@pytest.fixture
def table(catalog: Any) -> Table:
    return made(catalog)


def made(catalog: Any, **properties: str) -> Table:
    table: Table = catalog.create_table("ns.t", schema=rows(1).schema, properties=properties)
    table.append(rows(1, 2))
    table.append(rows(3, 4))
    return table


def rows(*ids: int) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64()), "ts": pa.array([i * SECOND for i in ids], UTC)})


def scan(context: SourceContext, **keywords: Any) -> IcebergScan:
    return IcebergSource(**{"table": "local.ns.t", "timestamp_field": "ts", **keywords}).scan(context)


def new_ids(now: IcebergScan, state: str, start: int = 0, seen_start: int = NEVER) -> list[int]:
    prune = Prune("ts", start, None, seen=state, seen_start=seen_start)
    return sorted(read(now, ["id"], now.pieces(prune))["id"].to_pylist())


def data_files(table: Table) -> list[Path]:
    return [Path(task.file.file_path.removeprefix("file://")) for task in table.scan().plan_files()]


def test_known_files_are_not_even_opened(table: Table, context: SourceContext) -> None:
    state, old = scan(context).state, data_files(table)
    table.append(rows(2, 9))
    for file in old:
        file.unlink()
    assert new_ids(scan(context), state) == [2, 9]
    assert new_ids(scan(context), state, start=20 * SECOND) == []


def test_only_manifests_of_one_side_are_compared(
    table: Table, context: SourceContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10, 16):
        table.append(rows(number))
    state = scan(context).state
    table.append(rows(20))
    opened: list[str] = []
    fetch = ManifestFile.fetch_manifest_entry

    def counted(self: ManifestFile, *args: Any, **keywords: Any) -> Any:
        opened.append(self.manifest_path)
        return fetch(self, *args, **keywords)

    monkeypatch.setattr(ManifestFile, "fetch_manifest_entry", counted)
    now = scan(context)
    found = now._new_since(state)
    assert len(opened) == 1
    assert found == {str(task.file.file_path) for task in table.scan("id = 20").plan_files()}
    opened.clear()
    assert now._new_since(state) is not None
    assert not opened


def test_merged_manifests(catalog: Any, context: SourceContext) -> None:
    table = made(catalog, **{"commit.manifest-merge.enabled": "true", "commit.manifest.min-count-to-merge": "2"})
    state = scan(context).state
    table.append(rows(5))
    table.append(rows(6))
    assert len(table.current_snapshot().manifests(table.io)) == 1  # type: ignore[union-attr]
    assert new_ids(scan(context), state) == [5, 6]


def test_overwrites_and_rewritten_files_are_new(table: Table, context: SourceContext) -> None:
    state = scan(context).state
    table.delete("id = 4")
    assert new_ids(scan(context), state) == [3]
    middle = scan(context).state
    table.upsert(rows(1, 8).set_column(1, "ts", pa.array([5 * SECOND, 8 * SECOND], UTC)), ["id"])
    assert {1, 8} <= set(new_ids(scan(context), middle))
    last = scan(context).state
    table.overwrite(rows(1, 2))
    assert new_ids(scan(context), last) == [1, 2]


def test_deletes_make_no_file_new_and_rows_that_come_back_do(table: Table, context: SourceContext) -> None:
    whole, before = scan(context).state, table.current_snapshot()
    paths = [task.file.file_path for task in table.scan().plan_files()]
    commit_deletes(table, position_deletes(paths[0], [0]))
    fewer = scan(context)
    assert read(fewer).num_rows == 3
    assert new_ids(fewer, whole) == []
    assert before is not None
    with table.manage_snapshots() as manage:
        manage.set_current_snapshot(before.snapshot_id)
    assert new_ids(scan(context), fewer.state) == [1, 2, 3, 4]
    assert new_ids(scan(context), whole) == []


def test_an_expired_snapshot(table: Table, context: SourceContext) -> None:
    state, old = scan(context).state, table.current_snapshot()
    table.append(rows(5))
    assert old is not None
    table.maintenance.expire_snapshots().by_id(old.snapshot_id).commit()
    assert new_ids(scan(context), state) == [1, 2, 3, 4, 5]


def test_a_snapshot_whose_list_was_removed(table: Table, context: SourceContext) -> None:
    state, old = scan(context).state, table.current_snapshot()
    table.append(rows(5))
    assert old is not None
    Path(old.manifest_list.removeprefix("file://")).unlink()
    assert new_ids(scan(context), state) == [1, 2, 3, 4, 5]


def test_branches_and_a_rollback(table: Table, context: SourceContext) -> None:
    first, second = (item.snapshot_id for item in table.snapshots())
    with table.manage_snapshots() as manage:
        manage.create_branch(first, "trial")
    table.append(rows(5), branch="trial")
    main, trial = scan(context), scan(context, branch="trial")
    assert new_ids(trial, main.state) == [5]
    assert new_ids(scan(context), trial.state) == [3, 4]
    assert new_ids(scan(context, snapshot_id=first), main.state) == []
    table.delete("id <= 2")
    without = scan(context).state
    with table.manage_snapshots() as manage:
        manage.set_current_snapshot(second)
    table.append(rows(6))
    # The file of 1 and 2 is of an older snapshot than the state, which did not have it.
    assert new_ids(scan(context), without) == [1, 2, 6]


def test_a_table_that_was_empty_and_one_made_anew(catalog: Any, context: SourceContext) -> None:
    table = catalog.create_table("ns.t", schema=rows(1).schema)
    empty = scan(context)
    assert (empty.state != "", empty.pieces(Prune("ts", seen=empty.state, seen_start=0))) == (True, [])
    table.append(rows(1))
    assert new_ids(scan(context), empty.state) == [1]
    state = scan(context).state
    catalog.drop_table("ns.t")
    made(catalog)
    assert new_ids(scan(context), state) == [1, 2, 3, 4]


def test_a_table_by_its_path(table: Table, context: SourceContext) -> None:
    by_name = scan(context).state
    table.append(rows(5))
    assert new_ids(scan(context, table=None, path="lake/ns/t"), by_name) == [5]


def test_bounds_of_times() -> None:
    types = (DateType(), TimestamptzType(), TimestampNanoType(), LongType(), TimestamptzType(), TimestamptzType())
    fields = Schema(*(NestedField(i, f"c{i}", kind, required=False) for i, kind in enumerate(types, 1)))

    def whole(number: int, size: int = 8) -> bytes:
        return number.to_bytes(size, "little", signed=True)

    lower = {1: whole(-2, 4), 2: whole(-5), 3: whole(-1), 4: whole(7), 5: whole(3, 4)}
    upper = {1: whole(3, 4), 2: whole(9), 3: whole(1999), 4: whole(8), 5: whole(4, 4), 6: whole(1)}
    bounds_of = time_bounds(DataFile.from_args(lower_bounds=lower, upper_bounds=upper), fields)
    assert [bounds_of(f"c{i}") for i in range(1, 7)] == [
        Bounds(-2 * DAY, 3 * DAY),
        Bounds(-5, 9),
        Bounds(-1, 1),
        None,
        # A date when the file was written.
        Bounds(3 * DAY, 4 * DAY),
        None,
    ]
    assert time_bounds(DataFile.from_args(), fields)("c2") is None


def test_dates_as_times(catalog: Any, context: SourceContext) -> None:
    days = [dt.date(1970, 1, day) for day in (2, 5)]
    table = catalog.create_table("ns.t", schema=pa.schema([("id", pa.int64()), ("ts", pa.date32())]))
    for number, day in enumerate(days):
        table.append(pa.table({"id": [number], "ts": [day]}))
    now = scan(context)
    assert new_ids(now, now.state, seen_start=4 * DAY) == [1]
    assert new_ids(now, now.state, seen_start=4 * DAY + 1) == []
