"""How Arrow values travel through Spark, which has fewer types: as carriers, without losing a bit.

A carrier is a type that Spark has and that holds every value of the original: the raw number for times of any unit,
the bits of an unsigned integer as a signed one, a list of pairs for a map. ``carry`` goes there, ``restore`` comes
back; both cost next to nothing, because most of it is the same buffers under another name.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from yummy_feast.errors import ColumnTypeError

SAME: tuple[Callable[[pa.DataType], bool], ...] = (
    pt.is_boolean,
    pt.is_signed_integer,
    pt.is_float32,
    pt.is_float64,
    pt.is_string,
    pt.is_binary,
)
"""Types that are their own carriers."""

_RAW: tuple[tuple[Callable[[pa.DataType], bool], pa.DataType], ...] = (
    (pt.is_uint64, pa.int64()),
    (pt.is_timestamp, pa.int64()),
    (pt.is_date64, pa.int64()),
    (pt.is_time64, pa.int64()),
    (pt.is_duration, pa.int64()),
    (pt.is_date32, pa.int32()),
    (pt.is_time32, pa.int32()),
)
"""Types whose carrier is the same bits."""

_CAST: tuple[tuple[Callable[[pa.DataType], bool], pa.DataType], ...] = (
    (pt.is_null, pa.int8()),
    (pt.is_uint8, pa.int16()),
    (pt.is_uint16, pa.int32()),
    (pt.is_uint32, pa.int64()),
    (pt.is_float16, pa.float32()),
    (pt.is_large_string, pa.string()),
    (pt.is_string_view, pa.string()),
    (pt.is_large_binary, pa.binary()),
    (pt.is_binary_view, pa.binary()),
    (pt.is_fixed_size_binary, pa.binary()),
)
"""Types whose carrier holds the same values in another form."""


def carrier(kind: pa.DataType) -> pa.DataType:
    """The type in which values of ``kind`` travel.

    Raises:
        ColumnTypeError: there is none.
    """
    if isinstance(kind, pa.BaseExtensionType):
        return carrier(kind.storage_type)
    if _is_encoded(kind):
        return carrier(kind.value_type)
    if any(same(kind) for same in SAME):
        return kind
    for is_it, to in (*_RAW, *_CAST):
        if is_it(kind):
            return to
    if pt.is_decimal(kind):
        return pa.decimal128(kind.precision, kind.scale) if _fits_spark(kind) else pa.string()
    if is_list(kind):
        return pa.list_(carrier(kind.value_type))
    if pt.is_map(kind):
        return pa.list_(pa.struct([("key", carrier(kind.key_type)), ("value", carrier(kind.item_type))]))
    if pt.is_struct(kind) and kind.num_fields:
        # Names of their own: Spark does not tell `a` from `A`.
        return pa.struct([(f"f{number}", carrier(kind.field(number).type)) for number in range(kind.num_fields)])
    raise ColumnTypeError(
        f"values of type {kind} cannot travel through Spark",
        hint="cast the column in the source, or use engine: duckdb",
    )


def carry(values: pa.Array, kind: pa.DataType | None = None) -> pa.Array:
    """``values`` (of type ``kind``) in their carrier type."""
    kind = values.type if kind is None else kind
    if isinstance(values, pa.ExtensionArray):
        return carry(values.storage)
    if _is_encoded(values.type):
        plain = values.cast(kind.value_type) if pt.is_dictionary(values.type) else values.decode()
        return carry(plain)
    to = carrier(kind)
    if to == kind:
        return values
    if any(is_it(kind) for is_it, _ in _RAW):
        return values.view(to)
    if is_list(kind):
        offsets, items = _list_parts(values)
        return _list_of(offsets, carry(items), to, values)
    if pt.is_map(kind):
        pairs = pa.StructArray.from_arrays([carry(values.keys), carry(values.items)], fields=list(to.value_type))
        return _list_of(np.asarray(values.offsets), pairs, to, values)
    if pt.is_struct(kind):
        children = [carry(values.field(number)) for number in range(kind.num_fields)]
        return pa.StructArray.from_arrays(children, fields=list(to), mask=_nulls(values))
    return values.cast(to)


def restore(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Values in their carrier type as ``kind`` again."""
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, restore(values, kind.storage_type))
    if pt.is_dictionary(kind):
        return restore(values, kind.value_type).dictionary_encode().cast(kind)
    if pt.is_run_end_encoded(kind):
        return restore(values, kind.value_type)
    to = carrier(kind)
    if values.type != to:
        # Spark names the children of lists and structs as it likes, and says of some that they are never null.
        values = values.cast(to)
    if to == kind:
        return values
    if pt.is_null(kind):
        return pa.nulls(len(values))
    if any(is_it(kind) for is_it, _ in _RAW):
        return values.view(kind)
    if is_list(kind):
        return _restored_list(values, kind)
    if pt.is_map(kind):
        pairs = values.values
        keys, items = restore(pairs.field(0), kind.key_type), restore(pairs.field(1), kind.item_type)
        return pa.MapArray.from_arrays(_offsets(values), keys, items, kind, mask=_nulls(values))
    if pt.is_struct(kind):
        children = [restore(values.field(number), kind.field(number).type) for number in range(kind.num_fields)]
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=_nulls(values))
    return values.cast(kind)


def restored(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """See ``restore``, for a column of a table."""
    return pa.chunked_array([restore(chunk, kind) for chunk in column.chunks], kind)


def is_list(kind: pa.DataType) -> bool:
    """Whether values of that type are lists in any of Arrow's forms."""
    return bool(
        pt.is_list(kind)
        or pt.is_large_list(kind)
        or pt.is_fixed_size_list(kind)
        or pt.is_list_view(kind)
        or pt.is_large_list_view(kind)
    )


def _is_encoded(kind: pa.DataType) -> bool:
    return bool(pt.is_dictionary(kind) or pt.is_run_end_encoded(kind))


def _fits_spark(kind: pa.DataType) -> bool:
    return bool(kind.precision <= 38 and 0 <= kind.scale <= kind.precision)


def _nulls(values: pa.Array) -> pa.Array | None:
    return values.is_null() if values.null_count else None


def _offsets(values: pa.Array) -> pa.Array:
    """Offsets in an array of their own: those of a slice cannot be given together with nulls."""
    return pa.array(np.asarray(values.offsets), pa.int32())


def _list_parts(values: pa.Array) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], pa.Array]:
    """Offsets, one more than there are lists, and the items they count in."""
    kind = values.type
    if pt.is_list_view(kind):
        values = values.cast(pa.list_(kind.value_type))
    elif pt.is_large_list_view(kind):
        values = values.cast(pa.large_list(kind.value_type))
    elif pt.is_fixed_size_list(kind):
        return (np.arange(len(values) + 1, dtype=np.int64) + values.offset) * kind.list_size, values.values
    return np.asarray(values.offsets, np.int64), values.values


def _list_of(
    offsets: np.ndarray[tuple[int], np.dtype[np.int64]], items: pa.Array, kind: pa.DataType, like: pa.Array
) -> pa.Array:
    # The items before the first list of a slice do not travel.
    first, last = int(offsets[0]), int(offsets[-1])
    counted = pa.array(offsets - first, pa.int32())
    return pa.ListArray.from_arrays(counted, items.slice(first, last - first), kind, mask=_nulls(like))


def _restored_list(values: pa.Array, kind: pa.DataType) -> pa.Array:
    inner = restore(values.values, kind.value_type)
    if pt.is_fixed_size_list(kind):
        # Not by a cast, which crashes where lists are null and no items are there.
        places = np.asarray(values.offsets)[:-1, np.newaxis] + np.arange(kind.list_size)
        missing = np.repeat(np.asarray(values.is_null()), kind.list_size)
        items = inner.take(pa.array(places.ravel(), pa.int64(), mask=missing))
        return pa.FixedSizeListArray.from_arrays(items, type=kind, mask=_nulls(values))
    plain = pa.list_(kind.value_field)
    lists = pa.ListArray.from_arrays(_offsets(values), inner, plain, mask=_nulls(values))
    return lists if plain == kind else lists.cast(kind)
