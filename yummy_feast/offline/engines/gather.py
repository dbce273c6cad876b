"""The second pass: read the feature columns and keep the rows that were matched.

Wide columns are never dragged through the join. A row is found again by its address; fixed-width values are scattered
straight into the answer's buffers, everything else is collected in address order and put in place at the end.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from yummy_feast.offline.engines.passes import PIECE_BITS, each
from yummy_feast.offline.times import Int64s
from yummy_feast.sources.base import Piece

MOST = 1 << 30
"""Of bytes and elements in one array of the answer. Beyond 2**31 text is an error to Arrow, and lists wrap silently."""

GUESS = 64
"""Bytes a value of text, bytes, lists and the like may take; nobody knows before they are read."""

Bools = npt.NDArray[np.bool_]


def groups(columns: Sequence[str], schema: pa.Schema, rows: int, memory_limit: int | None) -> list[list[str]]:
    """Columns that are gathered together, each once: all of them, or as many as fill a quarter of the memory limit."""
    out: list[list[str]] = [[]]
    held = 0
    for name in dict.fromkeys(columns):
        kind = schema.field(name).type
        size = rows * (kind.bit_width // 8 + 1 if pa.types.is_primitive(kind) else GUESS)
        if memory_limit is not None and out[-1] and held + size > memory_limit // 4:
            out.append([])
            held = 0
        out[-1].append(name)
        held += size
    return out


def gather(
    pieces: Sequence[Piece], schema: pa.Schema, columns: Sequence[str], addresses: Int64s, threads: int
) -> dict[str, pa.ChunkedArray]:
    """The columns' values at the addresses (-1 = null), in the order of the addresses and in the schema's types."""
    matched = np.flatnonzero(addresses >= 0)
    order = matched[np.argsort(addresses[matched])]
    wanted = addresses[order]
    cuts = np.searchsorted(wanted, np.arange(len(pieces) + 1, dtype=np.int64) << PIECE_BITS)
    names = list(dict.fromkeys(columns))
    out = [_column(schema.field(name).type, len(addresses), order) for name in names]

    def take(number: int) -> None:
        start, stop = int(cuts[number]), int(cuts[number + 1])
        local = wanted[start:stop] - (number << PIECE_BITS)
        offset = 0
        for batch in pieces[number].read(names):
            first, last = np.searchsorted(local, (offset, offset + batch.num_rows))
            offset += batch.num_rows
            if first == last:
                continue
            span = slice(start + int(first), start + int(last))
            picked = local[first:last] - (offset - batch.num_rows)
            for column, values in zip(out, batch.columns, strict=True):
                column.put(span, picked, values)

    hit = [number for number in range(len(pieces)) if cuts[number] < cuts[number + 1]]
    for _ in each(take, hit, threads):
        pass
    return {name: column.finish() for name, column in zip(names, out, strict=True)}


def _column(kind: pa.DataType, rows: int, order: Int64s) -> _Fixed | _Collected:
    fixed = pa.types.is_primitive(kind) and not pa.types.is_boolean(kind) and kind.bit_width <= 64
    return _Fixed(kind, rows, order) if fixed else _Collected(kind, rows, order)


class _Fixed:
    """Values of 1, 2, 4 or 8 bytes, written in place by whichever thread read them."""

    def __init__(self, kind: pa.DataType, rows: int, order: Int64s) -> None:
        self._kind = kind
        self._order = order
        self._bits = np.dtype(f"u{kind.bit_width // 8}")
        self._values = np.zeros(rows, self._bits)
        self._valid = np.zeros(rows, bool)
        self._valid[order] = True

    def put(self, span: slice, picked: Int64s, values: pa.Array) -> None:
        rows = self._order[span]
        raw = np.frombuffer(values.buffers()[1], self._bits, count=values.offset + len(values))[values.offset :]
        self._values[rows] = raw[picked]
        if values.null_count:
            self._valid[rows] = values.is_valid().to_numpy(zero_copy_only=False)[picked]

    def finish(self) -> pa.ChunkedArray:
        nulls = len(self._valid) - int(np.count_nonzero(self._valid))
        bitmap = pa.py_buffer(np.packbits(self._valid, bitorder="little")) if nulls else None
        return pa.chunked_array(
            [pa.Array.from_buffers(self._kind, len(self._values), [bitmap, pa.py_buffer(self._values)], nulls)]
        )


class _Collected:
    """Values of any other type: pieces of the answer in address order, put in place at the end."""

    def __init__(self, kind: pa.DataType, rows: int, order: Int64s) -> None:
        self._kind = kind
        self._rows = rows
        self._order = order
        self._parts: dict[int, tuple[pa.Array, Int64s]] = {}
        self._lock = threading.Lock()

    def put(self, span: slice, picked: Int64s, values: pa.Array) -> None:
        # A row that many entity rows see is kept once.
        fresh = np.r_[True, picked[1:] != picked[:-1]]
        part = values.take(pa.array(picked[fresh]))
        with self._lock:
            self._parts[span.start] = part, np.cumsum(fresh) - 1

    def finish(self) -> pa.ChunkedArray:
        if not self._parts:
            return pa.chunked_array([pa.nulls(self._rows, self._kind)])
        parts, number, base = [], np.full(self._rows, -1, np.int64), 0
        for start in sorted(self._parts):
            part, inverse = self._parts.pop(start)
            number[self._order[start : start + len(inverse)]] = inverse + base
            parts.append(part)
            base += len(part)
        return pa.chunked_array(list(_placed(parts, number)), self._kind)


def _placed(parts: list[pa.Array], number: Int64s) -> Iterator[pa.Array]:
    """The values with these numbers (-1 = null), counted through the parts; an array holds no more than its 32-bit
    offsets can count.
    """
    room = np.concatenate([_room(part) for part in parts])
    total = np.cumsum(np.where(number >= 0, room[number], 0))
    if total[-1] <= MOST:
        whole = pa.concat_arrays(parts)
        parts.clear()
        yield pc.take(whole, pa.array(number, mask=number < 0))
        return
    cuts = np.searchsorted(total, np.arange(MOST, total[-1], MOST))
    for start, stop in pairwise([0, *np.unique(cuts[cuts > 0]).tolist(), len(number)]):
        wanted = number[start:stop]
        distinct, inverse = np.unique(wanted[wanted >= 0], return_inverse=True)
        places = np.full(len(wanted), -1, np.int64)
        places[wanted >= 0] = inverse
        yield pc.take(_chosen(parts, distinct), pa.array(places, mask=places < 0))


def _chosen(parts: list[pa.Array], distinct: Int64s) -> pa.Array:
    """The values with these numbers, ascending, as one array."""
    out, base = [], 0
    for part in parts:
        first, last = np.searchsorted(distinct, (base, base + len(part)))
        if last - first == len(part):
            out.append(part)
        elif first < last:
            out.append(part.take(pa.array(distinct[first:last] - base)))
        base += len(part)
    return pa.concat_arrays(out) if out else parts[0].slice(0, 0)


def _room(values: pa.Array) -> Int64s:
    """Per value, how much of what 32-bit offsets count it takes: bytes of text, elements of lists; shape (n,)."""
    own = np.ones(len(values), np.int64)
    inner = _inner_room(values)
    return own if inner is None else own + inner


def _inner_room(values: pa.Array) -> Int64s | None:
    """Without the value itself; None where that is nothing, as for numbers."""
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return np.asarray(pc.fill_null(pc.binary_length(values), 0), np.int64)
    if pa.types.is_struct(kind):
        room: Int64s = np.zeros(len(values), np.int64)
        for number in range(kind.num_fields):
            below = _inner_room(values.field(number))
            room = room if below is None else room + below
        return room
    if pa.types.is_fixed_size_list(kind):
        ends, children = (np.arange(len(values) + 1) + values.offset) * kind.list_size, [values.values]
    elif pa.types.is_map(kind):
        ends, children = np.asarray(values.offsets, np.int64), [values.keys, values.items]
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        ends, children = np.asarray(values.offsets, np.int64), [values.values]
    else:
        return None
    room = np.diff(ends)
    for child in children:
        below = _inner_room(child)
        if below is not None:
            room = room + np.diff(np.r_[0, np.cumsum(below)][ends])
    return room
