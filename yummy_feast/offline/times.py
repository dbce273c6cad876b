"""Instants as int64, without ever moving one across another.

Sources and entity rows hold times in seconds to nanoseconds, with and without a zone. Comparing them in one common
unit either overflows (nanoseconds end in 2262) or rounds (a feature of 10.4 us must not become visible at 10 us). So
features keep their own unit and the entity rows' times become bounds in it, exactly: the newest allowed instant is
rounded down, the oldest allowed is rounded up. A time without a zone is UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from yummy_feast.errors import ColumnTypeError
from yummy_feast.values.kinds import PER_SECOND as PER_SECOND

Int64s = npt.NDArray[np.int64]

MIN = int(np.iinfo(np.int64).min)
MAX = int(np.iinfo(np.int64).max)
MISSING = MIN
"""Stands for a null time: smaller than every real one."""


def unit_of(column: str, kind: pa.DataType, place: str = "") -> str:
    """The unit (s, ms, us, ns) in which a column of this type is compared. place: where the column is, for the error.

    Raises:
        ColumnTypeError: the column holds no times.
    """
    if pa.types.is_timestamp(kind):
        return str(kind.unit)
    if pa.types.is_date32(kind):
        return "s"
    if pa.types.is_date64(kind):
        return "ms"
    raise ColumnTypeError(
        f"column '{column}'{place and f' of {place}'} holds {kind}, not timestamps",
        hint="name a timestamp column in timestamp_field, or store the column as one",
    )


def instants(values: pa.Array | pa.ChunkedArray, unit: str | None = None) -> Int64s:
    """Times as int64 in ``unit`` (the column's own when None), ``MISSING`` where null; shape (n,).

    A finer unit than the column's multiplies and clips at the ends of int64; a coarser one is not allowed.
    """
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks() if values.num_chunks != 1 else values.chunk(0)
    kind = values.type
    own = unit_of("time", kind)
    raw = values.view(pa.int32()).cast(pa.int64()) if pa.types.is_date32(kind) else values.view(pa.int64())
    nulls = raw.null_count
    out: Int64s = (pc.fill_null(raw, 0) if nulls else raw).to_numpy(zero_copy_only=False)
    if pa.types.is_date32(kind):
        out = out * 86_400
    if unit is not None and unit != own:
        out = scale_up(out, PER_SECOND[unit] // PER_SECOND[own])
    if nulls:
        out = np.where(raw.is_valid().to_numpy(zero_copy_only=False), out, MISSING)
    return out


def scale_up(values: Int64s, factor: int) -> Int64s:
    """``values * factor``, clipped to int64 (never to ``MISSING``)."""
    limit = MAX // factor
    return np.clip(values, -limit, limit) * factor


def newest_allowed(entity: Int64s, entity_unit: str, unit: str) -> Int64s:
    """The largest instant in ``unit`` that is not after each entity time."""
    have, want = PER_SECOND[entity_unit], PER_SECOND[unit]
    if want >= have:
        return scale_up(entity, want // have)
    return entity // (have // want)


def oldest_allowed(entity: Int64s, entity_unit: str, unit: str, ttl_us: int) -> Int64s:
    """The smallest instant in ``unit`` that is not before each entity time minus the ttl (microseconds); ``MIN`` + 1
    where open.
    """
    have, want = PER_SECOND[entity_unit], PER_SECOND[unit]
    if have < PER_SECOND["us"]:
        entity, have = scale_up(entity, PER_SECOND["us"] // have), PER_SECOND["us"]
    ttl = ttl_us * (have // PER_SECOND["us"])
    if ttl > MAX // 2:
        return np.full(len(entity), MIN + 1, np.int64)
    oldest = np.where(entity < MIN + 1 + ttl, MIN + 1, entity - ttl)
    if want >= have:
        return scale_up(oldest, want // have)
    step = have // want
    return np.asarray(-((-oldest) // step), np.int64)


def to_micros(values: Int64s, unit: str, *, up: bool = False) -> Int64s:
    """Instants in ``unit`` as microseconds, rounded down (or up), clipped to int64; ``MISSING`` stays."""
    per = PER_SECOND[unit]
    if per <= 1_000_000:
        out = scale_up(values, 1_000_000 // per)
    else:
        step = per // 1_000_000
        out = -((-values) // step) if up else values // step
    return np.where(values == MISSING, MISSING, out)


def utc(values: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """A timestamp column in UTC and its own unit: another zone is converted, none is taken to be UTC."""
    if not pa.types.is_timestamp(values.type) or values.type.tz == "UTC":
        return values
    return values.cast(pa.timestamp(values.type.unit, "UTC"))


def show(micros: int) -> str:
    """Microseconds since 1970 for people; ``the beginning`` where open."""
    if micros <= MIN + 1:
        return "the beginning"
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)).isoformat(sep=" ")
    except OverflowError:
        return f"{micros} us since 1970"
