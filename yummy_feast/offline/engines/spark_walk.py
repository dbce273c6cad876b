"""What executors do with the rows of a partition: walk every key's history once, in the order in which its rows become
visible, and tell each entity row which feature row it sees.

Only numpy and pyarrow are used, so that executors need no more than Spark's own Arrow functions do.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from yummy_feast.spark.arrow_rows import sound
from yummy_feast.spark.workers import task

Int64s = np.ndarray[tuple[int], np.dtype[np.int64]]
Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]

ENTITY = -1
"""``side`` of an entity row; that of a feature row is the number of its view."""

_HELD = 512 << 20
"""Bytes of a partition that stay in memory; from there on its rows wait in a file."""
_BATCH = 32_768
_CHUNK = 32 << 20
"""Bytes that lie together in the file."""
_MISSING = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Walked:
    """One view. number: its ``side``. cutoff: whether rows become visible in another order than they happened. slots:
    the columns with its features, in order.
    """

    number: int
    cutoff: bool
    slots: tuple[str, ...]


def walk(batches: Iterator[pa.RecordBatch], views: Sequence[Walked], keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The entity rows of a partition that holds all rows of each of its keys.

    batches: the columns ``keys``, ``v`` (when a row becomes visible, or an entity row's time), ``side``, ``event``,
    ``made``, ``place`` (all long), ``e`` (what entity rows bring along) and the views' slots. What comes out: ``e``,
    and per view ``b{number}``: the event and the features of the row it sees, or null.
    """
    with task():
        held, file = _held(batches)
        if held is None:
            return
        try:
            yield from _answers(held, views, keys)
        finally:
            if file is not None:
                os.unlink(file)


def _answers(rows: pa.Table, views: Sequence[Walked], keys: Sequence[str]) -> Iterator[pa.RecordBatch]:
    side = _longs(rows, "side")
    asking = np.flatnonzero(side == ENTITY)
    path = _Path.of(rows, keys, side)
    winners = {view.number: path.winners(rows, view, asking) for view in views}
    pieces = _Pieces(rows)
    for start in range(0, len(asking), _BATCH):
        end = start + _BATCH
        columns = {"e": pieces.taken(["e"], asking[start:end]).column("e")}
        for view in views:
            columns[f"b{view.number}"] = _seen(pieces, view, winners[view.number][start:end])
        yield from pa.table(columns).combine_chunks().to_batches()


def _seen(pieces: _Pieces, view: Walked, winners: Int64s) -> pa.Array:
    """The event and features of the rows ``winners``, null where that is -1."""
    nothing = winners < 0
    # Some row where there is none; it does not show.
    taken = pieces.taken(["event", *view.slots], np.where(nothing, 0, winners))
    names = ["event", *(f"f{number}" for number in range(len(view.slots)))]
    fields = [pa.field(name, child.type) for name, child in zip(names, taken.columns, strict=True)]
    return pa.StructArray.from_arrays(taken.columns, fields=fields, mask=pa.array(nothing))


class _Pieces:
    """Rows by their numbers, out of the piece of the table where each lies. (``Table.take`` copies whole columns
    together first, and text of 2 GiB does not go together.)
    """

    def __init__(self, rows: pa.Table) -> None:
        self._batches = rows.to_batches()
        self._starts = np.cumsum([0, *(len(batch) for batch in self._batches)])[:-1]

    def taken(self, names: Sequence[str], numbers: Int64s) -> pa.RecordBatch:
        """``names`` of these rows, in this order."""
        where = np.searchsorted(self._starts, numbers, side="right") - 1
        order = np.argsort(where, kind="stable")
        bounds = np.flatnonzero(np.diff(where[order], prepend=-1, append=len(self._batches)))
        found = []
        for start, end in itertools.pairwise(bounds):
            own = order[start:end]
            piece = int(where[own[0]])
            found.append(self._batches[piece].select(names).take(pa.array(numbers[own] - self._starts[piece])))
        together = pa.concat_batches(found)
        if len(found) == 1:
            return together
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return together.take(pa.array(back))


@dataclass(frozen=True)
class _Path:
    """Rows in the order in which they are walked. order: their numbers; rows without a key or time are not among them.
    side: of each step. group: number of its key, from 0. start: the step at which that key begins.
    """

    order: Int64s
    side: Int64s
    group: Int64s
    start: Int64s

    @classmethod
    def of(cls, rows: pa.Table, keys: Sequence[str], side: Int64s) -> _Path:
        codes = [_codes(rows.column(name)) for name in keys]
        visible = _longs(rows, "v")
        known = np.ones(len(side), bool)
        for name in (*keys, "v"):
            column = rows.column(name)
            if column.null_count:
                known &= np.asarray(column.is_valid())
        chosen = np.flatnonzero(known)
        last = (side == ENTITY).astype(np.int64)
        order = chosen[_sorted([column[chosen] for column in (*codes, visible, last)])]
        new = _changes([column[order] for column in codes])
        order = _ties_sorted(rows, order, new | _changes([visible[order], last[order]]))
        steps = np.arange(len(order))
        start = np.maximum.accumulate(np.where(new, steps, 0)) if len(order) else steps
        return cls(order, side[order], np.cumsum(new) - 1, start)

    def winners(self, rows: pa.Table, view: Walked, asking: Int64s) -> Int64s:
        """Per row of ``asking`` (ascending) the number of the row it sees in this view, or -1."""
        mine, asked = self.side == view.number, self.side == ENTITY
        found = np.full(len(asking), -1, np.int64)
        if mine.any():
            seen, row = self._best(rows, mine, asked) if view.cutoff else self._last(mine, asked)
            found[np.searchsorted(asking, self.order[asked])] = np.where(seen, row, -1)
        return found

    def _last(self, mine: Flags, asked: Flags) -> tuple[Flags, Int64s]:
        """For entity rows: whether their key had a row of the view before them, and the last one."""
        step = np.maximum.accumulate(np.where(mine, np.arange(len(mine)), -1))[asked]
        return step >= self.start[asked], self.order[step]

    def _best(self, rows: pa.Table, mine: Flags, asked: Flags) -> tuple[Flags, Int64s]:
        """As ``_last``, where a row that becomes visible later may be an older one."""
        own = self.order[mine]
        ranked = own[np.lexsort([_longs(rows, name)[own] for name in ("place", "made", "event")])]
        rank = np.empty(rows.num_rows, np.int64)
        rank[ranked] = np.arange(len(ranked))
        # Grows with the key and, within a key, with how good the row is.
        good = np.where(mine, self.group * len(ranked) + rank[self.order], -1)
        best = np.maximum.accumulate(good)[asked]
        return best >= self.group[asked] * len(ranked), ranked[best % len(ranked)]


def _sorted(columns: Sequence[Int64s]) -> Int64s:
    """Numbers of the rows in ascending order, the first column deciding first; rows that tie in any order."""
    packed, room = np.zeros(len(columns[0]), np.int64), 1
    for column in columns:
        low, high = (int(column.min()), int(column.max())) if len(column) else (0, 0)
        room *= high - low + 1
        if room >= 1 << 62:
            return np.lexsort(columns[::-1])
        packed = packed * (high - low + 1) + (column - low)
    return np.argsort(packed)


def _ties_sorted(rows: pa.Table, order: Int64s, new: Flags) -> Int64s:
    """The order with rows that tie so far (``new`` says where another run begins) by event, created time and place."""
    tied = ~new
    tied[:-1] |= ~new[1:]
    steps = np.flatnonzero(tied)
    if len(steps):
        own = order[steps]
        ranks = [_longs(rows, name)[own] for name in ("place", "made", "event")]
        order[steps] = own[np.lexsort([*ranks, np.cumsum(new)[steps]])]
    return order


def _changes(columns: Sequence[Int64s]) -> Flags:
    """Whether a row differs from the one before it; the first does."""
    new = np.ones(len(columns[0]), bool)
    new[1:] = False
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return new


def _codes(column: pa.ChunkedArray) -> Int64s:
    """A number per value, equal where values are."""
    if pt.is_floating(column.type):
        # By their bits: no NaN and no negative zero comes here.
        return np.asarray(pc.fill_null(column, 0.0).to_numpy(), np.float64).view(np.int64)
    if not pt.is_integer(column.type):
        # One dictionary for all chunks.
        encoded = column.dictionary_encode()
        column = pa.chunked_array([chunk.indices for chunk in encoded.chunks], encoded.type.index_type)
    return np.asarray(pc.fill_null(column, 0).to_numpy(), np.int64)


def _longs(rows: pa.Table, name: str) -> Int64s:
    """A column of whole numbers; what is missing is before all others."""
    column = rows.column(name).cast(pa.int64())
    return np.asarray((pc.fill_null(column, _MISSING) if column.null_count else column).to_numpy(), np.int64)


def _held(batches: Iterator[pa.RecordBatch]) -> tuple[pa.Table | None, str | None]:
    """All rows as one table, and the file that holds them if they are many."""
    held, size = list[pa.RecordBatch](), 0
    for batch in map(sound, batches):
        held.append(batch)
        size += batch.nbytes
        if size > _HELD:
            return _filed(held, map(sound, batches))
    return (pa.Table.from_batches(held).combine_chunks() if held else None), None


def _filed(held: list[pa.RecordBatch], more: Iterator[pa.RecordBatch]) -> tuple[pa.Table, str]:
    folder = os.environ.get("SPARK_LOCAL_DIRS", "").partition(",")[0] or None
    handle, path = tempfile.mkstemp(prefix="yummy-walk-", suffix=".arrow", dir=folder)
    os.close(handle)
    try:
        with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, held[0].schema) as file:
            for batch in _together(_drained(held), more):
                file.write_batch(batch)
        return pa.ipc.open_file(pa.memory_map(path)).read_all(), path
    except BaseException:
        os.unlink(path)
        raise


def _drained(held: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches, each let go once it is given."""
    held.reverse()
    while held:
        yield held.pop()


def _together(*batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of some ``_CHUNK`` bytes: Spark's are small, and each costs something when rows are
    taken from it.
    """
    waiting, size = list[pa.RecordBatch](), 0
    for batch in itertools.chain(*batches):
        waiting.append(batch)
        size += batch.nbytes
        if size >= _CHUNK:
            yield pa.concat_batches(waiting)
            waiting, size = [], 0
    if waiting:
        yield pa.concat_batches(waiting)
