"""Stored values as Feast's feature server writes them in JSON.

Numbers as numbers, whole seconds for timestamps, base64 for bytes, text for JSON, UUIDs and decimals, arrays for sets,
``"NaN"``, ``"Infinity"``, ``"-Infinity"`` for what is no JSON number, ISO 8601 in its own zone for a zoned timestamp.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from yummy_feast.errors import ValueTypeError
from yummy_feast.values import NULL_TIMESTAMP, Encoding, kind_of, listed, proto_finisher

if TYPE_CHECKING:
    from feast.protos.feast.types.Value_pb2 import Value

Finish = Callable[[Any], Any]
_FLOATS: Final = frozenset({"f", "d"})


@cache
def is_number(number: int) -> bool:
    """Whether values of this Feast type are single numbers or bools, whose JSON holds no comma and no quote."""
    return number != 0 and kind_of(number).encoding is Encoding.FIXED


@cache
def is_float(number: int) -> bool:
    """Whether values of this Feast type are single floats, which may be no JSON numbers."""
    return is_number(number) and kind_of(number).code in _FLOATS


@cache
def json_finisher(number: int) -> Finish | None:
    """From a stored value of this Feast type to what ``msgspec.json`` encodes as Feast does; None where they are equal.

    Floats are left alone: what is no JSON number is found in the encoded text, see ``mend_floats``. ``number`` 0 is a
    join key of no known type, which came as JSON.
    """
    if number == 0:
        return None
    kind = kind_of(number)
    if kind.encoding is Encoding.PROTO:
        return _from_message(number)
    if kind.encoding is not Encoding.VECTOR:
        return None
    if kind.code in _FLOATS:
        return _vector_of_floats
    return _vector_of_times if kind.name.startswith("UNIX_TIMESTAMP") else listed


def mend_floats(values: Sequence[Any]) -> list[Any]:
    """A column of floats with text in the place of what is no JSON number."""
    return [_float(value) if isinstance(value, float) else value for value in values]


def _float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _vector_of_floats(stored: Sequence[float] | memoryview) -> list[Any]:
    values = listed(stored)
    return values if all(map(math.isfinite, values)) else mend_floats(values)


def _vector_of_times(stored: Sequence[int] | memoryview) -> list[int | None]:
    return [None if value == NULL_TIMESTAMP else value for value in listed(stored)]


def _from_message(number: int) -> Finish:
    parse = proto_finisher(number)

    def finish(stored: bytes) -> Any:
        return _native(parse(stored))

    return finish


def _native(message: Value) -> Any:
    """A nested value. What lies inside maps and lists is not stored as rows store it: it is Feast's message."""
    held = message.WhichOneof("val")
    if held is None or held == "null_val":
        return None
    value: Any = getattr(message, held)
    convert = _NESTED.get(held)
    if convert is not None:
        return convert(value)
    if held.endswith(("_list_val", "_set_val")):
        return list(value.val)
    return value


def _map(message: Any) -> dict[str, Any]:
    return {key: _native(value) for key, value in message.val.items()}


def _scalar_map(message: Any) -> dict[str, Any]:
    """JSON's keys are text: each is written as the value beside it would be, without its quotes."""
    found = {}
    for entry in message.val:
        key = entry.key
        name = key.WhichOneof("key")
        if name is None:
            continue
        plain = getattr(key, name)
        if isinstance(plain, bytes):
            plain = _base64(plain)
        found[str(plain).lower() if isinstance(plain, bool) else str(plain)] = _native(entry.value)
    return found


def _zoned(message: Any) -> str | None:
    from datetime import datetime

    from feast.type_map import _zone_from_name

    if message.unix_timestamp == NULL_TIMESTAMP:
        return None
    try:
        return datetime.fromtimestamp(message.unix_timestamp, tz=_zone_from_name(message.zone)).isoformat()
    except (OverflowError, ValueError, OSError, KeyError):
        raise ValueTypeError(
            f"{message.unix_timestamp} seconds since 1970 in zone {message.zone!r} is no point in time"
        ) from None


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


_NESTED: Final[dict[str, Finish]] = {
    "double_val": _float,
    "float_val": _float,
    **dict.fromkeys(
        ("double_list_val", "float_list_val", "double_set_val", "float_set_val"),
        lambda held: _vector_of_floats(held.val),
    ),
    "bytes_val": _base64,
    **dict.fromkeys(("bytes_list_val", "bytes_set_val"), lambda held: [_base64(item) for item in held.val]),
    **dict.fromkeys(("list_val", "set_val"), lambda held: [_native(item) for item in held.val]),
    **dict.fromkeys(("map_val", "struct_val"), _map),
    **dict.fromkeys(("map_list_val", "struct_list_val"), lambda held: [_map(item) for item in held.val]),
    "scalar_map_val": _scalar_map,
    "zoned_timestamp_val": _zoned,
}
