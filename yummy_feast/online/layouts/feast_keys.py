"""Redis keys of layout `feast`: Feast's serialized entity key with the project's name behind it.

Version 3 of the entity key tells its own length, so where it ends and the project begins is known, and `prod` is never
mistaken for the end of `nonprod`. Version 2 does not tell how long the names of the join keys are: whoever looks for
its keys has to know them.

Pure: bytes in, bytes out.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from yummy_feast.errors import RowDecodeError
from yummy_feast.online.keys import KeyEncoder

if TYPE_CHECKING:
    from feast.value_type import ValueType

_U32 = struct.Struct("<I")
_TYPE_AND_LENGTH = struct.Struct("<II")
_STRING = 2


class FeastKeyEncoder(KeyEncoder):
    """Keys as ``feast.infra.key_encoding_utils.serialize_entity_key`` and Feast's Redis store make them.

    version: of the entity key's serialization, 2 or 3. Everything else as ``KeyEncoder``.
    """

    __slots__ = ("_tail",)

    def __init__(self, project: str, join_keys: Iterable[tuple[str, int | ValueType]], version: int = 3) -> None:
        super().__init__(project, join_keys)
        self._prefix = b""
        self._head = head(self.join_keys, version)
        self._tail = project.encode()

    def encode_columns(self, columns: Mapping[str, Sequence[Any]]) -> list[bytes | None]:
        """See ``KeyEncoder.encode_columns``."""
        return self._ended(super().encode_columns(columns))

    def encode_arrow(self, columns: Mapping[str, pa.Array | pa.ChunkedArray]) -> list[bytes | None]:
        """See ``KeyEncoder.encode_arrow``."""
        return self._ended(super().encode_arrow(columns))

    def _ended(self, keys: list[bytes | None]) -> list[bytes | None]:
        tail = self._tail
        return [None if key is None else key + tail for key in keys]

    def decode(self, key: bytes) -> dict[str, Any]:
        """See ``KeyEncoder.decode``."""
        if not key.endswith(self._tail):
            raise RowDecodeError(f"key {key[:80]!r} is not of project {self._tail.decode()!r}")
        return super().decode(key[: len(key) - len(self._tail)])


def head(join_keys: Sequence[str], version: int) -> bytes:
    """What stands in a key before its values. ``join_keys`` sorted by name."""
    names = [name.encode() for name in join_keys]
    if version == 2:
        return b"".join(_U32.pack(_STRING) + name for name in names)
    return _U32.pack(len(names)) + b"".join(_TYPE_AND_LENGTH.pack(_STRING, len(name)) + name for name in names)


def pattern(project: str) -> bytes:
    """For SCAN's MATCH: every key that ends like those of ``project``."""
    return b"*" + re.sub(rb"([*?\[\]\\^-])", rb"\\\1", project.encode())


def belongs_to(project: str, key: bytes, join_keys: Iterable[Sequence[str]], version: int) -> bool:
    """Whether ``key`` is an entity key with exactly ``project`` behind it; in version 2, one of ``join_keys``."""
    if version == 2:
        return any(
            key.startswith(start) and _rest(key, len(start), len(names)) == project.encode()
            for names in join_keys
            for start in (head(names, version),)
        )
    try:
        (count,) = _U32.unpack_from(key)
        position = _U32.size
        # Longer than the key itself: no entity key, whatever follows.
        for _ in range(min(count, len(key))):
            kind, length = _TYPE_AND_LENGTH.unpack_from(key, position)
            position += _TYPE_AND_LENGTH.size + length
            if kind != _STRING:
                return False
    except struct.error:
        return False
    return _rest(key, position, count) == project.encode()


def _rest(key: bytes, position: int, values: int) -> bytes | None:
    """What follows so many values from ``position`` on; None when there are not that many."""
    try:
        for _ in range(min(values, len(key))):
            _, length = _TYPE_AND_LENGTH.unpack_from(key, position)
            position += _TYPE_AND_LENGTH.size + length
    except struct.error:
        return None
    return key[position:] if position <= len(key) else None
