"""The newest rows of several reads of one source at a time, streamed in a fixed order, by every engine."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.contract.engine_kit import Kit, MemoryPiece, MemoryScan, MemorySource, embedded_only, read, rows_of
from yummy_feast.errors import ColumnNotFoundError, ColumnTypeError, SourceReadError
from yummy_feast.offline.newest import Newest
from yummy_feast.offline.plan import ReadPlan
from yummy_feast.sources.base import Piece, Prune, SeenPiece, SourceContext

LOGGER = "yummy_feast"


def collected(found: Newest, skip: Sequence[int] = ()) -> list[list[dict[str, Any]]]:
    """Per read its rows, batch after batch, each checked against the schema that was announced."""
    rows: list[list[dict[str, Any]]] = [[] for _ in found.schemas]
    for number, batch in found.batches(skip):
        batch.validate(full=True)
        assert batch.schema.equals(found.schemas[number])
        assert batch.num_rows
        rows[number] += batch.to_pylist()
    return rows


def newest(kit: Kit, *reads: ReadPlan, skip: Sequence[int] = (), column: str = "v") -> list[list[Any]]:
    """Per read one column of its rows; counts are right."""
    with kit.engine.newest(reads) as found:
        whole = collected(found)
        assert [len(rows) for rows in whole] == list(found.rows)
        rows = collected(found, skip) if skip else whole
    return [[row[column] for row in each] for each in rows]


@dataclass(frozen=True)
class CountingPiece(MemoryPiece):
    """Keeps what was read of it."""

    reads: list[tuple[str, ...]] = field(default_factory=list)

    def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        self.reads.append(tuple(columns))
        return super().read(columns)


class StatefulScan(MemoryScan):
    """Has a state, knows parts by number, and keeps what it was asked."""

    def __init__(self, schema: pa.Schema, pieces: Sequence[MemoryPiece], asked: list[Prune | None]) -> None:
        super().__init__(schema, pieces)
        self.asked = asked

    @property
    def state(self) -> str:
        return f"{len(self._pieces)} parts"

    def pieces(self, prune: Prune | None = None) -> list[Piece]:
        self.asked.append(prune)
        known = int(prune.seen.split()[0]) if prune is not None and prune.seen else 0
        start = prune.seen_start if prune is not None else None
        return [
            SeenPiece(piece, start) if number < known and start is not None else piece
            for number, piece in enumerate(self._pieces)
        ]


class StatefulSource(MemorySource):
    def __init__(self, pieces: Sequence[pa.Table], **options: Any) -> None:
        super().__init__(pieces, **options)
        self.asked: list[Prune | None] = []
        self.parts = [CountingPiece(part.batches, part.error) for part in self.parts]

    def scan(self, context: SourceContext) -> MemoryScan:
        self.scans += 1
        return StatefulScan(self.schema, self.parts, self.asked)

    @property
    def reads(self) -> list[tuple[str, ...]]:
        return [columns for part in self.parts if isinstance(part, CountingPiece) for columns in part.reads]


TRIPS = rows_of(
    k=[1, 1, 2, 3, None, 2],
    s=["x", "y", "x", None, "y", "y"],
    t=[1, 2, 3, 4, 5, None],
    v=[0, 1, 2, 3, 4, 5],
    w=["a", "b", "c", "d", "e", "f"],
)


# ----------------------------------------------------------------------------------------------- several reads


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("cuts", [(), (1, 2, 4)], ids=["one piece", "four pieces"])
def test_reads_with_join_keys_of_their_own(
    kit: Kit, cuts: tuple[int, ...], threads: int, caplog: pytest.LogCaptureFixture
) -> None:
    kit.settings["threads"] = threads
    source = kit.source(TRIPS, *cuts)
    reads = [
        read(source, "v"),
        read(source, "v", "w", keys=["s"]),
        read(source, "v", keys=["k", "s"]),
        read(source, "v", keys=()),
    ]
    with caplog.at_level(logging.WARNING, LOGGER):
        assert newest(kit, *reads) == [[1, 2, 3], [2, 4], [0, 1, 2], [4]]
    # Rows without a key are told for each read that leaves some out; the one without a time counts for none.
    told = [record.message.split(": ")[1] for record in caplog.records if "left out" in record.message]
    assert told == [
        "left out 1 rows whose join key k is null",
        "left out 1 rows whose join key s is null",
        "left out 2 rows whose join key k, s is null",
    ]


def test_each_read_has_its_own_columns(kit: Kit) -> None:
    source = kit.source(TRIPS, 3)
    with kit.engine.newest([read(source, "w"), read(source, "v", keys=["s"]), read(source)]) as found:
        assert [schema.names for schema in found.schemas] == [["k", "w", "t"], ["s", "v", "t"], ["k", "t"]]
        first, second, bare = collected(found)
    assert [row["w"] for row in first] == ["b", "c", "d"]
    assert [row["v"] for row in second] == [2, 4]
    assert [list(row) for row in bare] == [["k", "t"]] * 3


def test_a_key_and_a_time_may_be_features_too(kit: Kit) -> None:
    source = kit.source(TRIPS)
    with kit.engine.newest([read(source, "k", "t", keys=["s"])]) as found:
        assert found.schemas[0].names == ["s", "k", "t"]
        assert [row["k"] for row in collected(found)[0]] == [2, None]


def test_one_read_many_times_is_as_many_answers(kit: Kit) -> None:
    source = kit.source(TRIPS, 2)
    assert newest(kit, *[read(source, "v")] * 3) == [[1, 2, 3]] * 3


def test_the_range_holds_for_all_of_them(kit: Kit) -> None:
    source = kit.source(TRIPS, 2)
    reads = [read(source, "v", start=2, end=3), read(source, "v", keys=["s"], start=2, end=3)]
    assert newest(kit, *reads) == [[1, 2], [1, 2]]
    assert newest(kit, *(replace(one, start=90, end=95) for one in reads)) == [[], []]


def test_one_pass_over_keys_and_one_over_features(kit: Kit) -> None:
    embedded_only(kit, "executors read copies of the pieces")
    source = StatefulSource([TRIPS.slice(0, 3), TRIPS.slice(3)])
    reads = [read(source, "v"), read(source, "w", keys=["s"]), read(source, "v", keys=("k", "s"))]
    with kit.engine.newest(reads) as found:
        assert source.scans == 1
        assert source.reads == [("k", "s", "t")] * 2
        collected(found)
    keyed, features = source.reads[:2]
    assert keyed == ("k", "s", "t")
    assert sorted(features) == ["k", "s", "t", "v", "w"]
    assert len(source.reads) == 4
    assert source.scans == 1


def test_a_piece_without_newest_rows_is_not_read_again_nor_columns_that_nobody_wants(kit: Kit) -> None:
    embedded_only(kit, "rows are picked and read in one pass")
    old = rows_of(k=[1, 2], s=["x", "y"], t=[1, 1], v=[0, 1], w=["a", "b"])
    half = rows_of(k=[1, 1], s=["x", "z"], t=[2, 2], v=[2, 3], w=["c", "d"])
    new = rows_of(k=[1, 2], s=["x", "y"], t=[3, 3], v=[4, 5], w=["e", "f"])
    source = StatefulSource([old, half, new])
    with kit.engine.newest([read(source, "v"), read(source, "w", keys=["s"])]) as found:
        assert [[row.get("v", row.get("w")) for row in rows] for rows in collected(found)] == [[4, 5], ["d", "e", "f"]]
    reads = [part.reads for part in source.parts if isinstance(part, CountingPiece)]
    assert [len(each) for each in reads] == [1, 2, 2]
    # Of the second piece the second read alone wants a row.
    assert reads[1][1] == ("s", "w", "t")
    assert set(reads[2][1]) == {"k", "s", "t", "v", "w"}


# ------------------------------------------------------------------------------------------------- order and skip


def many(rows: int = 5000, keys: int = 700, seed: int = 7) -> pa.Table:
    random = np.random.default_rng(seed)
    return rows_of(
        k=random.integers(0, keys, rows),
        s=random.integers(0, 40, rows).astype(str).tolist(),
        t=random.integers(-50, 50, rows).tolist(),
        made=random.integers(0, 3, rows).tolist(),
        v=np.arange(rows),
    )


def expected(table: pa.Table, *keys: str, created: bool = False) -> list[int]:
    """Naively: the newest event, then created, then the last one; in the source's order."""
    best: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for row in table.to_pylist():
        rank = (row["t"], row["made"], row["v"]) if created else (row["t"], row["v"])
        key = tuple(row[name] for name in keys)
        if key not in best or rank > best[key]:
            best[key] = rank
    return sorted(rank[-1] for rank in best.values())


@pytest.mark.parametrize("created", [None, "made"])
@pytest.mark.parametrize("threads", [1, 4])
def test_rows_come_in_the_order_of_the_source_every_time(kit: Kit, threads: int, created: str | None) -> None:
    kit.settings["threads"] = threads
    table = many()
    source = kit.source(table, 100, 1500, 1501, 4000)
    reads = [read(source, "v", created=created), read(source, "v", keys=["s"], created=created)]
    wanted = [expected(table, "k", created=bool(created)), expected(table, "s", created=bool(created))]
    for _ in range(2):
        with kit.engine.newest(reads) as found:
            first, second = collected(found), collected(found)
        assert first == second
        assert [[row["v"] for row in rows] for rows in first] == wanted


@pytest.mark.parametrize("cuts", [(), (2, 4, 6)], ids=["one piece", "four pieces"])
def test_skip_leaves_out_rows_at_the_start(kit: Kit, cuts: tuple[int, ...]) -> None:
    table = rows_of(k=list(range(8)), s=list("aabbccdd"), t=[1] * 8, v=list(range(8)))
    source = kit.source(table, *cuts)
    reads = [read(source, "v"), read(source, "v"), read(source, "v", keys=["s"])]
    assert newest(kit, *reads) == [list(range(8)), list(range(8)), [1, 3, 5, 7]]
    assert newest(kit, *reads, skip=[0, 3, 1]) == [list(range(8)), [3, 4, 5, 6, 7], [3, 5, 7]]
    assert newest(kit, *reads, skip=[8, 7, 4]) == [[], [7], []]
    # More than there is.
    assert newest(kit, *reads, skip=[9, 10**12, 0]) == [[], [], [1, 3, 5, 7]]


def test_skipped_rows_and_the_rest_are_all_of_them(kit: Kit) -> None:
    table = many(rows=400, keys=90)
    source = kit.source(table, 37, 200)
    with kit.engine.newest([read(source, "v")]) as found:
        [whole] = collected(found)
        for skip in range(0, len(whole) + 2, 7):
            assert collected(found, [skip]) == [whole[skip:]]


# ------------------------------------------------------------------------------------------------- who is newest


def test_of_a_tie_the_last_one_created_and_then_the_last_in_the_source(kit: Kit) -> None:
    table = rows_of(k=[1, 1, 1, 2, 2, 3, 3], t=[5] * 7, made=[2, 2, 1, None, None, None, 0], v=list(range(7)))
    for cuts in ((), (1, 3, 4)):
        source = kit.source(table, *cuts)
        assert newest(kit, read(source, "v", created="made")) == [[1, 4, 6]]
        # One wide number in place of three.
        assert newest(kit, read(source, "v")) == [[2, 4, 6]]


EXTREMES = [-(2**62), -(2**32), -1, 0, 1, 2**32, 2**62]


@pytest.mark.parametrize("kind", [pa.timestamp("ns"), pa.timestamp("ns", "Asia/Tokyo"), pa.timestamp("us")], ids=str)
@pytest.mark.parametrize("created", [False, True])
def test_times_before_1970_and_between_microseconds(kit: Kit, kind: pa.DataType, created: bool) -> None:
    moments = [value // 1024 for value in EXTREMES] if kind.unit == "us" else EXTREMES
    for turned in (moments, moments[::-1]):
        columns = {"k": [1] * len(turned), "t": pa.array(turned, kind), "made": pa.array(turned, kind)}
        source = kit.source(pa.table({**columns, "v": turned}), 3)
        assert newest(kit, read(source, "v", created="made" if created else None)) == [[max(turned)]]
    past = [-5, -3, -4]
    source = kit.source(pa.table({"k": [1] * 3, "t": pa.array(past, kind), "v": past}), 1)
    assert newest(kit, read(source, "v")) == [[-3]]


def test_rows_without_a_time_are_never_newest(kit: Kit) -> None:
    source = kit.source(rows_of(k=[1, 1, 2], t=[-(10**6), None, None], v=[0, 1, 2]), 1)
    assert newest(kit, read(source, "v"), read(source, "v", keys=())) == [[0], [0]]
    nothing = kit.source(rows_of(k=[1], t=pa.array([None], pa.timestamp("us", "UTC")), v=[0]))
    assert newest(kit, read(nothing, "v"), read(nothing, "v", keys=())) == [[], []]


def test_null_features_and_times_of_creation_stay(kit: Kit) -> None:
    source = kit.source(rows_of(k=[1, 1], t=[1, 2], made=[9, None], v=[5, None]))
    with kit.engine.newest([read(source, "v", created="made")]) as found:
        [[row]] = collected(found)
    assert (row["v"], row["made"]) == (None, None)


def test_wide_rows_come_as_they_are(kit: Kit) -> None:
    rows = 300
    wide = {f"f{number}": [f"{number}-{row}" * 20 for row in range(rows)] for number in range(40)}
    table = rows_of(k=[row % 100 for row in range(rows)], t=list(range(rows)), **wide)
    source = kit.source(table, 50, 250)
    [found] = newest(kit, read(source, *wide), column="f39")
    assert found == [wide["f39"][row] for row in range(200, 300)]


# ------------------------------------------------------------------------------------------------- what was seen


def test_the_state_is_told_and_the_last_state_is_asked(kit: Kit) -> None:
    first, second = rows_of(k=[1, 2], t=[10, 20], v=[0, 1]), rows_of(k=[3, 4], t=[12, 22], v=[2, 3])
    source = StatefulSource([first, second])
    plan = replace(read(source, "v", start=11, end=30), seen="1 parts", seen_start=15)
    with kit.engine.newest([plan]) as found:
        assert found.state == "2 parts"
        assert [row["v"] for row in collected(found)[0]] == [1, 2, 3]
    [prune] = source.asked
    assert prune is not None
    assert (prune.time_field, prune.start, prune.end, prune.seen, prune.seen_start) == ("t", 11, 30, "1 parts", 15)


def test_of_a_part_that_was_seen_old_rows_are_not_taken(kit: Kit) -> None:
    part = rows_of(k=[1, 2, 3], t=[10, 14, 15], v=[0, 1, 2])
    for seen, wanted in (("1 parts", [2, 3, 4, 5]), ("", [0, 1, 2, 3, 4, 5]), ("2 parts", [2, 5])):
        source = StatefulSource([part, rows_of(k=[4, 5, 6], t=[10, 14, 15], v=[3, 4, 5])])
        plan = replace(read(source, "v", start=10), seen=seen, seen_start=15 if seen else None)
        assert newest(kit, plan) == [wanted]


def test_a_source_without_a_state(kit: Kit) -> None:
    source = MemorySource([rows_of(k=[1], t=[1], v=[1])])
    with kit.engine.newest([read(source, "v")]) as found:
        assert found.state == ""


# --------------------------------------------------------------------------------------- what is held, and errors


def test_leaving_frees_what_went_to_disk(kit: Kit) -> None:
    embedded_only(kit, "spills where Spark does")
    folder = kit.folder / "scratch"
    kit.settings.update(scratch=folder, memory_limit=24 * 1024 * 1024, threads=1)
    rows = 1_000_000
    source = MemorySource(
        [pa.table({"k": np.arange(rows), "s": np.arange(rows)[::-1], "t": pa.array(np.zeros(rows, "M8[us]"))})],
        batch=64 * 1024,
    )
    with kit.engine.newest([read(source), read(source, keys=["s"])]) as found:
        assert found.rows == (rows, rows)
        assert any(path.is_file() for path in folder.rglob("*")), "nothing was spilled: the test tests nothing"
        # Somebody keeps the rest for later.
        left = found.batches()
        next(left)
    assert [path for path in folder.rglob("*") if path.is_file()] == []
    left.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("yummy-")]


@pytest.mark.parametrize("threads", [1, 4])
def test_an_error_in_the_first_pass_comes_at_once_and_leaves_nothing(kit: Kit, threads: int) -> None:
    kit.settings.update(threads=threads, scratch=kit.folder / "scratch")
    error = SourceReadError("memory is damaged")
    source = MemorySource([rows_of(k=[1], t=[1], v=[1])] * 4, error=error)
    with pytest.raises(SourceReadError) as caught:
        kit.engine.newest([read(source, "v"), read(source, "v", keys=())])
    assert (type(caught.value), str(caught.value)) == (type(error), str(error))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("yummy-")]
    assert [path for path in (kit.folder / "scratch").rglob("*") if path.is_file()] == []


@dataclass(frozen=True)
class LateError(MemoryPiece):
    """Breaks when features are read."""

    def read(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        if "v" in columns:
            raise SourceReadError("memory is gone")
        return super().read(columns)


@pytest.mark.parametrize("threads", [1, 4])
def test_an_error_in_the_second_pass_comes_after_the_rows_before_it(kit: Kit, threads: int) -> None:
    embedded_only(kit, "rows are picked and read in one pass")
    kit.settings["threads"] = threads
    source = MemorySource([rows_of(k=[number], t=[1], v=[number]) for number in range(4)])
    source.parts[2] = LateError(source.parts[2].batches)
    seen: list[Any] = []
    with kit.engine.newest([read(source, "v")]) as found, pytest.raises(SourceReadError, match="memory is gone"):
        seen.extend(batch["v"].to_pylist() for _, batch in found.batches())
    assert seen == [[0], [1]]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("yummy-")]


def test_a_column_that_one_of_the_reads_misses_is_named(kit: Kit) -> None:
    source = kit.source(TRIPS)
    with pytest.raises(ColumnNotFoundError, match=r"has no column 'vv' \(did you mean 'v'"):
        kit.engine.newest([read(source, "v"), read(source, "vv", keys=["s"])])
    lists = kit.source(TRIPS.append_column("l", pa.array([[1]] * 6)))
    with pytest.raises(ColumnTypeError, match=r"'l' of .* cannot be a join key"):
        kit.engine.newest([read(lists, "v"), read(lists, "v", keys=["l"])])
