"""What a model wants of its inputs, as the MLmodel file says it. No file and no socket is touched here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from yummy_feast.errors import ModelFormatError, SignatureError, nearest


class Type(Enum):
    """MLflow's data types that a table for trees can hold."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    LONG = "long"
    FLOAT = "float"
    DOUBLE = "double"
    STRING = "string"
    ANY = "any"
    """Whatever comes; of models without a signature."""


_OF_TENSORS: Final = {
    "float64": Type.DOUBLE,
    "float32": Type.FLOAT,
    "float16": Type.FLOAT,
    "int64": Type.LONG,
    "uint64": Type.LONG,
    "uint32": Type.LONG,
    "int32": Type.INTEGER,
    "int16": Type.INTEGER,
    "int8": Type.INTEGER,
    "uint16": Type.INTEGER,
    "uint8": Type.INTEGER,
    "bool": Type.BOOLEAN,
    "object": Type.ANY,
    "str": Type.STRING,
}
_WIDENS: Final = {Type.LONG: (int,), Type.INTEGER: (int,), Type.FLOAT: (int, float), Type.DOUBLE: (int, float)}
_PYTHON: Final = {
    Type.BOOLEAN: bool,
    Type.INTEGER: int,
    Type.LONG: int,
    Type.FLOAT: float,
    Type.DOUBLE: float,
    Type.STRING: str,
}


@dataclass(frozen=True, slots=True)
class Column:
    """One input. name: empty where the signature names none."""

    name: str
    type: Type
    required: bool = True


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of prediction. type: as MLflow spells it. is_list: whether it takes a list of such values."""

    name: str
    type: str
    default: Any
    is_list: bool = False


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs and parameters.

    columns: one for each input; for a tensor, the single type of all.
    shape: of the tensor, -1 where any size goes; None for columns.
    params: None where the signature has no such section, so that any are ignored.
    """

    columns: tuple[Column, ...]
    shape: tuple[int, ...] | None = None
    params: tuple[Param, ...] | None = None

    @property
    def is_named(self) -> bool:
        """Whether inputs go by name."""
        return self.shape is None and bool(self.columns) and all(column.name for column in self.columns)

    @property
    def strings(self) -> tuple[int, ...]:
        """Positions of the inputs that are strings."""
        if self.shape is not None:
            return ()
        return tuple(at for at, column in enumerate(self.columns) if column.type is Type.STRING)


def parse_signature(section: Mapping[str, Any] | None) -> Signature | None:
    """The ``signature`` of an MLmodel file; None without one. ModelFormatError for inputs that are no table."""
    if not section or not section.get("inputs"):
        return None
    inputs = _list_of(section["inputs"], "inputs")
    params = section.get("params")
    known = None if params is None else tuple(_param(each) for each in _list_of(params, "params"))
    if any(spec.get("type") == "tensor" for spec in inputs):
        return _tensor(inputs, known)
    columns = tuple(_column(spec) for spec in inputs)
    if len({bool(column.name) for column in columns}) > 1:
        raise ModelFormatError("signature: some inputs have names and some have none")
    return Signature(columns, params=known)


def _list_of(section: Any, name: str) -> list[dict[str, Any]]:
    """Specifications, which MLflow writes as a text of JSON inside of the YAML."""
    try:
        found = json.loads(section) if isinstance(section, str) else section
    except (ValueError, RecursionError) as error:
        raise ModelFormatError(f"signature.{name} is not JSON: {error}") from None
    if not isinstance(found, list) or not all(isinstance(spec, dict) for spec in found):
        raise ModelFormatError(f"signature.{name} is no list of specifications")
    return found


def _column(spec: Mapping[str, Any]) -> Column:
    name, said = spec.get("name"), spec.get("type")
    known = {kind.value: kind for kind in Type}
    if said not in known:
        raise ModelFormatError(
            f"signature: input {name!r} is of type {said!r}, which no table for trees holds",
            hint=f"served: {', '.join(known)}",
        )
    # Before MLflow 2.9 an input said that it is optional.
    required = spec.get("required", not spec.get("optional", False))
    return Column("" if name is None else str(name), known[said], bool(required))


def _tensor(inputs: Sequence[Mapping[str, Any]], params: tuple[Param, ...] | None) -> Signature:
    if len(inputs) != 1:
        raise ModelFormatError(
            f"signature: {len(inputs)} tensors, and these models take one table",
            hint="infer the signature from a DataFrame, or from one array",
        )
    said = inputs[0].get("tensor-spec") or {}
    kind, shape = _OF_TENSORS.get(said.get("dtype", "")), tuple(said.get("shape") or ())
    if kind is None or len(shape) != 2 or not all(isinstance(size, int) for size in shape):
        raise ModelFormatError(
            f"signature: a tensor of {said.get('dtype')!r} and shape {shape} is no table",
            hint="its shape is (-1, number of features)",
        )
    return Signature((Column("", kind),) * max(shape[1], 0), shape, params)


def _param(spec: Mapping[str, Any]) -> Param:
    kind = spec.get("type") or spec.get("dtype")
    if "name" not in spec or kind is None:
        raise ModelFormatError(f"signature.params: {dict(spec)!r} lacks a name or a type")
    return Param(str(spec["name"]), str(kind), spec.get("default"), spec.get("shape") is not None)


def check_params(given: Any, known: tuple[Param, ...] | None) -> None:
    """Raise SignatureError for ``params`` of a request that MLflow refuses; unknown ones are ignored, as there.

    Neither LightGBM's flavor nor CatBoost's hands them to the model.
    """
    if known is None or given is None:
        return
    if not isinstance(given, dict):
        raise SignatureError(f"params is {given!r}: not an object", hint=f"known: {[param.name for param in known]}")
    for param in known:
        if param.name in given:
            value = given[param.name]
            if param.is_list and not isinstance(value, list):
                raise SignatureError(f"params.{param.name} is {value!r}: not a list")
            for each in value if param.is_list else [value]:
                _check_param(param, each)


def _check_param(param: Param, value: Any) -> None:
    if value is None:
        return
    kind = next((kind for kind in _PYTHON if kind.value == param.type), None)
    if kind is None:
        # A date or an object: text and mappings cannot be told apart from wrong ones here.
        return
    allowed = _WIDENS.get(kind, (_PYTHON[kind],))
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not Type.BOOLEAN):
        raise SignatureError(f"params.{param.name} is {value!r}: not a {param.type}")


def missing_inputs(missing: Sequence[str], given: Sequence[str], known: Sequence[str]) -> SignatureError:
    """The error for required inputs that are not among those given."""
    extra = [name for name in given if name not in known]
    hint = f"given besides: {', '.join(extra[:12])}" if extra else ""
    if len(missing) == 1 and extra:
        hint = nearest(missing[0], extra)
    return SignatureError(f"Model is missing inputs {list(missing)}", hint=hint)
