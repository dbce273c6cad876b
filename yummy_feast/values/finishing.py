"""Stored values to what Feast's SDK answers, and Feast's protobuf values to and from stored ones.

Feast is imported inside functions, as everywhere in this room.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from yummy_feast.errors import ValueTypeError
from yummy_feast.values.kinds import NULL_TIMESTAMP, Encoding, Kind, kind_of

if TYPE_CHECKING:
    from feast.protos.feast.types.Value_pb2 import Value


@cache
def python_finisher(number: int) -> Callable[[Any], Any] | None:
    """From a stored value to the Python value Feast's SDK answers for this type; None when the two are the same.

    Equal to ``feast.type_map.feast_value_type_to_python_type`` on the same value: UUID, Decimal, sets, parsed JSON (the
    bare text where it does not parse), datetimes in UTC. Stored values are never None: nulls are the caller's.

    The function raises ValueTypeError for a timestamp outside the years 1 to 9999 and for damaged values.
    """
    kind = kind_of(number)
    if kind.encoding is Encoding.PROTO:
        return _finish_proto
    element = _element_finisher(kind)
    if not kind.name.endswith(("_LIST", "_SET")):
        return element
    if kind.is_set:
        return set if element is None else lambda values: set(map(element, values))
    if element is not None:
        return lambda values: list(map(element, values))
    return listed if kind.encoding is Encoding.VECTOR else None


def listed(values: Sequence[Any] | memoryview) -> list[Any]:
    """A stored vector as a list of its own."""
    return values.tolist() if isinstance(values, memoryview) else list(values)


def _element_finisher(kind: Kind) -> Callable[[Any], Any] | None:
    name = kind.name.removesuffix("_LIST").removesuffix("_SET")
    finishers: dict[str, Callable[[Any], Any]] = {
        "UUID": _parsed(UUID),
        "TIME_UUID": _parsed(UUID),
        "DECIMAL": _parsed(Decimal),
        "UNIX_TIMESTAMP": _finish_timestamp,
        "JSON": _finish_json,
    }
    return finishers.get(name)


def _parsed(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    def finish(text: str) -> Any:
        try:
            return parse(text)
        except (ValueError, ArithmeticError):
            raise ValueTypeError(f"{text[:60]!r} is no {parse.__name__}") from None

    return finish


def _finish_timestamp(seconds: int) -> datetime | None:
    if seconds == NULL_TIMESTAMP:
        return None
    try:
        return datetime.fromtimestamp(seconds, tz=UTC)
    except (OverflowError, ValueError, OSError):
        raise ValueTypeError(f"{seconds} seconds since 1970 lie outside the years 1 to 9999") from None


def _finish_json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _finish_proto(data: bytes) -> Any:
    from feast.type_map import feast_value_type_to_python_type

    try:
        return feast_value_type_to_python_type(_parse(data))
    except (OverflowError, ValueError, OSError) as error:
        raise ValueTypeError(f"a stored value is damaged: {error}") from None


def _parse(data: bytes) -> Value:
    from feast.protos.feast.types.Value_pb2 import Value
    from google.protobuf.message import DecodeError

    try:
        return Value.FromString(data)
    except DecodeError:
        raise ValueTypeError(f"a stored value of {len(data)} bytes is no Feast value") from None


@cache
def proto_finisher(number: int) -> Callable[[Any], Value]:
    """From a stored value of this type to Feast's protobuf ``Value``. Nulls are the caller's (an empty ``Value``)."""
    from feast.protos.feast.types.Value_pb2 import Value

    kind = kind_of(number)
    field = kind.proto_field
    if kind.encoding is Encoding.PROTO:
        return _parse
    if kind.encoding in (Encoding.VECTOR, Encoding.PACKED):
        packed = kind.code if kind.code in ("f", "d") else None

        def finish_collection(values: Sequence[Any] | memoryview) -> Value:
            message = Value()
            collection = getattr(message, field)
            collection.SetInParent()  # an empty list is not a missing one
            # A window of floats may still be asked for as doubles.
            if isinstance(values, memoryview) and values.format == packed:
                # Protobuf lays packed floats out as a row does: a header, then the same bytes.
                collection.MergeFromString(b"\x0a" + _varint(values.nbytes) + values.tobytes())
            else:
                collection.val.extend(listed(values))
            return message

        return finish_collection
    return lambda value: Value(**{field: value})


def _varint(number: int) -> bytes:
    """How protobuf writes a length."""
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])


def stored_value(message: Value, number: int) -> Any:
    """The stored value inside Feast's protobuf ``Value``; None for an unset one and for Feast's null timestamp.

    Raises ValueTypeError when the message holds another type that cannot stand for this one.
    """
    held = message.WhichOneof("val")
    if held is None or held == "null_val":
        return None
    kind = kind_of(number)
    if kind.encoding is Encoding.PROTO:
        # The order of a map's entries is anybody's choice otherwise, and equal rows would differ.
        return message.SerializeToString(deterministic=True)
    value = getattr(message, held)
    if kind.encoding in (Encoding.VECTOR, Encoding.PACKED):
        if not held.endswith(("_list_val", "_set_val")):
            raise ValueTypeError(f"a value of Feast type {kind.name} was given as {held}")
        return list(value.val)
    if held == kind.proto_field:
        return None if value == NULL_TIMESTAMP and kind.name == "UNIX_TIMESTAMP" else value
    if held.endswith(("_list_val", "_set_val", "map_val", "struct_val")):
        raise ValueTypeError(f"a value of Feast type {kind.name} was given as {held}")
    return value
