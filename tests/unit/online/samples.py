"""Values of every Feast type: as Python has them, as rows store them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from feast import types
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import python_values_to_proto_values
from feast.types import Array, Set
from feast.value_type import ValueType

from yummy_feast.values import stored_value

_MOMENT = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
_UUID = UUID("12345678-1234-5678-1234-567812345678")

PYTHON: dict[str, tuple[Any, list[Any]]] = {
    # name: Feast dtype, values
    "int32": (types.Int32, [-(2**31), 0, 2**31 - 1]),
    "int64": (types.Int64, [-(2**63), 0, 2**63 - 1]),
    "float32": (types.Float32, [0.1, -0.0, 3e38]),
    "float64": (types.Float64, [0.1, -0.0, 1e308]),
    "bool": (types.Bool, [True, False, True]),
    "string": (types.String, ["", "žluťoučký\n", "a\0b"]),
    "bytes": (types.Bytes, [b"", b"\xff\0", b"x"]),
    "timestamp": (types.UnixTimestamp, [_MOMENT, datetime(1969, 12, 31, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)]),
    "json": (types.Json, [{"a": [1, None]}, "3", [1.5]]),
    "uuid": (types.Uuid, [_UUID, _UUID, _UUID]),
    "time_uuid": (types.TimeUuid, [_UUID, _UUID, _UUID]),
    "decimal": (types.Decimal, [Decimal("1.10"), Decimal("-0"), Decimal("1e30")]),
    "int32_list": (Array(types.Int32), [[1, -2], [], [3]]),
    "int64_list": (Array(types.Int64), [[1, -(2**62)], [], [3]]),
    "float32_list": (Array(types.Float32), [[0.1, 2.0], [], [3.0]]),
    "float64_list": (Array(types.Float64), [[0.1, 2.0], [], [3.0]]),
    "bool_list": (Array(types.Bool), [[True, False], [], [True]]),
    "string_list": (Array(types.String), [["a", ""], [], ["č"]]),
    "bytes_list": (Array(types.Bytes), [[b"a", b""], [], [b"\xff"]]),
    "timestamp_list": (Array(types.UnixTimestamp), [[_MOMENT, _MOMENT], [], [_MOMENT]]),
    "json_list": (Array(types.Json), [['{"a": 1}', "2"], [], ["null"]]),
    "uuid_list": (Array(types.Uuid), [[_UUID], [], [_UUID, _UUID]]),
    "decimal_list": (Array(types.Decimal), [[Decimal("1.10")], [], [Decimal("2")]]),
    "int64_set": (Set(types.Int64), [{1, 2}, set(), {3}]),
    "string_set": (Set(types.String), [{"a", "b"}, set(), {"c"}]),
    "float64_set": (Set(types.Float64), [{0.5, 2.0}, set(), {3.0}]),
    "timestamp_set": (Set(types.UnixTimestamp), [{_MOMENT}, set(), {_MOMENT}]),
    "uuid_set": (Set(types.Uuid), [{_UUID}, set(), {_UUID}]),
    "decimal_set": (Set(types.Decimal), [{Decimal("1.5")}, set(), {Decimal("2")}]),
    "map": (types.Map, [{"a": 1, "b": {"c": "d"}}, {}, {"x": None}]),
    "map_list": (Array(types.Map), [[{"a": 1}], [], [{"b": 2.5}, {"c": "d"}]]),
    "list_of_lists": (Array(Array(types.Int64)), [[[1, 2], [3]], [], [[4]]]),
    "scalar_map": (types.ScalarMap, [{1: "a", 2: "b"}, {}, {3: 1.5}]),
    "zoned": (
        types.ZonedTimestamp,
        [_MOMENT.astimezone(ZoneInfo("Europe/Prague")), _MOMENT, _MOMENT.astimezone(ZoneInfo("America/Denver"))],
    ),
}


def value_type(name: str) -> ValueType:
    return PYTHON[name][0].to_value_type()


def messages(name: str) -> list[Value]:
    """Feast's protobuf values, a null at the end."""
    return [*python_values_to_proto_values(PYTHON[name][1], value_type(name)), Value()]


def stored(name: str) -> list[Any]:
    number = value_type(name).value
    return [stored_value(message, number) for message in messages(name)]
