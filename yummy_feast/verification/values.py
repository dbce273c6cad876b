"""Whether two stored values are the same value: what a model would see, not how it was spelled.

Floats may differ by the last digit of their declared type; NaN is NaN; the order of a set, the spelling of a decimal
(1.5, 1.50) or of JSON, and the zone of an instant mean nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from yummy_feast.online.answer import finisher_of
from yummy_feast.online.columns import convert
from yummy_feast.online.decoding import decoder
from yummy_feast.online.rows import RowSchema, encode
from yummy_feast.values import Encoding, kind_of

FLOAT_STEP = 2.0**-23
"""One step of a float32 relative to its value: what rounding to it may cost."""
DOUBLE_STEP = 1e-12
"""Sums added up in another order differ by less."""

Features = Sequence[tuple[str, int]]
"""(feature name, Feast type number) each."""


def stored_rows(features: Features, columns: Sequence[pa.Array | pa.ChunkedArray]) -> list[tuple[Any, ...]]:
    """What online rows of these Arrow columns would decode to: through the writer's encoder and the reader's decoder.

    Raises ValueTypeError naming the column when a value does not fit its declared type.
    """
    converted = [convert(name, number, column) for (name, number), column in zip(features, columns, strict=True)]
    rows = len(columns[0]) if columns else 0
    schema = RowSchema.of(features)
    decode = decoder(schema, tuple(features))
    found = map(decode, encode(schema, converted, np.zeros(rows, np.int64)))
    # None stands for a tombstone, and the encoder makes none.
    return [row for row in found if row is not None]


class Comparison:
    """Compares rows of one feature view. relative: the difference that floats may have; None: what their declared
    type rounds to.
    """

    def __init__(self, features: Features, relative: float | None = None) -> None:
        self._same = [_sameness(number, relative) for _, number in features]

    def differing(self, left: tuple[Any, ...], right: tuple[Any, ...]) -> list[int]:
        """Positions of the features whose values differ.

        Raises ValueTypeError for a value whose inside is damaged.
        """
        if left == right:
            return []
        return [
            position
            for position, (a, b, same) in enumerate(zip(left, right, self._same, strict=True))
            if not (a is b or (a is not None and b is not None and same(a, b)))
        ]


def _sameness(number: int, relative: float | None) -> Callable[[Any, Any], bool]:
    kind = kind_of(number)
    step = relative if relative is not None else FLOAT_STEP if kind.name.startswith("FLOAT") else DOUBLE_STEP
    if kind.encoding is Encoding.FIXED:
        return (lambda a, b: _close(a, b, step)) if kind.code in ("f", "d") else (lambda a, b: bool(a == b))
    finish = finisher_of(number) or (lambda value: value)
    return lambda a, b: bool(a == b) or _alike(finish(a), finish(b), step)


def _alike(left: Any, right: Any, step: float) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return _close(left, right, step)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_alike(left[key], right[key], step) for key in left)
    if isinstance(left, set) and isinstance(right, set):
        return left == right or _alike(sorted(left, key=repr), sorted(right, key=repr), step)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(_alike(a, b, step) for a, b in zip(left, right, strict=True))
    return bool(left == right)


def _close(left: float, right: float, step: float) -> bool:
    return math.isclose(left, right, rel_tol=step) or (left != left and right != right)
