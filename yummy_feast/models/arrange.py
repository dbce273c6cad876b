"""From the ways in which callers hold rows to what a model scores: inputs found, put in order and cast.

An ``Arranger`` belongs to one model. Which of a caller's columns is which input is decided once for each set of column
names (``Order``), so that one more row costs little.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import itemgetter
from typing import Any, Final

import numpy as np

from yummy_feast.errors import ModelFormatError, ModelInputError, SignatureError
from yummy_feast.models.base import Batch, Feature, Kind, Matrix
from yummy_feast.models.casting import WHOLE, CellError, cast_column, caster, single_precision, whole_numbers
from yummy_feast.models.signature import Column, Signature, Type, missing_inputs

# How struct spells a type; a value that does not fit it goes the long way, where it is cast or refused.
_CODES: Final = {Type.INTEGER: "i", Type.LONG: "q", Type.FLOAT: "f", Type.DOUBLE: "d", Type.ANY: "d"}
_ABSENT: Final = -1
_NAN: Final = float("nan")


@dataclass(frozen=True, slots=True)
class Order:
    """Where each input of the model stands in a row of the caller; -1 for one that is absent.

    take: the inputs of a row in the model's order; None where they are in it already.
    """

    places: tuple[int, ...]
    width: int
    take: Callable[[Sequence[Any]], Sequence[Any]] | None

    @classmethod
    def of(cls, places: Sequence[int], width: int) -> Order:
        """The order of ``places`` in rows of ``width`` values."""
        if list(places) == list(range(width)):
            return cls(tuple(places), width, None)
        if _ABSENT in places:
            return cls(tuple(places), width, lambda row: [None if at < 0 else row[at] for at in places])
        getter = itemgetter(*places)
        return cls(tuple(places), width, getter if len(places) > 1 else lambda row: (getter(row),))


class Arranger:
    """Makes batches for one model. Safe in threads. Every verb raises ModelInputError and its SignatureError.

    ModelFormatError for a signature that is not the model's.

    Args:
        signature: of the MLmodel file, if it has one.
        features: of the model. checks_names: whether the model minds how they are called.
    """

    def __init__(self, signature: Signature | None, features: Sequence[Feature], *, checks_names: bool = False) -> None:
        self.signature = signature
        own = [feature.name for feature in features]
        columns = _columns(signature, features)
        if signature is not None and signature.is_named and checks_names and [c.name for c in columns] != own:
            # The model looks at names, as MLflow's users learn with every request; here it is learned once.
            columns = _renamed(columns, own)
        self.inputs = tuple(columns)
        self.names = tuple(column.name for column in columns)
        self._own_names = own
        self._checks_names = checks_names
        self._kinds = [feature.kind for feature in features]
        self.is_numeric = all(kind is Kind.NUMBER for kind in self._kinds)
        self._place = {name: at for at, name in enumerate(self.names)}
        pairs = list(zip(self._kinds, columns, strict=True))
        self._casts = [caster(kind, column.type, column.required) for kind, column in pairs]
        self._spelling = [caster(kind, column.type, column.required, spell=True) for kind, column in pairs]
        types = [column.type for column in columns]
        self._whole = [at for at, type_ in enumerate(types) if type_ in WHOLE]
        self._booleans = [at for at, type_ in enumerate(types) if type_ is Type.BOOLEAN]
        self._singles = [at for at, type_ in enumerate(types) if type_ is Type.FLOAT]
        self._codec: struct.Struct | None = None
        if self.is_numeric and (self._whole or self._singles) and not self._booleans:
            self._codec = struct.Struct("=" + "".join(_CODES[type_] for type_ in types))
        self.fixed_rows = signature.shape[0] if signature is not None and signature.shape else -1

    def order(self, names: Sequence[str] | None, width: int) -> Order:
        """Where the inputs stand in rows of ``width`` values whose columns bear these names, or none."""
        if names is not None:
            if len(names) != width:
                raise ModelInputError(f"{len(names)} columns passed, and the rows have {width} values")
            if len(set(names)) != width:
                twice = next(name for name in names if names.count(name) > 1)
                raise self._unfit(f"column {twice!r} is there twice")
        if self.signature is not None and self.signature.is_named:
            given = {} if names is None else {name: at for at, name in enumerate(names)}
            return Order.of(self._by_name(given), width)
        count = len(self.inputs)
        must_fit = self._checks_names and self.signature is None
        if names is not None and (must_fit or set(names) == set(self._own_names)):
            given = {name: at for at, name in enumerate(names)}
            missing = [name for name in self._own_names if name not in given]
            if missing:
                error = missing_inputs(missing, names, self._own_names)
                raise self._unfit(error.message, error.hint)
            return Order.of([given[name] for name in self._own_names], width)
        if width < count or (width > count and (self.signature is None or self.signature.shape is not None)):
            raise self._unfit(
                f"the model takes {count} inputs, and the rows have {width}",
                hint=f"in the order {_few(self._own_names)}",
            )
        return Order.of(range(count), width)

    def one(self, order: Order, row: Sequence[Any]) -> Sequence[Any] | None:
        """A row as ``Scorer.score_one`` takes it, the short way; None where only ``rows`` can tell what is in it.

        Of a model whose inputs are all double, the values are those of the caller: ``score_one`` looks at them.
        """
        if len(row) != order.width:
            return None
        values = row if order.take is None else order.take(row)
        if None in values:
            values = [_NAN if value is None else value for value in values] if self.is_numeric else values
        if not self.is_numeric or self._booleans:
            try:
                return [cast(value) for cast, value in zip(self._casts, values, strict=True)]
            except (ValueError, TypeError, OverflowError):
                return None
        if self._codec is not None:
            try:
                return self._codec.unpack(self._codec.pack(*values))
            except (struct.error, OverflowError):
                return None
        return values

    def rows(self, order: Order, rows: Sequence[Sequence[Any]], *, first: int = 0) -> Batch:
        """Rows as lists of JSON's values; ``first`` is the number that errors give to the first of them."""
        try:
            return self._rows(order, rows)
        except CellError as error:
            raise error.at(first) from None

    def _rows(self, order: Order, rows: Sequence[Sequence[Any]]) -> Batch:
        self._count(len(rows))
        if self.is_numeric:
            return Batch(len(rows), matrix=self._matrix(order, rows))
        return self._cast(list(zip(*self._even(rows, order.width), strict=True)), order, self._casts)

    def records(self, records: Sequence[Any], *, same_keys: bool = False) -> Batch:
        """Rows as objects; a key that some of them lack is missing there, unless they must have the ``same_keys``."""
        if not records and self.signature is not None and self.signature.is_named:
            self._by_name({})
        self._count(len(records))
        for at, record in enumerate(records):
            if not isinstance(record, dict):
                raise ModelInputError(f"row {at} is {record!r}: not an object", hint='send [{"<input>": value}]')
        names = list(dict.fromkeys(name for record in records for name in record))
        if same_keys and any(len(record) != len(names) for record in records):
            raise ModelInputError("The length of values for each input/column name are not the same")
        order = self.order(names, len(names))
        return self.rows(order, [[record.get(name) for name in names] for record in records])

    def columns(self, columns: Mapping[str, Any]) -> Batch:
        """Columns by name, each a list; or one row of single values. Strings are made of what is none, as by MLflow."""
        lengths = {name: len(values) for name, values in columns.items() if isinstance(values, list)}
        length = next(iter(lengths.values()), 1)
        if any(other != length for other in lengths.values()):
            told = ", ".join(f"{name} {count}" for name, count in list(lengths.items())[:12])
            raise self._unfit(f"The length of values for each input/column name are not the same: {told}")
        self._count(length)
        names = list(columns)
        order = self.order(names, len(names))
        lists = [values if isinstance(values, list) else list(repeat(values, length)) for values in columns.values()]
        return self._cast(lists, order, self._spelling)

    def array(self, array: Any, *, same_keys: bool = False) -> Batch:
        """Rows as nested lists without names, or records, or the values of the only input."""
        if not isinstance(array, list):
            raise self._unfit(f"a single {type(array).__name__} is no table", hint="send a list of rows")
        if array and isinstance(array[0], dict):
            return self.records(array, same_keys=same_keys)
        if self.signature is not None and self.signature.is_named and len(self.inputs) == 1:
            return self.columns({self.names[0]: array})
        self._count(len(array))
        if not isinstance(array[0], list):
            raise self._unfit("an array of one dimension is no table", hint="send a list of rows")
        width = len(array[0])
        self._even(array, width)
        return self.rows(self.order(None, width), array)

    def row(self, values: Mapping[str, Any]) -> Sequence[Any]:
        """One row by the inputs' names, cast."""
        names = list(values)
        batch = self.rows(self.order(names, len(names)), [list(values.values())])
        return batch.matrix[0].tolist() if batch.matrix is not None else [column[0] for column in batch.columns]

    def _by_name(self, given: Mapping[str, int]) -> list[int]:
        missing = [column.name for column in self.inputs if column.required and column.name not in given]
        if missing:
            raise missing_inputs(missing, list(given), self.names)
        return [given.get(name, _ABSENT) for name in self.names]

    def _unfit(self, message: str, hint: str = "") -> ModelInputError:
        """The error for what is no table: with a signature, it is the signature that says so."""
        return (ModelInputError if self.signature is None else SignatureError)(message, hint=hint)

    def _count(self, length: int) -> None:
        if not length:
            raise ModelInputError("there are no rows", hint="send at least one")
        if self.fixed_rows not in (-1, length):
            raise SignatureError(f"{length} rows, and the signature wants {self.fixed_rows}")

    def _matrix(self, order: Order, rows: Sequence[Sequence[Any]]) -> Matrix:
        is_plain = False
        try:
            found = np.array(rows)
            is_plain = found.dtype.kind in "fiub"
            matrix = found.astype(np.float64) if is_plain else np.array(rows, np.float64)
        except (ValueError, TypeError, OverflowError):
            matrix = np.empty(0)
        if matrix.ndim != 2 or matrix.shape[1] != order.width:
            # Somewhere is what is no number: perhaps where nobody looks, and else it has a name.
            columns = list(zip(*self._even(rows, order.width), strict=True))
            return np.column_stack(
                [np.array(column, np.float64) for column in self._cast(columns, order, self._casts).columns]
            )
        return self._finished(_ordered(matrix, order), order, rows, is_plain)

    def _finished(self, matrix: Matrix, order: Order, rows: Sequence[Sequence[Any]], is_plain: bool) -> Matrix:
        for at in self._whole:
            place = order.places[at]
            cut = whole_numbers(matrix[:, at], self.inputs[at].type) if is_plain and place >= 0 else None
            if cut is None and place >= 0:
                column = self.inputs[at]
                values = [row[place] for row in rows]
                cut = np.array(cast_column(values, self._casts[at], column.name or str(at), column.type), np.float64)
            if cut is not None:
                matrix[:, at] = cut
        for at in self._booleans:
            if order.places[at] >= 0:
                values = [row[order.places[at]] for row in rows]
                matrix[:, at] = cast_column(values, self._casts[at], self.inputs[at].name or str(at), Type.BOOLEAN)
        if self._singles:
            matrix[:, self._singles] = single_precision(matrix[:, self._singles])
        return matrix

    def _cast(self, columns: Sequence[Sequence[Any]], order: Order, casts: Sequence[Callable[[Any], Any]]) -> Batch:
        length = len(columns[0])
        done: list[Sequence[Any]] = []
        for at, (place, cast, column) in enumerate(zip(order.places, casts, self.inputs, strict=True)):
            if place < 0:
                empty = _NAN if self._kinds[at] is Kind.NUMBER else None
                done.append([empty] * length)
            else:
                done.append(cast_column(columns[place], cast, column.name or str(at), column.type))
        if self.is_numeric:
            return Batch(length, np.column_stack([np.array(each, np.float64) for each in done]), done)
        return Batch(length, columns=done)

    def _even(self, rows: Sequence[Sequence[Any]], width: int) -> Sequence[Sequence[Any]]:
        for at, row in enumerate(rows):
            if not isinstance(row, list | tuple) or len(row) != width:
                count = len(row) if isinstance(row, list | tuple) else "no"
                raise CellError(at, "", f"has {count} values instead of {width}")
        return rows


def _columns(signature: Signature | None, features: Sequence[Feature]) -> list[Column]:
    if signature is None:
        return [Column(feature.name, Type.ANY) for feature in features]
    columns = list(signature.columns)
    if signature.shape is not None:
        columns = [Column(feature.name, column.type) for feature, column in zip(features, columns, strict=False)]
    if len(columns) != len(features):
        raise ModelFormatError(
            f"the signature has {len(columns)} inputs, and the model takes {len(features)}",
            hint="infer the signature from the very columns that the model was trained on",
        )
    for feature, column in zip(features, columns, strict=True):
        if feature.kind is Kind.NUMBER and column.type is Type.STRING:
            raise ModelFormatError(
                f"the signature calls {column.name!r} a string, and the model takes a number for {feature.name!r}",
                hint="infer the signature from the very columns that the model was trained on",
            )
    return columns


def _renamed(columns: Sequence[Column], own: Sequence[str]) -> list[Column]:
    by_name = {column.name: column for column in columns}
    unknown = [name for name in own if name not in by_name]
    if unknown:
        raise ModelFormatError(
            f"the signature lacks the model's feature {unknown[0]!r}",
            hint="infer the signature from the very columns that the model was trained on",
        )
    return [by_name[name] for name in own]


def _ordered(matrix: Matrix, order: Order) -> Matrix:
    if order.take is None:
        return matrix
    taken: Matrix = matrix[:, order.places]
    absent = [at for at, place in enumerate(order.places) if place < 0]
    if absent:
        taken[:, absent] = np.nan
    return taken


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
