"""Maps, structs and lists of lists out of Arrow, as Feast's protobuf values.

The fields of ``Value`` are those that Feast's own converter picks (``feast.type_map``). That one infers them from the
values alone, so it fails on an empty list inside a map, makes a missing list of an empty list inside a list, and a null
of NaN. Here the column's Arrow type says what an empty list is a list of, and every value comes back as it went in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.types as pt

from yummy_feast.errors import ValueTypeError
from yummy_feast.online.arrow_numbers import is_text
from yummy_feast.values import NULL_TIMESTAMP, Kind, is_list

if TYPE_CHECKING:
    from feast.protos.feast.types.Value_pb2 import Map, MapKey, Value

NULL_INSIDE = "a null inside a list, which Feast cannot hold for this type"

Make = Callable[[Any], Any]


def value_maker(kind: Kind, arrow: pa.DataType) -> Callable[[Any], Value] | None:
    """From a Python value of a column of this Arrow type (maps as dicts, never None) to Feast's ``Value`` of ``kind``.

    None where Feast's own converter must look at the values (JSON text for a map, a type with a zone). The function
    raises ValueTypeError for a null where Feast has no place for one.
    """
    from feast.protos.feast.types.Value_pb2 import MapList, RepeatedValue, ScalarMap, Value

    name = kind.name
    if name in ("MAP", "STRUCT") and _is_record(arrow):
        record = _record(arrow)
        field = "map_val" if name == "MAP" else "struct_val"
        return lambda value: _message(field, record(value))
    if name in ("MAP_LIST", "STRUCT_LIST") and is_list(arrow) and _is_record(arrow.value_type):
        records = _all(_record(arrow.value_type))
        field = "map_list_val" if name == "MAP_LIST" else "struct_list_val"
        return lambda value: _message(field, MapList(val=records(value)))
    if name in ("VALUE_LIST", "VALUE_SET") and is_list(arrow) and is_list(arrow.value_type):
        item = _value(arrow.value_type)
        field = "list_val" if name == "VALUE_LIST" else "set_val"
        return lambda value: _message(field, RepeatedValue(val=map(item, value)))
    if name == "SCALAR_MAP" and pt.is_map(arrow) and not is_text(arrow.key_type):
        entries = _entries(arrow)
        return lambda value: Value(scalar_map_val=ScalarMap(val=entries(value)))
    return None


def _message(field: str, content: Any) -> Value:
    from feast.protos.feast.types.Value_pb2 import Value

    fields: dict[str, Any] = {field: content}
    return Value(**fields)


def _is_record(arrow: pa.DataType) -> bool:
    """Whether Python sees a dict with texts as keys."""
    return bool(pt.is_struct(arrow) or (pt.is_map(arrow) and is_text(arrow.key_type)))


def _record(arrow: pa.DataType) -> Callable[[dict[str, Any]], Map]:
    from feast.protos.feast.types.Value_pb2 import Map

    if pt.is_map(arrow):
        item = _value(arrow.item_type)
        return lambda value: Map(val={key: item(inner) for key, inner in value.items()})
    items = {child.name: _value(child.type) for child in arrow}
    return lambda value: Map(val={key: items[key](inner) for key, inner in value.items()})


def _entries(arrow: pa.DataType) -> Make:
    from feast.protos.feast.types.Value_pb2 import ScalarMapEntry

    key, item = _key(arrow.key_type), _value(arrow.item_type)
    return lambda value: [ScalarMapEntry(key=key(name), value=item(inner)) for name, inner in value.items()]


def _key(arrow: pa.DataType) -> Callable[[Any], MapKey]:
    from feast.protos.feast.types.Value_pb2 import MapKey

    stem, convert = _scalar(arrow)

    def made(value: Any) -> MapKey:
        content: dict[str, Any] = {f"{stem}_key": convert(value)}
        return MapKey(**content)

    return made


def _value(arrow: pa.DataType) -> Callable[[Any], Value]:
    """A value anywhere inside; a null is an empty ``Value``."""
    from feast.protos.feast.types.Value_pb2 import MapList, RepeatedValue, ScalarMap, Value

    if _is_record(arrow):
        record = _record(arrow)
        return lambda value: Value() if value is None else Value(map_val=record(value))
    if pt.is_map(arrow):
        entries = _entries(arrow)
        return lambda value: Value() if value is None else Value(scalar_map_val=ScalarMap(val=entries(value)))
    if is_list(arrow) and _is_record(arrow.value_type):
        records = _all(_record(arrow.value_type))
        return lambda value: Value() if value is None else Value(map_list_val=MapList(val=records(value)))
    if is_list(arrow) and (is_list(arrow.value_type) or pt.is_map(arrow.value_type)):
        item = _value(arrow.value_type)
        return lambda value: Value() if value is None else Value(list_val=RepeatedValue(val=map(item, value)))
    if is_list(arrow):
        return _scalar_list(arrow.value_type)
    if pt.is_null(arrow):
        return lambda _: Value()
    field, convert = _scalar(arrow)
    field += "_val"
    return lambda value: Value() if value is None else _message(field, convert(value))


def _all(make: Make) -> Make:
    def made(values: list[Any]) -> list[Any]:
        if any(value is None for value in values):
            raise ValueTypeError(NULL_INSIDE)
        return [make(value) for value in values]

    return made


def _scalar_list(element: pa.DataType) -> Callable[[Any], Value]:
    """Nulls inside are what they are in any list: NaN, Feast's null timestamp, empty text; or refused."""
    from feast.protos.feast.types.Value_pb2 import Value

    # A list of nothing but nulls: any type does.
    field, convert = ("string", str) if pt.is_null(element) else _scalar(element)
    stand_in = {"double": math.nan, "unix_timestamp": NULL_TIMESTAMP, "string": "", "bytes": b""}.get(field)

    def made(values: list[Any] | None) -> Value:
        message = Value()
        if values is None:
            return message
        if stand_in is None and any(value is None for value in values):
            raise ValueTypeError(NULL_INSIDE)
        collection = getattr(message, f"{field}_list_val")
        collection.SetInParent()  # an empty list is not a missing one
        collection.val.extend(stand_in if value is None else convert(value) for value in values)
        return message

    return made


def _scalar(arrow: pa.DataType) -> tuple[str, Make]:
    """The stem of the field's name and what goes into it. Widths are those that Feast sees in Python's numbers."""
    if pt.is_boolean(arrow):
        return "bool", bool
    if pt.is_integer(arrow):
        return "int64", int
    if pt.is_floating(arrow):
        return "double", float
    if is_text(arrow):
        return "string", str
    if pt.is_binary(arrow) or pt.is_large_binary(arrow) or pt.is_fixed_size_binary(arrow) or pt.is_binary_view(arrow):
        return "bytes", bytes
    if pt.is_decimal(arrow):
        return "decimal", str
    if pt.is_timestamp(arrow) or pt.is_date(arrow):
        return "unix_timestamp", _seconds
    raise ValueTypeError(f"values of {arrow}, which have no Feast type")


def _seconds(moment: date) -> int:
    """Whole seconds since 1970, rounded down; without a zone it is UTC."""
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    elif moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return math.floor(moment.timestamp())
