"""From what JSON says to Feast's values: numbers, texts and lists of a body become what a feature's type declares.

Feast makes the values. What it would turn into something else without a word is refused: 1.5 for an integer, a null
inside a list, 1e39 for a float of 32 bits. What JSON has no word for is read as answers write it: base64 for bytes,
ISO 8601 for points in time, ``"NaN"`` and ``"Infinity"``.
"""

from __future__ import annotations

import base64
import json
import math
import re
import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from yummy_feast.errors import ValueTypeError
from yummy_feast.values import kind_of

if TYPE_CHECKING:
    from feast.protos.feast.types.Value_pb2 import Value
    from feast.value_type import ValueType

Cast = Callable[[Any], Any]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DIGITS: Final = re.compile(r"[+-]?\d{1,25}")
_NO_NUMBERS: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_YEAR_FIRST: Final = re.compile(r"\d{4}[-/.]?\d\d")
# As nanoseconds a moment of 1973 or later; as anything longer, one that nobody means.
_NANOSECONDS: Final = 10**17
# What casting and Feast raise for a value of another type.
_MISFITS: Final = (
    TypeError,
    ValueError,
    OverflowError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    KeyError,
    struct.error,
)
_HINTS: Final = {
    "BYTES": "send bytes as base64",
    "UNIX_TIMESTAMP": "send ISO 8601 text, or whole seconds since 1970",
    "ZONED_TIMESTAMP": "send ISO 8601 text with an offset",
}


def messages(what: str, value_type: ValueType, values: Sequence[Any]) -> list[Value]:
    """Feast's message for each of ``values``, an empty one for null.

    Raises ValueTypeError that names ``what``, the row and the value, for one that the type cannot hold.
    """
    from feast.protos.feast.types.Value_pb2 import Value
    from feast.type_map import python_values_to_proto_values

    if value_type.name == "NULL":
        # Feast has no way to make one, and only null is one.
        for row, value in enumerate(values):
            if value is not None:
                raise _misfit(what, row, value, value_type)
        return [Value() for _ in values]
    cast = _cast_of(kind_of(value_type).name)
    try:
        plain = [None if value is None else cast(value) for value in values]
        return list(python_values_to_proto_values(plain, value_type))
    except _MISFITS as error:
        for row, value in enumerate(values):
            try:
                python_values_to_proto_values([None if value is None else cast(value)], value_type)
            except _MISFITS:
                raise _misfit(what, row, value, value_type) from error
        raise ValueTypeError(f"{what}: the values are not all {value_type.name}: {error}") from error


def moments(what: str, values: Sequence[Any], *, optional: bool = False) -> list[datetime | None]:
    """Points in time, aware; without an offset they are UTC. null only where they are ``optional``.

    Raises ValueTypeError that names ``what``, the row and the value.
    """
    found: list[datetime | None] = []
    for row, value in enumerate(values):
        if value is None and optional:
            found.append(None)
            continue
        try:
            found.append(moment(value))
        except (TypeError, ValueError, OverflowError):
            raise ValueTypeError(
                f"row {row}: {what} is {_shown(value)}, no point in time",
                hint="send ISO 8601 text such as 2026-11-20T12:00:00Z",
            ) from None
    return found


def moment(value: Any) -> datetime:
    """ISO 8601 text and whatever else begins with the year; nanoseconds since 1970 if they cannot be anything else.

    Raises TypeError, ValueError or OverflowError for anything else.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= _NANOSECONDS:
        return _EPOCH + timedelta(microseconds=value // 1000)
    if not isinstance(value, str):
        raise TypeError
    text = value.strip()
    for zone in (" UTC", " Z"):
        text = text.removesuffix(zone) + "+00:00" if text.endswith(zone) else text
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        if not _YEAR_FIRST.match(text):
            raise
        import pandas as pd

        parsed = pd.Timestamp(text).to_pydatetime(warn=False)
    return parsed.replace(tzinfo=UTC) if parsed.utcoffset() is None else parsed.astimezone(UTC)


def _misfit(what: str, row: int, value: Any, value_type: ValueType) -> ValueTypeError:
    name = value_type.name
    hint = next((text for start, text in _HINTS.items() if start in name), "send a value of the declared type")
    return ValueTypeError(f"row {row}: {what} is {_shown(value)}, not {name}", hint=hint)


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) <= 80 else text[:77] + '...'} ({type(value).__name__})"


def _cast_of(name: str) -> Cast:
    if name in _SCALARS:
        return _SCALARS[name]
    if name in _NESTED:
        return _NESTED[name]
    element, _, collection = name.rpartition("_")
    if element not in _SCALARS or collection not in ("LIST", "SET"):
        return lambda value: value
    cast = _SCALARS[element]
    if collection == "SET":
        return lambda value: list(dict.fromkeys(cast(item) for item in _array(value)))
    return lambda value: [cast(item) for item in _array(value)]


def _array(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError
    return value


def _whole(bits: int) -> Cast:
    limit = 2 ** (bits - 1)

    def cast(value: Any) -> int:
        # True is a 1 to Python.
        if isinstance(value, bool):
            raise TypeError
        if isinstance(value, str) and not _DIGITS.fullmatch(value):
            raise ValueError
        number = int(value)
        if number != value and not isinstance(value, str):
            raise ValueError
        if not -limit <= number < limit:
            raise OverflowError
        return number

    return cast


def _double(value: Any) -> float:
    if isinstance(value, str):
        return _NO_NUMBERS[value]
    if isinstance(value, bool):
        raise TypeError
    return float(value)


def _single(value: Any) -> float:
    number = _double(value)
    struct.pack("<f", number)
    return number


def _flag(value: Any) -> bool:
    if not isinstance(value, bool) and value not in (0, 1):
        raise TypeError
    return bool(value)


def _text(value: Any) -> str:
    if isinstance(value, list | dict) or value is None:
        raise TypeError
    return str(value)


def _bytes(value: Any) -> bytes:
    if not isinstance(value, str):
        raise TypeError
    return base64.b64decode(value, validate=True)


def _seconds(value: Any) -> int:
    if isinstance(value, str):
        return (moment(value) - _EPOCH) // timedelta(seconds=1)
    return int(_whole(64)(value))


def _json(value: Any) -> Any:
    if isinstance(value, str):
        json.loads(value)
        return value
    return json.dumps(value)


def _uuid(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    UUID(value)
    return value


def _decimal(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError
    try:
        return str(Decimal(str(value)))
    except InvalidOperation:
        raise ValueError from None


def _mapping(value: Any) -> dict[str, Any]:
    # The remote online store sends maps as the text of their JSON.
    found = json.loads(value) if isinstance(value, str) else value
    if not isinstance(found, dict):
        raise TypeError
    return found


def _mappings(value: Any) -> list[dict[str, Any]]:
    return [_mapping(item) for item in _array(json.loads(value) if isinstance(value, str) else value)]


def _scalar_map(value: Any) -> dict[Any, Any]:
    """JSON's keys are text: here they are the integers that a ScalarMap has and a Map cannot."""
    return {_whole(64)(key): item for key, item in _mapping(value).items()}


def _zoned(value: Any) -> datetime:
    if not isinstance(value, str):
        raise TypeError
    found = datetime.fromisoformat(value)
    return found.replace(tzinfo=UTC) if found.utcoffset() is None else found


_SCALARS: Final[dict[str, Cast]] = {
    "INT32": _whole(32),
    "INT64": _whole(64),
    "DOUBLE": _double,
    "FLOAT": _single,
    "BOOL": _flag,
    "STRING": _text,
    "UNIX_TIMESTAMP": _seconds,
    "JSON": _json,
    "UUID": _uuid,
    "TIME_UUID": _uuid,
    "DECIMAL": _decimal,
    **dict.fromkeys(("BYTES", "PDF_BYTES", "IMAGE_BYTES"), _bytes),
}
_NESTED: Final[dict[str, Cast]] = {
    "MAP": _mapping,
    "STRUCT": _mapping,
    "MAP_LIST": _mappings,
    "STRUCT_LIST": _mappings,
    "SCALAR_MAP": _scalar_map,
    "ZONED_TIMESTAMP": _zoned,
    "VALUE_LIST": _array,
    "VALUE_SET": _array,
}
