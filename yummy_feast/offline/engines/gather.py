"""The second pass: read the feature columns and keep the rows that were matched.

Wide columns are never dragged through the join. A row is found again by its address; fixed-width values are scattered
straight into the answer's buffers, everything else is collected in address order and put in place at the end.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from yummy_feast.offline.engines.passes import PIECE_BITS, each
from yummy_feast.offline.times import Int64s
from yummy_feast.sources.base import Piece

Bools = npt.NDArray[np.bool_]


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
        self._parts: dict[int, pa.Array] = {}
        self._lock = threading.Lock()

    def put(self, span: slice, picked: Int64s, values: pa.Array) -> None:
        part = values.take(pa.array(picked))
        with self._lock:
            self._parts[span.start] = part

    def finish(self) -> pa.ChunkedArray:
        parts = [self._parts[start] for start in sorted(self._parts)]
        if not parts:
            return pa.chunked_array([pa.nulls(self._rows, self._kind)])
        place = np.full(self._rows, -1, np.int64)
        place[self._order] = np.arange(len(self._order))
        indices = pa.array(place, mask=place < 0)
        return pa.chunked_array([pc.take(pa.concat_arrays(parts), indices)])
