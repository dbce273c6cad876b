"""States of files: what counts as the same content."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from yummy_feast.sources import files, seen
from yummy_feast.sources.base import Prune, Scan, SourceContext
from yummy_feast.sources.csv import CsvSource
from yummy_feast.sources.files import StoredFile, list_files, locate
from yummy_feast.sources.parquet import ParquetSource
from yummy_feast.sources.seen import files_state, paths_digest, seen_files, state_facts

SECOND = 1_000_000
UTC = pa.timestamp("us", tz="UTC")


def listed(folder: Path) -> list[StoredFile]:
    return list_files([locate("t", SourceContext(folder))], (".pq",))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "t").mkdir()
    for name in ("a.pq", "b.pq", "c.pq"):
        (tmp_path / "t" / name).write_bytes(b"12345")
    return tmp_path


def test_a_state_knows_its_files_and_no_others(folder: Path) -> None:
    state = files_state(listed(folder)[:2])
    assert seen_files(state, listed(folder)) == [True, True, False]
    (folder / "t" / "a.pq").rename(folder / "t" / "d.pq")
    assert seen_files(state, listed(folder)) == [True, False, False]


def rewritten_in_place(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"54321")


def swapped(path: Path) -> None:
    other = path.with_suffix(".tmp")
    other.write_bytes(b"54321")
    other.replace(path)


@pytest.mark.parametrize("change", [rewritten_in_place, swapped])
def test_other_content_of_the_same_size_and_time_is_noticed(folder: Path, change: object) -> None:
    path = folder / "t" / "b.pq"
    before, state = path.stat(), files_state(listed(folder))
    assert callable(change)
    change(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert seen_files(state, listed(folder)) == [True, False, True]


def test_a_file_that_keeps_changing_has_no_mark(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp = (folder / "t" / "b.pq").stat().st_ctime_ns
    for name in ("a.pq", "c.pq"):
        assert (folder / "t" / name).stat().st_ctime_ns
    monkeypatch.setattr(files.time, "time_ns", lambda: stamp)
    waits: list[float] = []
    monkeypatch.setattr(files.time, "sleep", waits.append)
    found = listed(folder)
    assert (found[1].mark, waits) == ("", [0.01])
    state = files_state(found)
    assert seen_files(state, found)[1] is False
    monkeypatch.undo()
    # A moment later nothing is in doubt any more.
    assert all(file.mark for file in listed(folder))
    assert seen_files(state, listed(folder))[1] is False


def test_a_file_that_vanishes_while_it_is_listed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = os.stat

    def missing(path: str) -> os.stat_result:
        if path.endswith("b.pq"):
            raise FileNotFoundError(path)
        return stat(path)

    monkeypatch.setattr(files.os, "stat", missing)
    assert [bool(file.mark) for file in listed(folder)] == [True, False, True]


def test_too_many_files_have_no_state(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "_MOST_FILES", 2)
    assert files_state(listed(folder)) == ""
    assert files_state(listed(folder)[:2])


def test_a_state_does_not_depend_on_the_order(folder: Path) -> None:
    found = listed(folder)
    assert files_state(found) == files_state(found[::-1])
    assert len(state_facts(files_state(found))["files"]) == 32
    assert files_state([replace(found[0], mark="other"), *found[1:]]) != files_state(found)


def test_paths_stand_for_a_set() -> None:
    assert paths_digest(["a", "b"]) == paths_digest(["b", "a"]) != paths_digest(["ab"])
    assert paths_digest([]) != paths_digest(["a"])


@pytest.mark.parametrize("text", ["", "x", "[1]", "3", "null", "[" * 10**5, '{"a":'])
def test_a_text_that_is_no_state_says_nothing(text: str) -> None:
    assert state_facts(text) == {}


@pytest.mark.parametrize("listing", [3, None, "??", "é", ["AAAA"], {"a": 1}])
def test_a_listing_that_is_none_knows_no_file(folder: Path, listing: object) -> None:
    assert seen_files(json.dumps({"files": listing}), listed(folder)) == [False] * 3


# ------------------------------------------------------------------------------ through sources


def rows(*ids: int) -> pa.Table:
    return pa.table({"id": list(ids), "ts": pa.array([i * SECOND for i in ids], UTC)})


def ids(scan: Scan, prune: Prune) -> list[int]:
    return sorted(
        i for piece in scan.pieces(prune) for batch in piece.read(["id"]) for i in batch.column(0).to_pylist()
    )


def parquet(path: Path, *numbers: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows(*numbers), path, compression="none", use_dictionary=False)


@pytest.mark.parametrize("path", ["t", "t/*/*.parquet", "t/**/*.parquet"])
def test_globs_and_partition_folders(tmp_path: Path, path: str) -> None:
    context, source = SourceContext(tmp_path), ParquetSource(path, timestamp_field="ts")
    for day in (1, 2):
        parquet(tmp_path / "t" / f"day={day}" / "a.parquet", day, day + 10)
    state = source.scan(context).state
    parquet(tmp_path / "t" / "day=1" / "b.parquet", 5)
    parquet(tmp_path / "t" / "day=3" / "a.parquet", 6)
    prune = Prune("ts", 0, None, seen=state, seen_start=12 * SECOND)
    assert ids(source.scan(context), prune) == [2, 5, 6, 12]
    only = Prune("ts", 0, None, {"day": pa.array([1, 3])}, seen=state, seen_start=12 * SECOND)
    assert ids(source.scan(context), only) == [5, 6]


def test_row_groups_of_a_known_file(tmp_path: Path) -> None:
    context, source = SourceContext(tmp_path), ParquetSource("t.parquet", timestamp_field="ts")
    pq.write_table(rows(*range(100)), tmp_path / "t.parquet", row_group_size=10)
    scan = source.scan(context)
    assert ids(scan, Prune("ts", 0, None, seen=scan.state, seen_start=85 * SECOND)) == list(range(80, 100))


def test_a_replaced_parquet_file_with_its_time_set_back(tmp_path: Path) -> None:
    context, source = SourceContext(tmp_path), ParquetSource("t", timestamp_field="ts")
    file = tmp_path / "t" / "a.parquet"
    parquet(file, 1, 2)
    before, scan = file.stat(), source.scan(context)
    parquet(file, 3, 4)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    again = source.scan(context)
    assert again.state != scan.state
    assert ids(again, Prune("ts", 0, None, seen=scan.state, seen_start=60 * SECOND)) == [3, 4]


def test_a_replaced_csv_file_with_its_time_set_back(tmp_path: Path) -> None:
    context, source = SourceContext(tmp_path), CsvSource("t.csv", timestamp_field="ts")
    file = tmp_path / "t.csv"
    file.write_text("ts,v\n2026-11-01,11\n")
    before, scan = file.stat(), source.scan(context)
    file.write_text("ts,v\n2026-11-01,xy\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    again = source.scan(context)
    assert again.state != scan.state
    # Types are remembered by content as well.
    assert again.schema.field("v").type == pa.string()
