"""Single values and columns, cast as MLflow casts them."""

import math
from typing import Any

import numpy as np
import pytest

from yummy_feast.errors import ModelInputError
from yummy_feast.models.base import Kind
from yummy_feast.models.casting import CellError, cast_column, caster, single_precision, whole_numbers
from yummy_feast.models.signature import Type


@pytest.mark.parametrize(
    ("type_", "value", "cast"),
    [
        (Type.DOUBLE, 3, 3.0),
        (Type.DOUBLE, "5", 5.0),
        (Type.DOUBLE, True, 1.0),
        (Type.FLOAT, 0.1, float(np.float32(0.1))),
        (Type.FLOAT, 1e300, math.inf),
        (Type.LONG, 2.75, 2),
        (Type.LONG, "7", 7),
        (Type.LONG, True, 1),
        (Type.INTEGER, -(2**31), -(2**31)),
        (Type.BOOLEAN, 2, True),
        (Type.BOOLEAN, None, False),
        (Type.ANY, "1e3", 1000.0),
    ],
)
def test_numbers(type_: Type, value: Any, cast: Any) -> None:
    found = caster(Kind.NUMBER, type_)(value)
    assert (found, type(found)) == (cast, type(cast))


@pytest.mark.parametrize("type_", [Type.DOUBLE, Type.FLOAT, Type.ANY])
def test_null_is_a_missing_number(type_: Type) -> None:
    assert math.isnan(caster(Kind.NUMBER, type_)(None))


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (Type.DOUBLE, "word"),
        (Type.DOUBLE, [1]),
        (Type.DOUBLE, {"x": 1}),
        (Type.LONG, None),
        (Type.LONG, math.nan),
        (Type.LONG, math.inf),
        (Type.LONG, 2**63),
        (Type.LONG, "2.5"),
        (Type.INTEGER, 2**31),
        (Type.BOOLEAN, "false"),
        (Type.BOOLEAN, []),
    ],
)
def test_what_would_become_another_value_is_refused(type_: Type, value: Any) -> None:
    with pytest.raises(ModelInputError, match=r"input 'a', row 1"):
        cast_column([1, value], caster(Kind.NUMBER, type_), "a", type_)


def test_an_optional_whole_number_may_be_missing() -> None:
    assert math.isnan(caster(Kind.NUMBER, Type.LONG, required=False)(None))
    assert caster(Kind.CATEGORY, Type.LONG, required=False)(None) is None


def test_categories_stay_what_they_are_unless_they_are_to_be_spelled() -> None:
    assert caster(Kind.CATEGORY, Type.STRING)(5) == 5
    assert caster(Kind.CATEGORY, Type.STRING, spell=True)(5) == "5"
    assert caster(Kind.CATEGORY, Type.STRING)(None) is None
    assert caster(Kind.CATEGORY, Type.LONG)(5.0) == 5
    with pytest.raises(TypeError):
        caster(Kind.CATEGORY, Type.STRING)(["x"])


def test_an_error_of_a_portion_counts_from_its_beginning() -> None:
    with pytest.raises(CellError) as raised:
        cast_column([1.0, "word"], caster(Kind.NUMBER, Type.DOUBLE), "a", Type.DOUBLE)
    assert raised.value.message == "input 'a', row 1: 'word': cannot be cast"
    assert raised.value.at(512).message == "input 'a', row 513: 'word': cannot be cast"


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(ModelInputError) as raised:
        cast_column(["x" * 1000], caster(Kind.NUMBER, Type.DOUBLE), "a", Type.DOUBLE)
    assert len(str(raised.value)) < 150


def test_columns_of_whole_numbers_are_cut_off_or_not_at_all() -> None:
    cut = whole_numbers(np.array([1.9, -1.9]), Type.LONG)
    assert cut is not None
    assert cut.tolist() == [1.0, -1.0]
    for bad in (math.nan, math.inf, 2.0**31):
        assert whole_numbers(np.array([1.0, bad]), Type.INTEGER) is None


def test_single_precision_overflows_silently() -> None:
    assert single_precision(np.array([0.1, 1e300])).tolist() == [float(np.float32(0.1)), math.inf]
