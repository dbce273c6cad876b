"""Rows of every kind become the same batch."""

import json
import math
from typing import Any

import numpy as np
import pytest

from yummy_feast.errors import ModelFormatError, ModelInputError, SignatureError
from yummy_feast.models.arrange import Arranger
from yummy_feast.models.base import Feature, Kind
from yummy_feast.models.signature import Signature, parse_signature

MIXED = [("x", "double"), ("n", "long"), ("f", "float"), ("b", "boolean")]
ROW = [0.5, 3, 0.1, True]
CAST = [0.5, 3.0, float(np.float32(0.1)), 1.0]


def signature(*columns: tuple[str, str], optional: tuple[str, ...] = ()) -> Signature | None:
    specs = [{"name": name, "type": type_, "required": name not in optional} for name, type_ in columns]
    return parse_signature({"inputs": json.dumps(specs)})


def arranger(*columns: tuple[str, str], optional: tuple[str, ...] = (), **more: Any) -> Arranger:
    features = [Feature(name, Kind.CATEGORY if type_ == "string" else Kind.NUMBER) for name, type_ in columns]
    return Arranger(signature(*columns, optional=optional), features, **more)


def bare(*names: str, **more: Any) -> Arranger:
    return Arranger(None, [Feature(name) for name in names], **more)


def matrix(found: Any) -> Any:
    assert found.matrix is not None
    return found.matrix.tolist()


@pytest.mark.parametrize("names", [["x", "n", "f", "b"], ["b", "f", "more", "n", "x"]])
def test_rows_are_put_into_the_order_of_the_signature(names: list[str]) -> None:
    arrange = arranger(*MIXED)
    given = dict(zip(["x", "n", "f", "b"], ROW, strict=True)) | {"more": "passed over"}
    row = [given[name] for name in names]
    order = arrange.order(names, len(names))
    assert matrix(arrange.rows(order, [row, row])) == [CAST, CAST]
    assert list(arrange.one(order, row) or ()) == CAST


def test_every_way_in_leads_to_the_same_batch() -> None:
    arrange = arranger(*MIXED)
    named = dict(zip(["b", "x", "n", "f"], [True, 0.5, 3, 0.1], strict=True))
    batches = [
        arrange.records([named, named]),
        arrange.columns({name: [value, value] for name, value in named.items()}),
        arrange.columns({**{name: [value, value] for name, value in named.items()}, "n": 3}),
        arrange.array([named, named]),
    ]
    assert [matrix(batch) for batch in batches] == [[CAST, CAST]] * 4
    assert arrange.row(named) == CAST
    assert matrix(arrange.columns(named)) == [CAST]


def test_an_array_has_no_names_for_a_signature_that_has() -> None:
    with pytest.raises(SignatureError, match=r"missing inputs \['x', 'n', 'f', 'b'\]"):
        arranger(*MIXED).array([ROW])
    assert matrix(arranger(("x", "double")).array([1, None, "2"]))[::2] == [[1.0], [2.0]]


def test_text_and_gaps_among_numbers_go_the_long_way_and_arrive() -> None:
    arrange = arranger(("x", "double"), ("n", "long"))
    order = arrange.order(["x", "n"], 2)
    found = arrange.rows(order, [["1.5", "2"], [None, 3.7]])
    assert found.matrix is not None
    assert found.matrix[0].tolist() == [1.5, 2.0]
    assert math.isnan(found.matrix[1, 0])
    assert found.matrix[1, 1] == 3.0


@pytest.mark.parametrize("row", [[0.5, 3.5, 0.1, True], [0.5, "3", 0.1, True], ["x", 3, 0.1, True], [0.5, 3, 0.1, 2]])
def test_the_short_way_never_answers_otherwise_than_the_long_way(row: list[Any]) -> None:
    arrange = arranger(*MIXED)
    order = arrange.order(["x", "n", "f", "b"], 4)
    short = arrange.one(order, row)
    try:
        long = matrix(arrange.rows(order, [row]))[0]
    except ModelInputError:
        assert short is None
    else:
        assert short is None or list(map(float, short)) == long


def test_optional_inputs_may_be_absent_or_null() -> None:
    arrange = arranger(("x", "double"), ("n", "long"), optional=("n",))
    for names, row in ((["x"], [1.0]), (["x", "n"], [1.0, None])):
        found = arrange.rows(arrange.order(names, len(names)), [row])
        assert found.matrix is not None
        assert found.matrix[0, 0] == 1.0
        assert math.isnan(found.matrix[0, 1])


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["x", "f", "b"], r"missing inputs \['n'\]"),
        (None, r"missing inputs \['x', 'n', 'f', 'b'\]"),
        (["x", "x", "f", "b"], "'x' is there twice"),
    ],
)
def test_columns_that_do_not_fit(names: list[str] | None, said: str) -> None:
    with pytest.raises(SignatureError, match=said):
        arranger(*MIXED).order(names, len(names or ROW))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([[1.0, 2], [1.0]], "row 1: has 1 values instead of 2"),
        ([[1.0, 2], 5], "row 1: has no values"),
        ([[1.0, None]], "input 'n', row 0: None"),
        ([[[1.0], 2]], "input 'x', row 0"),
        ([[{}, 2]], "input 'x', row 0"),
        ([], "there are no rows"),
    ],
)
def test_what_is_wrong_is_named(rows: Any, said: str) -> None:
    arrange = arranger(("x", "double"), ("n", "long"))
    with pytest.raises(ModelInputError, match=said):
        arrange.rows(arrange.order(["x", "n"], 2), rows)


def test_a_portion_counts_its_rows_from_where_it_begins() -> None:
    arrange = arranger(("x", "double"), ("n", "long"))
    order = arrange.order(["x", "n"], 2)
    with pytest.raises(ModelInputError, match="row 101"):
        arrange.rows(order, [[1.0, 2], [1.0, "word"]], first=100)
    with pytest.raises(ModelInputError, match="row 101"):
        arrange.rows(order, [[1.0, 2], [1.0]], first=100)


def test_categories_make_columns_instead_of_a_matrix() -> None:
    arrange = arranger(("x", "double"), ("c", "string"))
    batch = arrange.rows(arrange.order(["c", "x"], 2), [["a", 1], [None, 2]])
    assert batch.matrix is None
    assert [list(column) for column in batch.columns] == [[1.0, 2.0], ["a", None]]
    assert arrange.columns({"c": [5], "x": [1]}).columns[1] == ["5"]
    assert arrange.one(arrange.order(["c", "x"], 2), ["a", 1]) == [1.0, "a"]


def test_without_a_signature_columns_go_by_name_if_all_are_there_and_else_by_place() -> None:
    arrange = bare("a", "b")
    assert matrix(arrange.rows(arrange.order(["b", "a"], 2), [[2.0, 1.0]])) == [[1.0, 2.0]]
    assert matrix(arrange.rows(arrange.order(["q", "r"], 2), [[2.0, 1.0]])) == [[2.0, 1.0]]
    assert matrix(arrange.rows(arrange.order(None, 2), [[2.0, 1.0]])) == [[2.0, 1.0]]
    for width in (1, 3):
        with pytest.raises(ModelInputError, match="takes 2 inputs"):
            arrange.order(None, width)


def test_a_model_that_checks_names_takes_no_others() -> None:
    arrange = bare("a", "b", checks_names=True)
    with pytest.raises(ModelInputError, match=r"missing inputs \['b'\]"):
        arrange.order(["a", "c"], 2)
    # Its signature may list them in another order; the model's own counts.
    features = [Feature("b"), Feature("a")]
    other = Arranger(signature(("a", "double"), ("b", "double")), features, checks_names=True)
    assert other.names == ("b", "a")


def test_a_tensor_wants_its_own_shape() -> None:
    def tensor(rows: int) -> Arranger:
        spec = [{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [rows, 2]}}]
        return Arranger(parse_signature({"inputs": json.dumps(spec)}), [Feature("Column_0"), Feature("Column_1")])

    assert matrix(tensor(-1).array([[1.9, 2]])) == [[1.0, 2.0]]
    with pytest.raises(SignatureError, match="takes 2 inputs"):
        tensor(-1).array([[1, 2, 3]])
    with pytest.raises(SignatureError, match="1 rows, and the signature wants 2"):
        tensor(2).array([[1, 2]])
    with pytest.raises(SignatureError, match="one dimension"):
        tensor(-1).array([1, 2])


@pytest.mark.parametrize(
    ("columns", "features", "said"),
    [
        ([("a", "double")], [Feature("a"), Feature("b")], "has 1 inputs, and the model takes 2"),
        ([("a", "string")], [Feature("a")], "calls 'a' a string, and the model takes a number"),
        ([("a", "double")], [Feature("b")], "lacks the model's feature 'b'"),
    ],
)
def test_a_signature_of_another_model_is_refused(columns: Any, features: list[Feature], said: str) -> None:
    with pytest.raises(ModelFormatError, match=said):
        Arranger(signature(*columns), features, checks_names=True)
