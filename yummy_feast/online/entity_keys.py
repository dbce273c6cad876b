"""From Feast's entity keys (protobuf) to Redis keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from yummy_feast.online.keys import NO_JOIN_KEY, KeyEncoder
from yummy_feast.online.layouts.base import Layout
from yummy_feast.values import BY_NAME, stored_value

if TYPE_CHECKING:
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

_STRING = BY_NAME["STRING"].number
_TYPE_OF_FIELD = {
    kind.proto_field: kind.number for kind in BY_NAME.values() if kind.name not in ("PDF_BYTES", "IMAGE_BYTES")
}


class EntityKeys:
    """Redis keys of one feature view.

    types: join key -> Feast type number, as the view declares them: readers encode with these. A join key that the view
    does not declare (views that never went through `feast apply`) has the type its value came with.
    """

    def __init__(self, layout: Layout, project: str, types: Mapping[str, int]) -> None:
        self._layout = layout
        self._project = project
        self._types = types

    def encode(self, keys: Sequence[EntityKey]) -> list[bytes | None]:
        """One Redis key per entity key, None where a value is null. ValueTypeError for a value that cannot be a key."""
        rows_of: dict[tuple[str, ...], list[int]] = {}
        for row, key in enumerate(keys):
            rows_of.setdefault(tuple(key.join_keys), []).append(row)
        encoded: list[bytes | None] = [None] * len(keys)
        for names, rows in rows_of.items():
            columns = list(zip(*(keys[row].entity_values for row in rows), strict=True))
            types = {name: self._type_of(name, column) for name, column in zip(names, columns, strict=True)}
            values = {
                name: [stored_value(value, types[name]) for value in column]
                for name, column in zip(names, columns, strict=True)
            }
            for row, redis_key in zip(rows, self.encoder(types).encode_columns(values), strict=True):
                encoded[row] = redis_key
        return encoded

    def encoder(self, types: Mapping[str, int] | None = None) -> KeyEncoder:
        """The encoder for join keys of ``types``, by default those the view declares (none: Feast's stand-in)."""
        return self._layout.key_encoder(self._project, (types or self._types or {NO_JOIN_KEY: _STRING}).items())

    def _type_of(self, name: str, values: Sequence[Value]) -> int:
        if name in self._types:
            return self._types[name]
        held: Any = next((field for field in (value.WhichOneof("val") for value in values) if field), None)
        return _TYPE_OF_FIELD.get(held, _STRING)
