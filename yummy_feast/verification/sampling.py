"""A sample of entities from a stream of their rows, however many there are: only the sample is held.

Each entity has a number made of its join keys and the seed, and the entities with the smallest numbers are the sample.
So it is the same whatever order rows come in, an entity with many rows is as likely as one with a single row, and a
table that grows keeps most of its sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Uint64s = npt.NDArray[np.uint64]


class KeySample:
    """At most ``size`` distinct entities out of all rows given to ``add``. The same seed gives the same sample."""

    def __init__(self, size: int, seed: int = 0) -> None:
        self._size = size
        self._seed = np.uint64(seed % 2**64)
        self._numbers: Uint64s = np.zeros(0, np.uint64)
        self._keys: pa.Table | None = None

    def add(self, keys: pa.Table) -> None:
        """Consider rows of join keys, one column each and none of them null."""
        numbers = _numbers(keys, self._seed)
        if len(self._numbers) == self._size:
            # Nearly every row of a large table ends here.
            near = numbers < self._numbers[-1]
            if not near.any():
                return
            numbers, keys = numbers[near], keys.filter(pa.array(near))
        if self._keys is not None:
            numbers = np.concatenate([self._numbers, numbers])
            keys = pa.concat_tables([self._keys, keys], promote_options="permissive")
        # Sorted and each once: rows of the same entity have the same number.
        distinct, first = np.unique(numbers, return_index=True)
        self._numbers = distinct[: self._size]
        self._keys = keys.take(pa.array(first[: self._size])).combine_chunks()

    def keys(self) -> pa.Table | None:
        """The sample; None when no row came."""
        return self._keys


def _numbers(keys: pa.Table, seed: np.uint64) -> Uint64s:
    """A well mixed 64-bit number per row; rows with equal keys have equal numbers."""
    from pandas.util import hash_array

    mixed = np.full(len(keys), seed, np.uint64)
    for column in keys.columns:
        mixed = _mix(mixed) ^ hash_array(_hashable(column))
    return _mix(mixed)


def _hashable(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_integer(column.type):
        return np.asarray(column.cast(pa.int64(), safe=False).to_numpy())
    if pa.types.is_temporal(column.type):
        return np.asarray(column.cast(pa.int64() if column.type.bit_width == 64 else pa.int32()).to_numpy())
    return np.asarray(column.to_pylist(), dtype=object)


def _mix(values: Uint64s) -> Uint64s:
    """The finalizer of splitmix64: neighbouring numbers end far apart."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
