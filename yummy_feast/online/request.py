"""Entity rows of a request: from whatever callers hold to columns, and from columns to join key values.

Rows come as a list of dicts or as columns (lists, numpy arrays, pandas Series, Feast's ``Value`` messages,
``RepeatedValue``). Every complaint names the column, the row and the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from numbers import Real
from typing import Any

from feast.errors import RequestDataNotFoundInEntityRowsException

from yummy_feast.errors import MissingJoinKeyError, OnlineRequestError, nearest
from yummy_feast.values import NULL_TIMESTAMP, kind_of, stored_value

BYTES, STRING, INT32, INT64, UNIX_TIMESTAMP = 1, 2, 3, 4, 8
"""The Feast types a join key can have (``feast.infra.key_encoding_utils`` knows no others)."""

_DIGITS = re.compile(r"[+-]?[0-9]+")
_LIMITS = {INT32: 2**31, INT64: 2**63, UNIX_TIMESTAMP: 2**63}


def to_columns(entity_rows: Sequence[Mapping[str, Any]] | Mapping[str, Any]) -> tuple[dict[str, list[Any]], int]:
    """Column name -> values, and the number of rows.

    A mapping without columns is one row that knows nothing: enough for views without entities.

    Raises OnlineRequestError: no rows, rows with different keys, columns of different lengths, a column that is no
    list.
    """
    if type(entity_rows) is dict and len(entity_rows) == 1:
        # What most requests are.
        [values] = entity_rows.values()
        if type(values) is list and values:
            return entity_rows, len(values)
    if isinstance(entity_rows, Mapping):
        columns = {name: _to_list(name, values) for name, values in entity_rows.items()}
        lengths = {name: len(values) for name, values in columns.items()}
        length = next(iter(lengths.values()), 1)
        if any(other != length for other in lengths.values()):
            listed = ", ".join(f"{name} {other}" for name, other in lengths.items())
            raise OnlineRequestError(
                f"the entity columns have different lengths: {listed}", hint="give every column one value per row"
            )
    else:
        length = len(entity_rows)
        columns = _transpose(entity_rows) if length else {}
    if not length:
        raise OnlineRequestError("there are no entity rows", hint="ask for at least one entity")
    return columns, length


def _transpose(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    first = rows[0]
    try:
        columns = {name: [row[name] for row in rows] for name in first}
    except KeyError:
        columns = {}
    if not columns or any(len(row) != len(first) for row in rows):
        for index, row in enumerate(rows):
            differing = sorted(map(str, set(first) ^ set(row)))
            if differing:
                raise OnlineRequestError(
                    f"entity row {index} and entity row 0 do not have the same keys: {', '.join(differing)}",
                    hint="All entity_rows must have the same keys",
                )
    return columns


def _to_list(name: str, values: Any) -> list[Any]:
    if isinstance(values, list):
        return values
    if isinstance(values, str | bytes | Mapping):
        raise OnlineRequestError(
            f"entity column {name!r} is {type(values).__name__} {values!r:.80}, not a list of values",
            hint=f"write {{{name!r}: [...]}}, one value per row",
        )
    if isinstance(values, Sequence):
        return list(values)
    if hasattr(values, "val"):  # Feast's RepeatedValue
        return list(values.val)
    if hasattr(values, "tolist"):  # numpy, pandas, Arrow
        listed = values.tolist()
        if isinstance(listed, list):
            return listed
    raise OnlineRequestError(
        f"entity column {name!r} is a {type(values).__name__}, not a list of values", hint="one value per row"
    )


def missing_join_key(name: str, given: Sequence[str], views: Sequence[str]) -> MissingJoinKeyError:
    """The error for join key ``name`` that ``views`` need."""
    return MissingJoinKeyError(
        f"the entity rows lack join key {name!r}, which feature view {', '.join(views)} needs",
        hint=nearest(name, given) if given else "the rows have no columns at all",
    )


class MissingRequestDataError(OnlineRequestError, RequestDataNotFoundInEntityRowsException):
    """Request data that an on-demand view needs is not among the request's columns."""


def missing_request_data(names: Sequence[str], given: Sequence[str]) -> MissingRequestDataError:
    """The error for request data ``names``."""
    return MissingRequestDataError(
        f"the entity rows lack request data {', '.join(map(repr, names))}, which an on-demand feature view needs",
        hint=f"the rows have {', '.join(given)}" if given else "the rows have no columns at all",
    )


def unknown_columns(names: Sequence[str], known: Sequence[str]) -> OnlineRequestError:
    """The error for request columns that are neither join key nor request data of what is asked for."""
    return OnlineRequestError(
        f"nothing that was asked for uses entity column {', '.join(map(repr, names))}", hint=nearest(names[0], known)
    )


# ------------------------------------------------------------------------------------------- join keys


def cast_keys(name: str, values: list[Any], kind: int) -> list[Any]:
    """Join key values of Feast type number ``kind``: str, bytes, int (timestamps in whole seconds); None for null and
    NaN.

    Integers may come as integral floats and as text, text as anything that is not a container, timestamps as datetimes
    (naive means UTC), ISO 8601 text or seconds: what JSON and pandas make of keys on the way here.

    Raises OnlineRequestError, naming the column, the row and the value, for anything else and for integers out of
    range.
    """
    if kind == INT64:
        # What nearly every request is. bool is no int here, and the limits are checked with two passes in C.
        if set(map(type, values)) == {int} and min(values) >= -(2**63) and max(values) < 2**63:
            return values
    elif kind == STRING and set(map(type, values)) == {str}:
        return values
    cast = _CASTS.get(kind)
    if cast is None:
        raise OnlineRequestError(
            f"join key {name!r} is {kind_of(kind).name}, which Feast cannot look up",
            hint="declare it as String, Int32, Int64, Bytes or UnixTimestamp",
        )
    return [_cast_one(name, row, value, kind, cast) for row, value in enumerate(values)]


def _cast_one(name: str, row: int, value: Any, kind: int, cast: Callable[[Any], Any]) -> Any:
    try:
        if hasattr(value, "WhichOneof"):  # Feast's Value
            value = stored_value(value, kind)
        if is_null(value):
            return None
        key = cast(value)
        limit = _LIMITS.get(kind)
        if limit is not None and not -limit <= key < limit:
            raise OverflowError
        if kind == UNIX_TIMESTAMP and key == NULL_TIMESTAMP:
            return None
    except (TypeError, ValueError, OverflowError, ArithmeticError):
        raise OnlineRequestError(
            f"entity row {row}: join key {name!r} is {value!r:.80} ({type(value).__name__}), not {kind_of(kind).name}",
            hint="send a value of the entity's declared type",
        ) from None
    return key


def is_null(value: Any) -> bool:
    """Whether a value means "none": None, NaN, and pandas' NA and NaT."""
    if value is None:
        return True
    if isinstance(value, Real):
        return bool(value != value)
    # Only pandas' own scalars are left; it is loaded whenever one of them can be here.
    return type(value).__name__ in ("NAType", "NaTType")


def _cast_int(value: Any) -> int:
    # bool is an integer to Python, and True would silently be entity 1.
    if isinstance(value, bool):
        raise TypeError
    if isinstance(value, str):
        # int() alone would take "1_000" and " 7 ".
        if _DIGITS.fullmatch(value) is None:
            raise ValueError
        return int(value)
    # numpy's numbers of any width are Real, and so are Python's.
    number: Any = value
    if not isinstance(value, Real) or int(number) != number:
        raise TypeError
    return int(number)


def _cast_text(value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview | Mapping | Sequence) or hasattr(value, "__iter__"):
        raise TypeError
    return str(value)


def _cast_bytes(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise TypeError


def _cast_timestamp(value: Any) -> int:
    if hasattr(value, "dtype") and hasattr(value, "astype") and value.dtype.kind == "M":  # numpy.datetime64
        return int(value.astype("datetime64[s]").astype("int64"))
    if isinstance(value, str):
        # Digits alone are seconds, as in Feast, though ISO 8601 knows days without dashes.
        value = int(value) if _DIGITS.fullmatch(value) else datetime.fromisoformat(value)
    if isinstance(value, datetime):
        aware = value if value.utcoffset() is not None else value.replace(tzinfo=UTC)
        return int(aware.timestamp())
    if isinstance(value, date):
        return int(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp())
    return _cast_int(value)


_CASTS: dict[int, Callable[[Any], Any]] = {
    BYTES: _cast_bytes,
    STRING: _cast_text,
    INT32: _cast_int,
    INT64: _cast_int,
    UNIX_TIMESTAMP: _cast_timestamp,
}


def plain_values(name: str, values: list[Any]) -> list[Any]:
    """Values of no declared type (request data, join keys of other entities) as Feast makes them on their way through
    ``Value``.

    Plain scalars stay what they are (Feast turns 2.5 into 2 when the column starts with an int). OnlineRequestError for
    values that no Feast type holds.
    """
    if set(map(type, values)) <= {int, float, str, bool, type(None)}:
        return values
    from feast.type_map import feast_value_type_to_python_type, python_values_to_proto_values

    try:
        # Messages may come in as they are; Feast passes them through too.
        if all(hasattr(value, "WhichOneof") for value in values):
            messages = values
        else:
            messages = python_values_to_proto_values(values)
        return [feast_value_type_to_python_type(message) for message in messages]
    except (TypeError, ValueError, AssertionError, KeyError, OverflowError) as error:
        raise OnlineRequestError(
            f"entity column {name!r} holds values that Feast cannot take: {error}",
            hint=f"the first is {values[0]!r:.80}",
        ) from error
