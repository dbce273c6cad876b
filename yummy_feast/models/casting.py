"""From a value of JSON to one of a signature's types, as MLflow casts it.

MLflow goes through pandas: text that reads as a number is one, a fraction is cut off where a whole number is wanted,
and null is a missing number. It also lets whole numbers that are too large for their type turn into others, and every
text be true; these are refused here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ctypes import c_float
from typing import Any, Final

import numpy as np

from yummy_feast.errors import ModelInputError
from yummy_feast.models.base import Kind, Matrix
from yummy_feast.models.signature import Type

_MISSING: Final = float("nan")
_LIMITS: Final = {Type.INTEGER: 1 << 31, Type.LONG: 1 << 63}
WHOLE: Final = frozenset(_LIMITS)
"""Types that hold no missing value."""


def caster(kind: Kind, type_: Type, required: bool = True, *, spell: bool = False) -> Callable[[Any], Any]:
    """The function that casts one value for a feature of this kind; it raises ValueError, TypeError, OverflowError.

    required: of an optional whole number, null is missing. spell: whether a string is made of what is none.
    """
    if type_ in _LIMITS:
        whole = _whole_of(_LIMITS[type_])
        if required:
            return whole
        absent = _MISSING if kind is Kind.NUMBER else None
        return lambda value: absent if value is None else whole(value)
    if type_ is Type.BOOLEAN:
        return _boolean
    if kind is not Kind.NUMBER:
        return str if spell and type_ is Type.STRING else _scalar
    return _single if type_ is Type.FLOAT else _double


def _double(value: Any) -> float:
    if value is None:
        return _MISSING
    if isinstance(value, list | dict):
        raise TypeError("is no number")
    return float(value)


def _single(value: Any) -> float:
    return c_float(_double(value)).value


def _whole_of(limit: int) -> Callable[[Any], int]:
    def cast(value: Any) -> int:
        if value is None:
            raise TypeError("a whole number cannot be missing")
        if isinstance(value, list | dict):
            raise TypeError("is no whole number")
        whole = int(value)
        if not -limit <= whole < limit:
            raise OverflowError(f"is outside of {-limit} to {limit - 1}")
        return whole

    return cast


def _boolean(value: Any) -> bool:
    if isinstance(value, str | list | dict):
        raise TypeError("is neither true nor false")
    return bool(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, list | dict):
        raise TypeError("is no single value")
    return value


class CellError(ModelInputError):
    """Something is wrong with a row: ``what`` (of its input, or nothing) and ``said`` about it."""

    def __init__(self, row: int, what: str, said: str, *, hint: str = "") -> None:
        super().__init__(f"{what}row {row}: {said}", hint=hint)
        self.row = row
        self.what = what
        self.said = said

    def at(self, first: int) -> ModelInputError:
        """The same of a caller who counts its rows from elsewhere."""
        return ModelInputError(f"{self.what}row {first + self.row}: {self.said}", hint=self.hint)


def cast_column(values: Sequence[Any], cast: Callable[[Any], Any], name: str, type_: Type) -> list[Any]:
    """All values of one input. ModelInputError that names the input, the row and the value."""
    done: list[Any] = []
    try:
        for value in values:
            done.append(cast(value))  # noqa: PERF401 - how far it came tells which row is wrong
    except (ValueError, TypeError, OverflowError) as error:
        said = str(error) if str(error).startswith(("is ", "a whole")) else "cannot be cast"
        wanted = "a number" if type_ is Type.ANY else type_.value
        raise CellError(
            len(done), f"input {name!r}, ", f"{_short(values[len(done)])}: {said}", hint=f"the model wants {wanted}"
        ) from None
    return done


def whole_numbers(column: Matrix, type_: Type) -> Matrix | None:
    """Numbers with their fractions cut off; None if any is missing, or too large, so that its row must be found."""
    limit = _LIMITS[type_]
    cut = np.trunc(column)
    return cut if ((cut >= -limit) & (cut < limit)).all() else None


def single_precision(column: Matrix) -> Matrix:
    """Numbers rounded to 32 bits, as they are where a float is wanted."""
    with np.errstate(over="ignore"):
        return column.astype(np.float32).astype(np.float64)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
