"""The walk through a partition, without Spark, against the rule said row by row."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from yummy_feast.offline.engines import spark_walk
from yummy_feast.offline.engines.spark_walk import ENTITY, Walked, walk

VIEWS = (Walked(0, False, ("s0", "s1")), Walked(2, True, ("s1",)))
SCHEMA = pa.schema(
    [
        ("g0", pa.int64()),
        ("g1", pa.string()),
        ("v", pa.int64()),
        ("side", pa.int32()),
        ("event", pa.int64()),
        ("made", pa.int64()),
        ("place", pa.int64()),
        ("e", pa.struct([("__row", pa.int64())])),
        ("s0", pa.string()),
        ("s1", pa.float32()),
    ]
)


def partition(seed: int, rows: int, wide: int) -> pa.Table:
    """Few keys and moments: ties of every kind, and rows without a key or a time. wide: how far apart moments are."""
    random = np.random.default_rng(seed)
    rows_of = []
    for number in range(rows):
        side = int(random.choice([ENTITY, 0, 2]))
        key = (None if random.random() < 0.05 else int(random.integers(-2, 3)), str(random.choice(["a", "b"])))
        event = int(random.integers(-6, 6)) * wide
        made = None if random.random() < 0.2 else event + int(random.integers(-2, 3)) * wide
        row: dict[str, Any] = dict.fromkeys(SCHEMA.names) | {"g0": key[0], "g1": key[1], "side": side}
        if side == ENTITY:
            row |= {"v": None if random.random() < 0.05 else event, "e": {"__row": number}}
        else:
            shown = max(event, made or event) if side == 2 else event
            row |= {"v": shown, "event": event, "made": made, "place": number, "s1": number / 2}
            row |= {"s0": str(number)} if side == 0 else {}
        rows_of.append(row)
    return pa.Table.from_pylist(rows_of, SCHEMA)


def expected(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    least = -(1 << 62)

    def rank(row: dict[str, Any]) -> tuple[int, int, int]:
        return row["event"], least if row["made"] is None else row["made"], row["place"]

    found = []
    for asked in (row for row in rows if row["side"] == ENTITY):
        answer = {"e": asked["e"]}
        for view in VIEWS:
            seen = [
                row
                for row in rows
                if row["side"] == view.number
                and asked["g0"] is not None
                and asked["v"] is not None
                and (row["g0"], row["g1"]) == (asked["g0"], asked["g1"])
                and row["v"] <= asked["v"]
            ]
            best = max(seen, key=rank, default=None)
            answer[f"b{view.number}"] = (
                {"event": best["event"]} | {f"f{n}": best[slot] for n, slot in enumerate(view.slots)} if best else None
            )
        found.append(answer)
    return found


def walked(table: pa.Table, batch: int = 7) -> list[dict[str, Any]]:
    parts = walk(iter(table.to_batches(max_chunksize=batch)), VIEWS, ("g0", "g1"))
    return [row for part in parts for row in part.to_pylist()]


def test_the_worker_reads_no_archive_again_for_its_next_task(archive: str) -> None:
    walked(partition(0, 40, 1))
    assert archive not in sys.path_importer_cache


# Moments as far apart as here do not fit beside the key in one number.
@pytest.mark.parametrize("wide", [1, 1 << 58])
@pytest.mark.parametrize("seed", range(6))
def test_each_entity_row_sees_the_best_row_of_its_key(seed: int, wide: int) -> None:
    table = partition(seed, 400, wide)
    assert walked(table) == expected(table.to_pylist())


def test_floats_and_bytes_are_keys_too() -> None:
    table = partition(1, 300, 1)
    codes = {-2: 2.5, -1: -1e300, 0: 0.0, 1: 1e-300, 2: float("inf"), None: None}
    floats = pa.array([codes[value] for value in table["g0"].to_pylist()], pa.float64())
    other = table.set_column(0, "g0", floats).set_column(1, "g1", table["g1"].cast(pa.binary()))
    assert walked(other) == walked(table)


def test_what_is_too_much_for_memory_waits_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(spark_walk, "_HELD", 5_000)
    monkeypatch.setattr(spark_walk, "_CHUNK", 9_000)
    monkeypatch.setenv("SPARK_LOCAL_DIRS", f"{tmp_path},/nowhere")
    table = partition(3, 400, 1)
    parts = walk(iter(table.to_batches(max_chunksize=20)), VIEWS, ("g0", "g1"))
    first = next(parts)
    assert [path.suffix for path in tmp_path.iterdir()] == [".arrow"]
    assert [row for part in (first, *parts) for row in part.to_pylist()] == expected(table.to_pylist())
    assert not list(tmp_path.iterdir())


def test_more_text_than_one_column_holds() -> None:
    text = "".join(chr(97 + number) * 100_000_000 for number in range(3))
    chunk = partition(3, 3, 1).set_column(1, "g1", pa.array([text[i : i + 100_000_000] for i in (0, 10**8, 2 * 10**8)]))
    # 2.4 GB, of which 300 MB are there.
    table = pa.concat_tables([chunk] * 8)
    with pytest.raises(pa.ArrowInvalid, match="offset overflow"):
        table.take([0])
    codes = spark_walk._codes(table["g1"])
    assert codes.tolist() == [0, 1, 2] * 8
    taken = spark_walk._Pieces(table).taken(["g1", "place"], np.array([23, 1, 1, 12]))
    assert [value.as_py()[0] for value in taken["g1"]] == ["c", "b", "b", "a"]
    assert taken["place"].equals(table["place"].combine_chunks().take([23, 1, 1, 12]))


def test_nothing_to_walk() -> None:
    assert walked(SCHEMA.empty_table()) == []
    nobody = partition(2, 50, 1)
    nobody = nobody.filter(pa.array([side != ENTITY for side in nobody["side"].to_pylist()]))
    assert walked(nobody) == []


def test_entity_rows_alone_see_nothing() -> None:
    table = partition(2, 50, 1)
    alone = table.filter(pa.array([side == ENTITY for side in table["side"].to_pylist()]))
    assert walked(alone) == [{"e": row["e"], "b0": None, "b2": None} for row in alone.to_pylist()]
