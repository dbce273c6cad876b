"""Numbers and moments out of Arrow, as numpy arrays of one width with a mask for nulls.

Casting follows Feast's own conversion, with two differences, each because the other way loses data silently: a float
with a fraction is no integer, and timestamps before 1970 round down like those after.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from yummy_feast.errors import ValueTypeError
from yummy_feast.values import Kind
from yummy_feast.values.kinds import PER_SECOND

Mask = npt.NDArray[np.bool_] | None
"""True where the column is null; None when no row is."""

# Spelled out, although every machine we know is little-endian: a row is so by definition.
NUMPY = {"i": "<i4", "q": "<i8", "d": "<f8", "f": "<f4", "?": "?"}

_DAY = 86_400


def plain(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One chunk, without dictionary, run-end or extension around the values (a UUID's storage becomes its text)."""
    if isinstance(array, pa.ChunkedArray):
        # Not combine_chunks(), which answers with several chunks again when they are large.
        array = (
            array.chunk(0) if array.num_chunks == 1 else pa.concat_arrays(array.chunks or [pa.array([], array.type)])
        )
    if isinstance(array.type, pa.BaseExtensionType):
        if array.type.extension_name == "arrow.uuid":
            return pa.array([None if item is None else str(item) for item in array.to_pylist()], pa.string())
        return plain(array.storage)
    if pa.types.is_dictionary(array.type):
        return plain(array.dictionary_decode())
    if pa.types.is_run_end_encoded(array.type):
        return plain(pc.run_end_decode(array))
    return array


def mask(array: pa.Array) -> Mask:
    """Which rows are null."""
    return pc.is_null(array).to_numpy(zero_copy_only=False) if array.null_count else None


def is_text(arrow_type: pa.DataType) -> bool:
    """Whether values are text."""
    types = pa.types
    return bool(types.is_string(arrow_type) or types.is_large_string(arrow_type) or types.is_string_view(arrow_type))


def fixed(kind: Kind, array: pa.Array) -> tuple[npt.NDArray[Any], Mask]:
    """Values of a fixed-width Feast type (0 where null) and where they are null.

    Raises ValueTypeError or an Arrow error for a value that does not fit.
    """
    numbers = _seconds(array) if kind.name == "UNIX_TIMESTAMP" else _cast(kind, array)
    nulls = mask(numbers)
    filled = numbers.fill_null(kind.code != "?" and 0) if nulls is not None else numbers
    return filled.to_numpy(zero_copy_only=False).astype(NUMPY[kind.code], copy=False), nulls


def microseconds(array: pa.Array | pa.ChunkedArray, name: str) -> tuple[npt.NDArray[np.int64], Mask]:
    """Moments as microseconds since 1970, rounded down (0 where null), from timestamps of any unit and zone or dates.

    A timestamp without a zone is UTC. Raises ValueTypeError, naming the column, for anything else.
    """
    array = plain(array)
    types = pa.types
    if types.is_null(array.type):
        return np.zeros(len(array), np.int64), np.ones(len(array), bool)
    if types.is_date(array.type):
        array = array.cast(pa.timestamp("ms"))
    if not types.is_timestamp(array.type):
        raise ValueTypeError(
            f"column {name!r} holds {array.type}, which are no timestamps", hint="cast it in the source"
        )
    ticks = array.cast(pa.int64())
    nulls = mask(ticks)
    moments = (ticks.fill_null(0) if nulls is not None else ticks).to_numpy()
    per_second = PER_SECOND[array.type.unit]
    if per_second > 10**6:
        return moments // (per_second // 10**6), nulls
    factor = 10**6 // per_second
    if len(moments) and max(-int(moments.min()), int(moments.max())) > (2**63 - 1) // factor:
        raise ValueTypeError(f"column {name!r} holds a moment more than 292,000 years from 1970")
    return moments * factor, nulls


def _cast(kind: Kind, array: pa.Array) -> pa.Array:
    source = array.type
    types = pa.types
    numeric = types.is_integer(source) or types.is_floating(source) or types.is_decimal(source)
    if not (numeric or types.is_boolean(source) or is_text(source)):
        # Arrow would also make a number of a timestamp or a duration, in whatever unit it happens to have.
        raise ValueTypeError("these are no numbers")
    if types.is_floating(source) and kind.code in "iq":
        # pandas turns integers with nulls into floats with NaN; there is no integer NaN.
        array = pc.if_else(pc.is_nan(array), None, array)
    # An integer beyond a float's precision is rounded, as Feast does; everything else must arrive unchanged.
    return array.cast(kind.arrow, safe=kind.code not in "df" or is_text(source))


def _seconds(array: pa.Array) -> pa.Array:
    """Whole seconds since 1970, rounded down; integers are seconds already."""
    types = pa.types
    if types.is_date32(array.type):
        return pc.multiply(array.cast(pa.int32()).cast(pa.int64()), _DAY)
    if types.is_date64(array.type):
        return _floor_divide(array.cast(pa.int64()), 1_000)
    if types.is_timestamp(array.type):
        return _floor_divide(array.cast(pa.int64()), PER_SECOND[array.type.unit])
    if types.is_integer(array.type):
        return array.cast(pa.int64())
    raise ValueTypeError("these are no timestamps")


def _floor_divide(ticks: pa.Array, unit: int) -> pa.Array:
    if unit == 1:
        return ticks
    nulls = mask(ticks)
    whole = (ticks.fill_null(0) if nulls is not None else ticks).to_numpy() // unit
    return pa.array(whole, pa.int64(), mask=nulls)
