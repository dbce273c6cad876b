"""Keys of layout `feast` beside Feast's own, and where the entity key ends and the project begins."""

from __future__ import annotations

import random
import struct
from typing import Any

import pyarrow as pa
import pytest
from feast.infra.online_stores.helpers import _redis_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from yummy_feast.errors import RowDecodeError
from yummy_feast.online.layouts.feast_keys import FeastKeyEncoder, belongs_to, pattern
from yummy_feast.values import BY_NAME, proto_finisher

pytestmark = pytest.mark.filterwarnings("ignore:Serialization of entity key with version < 3:UserWarning")

SAMPLES: dict[str, list[Any]] = {
    "INT64": [5, -(2**63)],
    "INT32": [7, -1],
    "STRING": ["prod", "ž"],
    "BYTES": [b"\0\xff", b""],
    "UNIX_TIMESTAMP": [0, -7200],
}
JOIN_KEYS = [{"a": kind} for kind in SAMPLES] + [{"b": "STRING", "a": "INT64", "é": "BYTES"}]


def numbers(types: dict[str, str]) -> list[tuple[str, int]]:
    return [(name, BY_NAME[kind].number) for name, kind in types.items()]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("types", JOIN_KEYS, ids=str)
def test_beside_feast(types: dict[str, str], version: int) -> None:
    encoder = FeastKeyEncoder("prod", numbers(types), version)
    columns = {name: SAMPLES[kind] for name, kind in types.items()}
    expected = []
    for row in range(2):
        values: list[Value] = [proto_finisher(BY_NAME[kind].number)(SAMPLES[kind][row]) for kind in types.values()]
        expected.append(_redis_key("prod", EntityKey(join_keys=list(types), entity_values=values), version))
    assert encoder.encode_columns(columns) == expected
    arrow = {name: pa.array(SAMPLES[kind], BY_NAME[kind].arrow) for name, kind in types.items() if "TIME" not in kind}
    if len(arrow) == len(types):
        assert encoder.encode_arrow(arrow) == expected
    for row, key in enumerate(expected):
        assert encoder.decode(key) == {name: SAMPLES[kind][row] for name, kind in sorted(types.items())}
        names = [tuple(sorted(types))]
        for project in ("prod", "nonprod", "rod", "", "prod2"):
            assert belongs_to(project, key, names, version) == (project == "prod")
    assert encoder.encode_columns({name: [None] for name in types}) == [None]


def test_a_key_of_another_project_is_not_decoded() -> None:
    encoder = FeastKeyEncoder("prod", [("a", 4)])
    [key] = FeastKeyEncoder("prod2", [("a", 4)]).encode_columns({"a": [1]})
    assert key is not None
    with pytest.raises(RowDecodeError, match="is not of project 'prod'"):
        encoder.decode(key)


def test_what_is_no_entity_key() -> None:
    dice = random.Random(3)
    [key] = FeastKeyEncoder("prod", [("a", 4)]).encode_columns({"a": [1]})
    assert key is not None
    others = [b"", b"prod", b"x" * 50, b"\xff" * 4 + b"prod", struct.pack("<III", 1, 2, 2**32 - 1) + b"prod"]
    others += [dice.randbytes(dice.randint(0, 40)) + b"prod" for _ in range(2000)]
    others += [key[:at] + b"prod" for at in range(len(key) - 4)] + [b"prod\0" + key, key + b"x"]
    for other in others:
        assert not belongs_to("prod", other, [("a",)], 3)
        assert not belongs_to("prod", other, [("a",)], 2)


def test_in_version_two_the_join_keys_must_be_known() -> None:
    [key] = FeastKeyEncoder("prod", [("a", 4), ("b", 2)], 2).encode_columns({"a": [1], "b": ["x"]})
    assert key is not None
    assert belongs_to("prod", key, [("z",), ("a", "b")], 2)
    assert not belongs_to("prod", key, [("a",), ("z",)], 2)
    assert not belongs_to("prod", key, [], 2)


def test_patterns_take_names_as_they_are() -> None:
    assert pattern("prod") == b"*prod"
    assert pattern("p*[d]?") == rb"*p\*\[d\]\?"
