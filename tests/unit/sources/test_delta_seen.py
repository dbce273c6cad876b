"""What is new in a Delta table since a version."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from tests.contract.format_cases import read
from tests.unit.sources.handmade import delete_rows
from yummy_feast.sources.base import Prune, SourceContext
from yummy_feast.sources.delta import DeltaScan, DeltaSource

SECOND = 1_000_000
UTC = pa.timestamp("us", tz="UTC")
NEVER = 1_000 * SECOND
VECTORS = {"delta.enableDeletionVectors": "true"}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "t"


def rows(*ids: int) -> pa.Table:
    return pa.table({"id": list(ids), "ts": pa.array([i * SECOND for i in ids], UTC)})


def scan(table: Path, **pin: Any) -> DeltaScan:
    return DeltaSource(str(table), timestamp_field="ts", **pin).scan(SourceContext(table.parent))


def new_ids(now: DeltaScan, state: str, start: int = 0, seen_start: int = NEVER) -> list[int]:
    prune = Prune("ts", start, None, seen=state, seen_start=seen_start)
    return sorted(read(now, ["id"], now.pieces(prune))["id"].to_pylist())


@pytest.fixture
def state(table: Path) -> str:
    write_deltalake(table, rows(1, 2))
    write_deltalake(table, rows(3, 4), mode="append")
    return scan(table).state


def test_known_files_are_not_even_opened(table: Path, state: str) -> None:
    old = DeltaTable(table).file_uris()
    write_deltalake(table, rows(2, 9), mode="append")
    for file in old:
        Path(file).unlink()
    assert new_ids(scan(table), state) == [2, 9]
    assert new_ids(scan(table), state, start=20 * SECOND) == []


def test_an_overwrite_is_new(table: Path, state: str) -> None:
    write_deltalake(table, rows(1, 2), mode="overwrite")
    assert new_ids(scan(table), state) == [1, 2]


def test_an_overwritten_partition_is_new(table: Path) -> None:
    parts = rows(1, 2).append_column("part", pa.array(["a", "b"]))
    write_deltalake(table, parts, partition_by=["part"])
    state = scan(table).state
    write_deltalake(table, parts.slice(1), mode="overwrite", predicate="part = 'b'")
    assert new_ids(scan(table), state) == [2]


def test_files_that_were_written_again_are_new(table: Path, state: str) -> None:
    DeltaTable(table).update(predicate="id = 3", updates={"ts": "ts"})
    assert new_ids(scan(table), state) == [3, 4]
    middle = scan(table).state
    merged = rows(1, 7)
    merge = DeltaTable(table).merge(merged, "s.id = t.id", source_alias="s", target_alias="t")
    merge.when_matched_update_all().when_not_matched_insert_all().execute()
    assert {1, 7} <= set(new_ids(scan(table), middle))
    last = scan(table).state
    DeltaTable(table).optimize.compact()
    assert new_ids(scan(table), last) == [1, 2, 3, 4, 7]
    assert new_ids(scan(table), last, start=6 * SECOND, seen_start=6 * SECOND)


def test_rows_deleted_by_rewriting(table: Path, state: str) -> None:
    DeltaTable(table).delete("id = 4")
    assert new_ids(scan(table), state) == [3]


def test_deleted_rows_make_no_file_new_and_rows_that_come_back_do(table: Path) -> None:
    write_deltalake(table, rows(1, 2, 3), configuration=VECTORS)
    whole = scan(table).state
    delete_rows(table, [[0, 1]])
    fewer = scan(table)
    assert read(fewer, ["id"])["id"].to_pylist() == [3]
    assert new_ids(fewer, whole) == []
    # As RESTORE does it: the file without its vector again.
    log = table / "_delta_log"
    first = [json.loads(line) for line in (log / f"{0:020}.json").read_text().splitlines()]
    second = [json.loads(line) for line in (log / f"{1:020}.json").read_text().splitlines()]
    (bare,) = (line["add"] for line in first if "add" in line)
    (vector,) = (line["add"]["deletionVector"] for line in second if "add" in line)
    removed = {"path": bare["path"], "deletionTimestamp": 2, "dataChange": True, "deletionVector": vector}
    commit = [{"commitInfo": {"timestamp": bare["modificationTime"] + 2}}, {"remove": removed}, {"add": bare}]
    (log / f"{2:020}.json").write_text("\n".join(map(json.dumps, commit)))
    again = scan(table)
    assert read(again, ["id"])["id"].to_pylist() == [1, 2, 3]
    assert new_ids(again, fewer.state) == [1, 2, 3]
    assert new_ids(again, whole) == []


def test_a_restored_file_that_the_state_lacked_is_new(table: Path, state: str) -> None:
    DeltaTable(table).delete("id <= 2")
    without = scan(table).state
    DeltaTable(table).restore(1)
    assert new_ids(scan(table), without) == [1, 2]
    assert new_ids(scan(table), state) == []


def test_a_version_that_the_log_no_longer_has(table: Path, state: str) -> None:
    write_deltalake(table, rows(5), mode="append")
    DeltaTable(table).create_checkpoint()
    for number in range(3):
        (table / "_delta_log" / f"{number:020}.json").unlink()
    assert new_ids(scan(table), state) == [1, 2, 3, 4, 5]


def test_vacuumed_files_of_the_older_version_are_not_missed(table: Path, state: str) -> None:
    DeltaTable(table).delete("id = 4")
    removed = DeltaTable(table).vacuum(0, dry_run=False, enforce_retention_duration=False)
    assert removed
    assert new_ids(scan(table), state) == [3]


def test_pinned_sources(table: Path, state: str) -> None:
    write_deltalake(table, rows(5), mode="append")
    assert new_ids(scan(table, version=1), state) == []
    assert new_ids(scan(table, version=2), state) == [5]
    first = scan(table, version=0)
    assert new_ids(first, state) == [1, 2]
    assert new_ids(scan(table, version=1), first.state) == [3, 4]


def test_another_table_and_a_copy_that_went_its_own_way(table: Path, state: str, tmp_path: Path) -> None:
    shutil.copytree(table, tmp_path / "copy")
    write_deltalake(table, rows(5), mode="append")
    write_deltalake(tmp_path / "copy", rows(6), mode="append")
    of_table = scan(table).state
    shutil.rmtree(table)
    shutil.move(tmp_path / "copy", table)
    write_deltalake(table, rows(7), mode="append")
    assert new_ids(scan(table), state) == [6, 7]
    # Same id and version, other files.
    assert new_ids(scan(table), of_table) == [1, 2, 3, 4, 6, 7]
    shutil.rmtree(table)
    write_deltalake(table, rows(1, 2))
    write_deltalake(table, rows(3, 4), mode="append")
    assert new_ids(scan(table), state) == [1, 2, 3, 4]


def test_the_log_is_asked_once_per_state(table: Path, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_deltalake(table, rows(5), mode="append")
    now = scan(table)
    loads: list[int] = []
    load = now._at_version

    def counted(version: int) -> DeltaTable:
        loads.append(version)
        return load(version)

    monkeypatch.setattr(now, "_at_version", counted)
    assert new_ids(now, state) == new_ids(now, state) == [5]
    assert loads == [1]
    assert new_ids(now, now.state) == []
    assert loads == [1]
