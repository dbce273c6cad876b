"""Which stored type still answers for which declared type, after `feast apply` changed a feature's dtype.

A row keeps the type it was written with. It is read as the declared type wherever the writer would have made the same
value: integers and floats into any wider or floating type (rounded where that type is coarser), an INT64 into INT32 as
long as it fits, any text into STRING, bytes among themselves, a list into the set of the same elements and back.
Anything else would be a guess: RowDecodeError names the feature and both types, and materializing the view mends it.
"""

from __future__ import annotations

from collections.abc import Callable
from ctypes import c_float
from typing import Any

from yummy_feast.errors import RowDecodeError
from yummy_feast.values import Encoding, Kind, kind_of

Conversion = Callable[[Any], Any]


def conversion(name: str, stored: int, wanted: int) -> Conversion | None:
    """From a stored value of type ``stored`` to one of type ``wanted``; None where they are the same.

    Raises RowDecodeError when the types do not go together, and so does the function for an integer that does not fit.
    """
    if stored == wanted:
        return None
    old, new = kind_of(stored), kind_of(wanted)
    if old.encoding is new.encoding:
        if new.encoding in (Encoding.VECTOR, Encoding.PACKED):
            return _of_collections(name, old, new)
        if new.encoding is Encoding.BYTES or (new.encoding is Encoding.TEXT and new.name == "STRING"):
            return None
        if old.name in _NUMBERS and new.name in _NUMBERS[old.name]:
            return _NUMBERS[old.name][new.name]
    raise _mismatch(name, old, new)


def _single(value: float) -> float:
    return c_float(value).value


def _int32(value: int) -> int:
    if not -(2**31) <= value < 2**31:
        raise RowDecodeError(f"{value} does not fit into INT32", hint="materialize the feature view again")
    return value


# stored type -> declared type -> conversion
_NUMBERS: dict[str, dict[str, Conversion | None]] = {
    "INT32": {"INT64": None, "DOUBLE": float, "FLOAT": _single},
    "INT64": {"INT32": _int32, "DOUBLE": float, "FLOAT": _single},
    "FLOAT": {"DOUBLE": None},
    "DOUBLE": {"FLOAT": _single},
}


def _of_collections(name: str, old: Kind, new: Kind) -> Conversion | None:
    old_element, new_element = (kind.name.removesuffix("_LIST").removesuffix("_SET") for kind in (old, new))
    if old_element == new_element or (new_element == "STRING" and old_element != "BYTES"):
        return None
    if new_element not in _NUMBERS.get(old_element, {}):
        raise _mismatch(name, old, new)
    convert = _NUMBERS[old_element][new_element]
    return None if convert is None else lambda values: list(map(convert, values))


def _mismatch(name: str, old: Kind, new: Kind) -> RowDecodeError:
    return RowDecodeError(
        f"feature {name!r} is declared {new.name} and was stored as {old.name}",
        hint="materialize the feature view again",
    )
