"""Stored values of every Feast type: hypothesis strategies and how to compare what comes back."""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from feast.type_map import python_values_to_proto_values
from feast.value_type import ValueType
from hypothesis import strategies as st

from yummy_feast.values import KINDS, NULL_TIMESTAMP, Encoding, Kind

INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
# Whole seconds; the lowest int64 is Feast's null.
SECONDS = st.integers(NULL_TIMESTAMP + 1, 2**63 - 1)
TEXT = st.text(max_size=20)
DECIMALS = st.one_of(st.decimals(allow_nan=False), st.just("NaN")).map(str)

ELEMENTS: dict[str, st.SearchStrategy[Any]] = {
    "BYTES": st.binary(max_size=20),
    "PDF_BYTES": st.binary(max_size=20),
    "IMAGE_BYTES": st.binary(max_size=20),
    "STRING": TEXT,
    "INT32": INT32,
    "INT64": INT64,
    "DOUBLE": st.floats(),
    "FLOAT": st.floats(width=32),
    "BOOL": st.booleans(),
    "UNIX_TIMESTAMP": SECONDS,
    "JSON": st.sampled_from(['{"a": [1, 2.5, null]}', "[]", '"x"', "NaN", "12", '{"ü": "é"}']),
    "UUID": st.uuids().map(str),
    "TIME_UUID": st.uuids().map(str),
    "DECIMAL": DECIMALS,
}

# What Feast's own converters take for the nested types.
LEAVES = st.one_of(INT64, st.floats(allow_nan=False), TEXT, st.booleans(), st.lists(INT64, min_size=1, max_size=3))
MAPS = st.dictionaries(TEXT, st.one_of(LEAVES, st.dictionaries(TEXT, LEAVES, max_size=2), st.none()), max_size=4)
# Naive bounds are how hypothesis wants them.
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
NESTED: dict[str, st.SearchStrategy[Any]] = {
    "MAP": MAPS,
    "MAP_LIST": st.lists(MAPS, max_size=3),
    "STRUCT": MAPS,
    "STRUCT_LIST": st.lists(MAPS, max_size=3),
    "SCALAR_MAP": st.dictionaries(st.one_of(INT64, st.uuids(), st.binary(max_size=5)), LEAVES, max_size=3),
    "VALUE_LIST": st.lists(st.lists(INT64, max_size=3), max_size=3),
    "VALUE_SET": st.lists(st.lists(TEXT, max_size=3), max_size=3),
    "ZONED_TIMESTAMP": MOMENTS,
}

STORABLE = [kind for kind in KINDS.values() if kind.name != "NULL"]


def stored(kind: Kind) -> st.SearchStrategy[Any]:
    """Stored values of a type, nulls not included."""
    if kind.encoding is Encoding.PROTO:
        return NESTED[kind.name].map(lambda value: serialized(kind, value))
    element = ELEMENTS.get(kind.name)
    if element is not None:
        return element
    items = ELEMENTS[kind.name.removesuffix("_LIST").removesuffix("_SET")]
    if kind.is_set:
        # As Python's sets see it: 0.0 and -0.0 are one element. NaN equals nothing, so one must do.
        return st.lists(items, max_size=5, unique_by=lambda item: item if item == item else "NaN")
    return st.lists(items, max_size=5)


def serialized(kind: Kind, value: Any) -> bytes:
    (message,) = python_values_to_proto_values([value], ValueType(kind.number))
    return bytes(message.SerializeToString(deterministic=True))


def same(left: Any, right: Any) -> bool:
    """Equality that tells -0.0 from 0.0 and 1 from True, and holds NaN equal to itself, inside containers too."""
    # A stored vector is a window on its row, or a list.
    left, right = (value.tolist() if isinstance(value, memoryview) else value for value in (left, right))
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return (math.isnan(left) and math.isnan(right)) or struct.pack("<d", left) == struct.pack("<d", right)
    if isinstance(left, Decimal):
        return str(left) == str(right)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, set):
        return sorted(map(repr, left)) == sorted(map(repr, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, datetime):
        return left == right and left.utcoffset() == right.utcoffset()
    if isinstance(left, UUID):
        return left == right
    return bool(left == right)
