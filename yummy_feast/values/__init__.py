"""The one table: Feast type <-> Arrow type <-> bytes in an online row <-> Python value <-> Feast's protobuf value.

``KINDS`` has one line per Feast value type (``feast.value_type.ValueType``, whose numbers are Feast's wire format and
therefore ours). Everything that asks "what is a DECIMAL_LIST?" asks here:

- ``value_type_of``: which Feast type an Arrow column is (schema inference of ``feast apply``);
- ``arrow_type_of``: which Arrow type a declared Feast type is;
- ``Kind``: how a value lies in an online row, and in which field of Feast's ``Value`` message;
- ``python_finisher`` and ``proto_finisher``: from the stored value to what Feast's SDK answers.

The *stored value* is what a row decodes to, before anybody needs more: a number or bool; ``str``; ``bytes``; a list of
those; whole seconds since 1970 for timestamps; the serialized Feast ``Value`` for everything nested. A list of numbers,
bools or timestamps may also be a ``memoryview`` of them: a window on the row it lies in, which nothing has copied yet.
"""

from yummy_feast.values.finishing import listed, proto_finisher, python_finisher, stored_value
from yummy_feast.values.kinds import (
    BY_NAME,
    KINDS,
    NULL_TIMESTAMP,
    Encoding,
    Kind,
    arrow_type_of,
    is_list,
    kind_of,
    value_type_of,
)

__all__ = [
    "BY_NAME",
    "KINDS",
    "NULL_TIMESTAMP",
    "Encoding",
    "Kind",
    "arrow_type_of",
    "is_list",
    "kind_of",
    "listed",
    "proto_finisher",
    "python_finisher",
    "stored_value",
    "value_type_of",
]
