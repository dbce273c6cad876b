"""CSV and Parquet, cast as MLflow casts them."""

import math
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.unit.models.test_arrange import CAST, MIXED, arranger, bare, matrix
from yummy_feast.errors import ModelInputError, SignatureError
from yummy_feast.models.frames import from_csv, from_parquet

FRAME = pd.DataFrame({"b": [True], "x": [0.5], "f": np.array([0.1], "float32"), "n": [3], "more": ["passed over"]})


def parquet(frame: pd.DataFrame) -> bytes:
    out = BytesIO()
    frame.to_parquet(out)
    return out.getvalue()


def test_both_are_read_by_name() -> None:
    arrange = arranger(*MIXED)
    assert matrix(from_parquet(parquet(FRAME), arrange)) == [CAST]
    assert matrix(from_csv(FRAME.to_csv(index=False).encode(), arrange)) == [CAST]


def test_gaps_are_missing_and_text_stays_text() -> None:
    arrange = arranger(("x", "double"), ("c", "string"))
    found = from_csv(b"c,x\n5,\n,1", arrange)
    assert math.isnan(found.columns[0][0])
    assert list(found.columns[1]) == ["5", None]
    found = from_parquet(parquet(pd.DataFrame({"c": ["5", None], "x": [None, 1.0]})), arrange)
    assert list(found.columns[1]) == ["5", None]


def test_no_rows_are_an_empty_batch() -> None:
    assert from_csv(b"x", arranger(("x", "double"))).length == 0


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "is no CSV"),
        (b"\xff", "is no CSV"),
        (b"x,n,f,b\nword,1,1,True", "is no CSV"),
        (b"x,n,f,b\n1,,1,True", "is no CSV"),
        (b"x,n,f,b\n1,1.5,1,True", "is no CSV"),
        (b"x,n\n1,1", "missing inputs"),
    ],
)
def test_csv_that_does_not_fit(body: bytes, said: str) -> None:
    with pytest.raises(ModelInputError, match=said):
        from_csv(body, arranger(*MIXED))


@pytest.mark.parametrize("body", [b"", b"PAR1", b"PAR1" + b"\0" * 50 + b"PAR1"])
def test_parquet_that_is_none(body: bytes) -> None:
    with pytest.raises(ModelInputError, match="is no Parquet"):
        from_parquet(body, arranger(*MIXED))


@pytest.mark.parametrize(
    ("type_", "values", "dtype"),
    [
        ("double", [1, 0], "int64"),
        ("double", [7, 8], "int32"),
        ("double", [1.5, 2.5], "float32"),
        ("long", [7, 8], "uint32"),
        ("long", [7, 8], "int8"),
        ("boolean", [True, False], "bool"),
    ],
)
def test_parquet_of_a_narrower_type_is_widened(type_: str, values: list[Any], dtype: str) -> None:
    frame = pd.DataFrame({"x": np.array(values, dtype)})
    assert matrix(from_parquet(parquet(frame), arranger(("x", type_)))) == [[float(value)] for value in values]


@pytest.mark.parametrize(
    ("type_", "values", "dtype"),
    [
        ("double", [7, 8], "int64"),
        ("float", [1.5], "float64"),
        ("long", [1.5], "float64"),
        ("long", [1.0, np.nan], "float64"),
        ("integer", [1], "int64"),
        ("boolean", [1], "int64"),
        ("double", ["5"], "object"),
    ],
)
def test_parquet_of_another_type_is_refused(type_: str, values: list[Any], dtype: str) -> None:
    frame = pd.DataFrame({"x": np.array(values, dtype)})
    with pytest.raises(SignatureError, match=f"'x': cannot safely convert {dtype} to {type_}"):
        from_parquet(parquet(frame), arranger(("x", type_)))


def test_without_a_signature_what_comes_is_taken() -> None:
    assert matrix(from_csv(b"b,a\n2,1", bare("a", "b"))) == [[1.0, 2.0]]
    assert matrix(from_parquet(parquet(pd.DataFrame({"q": [1], "r": [2.5]})), bare("a", "b"))) == [[1.0, 2.5]]
