"""A digest of a table's values: equal values, equal digest, however the table lies in memory.

Chunks, offsets, dictionaries, run lengths, views and the large variants of Arrow's types make no difference. The order
of the rows, nulls, types, the sign of zero and the unit of times do. All NaNs are one. It is SHA-256 because it is the
fastest in Python where the processor helps, and because anybody can compute it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from yummy_feast.errors import LockfileError

_ROWS = 262_144
"""Rows at a time: what is decoded or filtered for the digest is never more."""
_THREADS = 4


def digests(columns: dict[str, pa.ChunkedArray | pa.Array]) -> dict[str, str]:
    """The digest of each column. Columns are computed beside each other: hashing lets other threads run.

    Raises:
        LockfileError: a column of unions, whose values have no one form.
    """
    if not columns:
        return {}
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        return dict(zip(columns, pool.map(digest, columns.values()), strict=True))


def digest(column: pa.ChunkedArray | pa.Array) -> str:
    """The digest of one column, as ``sha256:`` and hexadecimal digits."""
    stream = _Values(column.type)
    for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        for start in range(0, len(chunk), _ROWS):
            stream.add(chunk.slice(start, _ROWS))
    return f"sha256:{stream.digest().hex()}"


def type_text(kind: pa.DataType) -> str:
    """A type as the digest tells it from others."""
    kind = _plain(kind)
    if _is_list(kind):
        return f"list<{type_text(kind.value_type)}>"
    if pt.is_map(kind):
        return f"map<{type_text(kind.key_type)}, {type_text(kind.item_type)}>"
    if pt.is_struct(kind):
        return f"struct<{', '.join(f'{child.name}: {type_text(child.type)}' for child in kind)}>"
    if pt.is_large_string(kind) or pt.is_string_view(kind):
        return "string"
    if _is_bytes(kind):
        return "binary"
    if pt.is_timestamp(kind) and kind.tz in ("Etc/UTC", "Z", "+00:00", "GMT"):
        return str(pa.timestamp(kind.unit, "UTC"))
    return str(kind)


class _Values:
    """Digests of streams that do not depend on where chunks begin: which rows are null, how long the others are, and
    what they hold.
    """

    def __init__(self, kind: pa.DataType) -> None:
        self._rows = 0
        self._text = type_text(kind)
        self._nulls, self._lengths, self._data = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
        self._children = [_Values(child) for child in _children(_plain(kind))]

    def add(self, array: pa.Array) -> None:
        """The next values."""
        array = _decoded(array)
        if array.null_count:
            positions = np.flatnonzero(pc.is_null(array).to_numpy(zero_copy_only=False)) + self._rows
            self._nulls.update(positions.astype("<i8").data)
        self._rows += len(array)
        self._add_valid(array.drop_null() if array.null_count else array)

    def digest(self) -> bytes:
        """Of all so far."""
        whole = hashlib.sha256(json.dumps([self._text, self._rows]).encode())
        for part in (self._nulls, self._lengths, self._data):
            whole.update(part.digest())
        for child in self._children:
            whole.update(child.digest())
        return whole.digest()

    def _add_valid(self, array: pa.Array) -> None:
        kind = array.type
        if pt.is_null(kind) or not len(array):
            return
        if pt.is_struct(kind):
            for child, values in zip(self._children, array.flatten(), strict=True):
                child.add(values)
        elif _is_list(kind):
            self._lengths.update(pc.list_value_length(array).cast(pa.int64()).to_numpy().data)
            self._children[0].add(array.flatten())
        elif pt.is_map(kind):
            edges = _edges(array, 4)
            self._lengths.update(np.diff(edges).astype("<i8").data)
            for child, values in zip(self._children, (array.keys, array.items), strict=True):
                child.add(values[int(edges[0]) : int(edges[-1])])
        elif pt.is_floating(kind):
            self._data.update(_one_nan(array.to_numpy()).data)
        elif pt.is_boolean(kind):
            self._data.update(array.cast(pa.uint8()).to_numpy().data)
        elif _is_text(kind) or (_is_bytes(kind) and not pt.is_fixed_size_binary(kind)):
            self._add_texts(array)
        else:
            self._add_fixed(array)

    def _add_texts(self, array: pa.Array) -> None:
        width = 8 if pt.is_large_string(array.type) or pt.is_large_binary(array.type) else 4
        edges, data = _edges(array, width), array.buffers()[2]
        self._lengths.update(np.diff(edges).astype("<i8").data)
        if data is not None:
            self._data.update(memoryview(data)[int(edges[0]) : int(edges[-1])])

    def _add_fixed(self, array: pa.Array) -> None:
        width = array.type.bit_width // 8
        if pt.is_fixed_size_binary(array.type) and not pt.is_decimal(array.type):
            self._lengths.update(np.full(len(array), width, "<i8").data)
        _, data = array.buffers()
        self._data.update(memoryview(data)[array.offset * width : (array.offset + len(array)) * width])


def _edges(array: pa.Array, width: int) -> npt.NDArray[Any]:
    """Where the values of an array that has offsets begin and end."""
    return np.frombuffer(array.buffers()[1], f"<i{width}")[array.offset : array.offset + len(array) + 1]


def _decoded(array: pa.Array) -> pa.Array:
    """The values as such, in a type that has offsets if any."""
    kind = array.type
    while isinstance(kind, pa.BaseExtensionType) or pt.is_dictionary(kind) or pt.is_run_end_encoded(kind):
        if isinstance(kind, pa.BaseExtensionType):
            array = array.storage
        elif pt.is_dictionary(kind):
            array = array.dictionary_decode()
        else:
            array = pc.run_end_decode(array)
        kind = array.type
    if pt.is_string_view(kind) or pt.is_binary_view(kind):
        return array.cast(pa.large_string() if pt.is_string_view(kind) else pa.large_binary())
    return array


def _plain(kind: pa.DataType) -> pa.DataType:
    while isinstance(kind, pa.BaseExtensionType) or pt.is_dictionary(kind) or pt.is_run_end_encoded(kind):
        kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind.value_type
    if pt.is_union(kind):
        raise LockfileError(f"values of type {kind} have no digest", hint="leave the column out, or give it one type")
    return kind


def _children(kind: pa.DataType) -> Iterator[pa.DataType]:
    if pt.is_struct(kind):
        yield from (child.type for child in kind)
    elif pt.is_map(kind):
        yield from (kind.key_type, kind.item_type)
    elif _is_list(kind):
        yield kind.value_type


def _is_list(kind: pa.DataType) -> bool:
    tests = (pt.is_list, pt.is_large_list, pt.is_fixed_size_list, pt.is_list_view, pt.is_large_list_view)
    return any(test(kind) for test in tests)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pt.is_string(kind) or pt.is_large_string(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    is_fixed = pt.is_fixed_size_binary(kind) and not pt.is_decimal(kind)
    return bool(pt.is_binary(kind) or pt.is_large_binary(kind) or pt.is_binary_view(kind) or is_fixed)


def _one_nan(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    odd = np.isnan(values)
    return np.where(odd, values.dtype.type("nan"), values) if odd.any() else values
