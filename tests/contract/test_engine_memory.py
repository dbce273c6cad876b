"""Engines under a memory limit: the same answers, work on disk, and nothing left there."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.contract.engine_kit import Kit, MemoryPiece, MemoryScan, MemorySource, micros, read, view
from yummy_feast.offline.engines.table import ENGINES
from yummy_feast.sources.base import Piece, Prune, SourceContext

KEYS, PER_KEY = 400, 100
ROWS = 250_000


# How much Spark holds and where it spills are settings of Spark's own.
@pytest.fixture(params=sorted(set(ENGINES) - {"spark"}))
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Kit:
    return Kit(request.param, "memory", tmp_path, {"threads": 2, "scratch": tmp_path / "spill"})


def left_over(kit: Kit) -> list[str]:
    folder = kit.settings["scratch"]
    return os.listdir(folder) if folder.exists() else []


def spilled_maps() -> int:
    """Memory maps of this process whose files are gone."""
    with open("/proc/self/maps") as maps:
        return sum("yummy-spill-" in line and "(deleted)" in line for line in maps)


def history() -> pa.Table:
    """Key k has an event at every 100 + k % 7 microseconds; the value tells key and event."""
    key, number = (grid.ravel() for grid in np.meshgrid(np.arange(KEYS), np.arange(PER_KEY), indexing="ij"))
    order = np.random.default_rng(1).permutation(KEYS * PER_KEY)
    columns = {"k": key, "t": number * (100 + key % 7), "v": key * 1000 + number}
    table = pa.table({name: column[order] for name, column in columns.items()})
    texts = pa.array([f"key {k}, event {n}" for k, n in zip(key[order], number[order], strict=True)])
    floats = {f"f{i}": table["v"].to_numpy() + i / 8 for i in range(8)}
    times = pa.array(table["t"].to_numpy(), pa.timestamp("us", "UTC"))
    return pa.table({"k": table["k"], "t": times, "v": table["v"], "text": texts, **floats})


def questions() -> tuple[pa.Table, np.ndarray[Any, Any]]:
    """Entity rows, and the v that each must get (-1: none). Every seventh key is unknown."""
    random = np.random.default_rng(2)
    key = random.integers(0, KEYS + KEYS // 6, ROWS)
    time = random.integers(-50, 12_000, ROWS)
    number = np.minimum(time // (100 + key % 7), PER_KEY - 1)
    expected = np.where((time >= 0) & (key < KEYS), key * 1000 + number, -1)
    return pa.table({"k": key, "event_timestamp": pa.array(time, pa.timestamp("us", "UTC"))}), expected


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="reads /proc")
def test_a_fetch_larger_than_its_memory_is_right_and_leaves_nothing(kit: Kit) -> None:
    source = MemorySource([history()], batch=5_000)
    features = {"v": pa.int64(), "text": pa.string(), **{f"f{i}": pa.float64() for i in range(8)}}
    entity_rows, expected = questions()
    kit.settings["memory_limit"] = 4_000_000
    before = spilled_maps()
    found = kit.ask(entity_rows, view(source, features))
    assert spilled_maps() > before
    assert left_over(kit) == []
    assert np.array_equal(found["v"].fill_null(-1).to_numpy(), expected)
    for i in range(8):
        assert np.array_equal(found[f"f{i}"].fill_null(-1).to_numpy(), np.where(expected < 0, -1, expected + i / 8))
    some = np.arange(0, ROWS, 997)
    texts = found["text"].take(pa.array(some)).to_pylist()
    assert texts == [None if v < 0 else f"key {v // 1000}, event {v % 1000}" for v in expected[some]]
    del found
    gc.collect()
    assert spilled_maps() == before


@pytest.mark.parametrize("threads", [1, 4])
def test_blocks_of_entity_rows_answer_as_one_does(kit: Kit, threads: int) -> None:
    kit.settings |= {"memory_limit": 1_000_000, "threads": threads}
    table = history()
    source = MemorySource([table.slice(0, 7), table.slice(7, 20_000), table.slice(20_007)], batch=3_000)
    entity_rows, expected = questions()
    answer = kit.answer(entity_rows, view(source), view(source, {"f1": pa.float64()}, ttl=50, name="fresh"))
    found = answer.table()
    assert np.array_equal(found["v"].fill_null(-1).to_numpy(), expected)
    time = entity_rows["event_timestamp"].cast(pa.int64()).to_numpy()
    event = expected % 1000 * (100 + expected // 1000 % 7)
    fresh = (expected >= 0) & (time - event <= 50)
    assert np.array_equal(found["f1"].fill_null(-1).to_numpy(), np.where(fresh, expected + 1 / 8, -1))
    whole, limited = answer.explanation().views
    assert (whole.matched, whole.expired) == (int((expected >= 0).sum()), 0)
    assert (limited.matched, limited.expired) == (int(fresh.sum()), int((expected >= 0).sum() - fresh.sum()))
    assert whole.rows_read is not None
    assert whole.rows_read >= 2 * len(table), "all entity rows were matched in one block"


class Watched(MemorySource):
    """Notes what lies in a folder whenever a piece is read."""

    def __init__(self, folder: Path, pieces: Sequence[pa.Table], batch: int) -> None:
        super().__init__(pieces, batch)
        self.seen: set[str] = set()
        watch = self

        class WatchedPiece(MemoryPiece):
            def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
                watch.seen.update(str(path.relative_to(folder)) for path in folder.rglob("*"))
                yield from super().read(columns)

        self.watched = [WatchedPiece(part.batches) for part in self.parts]

    def scan(self, context: SourceContext) -> MemoryScan:
        pieces: list[Piece] = list(self.watched)

        class Scan(MemoryScan):
            def pieces(self, prune: Prune | None = None) -> list[Piece]:
                return pieces

        return Scan(self.schema, [])


def test_latest_of_more_keys_than_fit_memory_spills_and_cleans_up(kit: Kit) -> None:
    kit.settings["memory_limit"] = 48_000_000
    pieces, count = 30, 20_000

    def piece(number: int) -> pa.Table:
        keys = [f"a key of some length, number {number * count + row:012d}" for row in range(count)]
        return pa.table({"k": keys, "t": micros(*range(count)), "v": pa.array(range(count))})

    tables = [piece(number) for number in range(pieces)]
    source = Watched(kit.settings["scratch"], [*tables, *tables], batch=count)
    kit.settings["scratch"].mkdir()
    found = kit.engine.latest(read(source, "v")).read_all()
    assert len(found) == pieces * count
    assert any("storage" in name for name in source.seen), source.seen
    assert left_over(kit) == []


def test_sql_spills_where_temporary_files_belong(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    # Left alone, DuckDB spills into the working directory.
    monkeypatch.chdir(kit.folder)
    monkeypatch.setattr(tempfile, "tempdir", str(kit.folder / "temporary"))
    kit.settings |= {"memory_limit": 20_000_000, "scratch": None}
    texts = [f"{number} {'x' * 500}" for number in range(50_000)]
    large = MemorySource([pa.table({"k": range(len(texts)), "text": texts})] * 4, batch=10_000)
    small = Watched(kit.folder, [pa.table({"k": [7]})], batch=1)
    found = kit.engine.query("SELECT k, text FROM large JOIN small USING (k)", {"large": large, "small": small})
    assert found["text"].to_pylist() == [texts[7]] * 4
    assert any(path.startswith("temporary/") and "storage" in path for path in small.seen), small.seen
    assert not any(path.startswith(".tmp") for path in small.seen)
    assert [path for path in kit.folder.rglob("*") if path.is_file()] == []
