"""A feature column on its way into rows: numbers of one width, or one piece of bytes per row.

``convert`` takes what a source gave: any Arrow type that can stand for the declared Feast type. ``of_messages``
takes Feast's protobuf values, ``of_stored`` what they held.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from yummy_feast.errors import ValueTypeError
from yummy_feast.online.arrow_numbers import NUMPY, Mask, fixed, mask, plain
from yummy_feast.online.arrow_pieces import pieces
from yummy_feast.values import Encoding, Kind, kind_of, stored_value

if TYPE_CHECKING:
    from feast.protos.feast.types.Value_pb2 import Value


@dataclass(frozen=True)
class FixedColumn:
    """Numbers of one width. ``values`` has one entry per row (0 where null)."""

    name: str
    number: int
    values: npt.NDArray[Any]
    nulls: Mask

    @cached_property
    def bounds(self) -> tuple[int, int]:
        """Smallest and largest value of an integer column; (0, 0) when empty."""
        return (int(self.values.min()), int(self.values.max())) if len(self.values) else (0, 0)


@dataclass(frozen=True)
class HeapColumn:
    """Pieces of bytes. ``data`` is a large_binary array without nulls (empty where null), ``lengths`` its lengths."""

    name: str
    number: int
    data: pa.Array
    lengths: npt.NDArray[np.int64]
    nulls: Mask


Column = FixedColumn | HeapColumn


def convert(name: str, number: int, array: pa.Array | pa.ChunkedArray) -> Column:
    """The column ``name`` of Feast type ``number`` from Arrow.

    Raises ValueTypeError naming the column when a value does not fit the declared type.
    """
    kind = kind_of(number)
    try:
        values = plain(array)
        if pa.types.is_null(values.type):
            return _all_null(name, kind, len(values))
        if kind.encoding is Encoding.FIXED:
            return FixedColumn(name, number, *fixed(kind, values))
        return _heap(name, number, pieces(kind, values))
    # KeyError and AssertionError are how Feast's own converters refuse a nested value.
    except (pa.ArrowException, TypeError, ValueError, OverflowError, AssertionError, KeyError) as error:
        raise _misfit(name, kind, array.type, error) from error


def of_messages(name: str, number: int, messages: Iterable[Value | None]) -> Column:
    """The column from Feast's protobuf values, None or an unset one for null. Raises as ``convert`` does."""
    kind = kind_of(number)
    field = kind.proto_field
    if kind.encoding in (Encoding.FIXED, Encoding.TEXT, Encoding.BYTES) and kind.name != "UNIX_TIMESTAMP":
        # What nearly every cell is, asked of it in two calls.
        values = [
            getattr(message, field)
            if message is not None and message.WhichOneof("val") == field
            else message and stored_value(message, number)
            for message in messages
        ]
    else:
        values = [message and stored_value(message, number) for message in messages]
    return of_stored(name, number, values)


def of_stored(name: str, number: int, values: Sequence[Any]) -> Column:
    """The column from stored values (``values.stored_value``), None for nulls. Raises as ``convert`` does."""
    kind = kind_of(number)
    # A push has one row and many columns: numpy is ten times sooner done with it than Arrow.
    if kind.code in _PYTHON and kind.encoding is Encoding.FIXED and set(map(type, values)) <= _PYTHON[kind.code]:
        try:
            return _fixed_of(name, kind, values)
        except OverflowError as error:
            raise _misfit(name, kind, "a larger number", error) from error
    arrow_type = _stored_type(kind)
    try:
        array = pa.array(values, arrow_type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise _misfit(name, kind, "values of another type", error) from error
    return _heap(name, number, array) if kind.encoding is Encoding.PROTO else convert(name, number, array)


# What numpy takes as it is; other types go through Arrow, which is stricter.
_PYTHON: dict[str, set[type]] = {
    "i": {int, NoneType},
    "q": {int, NoneType},
    "d": {float, int, NoneType},
    "f": {float, int, NoneType},
    "?": {bool, NoneType},
}


def _fixed_of(name: str, kind: Kind, values: Sequence[Any]) -> FixedColumn:
    dtype = NUMPY[kind.code]
    nulls = np.array([value is None for value in values], bool) if None in values else None
    present = values if nulls is None else [0 if value is None else value for value in values]
    with np.errstate(over="ignore"):  # a double beyond a float's range is infinite, as in Arrow and in Feast
        return FixedColumn(name, kind.number, np.array(present, dtype), nulls)


def _heap(name: str, number: int, array: pa.Array) -> HeapColumn:
    nulls = mask(array)
    data = array if nulls is None else array.fill_null(b"")
    lengths = pc.binary_length(data).to_numpy().astype(np.int64, copy=False)
    return HeapColumn(name, number, data, lengths, nulls)


def _all_null(name: str, kind: Kind, rows: int) -> Column:
    if kind.encoding is not Encoding.FIXED:
        return _heap(name, kind.number, pa.nulls(rows, pa.large_binary()))
    return FixedColumn(name, kind.number, np.zeros(rows, NUMPY[kind.code]), np.ones(rows, bool) if rows else None)


def _stored_type(kind: Kind) -> pa.DataType:
    if kind.code:
        element = {"i": pa.int32(), "q": pa.int64(), "d": pa.float64(), "f": pa.float32(), "?": pa.bool_()}[kind.code]
        return pa.large_list(element) if kind.encoding is Encoding.VECTOR else element
    if kind.encoding is Encoding.PACKED:
        return pa.large_list(pa.large_binary() if kind.name.startswith("BYTES_") else pa.large_string())
    return pa.large_string() if kind.encoding is Encoding.TEXT else pa.large_binary()


def _misfit(name: str, kind: Kind, found: object, error: Exception) -> ValueTypeError:
    why = error.message if isinstance(error, ValueTypeError) else (str(error).splitlines() or [type(error).__name__])[0]
    return ValueTypeError(
        f"column {name!r} is declared {kind.name} and holds {found}: {why}",
        hint="change the feature's dtype, or the column in the source",
    )
