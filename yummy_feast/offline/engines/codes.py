"""Join keys as small integers.

The entity rows decide which keys matter, so they are numbered once, and every batch of a source is looked up in that
numbering; -1 is a key nobody asked for, or a null, which matches nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from yummy_feast.errors import ColumnTypeError, EntityRowsError
from yummy_feast.offline.times import Int64s

Codes = npt.NDArray[np.int64]

DENSE = 1 << 22
"""A lookup table of this many entries (32 MB) is always worth it; beyond, only if at least a quarter of it is used."""


def family(kind: pa.DataType) -> str | None:
    """What a join key's type can be compared with; None for types that are no keys."""
    if pa.types.is_dictionary(kind):
        return family(kind.value_type)
    if pa.types.is_integer(kind):
        return "int"
    if pa.types.is_floating(kind):
        return "float"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "string"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return "bytes"
    if pa.types.is_boolean(kind):
        return "bool"
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return "time"
    if pa.types.is_decimal(kind):
        return "decimal"
    return "null" if pa.types.is_null(kind) else None


CANONICAL: dict[str, pa.DataType] = {
    "int": pa.int64(),
    "float": pa.float64(),
    "string": pa.string(),
    "bytes": pa.binary(),
    "bool": pa.int64(),
    "time": pa.timestamp("us", "UTC"),
    "decimal": pa.decimal256(76, 38),
    "null": pa.int64(),
}


def common_family(
    entity_column: str, entity: pa.DataType, source_column: str, source: pa.DataType, location: str
) -> str:
    """The family in which both sides are compared.

    Raises:
        EntityRowsError: the two sides hold things that are never equal, such as text and numbers.
    """
    left, right = family(entity), family(source)
    if left is None or right is None:
        column, kind = (entity_column, entity) if left is None else (source_column, source)
        raise EntityRowsError(
            f"column '{column}' holds {kind}, which cannot be a join key", hint="use text, whole numbers or timestamps"
        )
    if left == right or "null" in (left, right):
        return right if left == "null" else left
    if {left, right} == {"int", "float"}:
        return "int"
    raise EntityRowsError(
        f"join key '{entity_column}' holds {entity} in the entity rows but '{source_column}' holds {source} in {location}",
        hint=f"cast the entity rows' column to {source}",
    )


def canonical(column: pa.Array | pa.ChunkedArray, kind: str, name: str) -> pa.Array:
    """A key column in the one type in which its family is compared; values outside it become null (they match
    nothing).
    """
    flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(flat.type):
        flat = flat.cast(flat.type.value_type)
    target = CANONICAL[kind]
    if flat.type == target:
        return flat
    try:
        if kind == "int" and pa.types.is_floating(flat.type):
            whole = pc.and_(pc.equal(pc.floor(flat), flat), pc.less(pc.abs(flat), 2.0**63))
            return pc.if_else(whole, flat, None).cast(target, safe=False)
        if pa.types.is_uint64(flat.type):
            return pc.if_else(pc.less(flat, pa.scalar(2**63, pa.uint64())), flat, None).cast(target)
        return flat.cast(target, safe=kind != "time")
    except pa.ArrowInvalid as error:
        raise ColumnTypeError(f"join key '{name}' of type {flat.type} cannot be read as {target}: {error}") from error


class Numbering:
    """Distinct values of one canonical column, numbered 0, 1, …; ``look_up`` answers -1 for every other value and for
    null.
    """

    def __init__(self, values: pa.Array) -> None:
        self._values = pc.drop_null(pc.unique(values))
        self._table: npt.NDArray[np.int32] | None = None
        self._low = 0
        if pa.types.is_int64(values.type) and len(self._values):
            low, high = (int(bound.as_py()) for bound in pc.min_max(self._values).values())
            if high - low < max(DENSE, 4 * len(self._values)):
                self._low = low
                self._table = np.full(high - low + 2, -1, np.int32)
                self._table[self._values.to_numpy() - low] = np.arange(len(self._values), dtype=np.int32)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def values(self) -> pa.Array:
        """The distinct values; the n-th has the number n."""
        return self._values

    def look_up(self, column: pa.Array) -> Codes:
        """Numbers of ``column``'s values, shape (n,)."""
        if not len(self._values):
            return np.full(len(column), -1, np.int64)
        if self._table is None:
            found = pc.index_in(column, value_set=self._values, skip_nulls=True)
            return np.asarray(pc.fill_null(found, -1).to_numpy(zero_copy_only=False), np.int64)
        nulls = column.null_count
        raw = (pc.fill_null(column, self._low) if nulls else column).to_numpy()
        # The last entry of the table is -1: everything outside its range is sent there.
        last = len(self._table) - 1
        inside = (raw >= self._low) & (raw < self._low + last)
        codes = self._table[np.where(inside, raw - self._low, last)].astype(np.int64)
        if nulls:
            codes[~column.is_valid().to_numpy(zero_copy_only=False)] = -1
        return codes


@dataclass(frozen=True, slots=True)
class KeyCodes:
    """The numbering of the entity rows' join keys, of one or several columns."""

    families: tuple[str, ...]
    columns: tuple[Numbering, ...]
    pairs: tuple[Numbering, ...]
    """For the second and every further column: numbering of (code so far, code of this column)."""
    codes: Int64s
    """Code of each entity row, shape (rows,); -1 where a key is null."""

    @classmethod
    def of(cls, columns: Sequence[pa.Array], families: Sequence[str], rows: int) -> KeyCodes:
        """Number the keys of the entity rows; no columns (an entityless view) gives every row the code 0."""
        if not columns:
            return cls((), (), (), np.zeros(rows, np.int64))
        numberings = [Numbering(column) for column in columns]
        codes = numberings[0].look_up(columns[0])
        pairs: list[Numbering] = []
        for numbering, column in zip(numberings[1:], columns[1:], strict=True):
            both = _pair(codes, numbering.look_up(column), len(numbering))
            pairs.append(Numbering(both))
            codes = pairs[-1].look_up(both)
        return cls(tuple(families), tuple(numberings), tuple(pairs), codes)

    def look_up(self, columns: Sequence[pa.Array], rows: int) -> Int64s:
        """Codes of a source batch's canonical key columns, shape (rows,); -1 where no entity row has that key."""
        if not self.columns:
            return np.zeros(rows, np.int64)
        codes = self.columns[0].look_up(columns[0])
        for numbering, pair, column in zip(self.columns[1:], self.pairs, columns[1:], strict=True):
            codes = pair.look_up(_pair(codes, numbering.look_up(column), len(numbering)))
        return codes


def _pair(left: Int64s, right: Int64s, width: int) -> pa.Array:
    both = np.where((left < 0) | (right < 0), -1, left * max(width, 1) + right)
    return pa.array(both, mask=both < 0)
