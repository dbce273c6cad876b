"""Join keys as small integers.

The entity rows decide which keys matter, so they are numbered once, and every batch of a source is looked up in that
numbering; -1 is a key nobody asked for, or a null, which matches nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from yummy_feast.errors import ColumnTypeError, EntityRowsError
from yummy_feast.offline.times import MAX, PER_SECOND, Int64s, instants, unit_of

Codes = npt.NDArray[np.int64]

DENSE = 1 << 22
"""A lookup table of this many entries (32 MB) is always worth it; beyond, only if at least a quarter of it is used."""


def family(kind: pa.DataType) -> str | None:
    """What a join key's type can be compared with; None for types that are no keys."""
    if isinstance(kind, pa.BaseExtensionType):
        return family(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return family(kind.value_type)
    if pa.types.is_timestamp(kind):
        return "fine time" if kind.unit == "ns" else "time"
    # The first that says yes; uint64 is no "int", because half of its values do not fit one.
    return next((name for name, tests in _TESTS.items() if any(test(kind) for test in tests)), None)


_TESTS: dict[str, tuple[Callable[[pa.DataType], bool], ...]] = {
    "uint": (pa.types.is_uint64,),
    "int": (pa.types.is_integer,),
    "float": (pa.types.is_floating,),
    "string": (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    "bytes": (
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_fixed_size_binary,
        pa.types.is_binary_view,
    ),
    "bool": (pa.types.is_boolean,),
    "time": (pa.types.is_date,),
    "decimal": (pa.types.is_decimal,),
    "null": (pa.types.is_null,),
}

CANONICAL: dict[str, pa.DataType] = {
    "uint": pa.uint64(),
    "int": pa.int64(),
    "float": pa.float64(),
    "string": pa.string(),
    "bytes": pa.binary(),
    "bool": pa.int64(),
    "time": pa.timestamp("us", "UTC"),
    "fine time": pa.timestamp("ns", "UTC"),
    "decimal": pa.decimal256(76, 38),
    "null": pa.int64(),
}

_BETWEEN: dict[frozenset[str], str] = {
    frozenset({"int", "uint"}): "int",
    frozenset({"int", "float"}): "int",
    frozenset({"uint", "float"}): "uint",
    frozenset({"time", "fine time"}): "fine time",
}
"""Where two families meet: in one that holds every value both can hold, so that what does not fit has no equal."""


def common_family(
    entity_column: str, entity: pa.DataType, source_column: str, source: pa.DataType, location: str
) -> str:
    """The family in which both sides are compared.

    Raises:
        EntityRowsError: the two sides hold things that are never equal, such as text and numbers.
    """
    left, right = family(entity), family(source)
    if left is None or right is None:
        whose, kind = (
            (f"entity column '{entity_column}'", entity)
            if left is None
            else (f"column '{source_column}' of {location}", source)
        )
        raise EntityRowsError(
            f"{whose} holds {kind}, which cannot be a join key", hint="use text, whole numbers or timestamps"
        )
    if left == right or "null" in (left, right):
        return right if left == "null" else left
    common = _BETWEEN.get(frozenset({left, right}))
    if common is None:
        raise EntityRowsError(
            f"join key '{entity_column}' holds {entity} in the entity rows but '{source_column}' holds {source} "
            f"in {location}",
            hint=f"cast the entity rows' column to {source}",
        )
    return common


def canonical(column: pa.Array | pa.ChunkedArray, kind: str, name: str) -> pa.Array:
    """A key column in the one type in which its family is compared; values outside it, and NaN, become null (they
    match nothing).
    """
    flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(flat, pa.ExtensionArray):
        flat = flat.storage
    if pa.types.is_dictionary(flat.type):
        flat = flat.cast(flat.type.value_type)
    target = CANONICAL[kind]
    try:
        if pa.types.is_floating(flat.type):
            return _of_floats(flat.cast(pa.float64()), target)
        if flat.type == target:
            return flat
        if pa.types.is_timestamp(target) and not pa.types.is_null(flat.type):
            return _of_times(flat, target)
        if pa.types.is_uint64(flat.type):
            flat = pc.if_else(pc.less(flat, pa.scalar(2**63, pa.uint64())), flat, None)
        return flat.cast(target)
    except pa.ArrowInvalid as error:
        raise ColumnTypeError(f"join key '{name}' of type {flat.type} cannot be read as {target}: {error}") from error


def _of_floats(values: pa.Array, target: pa.DataType) -> pa.Array:
    if pa.types.is_floating(target):
        # Adding zero turns -0.0 into the 0.0 that equals it.
        return pc.if_else(pc.is_nan(values), None, pc.add(values, 0.0))
    low, high = (0.0, 2.0**64) if pa.types.is_uint64(target) else (-(2.0**63), 2.0**63)
    fits = pc.and_(pc.greater_equal(values, low), pc.less(values, high))
    whole = pc.and_(pc.equal(pc.floor(values), values), fits)
    return pc.if_else(whole, values, None).cast(target)


def _of_times(values: pa.Array, target: pa.DataType) -> pa.Array:
    own = instants(values)
    factor = PER_SECOND[target.unit] // PER_SECOND[unit_of("time", values.type)]
    limit = MAX // factor
    outside = (own < -limit) | (own > limit)
    return pa.array(np.where(outside, 0, own * factor), mask=outside).view(target)


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
