"""Keys are Feast's entity keys behind the project's name, and a project's pattern finds its own keys only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import redis
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.value_type import ValueType
from hypothesis import given
from hypothesis import strategies as st

from yummy_feast.errors import RowDecodeError, ValueTypeError
from yummy_feast.online.entity_keys import EntityKeys
from yummy_feast.online.keys import KeyEncoder, field_name, match_pattern, project_prefix, schemas_key
from yummy_feast.online.layouts.rows import ROWS
from yummy_feast.values import BY_NAME, proto_finisher

KEY_TYPES = {
    "STRING": st.text(max_size=12),
    "INT32": st.integers(-(2**31), 2**31 - 1),
    "INT64": st.integers(-(2**63), 2**63 - 1),
    "UNIX_TIMESTAMP": st.integers(-(2**40), 2**40),
    "BYTES": st.binary(max_size=12),
}
JOIN_KEYS = st.dictionaries(st.text(max_size=6), st.sampled_from(sorted(KEY_TYPES)), min_size=1, max_size=4)
ARROW = {
    "STRING": pa.string(),
    "INT32": pa.int32(),
    "INT64": pa.int64(),
    "UNIX_TIMESTAMP": pa.timestamp("s", "UTC"),
    "BYTES": pa.binary(),
}


def entity_key(types: dict[str, str], values: dict[str, Any]) -> EntityKey:
    messages = [proto_finisher(BY_NAME[types[name]].number)(values[name]) for name in types]
    return EntityKey(join_keys=list(types), entity_values=messages)


@given(types=JOIN_KEYS, data=st.data())
def test_all_ways_to_a_key_agree_with_feast(types: dict[str, str], data: st.DataObject) -> None:
    rows = [{name: data.draw(KEY_TYPES[kind]) for name, kind in types.items()} for _ in range(3)]
    encoder = KeyEncoder("prod", [(name, ValueType[kind]) for name, kind in types.items()])
    columns = {name: [row[name] for row in rows] for name in types}
    messages = [entity_key(types, row) for row in rows]
    expected = [b"prod\0" + serialize_entity_key(message, 3) for message in messages]
    assert encoder.join_keys == tuple(sorted(types))
    assert encoder.encode_columns(columns) == expected
    arrow = {
        name: pa.array(columns[name], pa.int64() if kind == "UNIX_TIMESTAMP" else ARROW[kind])
        for name, kind in types.items()
    }
    assert encoder.encode_arrow(arrow) == expected
    assert (
        EntityKeys(ROWS, "prod", {name: BY_NAME[kind].number for name, kind in types.items()}).encode(messages)
        == expected
    )
    assert EntityKeys(ROWS, "prod", {}).encode(messages) == expected
    assert [encoder.decode(key) for key in expected] == [dict(sorted(row.items())) for row in rows]


def test_a_key_byte_by_byte() -> None:
    (key,) = KeyEncoder("prod", [("driver_id", ValueType.INT64)]).encode_columns({"driver_id": [258]})
    assert key == (
        b"prod\0"
        b"\1\0\0\0"  # one join key
        b"\2\0\0\0\x09\0\0\0driver_id"
        b"\4\0\0\0\x08\0\0\0\2\1\0\0\0\0\0\0"
    )
    assert field_name("driver_stats_v2") == b"driver_stats_v2"


def test_a_view_without_entities_has_feasts_dummy_key() -> None:
    message = EntityKey(join_keys=["__dummy_id"], entity_values=[proto_finisher(2)("")])
    encoder = KeyEncoder("prod", [("__dummy_id", ValueType.STRING)])
    assert encoder.encode_columns({"__dummy_id": [""]}) == [b"prod\0" + serialize_entity_key(message, 3)]


def test_a_null_makes_no_key() -> None:
    encoder = KeyEncoder("prod", [("a", 4), ("b", 2)])
    values = {"a": [1, None, 3, float("nan"), pd.NA, pd.NaT, np.nan], "b": ["x", "y", None, "", "", "", ""]}
    keys = encoder.encode_columns(values)
    assert [key is None for key in keys] == [False, True, True, True, True, True, True]
    arrow = {"a": pa.array([1, None, 3]), "b": pa.array(["x", "y", None])}
    assert encoder.encode_arrow(arrow) == keys[:3]
    assert KeyEncoder("prod", [("a", 4)]).encode_columns({"a": [1, None]})[1] is None
    assert EntityKeys(ROWS, "prod", {"a": 4}).encode(
        [EntityKey(join_keys=["a"], entity_values=[proto_finisher(4)(1)])]
    ) != [None]
    empty = EntityKey(join_keys=["a"], entity_values=[type(proto_finisher(4)(1))()])
    assert EntityKeys(ROWS, "prod", {"a": 4}).encode([empty]) == [None]
    assert EntityKeys(ROWS, "prod", {}).encode([empty]) == [None]


@pytest.mark.parametrize(
    ("kind", "given", "meant"),
    [
        ("INT64", "5", 5),
        ("INT64", 5.0, 5),
        ("INT64", np.int32(5), 5),
        ("INT64", np.float32(5), 5),
        ("INT32", "-5", -5),
        ("STRING", 5, "5"),
        ("STRING", 1.5, "1.5"),
        ("BYTES", bytearray(b"x"), b"x"),
        ("BYTES", memoryview(b"x"), b"x"),
        ("UNIX_TIMESTAMP", datetime(1970, 1, 1, 0, 1, tzinfo=UTC), 60),
        ("UNIX_TIMESTAMP", pd.Timestamp("1970-01-01T00:01:00.9"), 60),
        ("UNIX_TIMESTAMP", datetime(1969, 12, 31, 23, 59, 59, 500_000, UTC), -1),
    ],
)
def test_what_json_and_pandas_make_of_keys(kind: str, given: Any, meant: Any) -> None:
    encoder = KeyEncoder("prod", [("a", ValueType[kind])])
    assert encoder.encode_columns({"a": [given]}) == encoder.encode_columns({"a": [meant]})


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("INT64", 1.5),
        ("INT64", "x"),
        ("INT64", "1.5"),
        ("INT64", 2**63),
        ("INT64", float("inf")),
        ("INT64", []),
        ("INT64", datetime(2026, 1, 1, tzinfo=UTC)),
        ("INT32", 2**31),
        ("STRING", b"x"),
        ("STRING", ["x"]),
        ("STRING", "\ud800"),
        ("BYTES", "x"),
        ("UNIX_TIMESTAMP", "today"),
    ],
    ids=str,
)
def test_a_value_that_is_no_key_is_refused_by_name(kind: str, value: Any) -> None:
    with pytest.raises(ValueTypeError, match=f"join key 'a' is declared {kind} and .* is none"):
        KeyEncoder("prod", [("a", ValueType[kind])]).encode_columns({"a": [value]})


@pytest.mark.parametrize("kind", ["FLOAT", "DOUBLE", "BOOL", "INT64_LIST", "MAP", "JSON", "UUID"])
def test_a_type_that_cannot_be_a_key_is_refused_at_once(kind: str) -> None:
    with pytest.raises(ValueTypeError, match=f"join key 'a' is declared {kind}, which cannot be a key"):
        KeyEncoder("prod", [("a", ValueType[kind])])


def test_an_arrow_column_of_another_type_is_refused_by_name() -> None:
    with pytest.raises(ValueTypeError, match="column 'a' is declared INT64"):
        KeyEncoder("prod", [("a", 4)]).encode_arrow({"a": pa.array(["x"])})


def test_a_key_of_somebody_else_does_not_decode() -> None:
    encoder = KeyEncoder("prod", [("a", 4)])
    (key,) = encoder.encode_columns({"a": [7]})
    assert key is not None
    other = KeyEncoder("prod", [("b", 4)]).encode_columns({"b": [7]})[0]
    assert other is not None
    for wrong in (
        other,
        key[:-1],
        key + b"\0",
        b"",
        b"nonprod" + key[4:],
        key.replace(b"\4\0\0\0\x08", b"\3\0\0\0\x08"),
    ):
        with pytest.raises(RowDecodeError, match="key"):
            encoder.decode(wrong)
    text = KeyEncoder("prod", [("a", 2)])
    (key,) = text.encode_columns({"a": ["é"]})
    assert key is not None
    with pytest.raises(RowDecodeError):
        text.decode(key[:-1] + b"\xff")


NAMES = ["prod", "nonprod", "prod2", "pro", "pr*d", "pr?d", "pr[o]d", "p\\rod", "prod-x", "Prod", "^prod"]


def test_a_pattern_finds_its_own_project_only(client: redis.Redis) -> None:
    for name in NAMES:
        (key,) = KeyEncoder(name, [("a", 2)]).encode_columns({"a": ["prod\0*"]})
        assert key is not None
        client.set(key, b"")
        client.set(schemas_key(name), b"")
    for name in NAMES:
        found = list(client.scan_iter(match=match_pattern(name)))
        assert len(found) == 2
        assert all(key.startswith(project_prefix(name)) for key in found)


def test_the_schemas_key_is_no_entity_key() -> None:
    with pytest.raises(RowDecodeError):
        KeyEncoder("prod", [("a", 4)]).decode(schemas_key("prod"))
    # An entity key has its number of join keys here.
    assert int.from_bytes(schemas_key("prod")[5:9], "little") > 10**9
