"""Columns beyond half of the limit live on disk, in files that have no name."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from yummy_feast.offline.engines.spill import Spill


def columns(name: str, rows: int = 1000) -> dict[str, pa.ChunkedArray]:
    numbers = pa.chunked_array([pa.array([None, *range(rows - 1)], pa.int64())])
    return {name: numbers, f"{name}_text": pa.chunked_array([pa.array([f"text {n}" for n in range(rows)])])}


def test_without_a_limit_nothing_moves(tmp_path: Path) -> None:
    given = columns("a")
    kept = Spill(None, tmp_path / "nowhere").keep(given)
    assert kept["a"] is given["a"]
    assert not (tmp_path / "nowhere").exists()


def test_half_of_the_limit_stays_in_memory_and_the_rest_goes_to_disk(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    given = [columns(name) for name in "abc"]
    size = sum(column.nbytes for column in given[0].values())
    allocated = pa.total_allocated_bytes()
    spill = Spill(4 * size, folder)
    kept = [spill.keep(block) for block in given]
    assert kept[0]["a"] is given[0]["a"]
    assert kept[1]["b"] is given[1]["b"]
    assert kept[2]["c"] is not given[2]["c"]
    assert kept[2] == given[2]
    # Nothing but the schema was read into memory, and the file is already gone.
    assert pa.total_allocated_bytes() - allocated < size / 2
    assert os.listdir(folder) == []


def test_types_and_nulls_survive_the_disk(tmp_path: Path) -> None:
    given = {
        "empty": pa.chunked_array([pa.array([], pa.list_(pa.int64()))]),
        "none": pa.chunked_array([], pa.string()),
    }
    assert Spill(0, tmp_path).keep(given) == given
    lists = {"l": pa.chunked_array([[[1], None], [[]]]), "m": pa.chunked_array([[{"x": 1}, None], [{"x": None}]])}
    kept = Spill(0, tmp_path).keep(lists)
    assert {name: column.to_pylist() for name, column in kept.items()} == {
        name: column.to_pylist() for name, column in lists.items()
    }


def test_a_disk_that_fails_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pa.ipc, "new_file", refuse)
    with pytest.raises(OSError, match="No space"):
        Spill(0, tmp_path).keep(columns("a"))
    assert os.listdir(tmp_path) == []
