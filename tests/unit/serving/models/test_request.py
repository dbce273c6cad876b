"""Bodies decoded in one pass and in pieces."""

import json
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from yummy_feast.serving.http import RefusedError
from yummy_feast.serving.models.request import check_index, decode, decode_large, names_of, only_form

BODIES: dict[str, Any] = {
    "split": {"dataframe_split": {"columns": ["a", "b"], "index": [0], "data": [[1, None]]}, "params": {"n": 1}},
    "records": {"dataframe_records": [{"a": 1}, {"a": "x"}]},
    "instances": {"instances": [[1, 2], [3, 4]]},
    "records as instances": {"instances": [{"a": 1}]},
    "numbers as inputs": {"inputs": [1, 2, 3]},
    "columns as inputs": {"inputs": {"a": [1, 2]}},
    "a text as inputs": {"inputs": "abc"},
    "short": {"columns": ["a"], "data": [[1], [2]]},
    "entities": {"entities": {"id": [1]}, "overrides": {"x": 5}, "return_features": True},
    "unknown keys": {"inputs": [[1]], "zzz": {"a": 1}},
}


@pytest.mark.parametrize("name", sorted(BODIES))
def test_in_pieces_is_the_same_as_at_once(name: str) -> None:
    body = json.dumps(BODIES[name]).encode()
    one, other = decode(body), decode_large(body)
    for field in one.__struct_fields__:
        left, right = getattr(one, field), getattr(other, field)
        if field in ("columns", "dataframe_split") and left is not UNSET:
            left, right = (msgspec.json.encode(each) for each in (left, right))
        assert left == right, field


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"[1]", "Received a list"),
        (b"5", "Received a int"),
        (b"{", "valid JSON"),
        (b"\xff", "valid JSON"),
        (b'{"dataframe_split": [1]}', "must be a dictionary"),
        (b'{"dataframe_split": {"columns": []}}', "must have 'data' field"),
        (b'{"dataframe_split": {"data": [], "x": 1}}', "must have 'data' field"),
        (b'{"dataframe_split": {"data": 5}}', "data is a int"),
        (b'{"entities": 5}', "entities"),
        (b'{"inputs": [1], "return_features": 3}', "return_features"),
    ],
)
def test_what_is_wrong_is_said(body: bytes, said: str) -> None:
    for way in (decode, decode_large):
        with pytest.raises(RefusedError) as raised:
            way(body)
        assert raised.value.status == 400
        assert said in raised.value.message


def test_one_column_may_come_without_lists() -> None:
    split = decode(b'{"dataframe_split": {"columns": ["a"], "data": [1, 2]}}').dataframe_split
    assert split is not UNSET
    assert split.data == [[1], [2]]


def test_names() -> None:
    split = decode(b'{"dataframe_split": {"columns": ["a", 1, 2.5], "data": [[1, 2, 3]]}}').dataframe_split
    assert split is not UNSET
    assert names_of(split.columns) == ["a", "1", "2.5"]
    bare = decode(b'{"dataframe_split": {"data": [[1]]}}').dataframe_split
    assert bare is not UNSET
    assert names_of(bare.columns) is None


def test_exactly_one_form() -> None:
    assert only_form(decode(b'{"inputs": []}')) == "inputs"
    for body in (b"{}", b'{"inputs": [], "instances": []}'):
        with pytest.raises(RefusedError, match="exactly one"):
            only_form(decode(body))


@pytest.mark.parametrize("index", [b"[0]", b"5", b'{"a": 1}'])
def test_an_index_of_another_length(index: bytes) -> None:
    split = decode(b'{"dataframe_split": {"index": %b, "data": [[1], [2]]}}' % index).dataframe_split
    assert split is not UNSET
    with pytest.raises(RefusedError, match="Length mismatch"):
        check_index(split)
