"""The table itself, and which Feast type an Arrow type is.

Feast is imported inside functions: it takes more than a second, and a server that only moves rows does not need it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from yummy_feast.errors import ValueTypeError

if TYPE_CHECKING:
    from feast.types import ComplexFeastType, PrimitiveFeastType
    from feast.value_type import ValueType

NULL_TIMESTAMP = -(2**63)
"""Feast's "no timestamp" inside an int64 (numpy's NaT): reads as None."""
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""Arrow's units of time."""


class Encoding(enum.Enum):
    """How a value lies in an online row."""

    FIXED = "fixed"
    """``Kind.code`` little-endian, at a constant offset."""
    TEXT = "text"
    """UTF-8."""
    BYTES = "bytes"
    """As they are."""
    VECTOR = "vector"
    """Elements of ``Kind.code``, little-endian, one after the other."""
    PACKED = "packed"
    """A msgpack array of strings or of byte strings."""
    PROTO = "proto"
    """A serialized Feast ``Value``."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One Feast value type.

    number, name: Feast's ``ValueType``.
    encoding: how a row holds it; ``code`` is the struct letter of a fixed value or of a vector's elements.
    proto_field: the field of Feast's ``Value`` that holds it.
    arrow: the Arrow type a writer casts to, None where the type depends on the declaration (nested types).
    """

    number: int
    name: str
    encoding: Encoding
    proto_field: str
    arrow: pa.DataType | None = None
    code: str = ""

    @property
    def is_set(self) -> bool:
        """Whether Python sees a set."""
        return self.name.endswith("_SET")


_SECONDS = pa.timestamp("us", tz="UTC")

_SCALARS = [
    # number, name, encoding, code, Arrow type
    (1, "BYTES", Encoding.BYTES, "", pa.binary()),
    (2, "STRING", Encoding.TEXT, "", pa.string()),
    (3, "INT32", Encoding.FIXED, "i", pa.int32()),
    (4, "INT64", Encoding.FIXED, "q", pa.int64()),
    (5, "DOUBLE", Encoding.FIXED, "d", pa.float64()),
    (6, "FLOAT", Encoding.FIXED, "f", pa.float32()),
    (7, "BOOL", Encoding.FIXED, "?", pa.bool_()),
    (8, "UNIX_TIMESTAMP", Encoding.FIXED, "q", _SECONDS),
    (30, "PDF_BYTES", Encoding.BYTES, "", pa.binary()),
    (31, "IMAGE_BYTES", Encoding.BYTES, "", pa.binary()),
    # Feast writes JSON as large_string and infers Json from it; plain strings elsewhere.
    (32, "JSON", Encoding.TEXT, "", pa.large_string()),
    (36, "UUID", Encoding.TEXT, "", pa.string()),
    (37, "TIME_UUID", Encoding.TEXT, "", pa.string()),
    (44, "DECIMAL", Encoding.TEXT, "", pa.string()),
]

_COLLECTIONS = [
    # element, number of its list, number of its set (None: Feast has none)
    ("BYTES", 11, 22),
    ("STRING", 12, 23),
    ("INT32", 13, 24),
    ("INT64", 14, 25),
    ("DOUBLE", 15, 26),
    ("FLOAT", 16, 27),
    ("BOOL", 17, 28),
    ("UNIX_TIMESTAMP", 18, 29),
    ("JSON", 33, None),
    ("UUID", 38, 40),
    ("TIME_UUID", 39, 41),
    ("DECIMAL", 45, 46),
]

_TEXT_MAP = pa.map_(pa.string(), pa.string())

_NESTED = [
    # number, name, field of Feast's Value, Arrow type
    (19, "NULL", "null_val", pa.null()),
    (20, "MAP", "map_val", _TEXT_MAP),
    (21, "MAP_LIST", "map_list_val", pa.list_(_TEXT_MAP)),
    (34, "STRUCT", "struct_val", None),
    (35, "STRUCT_LIST", "struct_list_val", None),
    (42, "VALUE_LIST", "list_val", None),
    (43, "VALUE_SET", "set_val", None),
    # Feast does not declare a ScalarMap's key type; integers are what string-keyed Map cannot hold and people have.
    (47, "SCALAR_MAP", "scalar_map_val", pa.map_(pa.int64(), pa.string())),
    (48, "ZONED_TIMESTAMP", "zoned_timestamp_val", _SECONDS),
]


def _build_kinds() -> dict[int, Kind]:
    kinds = {}
    scalars = {}
    for number, name, encoding, code, arrow in _SCALARS:
        # PDF_BYTES and IMAGE_BYTES are bytes to Feast's Value.
        field = "bytes_val" if encoding is Encoding.BYTES else f"{name.lower()}_val"
        scalars[name] = kinds[number] = Kind(number, name, encoding, field, arrow, code)
    for element_name, list_number, set_number in _COLLECTIONS:
        element = scalars[element_name]
        encoding = Encoding.VECTOR if element.encoding is Encoding.FIXED else Encoding.PACKED
        for suffix, collection_number in (("LIST", list_number), ("SET", set_number)):
            if collection_number is not None:
                name = f"{element_name}_{suffix}"
                arrow = pa.list_(element.arrow)
                kinds[collection_number] = Kind(
                    collection_number, name, encoding, f"{name.lower()}_val", arrow, element.code
                )
    for number, name, field, arrow in _NESTED:
        kinds[number] = Kind(number, name, Encoding.PROTO, field, arrow)
    return kinds


KINDS: dict[int, Kind] = _build_kinds()
"""Feast's ``ValueType`` number -> what is known about it."""

BY_NAME: dict[str, Kind] = {kind.name: kind for kind in KINDS.values()}


def kind_of(value_type: int | ValueType) -> Kind:
    """The table's line for a Feast ``ValueType`` or its number. ValueTypeError when Feast 0.67 knows no such type."""
    number = value_type if isinstance(value_type, int) else int(value_type.value)
    try:
        return KINDS[number]
    except KeyError:
        raise ValueTypeError(
            f"Feast value type {number} cannot be stored", hint="is the feature's dtype declared?"
        ) from None


# ---------------------------------------------------------------------------------------------- Arrow


def value_type_of(arrow_type: pa.DataType) -> ValueType:
    """The Feast type that holds an Arrow column of ``arrow_type``.

    Integers narrower than 32 bits and uint16 are INT32; uint32 and uint64 INT64. Dates and timestamps of any unit and
    zone are UNIX_TIMESTAMP. A dictionary is its values' type. large_string is STRING, though Feast reads it as JSON:
    pandas and polars write plain text that way.

    Raises ValueTypeError for what Feast cannot hold: times of day, durations, intervals, unions, lists of nothing.
    """
    from feast.value_type import ValueType

    return ValueType[_name_of(arrow_type)]


_NAME_BY_ID = {
    **dict.fromkeys((pa.int8().id, pa.int16().id, pa.int32().id, pa.uint8().id, pa.uint16().id), "INT32"),
    **dict.fromkeys((pa.int64().id, pa.uint32().id, pa.uint64().id), "INT64"),
    **dict.fromkeys((pa.float16().id, pa.float32().id), "FLOAT"),
    pa.float64().id: "DOUBLE",
    pa.bool_().id: "BOOL",
    **dict.fromkeys((pa.string().id, pa.large_string().id, pa.string_view().id), "STRING"),
    **dict.fromkeys((pa.binary().id, pa.large_binary().id, pa.binary_view().id, pa.binary(1).id), "BYTES"),
    **dict.fromkeys((pa.timestamp("us").id, pa.date32().id, pa.date64().id), "UNIX_TIMESTAMP"),
    **dict.fromkeys(
        (pa.decimal32(1).id, pa.decimal64(1).id, pa.decimal128(1).id, pa.decimal256(1).id),
        "DECIMAL",
    ),
    pa.map_(pa.string(), pa.string()).id: "MAP",
    pa.struct([]).id: "STRUCT",
    pa.null().id: "NULL",
}


_LIST_IDS = {
    make(pa.null()).id for make in (pa.list_, pa.large_list, lambda x: pa.list_(x, 1), pa.list_view, pa.large_list_view)
}


def _name_of(arrow_type: pa.DataType) -> str:
    types = pa.types
    if isinstance(arrow_type, pa.BaseExtensionType):
        named = {"arrow.uuid": "UUID", "arrow.json": "JSON", "arrow.bool8": "BOOL"}.get(arrow_type.extension_name)
        return named or _name_of(arrow_type.storage_type)
    if types.is_dictionary(arrow_type) or types.is_run_end_encoded(arrow_type):
        return _name_of(arrow_type.value_type)
    if is_list(arrow_type):
        return _list_name_of(arrow_type)
    if types.is_map(arrow_type) and _name_of(arrow_type.key_type) != "STRING":
        return "SCALAR_MAP"
    name = _NAME_BY_ID.get(arrow_type.id)
    if name is None:
        raise ValueTypeError(
            f"Arrow type {arrow_type} has no Feast type",
            hint="cast the column in the source, or leave it out of the schema",
        )
    return name


def _list_name_of(arrow_type: pa.DataType) -> str:
    element = _name_of(arrow_type.value_type)
    if element.endswith("_LIST"):
        return "VALUE_LIST"
    name = f"{element}_LIST"
    if name not in BY_NAME:
        raise ValueTypeError(
            f"Arrow type {arrow_type} has no Feast type",
            hint="declare the feature's dtype, or cast the list's elements",
        )
    return name


def is_list(arrow_type: pa.DataType) -> bool:
    """Whether an Arrow type is any of Arrow's five spellings of a list."""
    return arrow_type.id in _LIST_IDS


def arrow_type_of(dtype: PrimitiveFeastType | ComplexFeastType) -> pa.DataType:
    """The Arrow type of a declared feature (``Field.dtype``); sets are lists, timestamps are microseconds in UTC.

    A ScalarMap's keys are undeclared in Feast: int64 stands for them. ValueTypeError for Invalid.
    """
    from feast.types import Array, Set, Struct

    if isinstance(dtype, Struct):
        return pa.struct([pa.field(name, arrow_type_of(inner)) for name, inner in dtype.fields.items()])
    if isinstance(dtype, Array | Set):
        return pa.list_(arrow_type_of(dtype.base_type))
    arrow = kind_of(dtype.to_value_type()).arrow
    if arrow is None:
        raise ValueTypeError(f"Feast type {dtype} has no Arrow type", hint="declare what it contains")
    return arrow
