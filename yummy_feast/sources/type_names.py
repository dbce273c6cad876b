"""From the text of an Arrow type back to the type.

Feast passes column types around as text (``get_table_column_names_and_types``), and ``CsvSource(schema=...)`` takes
them as text. ``parse_type(str(some_type))`` equals ``some_type`` for every type a scan can have.
"""

from __future__ import annotations

import re

import pyarrow as pa

from yummy_feast.errors import ConfigError

_ALIASES = {
    "bool": pa.bool_(),
    "boolean": pa.bool_(),
    "str": pa.string(),
    "text": pa.string(),
    "bytes": pa.binary(),
    "int": pa.int64(),
    "integer": pa.int64(),
    "long": pa.int64(),
    "double": pa.float64(),
    "halffloat": pa.float16(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "date": pa.date32(),
    "date32[day]": pa.date32(),
    "date64[ms]": pa.date64(),
}
_TIMESTAMP = re.compile(r"timestamp\[(s|ms|us|ns)(?:, tz=([^\]]+))?\]")
_TIME = re.compile(r"time(?:32|64)\[(s|ms|us|ns)\]")
_DECIMAL = re.compile(r"decimal(32|64|128|256)?\((\d+), ?(-?\d+)\)")
_BINARY = re.compile(r"fixed_size_binary\[(\d+)\]")
_FIXED_LIST = re.compile(r"fixed_size_list<(.*)>\[(\d+)\]", re.DOTALL)
_GENERIC = re.compile(r"(list|large_list|map|struct|dictionary)<(.*)>", re.DOTALL)


def parse_type(text: str) -> pa.DataType:
    """The Arrow type that ``text`` names, in Arrow's own spelling or a usual short one (int, double, timestamp, date).

    Raises ConfigError if it names none.
    """
    text = text.strip()
    found = _ALIASES.get(text) or _parameterised(text) or _nested(text)
    if found is not None:
        return found
    try:
        return pa.type_for_alias(text)
    except ValueError:
        raise ConfigError(
            f"'{text}' is no Arrow type", hint="for example int64, double, string, bool, timestamp[us, tz=UTC]"
        ) from None


def _parameterised(text: str) -> pa.DataType | None:
    if match := _TIMESTAMP.fullmatch(text):
        return pa.timestamp(match[1], tz=match[2])
    if match := _TIME.fullmatch(text):
        return pa.time32(match[1]) if match[1] in ("s", "ms") else pa.time64(match[1])
    if match := _DECIMAL.fullmatch(text):
        build = {"32": pa.decimal32, "64": pa.decimal64, "256": pa.decimal256}.get(match[1], pa.decimal128)
        return build(int(match[2]), int(match[3]))
    if match := _BINARY.fullmatch(text):
        return pa.binary(int(match[1]))
    return None


def _nested(text: str) -> pa.DataType | None:
    if match := _FIXED_LIST.fullmatch(text):
        return pa.list_(_field(match[1]), int(match[2]))
    match = _GENERIC.fullmatch(text)
    if match is None:
        return None
    kind, inside = match[1], _split(match[2])
    if kind == "struct":
        return pa.struct([_field(part) for part in inside])
    if kind == "map":
        key, item = (re.sub(r" \('[^']*'\)$", "", part) for part in inside[:2])
        return pa.map_(parse_type(key), parse_type(item))
    if kind == "dictionary":
        return pa.dictionary(*(parse_type(part.split("=", 1)[1]) for part in (inside[1], inside[0])))
    return (pa.list_ if kind == "list" else pa.large_list)(_field(inside[0]))


def _field(text: str) -> pa.Field:
    name, _, type_text = text.partition(": ")
    nullable = not type_text.endswith(" not null")
    return pa.field(name, parse_type(type_text.removesuffix(" not null")), nullable=nullable)


def _split(text: str) -> list[str]:
    """``text`` at its outermost commas: those inside brackets of any kind belong to a part."""
    parts, depth, start = [], 0, 0
    for position, letter in enumerate(text):
        if letter in "<[(":
            depth += 1
        elif letter in ">])":
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append(text[start:position].strip())
            start = position + 1
    return [*parts, text[start:].strip()] if text else []
