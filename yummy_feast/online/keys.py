"""Redis keys: one hash per entity key, named so that a project's keys share a prefix that no other project's keys have.

A key is the project's name, a zero byte, and Feast's entity key (serialization version 3): u32 number of join keys; per
join key, sorted by name, u32 2, u32 length, name; then per value u32 Feast type, u32 length, bytes. All numbers are
little-endian. The field inside the hash is the feature view's name, so that one HMGET reads all views of an entity.

Pure: bytes in, bytes out.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yummy_feast.errors import RowDecodeError, ValueTypeError
from yummy_feast.online.columns import FixedColumn, convert
from yummy_feast.values import kind_of

if TYPE_CHECKING:
    from feast.value_type import ValueType

NO_JOIN_KEY = "__dummy_id"
"""What Feast calls the join key of views without entities; its value is always ""."""

_U32 = struct.Struct("<I").pack
_TYPE_AND_LENGTH = struct.Struct("<II")
_STRING, _BYTES, _INT32, _INT64, _UNIX_TIMESTAMP = 2, 1, 3, 4, 8
_INTEGERS = {_INT32: struct.Struct("<i"), _INT64: struct.Struct("<q"), _UNIX_TIMESTAMP: struct.Struct("<q")}
KEY_KINDS = frozenset({_STRING, _BYTES, *_INTEGERS})
"""Numbers of the Feast types that a join key can have."""


def project_prefix(project: str) -> bytes:
    """What every key of ``project`` starts with. The zero byte, which no project name holds, ends the name."""
    return project.encode() + b"\0"


def match_pattern(project: str) -> bytes:
    """The pattern for SCAN's MATCH that finds every key of ``project`` and no other."""
    return re.sub(rb"([*?\[\]\\^-])", rb"\\\1", project_prefix(project)) + b"*"


def schemas_key(project: str) -> bytes:
    """The hash that keeps the project's row schemas. An entity key has a number here, which is never this large."""
    return project_prefix(project) + b"schemas"


def progress_key(project: str) -> bytes:
    """The hash that says how far materialization has come; no entity key for the same reason."""
    return project_prefix(project) + b"progress"


def field_name(view: str) -> bytes:
    """The hash field of a feature view, by the name it is stored under (with ``_v{N}`` where views are versioned)."""
    return view.encode()


class KeyEncoder:
    """Keys of one set of join keys in one project.

    join_keys: pairs of name and Feast type (STRING, INT32, INT64, UNIX_TIMESTAMP or BYTES, the types Feast has keys
    of), in any order. Raises ValueTypeError for another type.
    """

    __slots__ = ("_head", "_kinds", "_parts", "_prefix", "join_keys")

    def __init__(self, project: str, join_keys: Iterable[tuple[str, int | ValueType]]) -> None:
        pairs = sorted((name, kind_of(value_type).number) for name, value_type in join_keys)
        self.join_keys = tuple(name for name, _ in pairs)
        self._kinds = tuple(number for _, number in pairs)
        for name, number in pairs:
            if number not in KEY_KINDS:
                raise ValueTypeError(
                    f"join key {name!r} is declared {kind_of(number).name}, which cannot be a key",
                    hint="declare the entity as String, Int64, Int32, UnixTimestamp or Bytes",
                )
        self._prefix = project_prefix(project)
        names = [name.encode() for name in self.join_keys]
        self._head = (
            self._prefix + _U32(len(names)) + b"".join(_U32(_STRING) + _U32(len(name)) + name for name in names)
        )
        # What stands before each value: its type and, where every value is equally long, its length.
        self._parts = tuple(
            _TYPE_AND_LENGTH.pack(number, _INTEGERS[number].size) if number in _INTEGERS else _U32(number)
            for number in self._kinds
        )

    def makes_the_same(self, other: KeyEncoder) -> bool:
        """Whether both make the same keys of the same values."""
        mine, theirs = (
            (type(one), one.join_keys, one._head, one._parts, getattr(one, "_tail", b"")) for one in (self, other)
        )
        return mine == theirs

    def encode_columns(self, columns: Mapping[str, Sequence[Any]]) -> list[bytes | None]:
        """One key per row from Python values by join key; None where a value is None.

        Values are of the declared type: ``int``, ``str``, ``bytes``, seconds since 1970 or a datetime (naive means
        UTC). Integral floats and digits in a string count as integers, a number counts as text: what JSON and pandas
        make of keys. Raises ValueTypeError naming the join key for anything else, KeyError for a join key that is not
        there.
        """
        if len(self._kinds) == 1 and self._kinds[0] == _INT64:
            name = self.join_keys[0]
            head, pack = self._head + self._parts[0], _INTEGERS[_INT64].pack
            try:
                return [head + pack(value) for value in columns[name]]
            except struct.error:
                pass  # a null, or something that has to be converted first
        pieces = [
            [_piece(name, number, part, value) for value in columns[name]]
            for name, number, part in zip(self.join_keys, self._kinds, self._parts, strict=True)
        ]
        head = self._head
        return [None if None in row else head + b"".join(row) for row in zip(*pieces, strict=True)]

    def encode_arrow(self, columns: Mapping[str, pa.Array | pa.ChunkedArray]) -> list[bytes | None]:
        """One key per row from Arrow columns by join key; None where a value is null. Raises ValueTypeError."""
        rows = len(columns[self.join_keys[0]])
        nulls = np.zeros(rows, bool)
        pieces: list[pa.Array | pa.Scalar] = [pa.scalar(self._head, pa.large_binary())]
        for name, number, part in zip(self.join_keys, self._kinds, self._parts, strict=True):
            column = convert(name, number, columns[name])
            if column.nulls is not None:
                nulls |= column.nulls
            pieces.append(pa.scalar(part, pa.large_binary()))
            if isinstance(column, FixedColumn):
                pieces.append(_as_pieces(column.values))
            else:
                pieces += [_as_pieces(column.lengths.astype("<u4")), column.data]
        joined = pc.binary_join_element_wise(*pieces, pa.scalar(b"", pa.large_binary()))
        keys: list[bytes | None] = list(cut(joined))
        for row in np.flatnonzero(nulls).tolist():
            keys[row] = None
        return keys

    def decode(self, key: bytes) -> dict[str, Any]:
        """The values inside a key that this encoder made, timestamps as seconds. RowDecodeError for any other key."""
        position = len(self._head)
        values = {}
        if not key.startswith(self._head):
            raise RowDecodeError(f"key {key[:80]!r} has not the join keys {', '.join(self.join_keys)} in this project")
        for name, number in zip(self.join_keys, self._kinds, strict=True):
            value, position = _read_value(key, position, number)
            values[name] = value
        if position != len(key):
            raise RowDecodeError(f"key {key[:80]!r} is {len(key) - position} bytes too long")
        return values


def cut(array: pa.Array) -> list[bytes]:
    """The values of a large_binary array without nulls; several times faster than ``to_pylist`` on many small ones."""
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, "<i8")[array.offset : array.offset + len(array) + 1].tolist()
    whole = data.to_pybytes() if data is not None else b""
    return [whole[start:end] for start, end in pairwise(ends)]


def _as_pieces(values: np.ndarray[Any, Any]) -> pa.Array:
    width = values.itemsize
    buffer = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(pa.binary(width), len(values), [None, buffer]).cast(pa.large_binary())


def _piece(name: str, number: int, part: bytes, value: Any) -> bytes | None:
    if value is None or _is_missing(value):
        return None
    try:
        if number in _INTEGERS:
            return part + _INTEGERS[number].pack(_integer(number, value))
        data = _text(value) if number == _STRING else bytes(memoryview(value))
    except (TypeError, ValueError, OverflowError, struct.error):
        raise ValueTypeError(
            f"join key {name!r} is declared {kind_of(number).name} and {value!r:.80} is none",
            hint="send it in that type",
        ) from None
    return part + _U32(len(data)) + data


def _is_missing(value: Any) -> bool:
    """NaN, NaT and NA: what pandas makes of a missing key."""
    if isinstance(value, float):
        return math.isnan(value)
    return type(value).__name__ in ("NAType", "NaTType")


def _integer(number: int, value: Any) -> int:
    if isinstance(value, datetime):
        if number != _UNIX_TIMESTAMP:
            raise TypeError
        moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return int(moment.timestamp() // 1)
    if isinstance(value, float | np.floating):
        if not float(value).is_integer():
            raise ValueError
        return int(value)
    return int(value) if isinstance(value, str) else index(value)


def _text(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes | bytearray | list | dict | set | tuple):
        raise TypeError
    return str(value).encode()


def _read_value(key: bytes, position: int, number: int) -> tuple[Any, int]:
    try:
        found, length = _TYPE_AND_LENGTH.unpack_from(key, position)
        start, end = position + 8, position + 8 + length
        data = key[start:end]
        if found != number or len(data) != length:
            raise RowDecodeError(f"key {key[:80]!r} is damaged at byte {position}")
        if number in _INTEGERS:
            return _INTEGERS[number].unpack(data)[0], end
        return (data.decode() if number == _STRING else data), end
    except (struct.error, UnicodeDecodeError):
        raise RowDecodeError(f"key {key[:80]!r} is damaged at byte {position}") from None
