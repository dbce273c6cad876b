"""Many rows of numbers at once: one numpy view of all their bytes, columns instead of rows.

For rows of one schema without pieces of a heap and without nulls, which is what nearly all bulk reads meet. Whatever
else there is among the cells is left to ``decoding``, row by row.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Final

import numpy as np

from yummy_feast.online.rows import FINGERPRINT, HEADER_SIZE, VERSION, RowSchema
from yummy_feast.online.widening import conversion

Columns = tuple[list[Sequence[Any]], list[int]]
"""Per wanted feature one value per row; the rows' event timestamps, microseconds since 1970."""

BulkDecoder = Callable[[Sequence[bytes]], Columns | None]
"""From the cells of some rows to columns; None where one of them needs ``decoding``."""

_SIGN: Final = np.uint64(1 << 63)
_FLAGS: Final = 17


def bulk_decoder(stored: RowSchema, wanted: tuple[tuple[str, int], ...]) -> BulkDecoder | None:
    """The function that reads ``wanted`` (feature, Feast type number) out of rows of schema ``stored``; None where
    such rows are not all of one length.

    Raises RowDecodeError when a feature's declared type cannot be read from the stored one.
    """
    if "I" in stored.codes:
        return None
    size = HEADER_SIZE + struct.calcsize("<" + "".join(stored.codes))
    sizes = {size}
    # What every row has in the same place.
    fixed = [(0, bytes([VERSION])), (_FLAGS, b"\0")]
    fixed += [(FINGERPRINT.start + at, stored.fingerprint[at : at + 1]) for at in range(4)]
    read = _reader(stored, wanted, size)

    def decode(cells: Sequence[bytes]) -> Columns | None:
        if set(map(len, cells)) != sizes:
            return None
        rows, count = b"".join(cells), len(cells)
        for place, byte in fixed:
            if rows[place::size] != byte * count:
                return None
        events = np.ndarray(count, ">u8", rows, 1, size).astype(np.uint64)
        return read(rows, count), (events ^ _SIGN).view(np.int64).tolist()

    return decode


def _reader(
    stored: RowSchema, wanted: tuple[tuple[str, int], ...], size: int
) -> Callable[[bytes, int], list[Sequence[Any]]]:
    """From the bytes of so many rows, ``size`` each, to the wanted columns."""
    column_of = {name: column for column, (name, _) in enumerate(stored.columns)}
    offsets = list(accumulate((struct.calcsize("<" + code) for code in stored.codes), initial=HEADER_SIZE))
    found = [column_of.get(name) for name, _ in wanted]
    converts = [
        None if column is None else conversion(name, stored.columns[column][1], number)
        for (name, number), column in zip(wanted, found, strict=True)
    ]
    letters = set(stored.codes)
    if found == list(range(len(stored.columns))) and len(letters) == 1 and not any(converts):
        # All of the row, numbers of one width: one view of all of them.
        kind = np.dtype("<" + letters.pop())
        shape, strides = (len(found),), (kind.itemsize, size)

        def read_all(rows: bytes, count: int) -> list[Sequence[Any]]:
            columns: list[Sequence[Any]] = np.ndarray((*shape, count), kind, rows, HEADER_SIZE, strides).tolist()
            return columns

        return read_all
    takes = [
        None if column is None else (np.dtype("<" + stored.codes[column]), offsets[column], convert)
        for column, convert in zip(found, converts, strict=True)
    ]

    def read(rows: bytes, count: int) -> list[Sequence[Any]]:
        columns: list[Sequence[Any]] = []
        for take in takes:
            if take is None:
                columns.append((None,) * count)
                continue
            kind, offset, convert = take
            values = np.ndarray(count, kind, rows, offset, size).tolist()
            columns.append(values if convert is None else [convert(value) for value in values])
        return columns

    return read
