"""Signatures of MLmodel files, and parameters held against them."""

import json
from typing import Any

import pytest

from yummy_feast.errors import ModelFormatError, SignatureError
from yummy_feast.models.signature import Column, Param, Type, check_params, missing_inputs, parse_signature


def columns(*specs: dict[str, Any]) -> dict[str, Any]:
    return {"inputs": json.dumps(specs)}


def tensor(dtype: str, *shape: int) -> dict[str, Any]:
    return columns({"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": list(shape)}})


@pytest.mark.parametrize("section", [None, {}, {"inputs": None, "outputs": "[]"}])
def test_no_inputs_are_no_signature(section: Any) -> None:
    assert parse_signature(section) is None


def test_columns_are_required_unless_they_say_otherwise_in_either_spelling() -> None:
    found = parse_signature(
        columns(
            {"name": "a", "type": "double"},
            {"name": "b", "type": "long", "required": False},
            {"name": "c", "type": "string", "optional": True},
        )
    )
    assert found is not None
    assert found.columns == (Column("a", Type.DOUBLE), Column("b", Type.LONG, False), Column("c", Type.STRING, False))
    assert found.is_named
    assert found.strings == (2,)


def test_inputs_may_be_a_list_instead_of_a_text() -> None:
    found = parse_signature({"inputs": [{"name": "a", "type": "float"}]})
    assert found is not None
    assert found.columns == (Column("a", Type.FLOAT),)


def test_a_tensor_is_so_many_columns_without_names() -> None:
    found = parse_signature(tensor("float32", -1, 3))
    assert found is not None
    assert found.columns == (Column("", Type.FLOAT),) * 3
    assert found.shape == (-1, 3)
    assert not found.is_named


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"inputs": "{"}, "signature.inputs is not JSON"),
        ({"inputs": "5"}, "no list of specifications"),
        (columns({"name": "d", "type": "datetime"}), "input 'd' is of type 'datetime'"),
        (columns({"name": "d", "type": "array", "items": {"type": "double"}}), "input 'd' is of type 'array'"),
        (columns({"name": "a", "type": "double"}, {"type": "double"}), "some inputs have names"),
        (tensor("float64", -1), "is no table"),
        (tensor("complex64", -1, 2), "is no table"),
        (columns(*json.loads(tensor("bool", -1, 2)["inputs"]) * 2), "2 tensors"),
        ({**tensor("bool", -1, 2), "params": '[{"name": "n"}]'}, "lacks a name or a type"),
    ],
)
def test_what_is_no_table_is_refused_by_name(section: Any, said: str) -> None:
    with pytest.raises(ModelFormatError, match=said):
        parse_signature(section)


PARAMS = (
    Param("n", "long", 1),
    Param("x", "double", 0.5),
    Param("flag", "boolean", True),
    Param("l", "long", [1], True),
)


@pytest.mark.parametrize(
    "given", [None, {}, {"n": 3, "x": 1, "flag": False, "l": [1, 2]}, {"unknown": object()}, {"n": None}]
)
def test_params_that_fit_pass_and_unknown_ones_too(given: Any) -> None:
    check_params(given, PARAMS)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"n": "3"}, "params.n is '3': not a long"),
        ({"n": 1.5}, "params.n is 1.5"),
        ({"n": True}, "params.n is True"),
        ({"flag": 1}, "params.flag is 1"),
        ({"l": 1}, "params.l is 1: not a list"),
        ({"l": ["a"]}, "params.l is 'a'"),
        ([1], "not an object"),
    ],
)
def test_params_that_do_not_fit_are_refused(given: Any, said: str) -> None:
    with pytest.raises(SignatureError, match=said):
        check_params(given, PARAMS)


def test_without_a_section_any_params_are_ignored() -> None:
    check_params([1], None)


def test_a_missing_input_names_what_came_in_its_place() -> None:
    error = missing_inputs(["distance"], ["distanse", "hour"], ["distance", "hour"])
    assert str(error) == "Model is missing inputs ['distance'] (did you mean 'distanse'? known: distanse)"
