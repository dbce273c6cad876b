"""Many rows of numbers at once: one numpy view of all their bytes, columns instead of rows.

For rows of one schema without pieces of a heap and without nulls, which is what nearly all bulk reads meet. Whatever
else there is among the cells is left to ``decoding``, row by row.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from yummy_feast.online.rows import FINGERPRINT, HEADER_SIZE, VERSION, RowSchema
from yummy_feast.online.widening import conversion

Columns = tuple[list[Sequence[Any]], list[int]]
"""Per wanted feature one value per row; the rows' event timestamps, microseconds since 1970."""

BulkDecoder = Callable[[Sequence[bytes]], Columns | None]
"""From the cells of some rows to columns; None where one of them needs ``decoding``."""

_HEADER: Final = {"version": ("u1", 0), "event": (">u8", 1), "flags": ("u1", 17)}
_SIGN: Final = np.uint64(1 << 63)


def bulk_decoder(stored: RowSchema, wanted: tuple[tuple[str, int], ...]) -> BulkDecoder | None:
    """The function that reads ``wanted`` (feature, Feast type number) out of rows of schema ``stored``; None where
    such rows are not all of one length.

    Raises RowDecodeError when a feature's declared type cannot be read from the stored one.
    """
    if "I" in stored.codes:
        return None
    fields, size = dict(_HEADER), HEADER_SIZE
    column_of = {name: column for column, (name, _) in enumerate(stored.columns)}
    offsets = []
    for code in stored.codes:
        offsets.append(size)
        size += struct.calcsize("<" + code)
    takes: list[tuple[str, Callable[[Any], Any] | None] | None] = []
    for name, number in wanted:
        column = column_of.get(name)
        if column is None:
            takes.append(None)
            continue
        fields[f"c{column}"] = ("<" + stored.codes[column], offsets[column])
        takes.append((f"c{column}", conversion(name, stored.columns[column][1], number)))
    kinds = np.dtype(
        {
            "names": list(fields),
            "formats": [kind for kind, _ in fields.values()],
            "offsets": [offset for _, offset in fields.values()],
            "itemsize": size,
        }
    )
    sizes, fingerprints = {size}, {stored.fingerprint}

    def decode(cells: Sequence[bytes]) -> Columns | None:
        if set(map(len, cells)) != sizes or {cell[FINGERPRINT] for cell in cells} != fingerprints:
            return None
        rows = np.frombuffer(b"".join(cells), kinds)
        if rows["flags"].any() or (rows["version"] != VERSION).any():
            return None
        columns = [_column(rows, take) for take in takes]
        return columns, (rows["event"].astype(np.uint64) ^ _SIGN).view(np.int64).tolist()

    return decode


def _column(rows: np.ndarray[Any, Any], take: tuple[str, Callable[[Any], Any] | None] | None) -> Sequence[Any]:
    if take is None:
        return (None,) * len(rows)
    name, convert = take
    values: list[Any] = rows[name].tolist()
    return values if convert is None else [convert(value) for value in values]
