"""Values at the edge of their types, by both ways in (Arrow, as materialization writes; protobuf, as a push does),
through Redis, and out of the SDK.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field
from feast import types as feast
from feast.online_response import OnlineResponse
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import python_values_to_proto_values
from feast.types import Array, Set, Struct
from feast.value_type import ValueType

from tests.feast.repo import at, feature_store
from tests.online_server import server
from tests.stored_values import same
from yummy_feast import ParquetSource

__all__ = ["server"]

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MICROS = pa.timestamp("us", "UTC")
THING = Entity(name="thing", join_keys=["thing_id"], value_type=ValueType.INT64)
NAN, INF = math.nan, math.inf
FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
ONE, TWO = UUID("12345678-1234-5678-1234-567812345678"), UUID(int=2**128 - 1)
MEGABYTE = 1024 * 1024
BLOB = bytes(range(256)) * 4096
VECTOR = [float(number) for number in range(MEGABYTE // 4)]
LONG = Decimal("1234567890" * 10 + "." + "0987654321" * 10)

# name: Feast's type, Arrow's type, what is asked for, what Arrow holds where that is another thing.
VALUES: dict[str, tuple[Any, pa.DataType, Any] | tuple[Any, pa.DataType, Any, Any]] = {
    "megabyte": (feast.Bytes, pa.binary(), BLOB),
    "megabyte_of_text": (feast.String, pa.string(), "ž" * (MEGABYTE // 2)),
    "megabyte_of_floats": (Array(feast.Float32), pa.list_(pa.float32()), VECTOR),
    "megabyte_in_a_list": (Array(feast.Bytes), pa.list_(pa.binary()), [BLOB, b"", BLOB[:1]]),
    "megabyte_of_json": (feast.Json, pa.large_string(), {"a": ["x" * MEGABYTE]}, '{"a": ["%s"]}' % ("x" * MEGABYTE)),
    "empty_text": (feast.String, pa.string(), ""),
    "empty_bytes": (feast.Bytes, pa.binary(), b""),
    "empty_texts": (Array(feast.String), pa.list_(pa.string()), []),
    "texts_that_are_empty": (Array(feast.String), pa.list_(pa.string()), ["", ""]),
    "empty_floats": (Array(feast.Float32), pa.list_(pa.float32()), []),
    "empty_set": (Set(feast.Int64), pa.list_(pa.int64()), set(), []),
    "empty_map": (feast.Map, pa.map_(pa.string(), pa.string()), {}, []),
    "empty_lists": (Array(Array(feast.Int64)), pa.list_(pa.list_(pa.int64())), []),
    "nan": (feast.Float64, pa.float64(), NAN),
    "nan32": (feast.Float32, pa.float32(), NAN),
    "infinity": (feast.Float64, pa.float64(), -INF),
    "smallest": (feast.Float64, pa.float64(), 5e-324),
    "minus_zero": (feast.Float32, pa.float32(), -0.0),
    "odd_floats": (Array(feast.Float32), pa.list_(pa.float32()), [NAN, INF, -INF, -0.0]),
    "odd_doubles": (Array(feast.Float64), pa.list_(pa.float64()), [NAN, INF, -INF, -0.0, 5e-324]),
    "least": (feast.Int64, pa.int64(), -(2**63)),
    "integers": (Array(feast.Int64), pa.list_(pa.int64()), [-(2**63), 2**63 - 1]),
    "integers32": (Set(feast.Int32), pa.list_(pa.int32()), {-(2**31), 2**31 - 1}, [-(2**31), 2**31 - 1]),
    "bools": (Array(feast.Bool), pa.list_(pa.bool_()), [True, False, True]),
    "first_moment": (feast.UnixTimestamp, MICROS, FIRST),
    "last_moment": (feast.UnixTimestamp, MICROS, LAST),
    "moments": (Array(feast.UnixTimestamp), pa.list_(MICROS), [FIRST, LAST]),
    "uuid": (feast.Uuid, pa.string(), TWO, str(TWO)),
    "uuids": (Set(feast.Uuid), pa.list_(pa.string()), {ONE, TWO}, [str(ONE), str(TWO)]),
    "decimal": (feast.Decimal, pa.string(), LONG, str(LONG)),
    "decimal_infinity": (feast.Decimal, pa.string(), Decimal("-Infinity"), "-Infinity"),
    "decimals": (Array(feast.Decimal), pa.list_(pa.string()), [Decimal("-0.00"), LONG], ["-0.00", str(LONG)]),
    "json": (feast.Json, pa.large_string(), {"a": [1, None, {"ž": ""}]}, '{"a": [1, null, {"ž": ""}]}'),
    "map": (feast.Map, pa.map_(pa.string(), pa.string()), {"": "", "ž": "\0"}, [("", ""), ("ž", "\0")]),
    "struct": (Struct({"a": feast.Int64}), pa.struct([("a", pa.int64())]), {"a": 2**62}),
}


def arrow_value(name: str) -> Any:
    _, _, value, *stored = VALUES[name]
    return stored[0] if stored else value


@pytest.fixture(scope="module")
def store(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    """Thing 0 came as Arrow, thing 1 as protobuf."""
    folder = tmp_path_factory.mktemp("ways")
    columns = {name: pa.array([arrow_value(name)], arrow) for name, (_, arrow, *_) in VALUES.items()}
    keys = {"thing_id": pa.array([0], pa.int64()), "known_at": pa.array([NOON], MICROS)}
    pq.write_table(pa.table({**keys, **columns}), folder / "rows.parquet")
    store = feature_store(folder, online=at(server), project="ways")
    fields = [Field(name=name, dtype=dtype) for name, (dtype, *_) in VALUES.items()]
    source = ParquetSource("rows.parquet", timestamp_field="known_at")
    view = FeatureView(name="things", entities=[THING], schema=fields, source=source, ttl=timedelta(0))
    store.apply([THING, view])
    store.materialize(NOON, NOON)
    messages = {}
    for name, (dtype, _, value, *_) in VALUES.items():
        # Feast's converter of JSON takes text.
        given = arrow_value(name) if "json" in name else value
        (messages[name],) = python_values_to_proto_values([given], dtype.to_value_type())
    # Its converter makes nulls of these.
    messages |= {"nan": Value(double_val=NAN), "nan32": Value(float_val=NAN), "empty_bytes": Value(bytes_val=b"")}
    key = EntityKey(join_keys=["thing_id"], entity_values=[Value(int64_val=1)])
    applied = store.get_feature_view("things")
    store._get_provider().online_write_batch(store.config, applied, [(key, messages, NOON, None)], None)
    yield store
    store.teardown()


@pytest.mark.parametrize("name", VALUES)
def test_what_goes_in_by_either_way_comes_out(store: FeatureStore, name: str) -> None:
    answer: Any = store.get_online_features([f"things:{name}"], [{"thing_id": 0}, {"thing_id": 1}])
    expected = VALUES[name][2]
    for value in answer.to_dict()[name]:
        assert same(value, expected), repr(value)[:200]
    assert answer.statuses[name] == ["PRESENT", "PRESENT"]
    # Feast's own servers go by the message.
    again = OnlineResponse(answer.proto).to_dict()[name]
    assert same(again, [expected] * 2), repr(again)[:200]


def test_a_vector_is_an_array_over_the_bytes_that_came_from_redis(store: FeatureStore) -> None:
    response: Any = store.get_online_features(["things:megabyte_of_floats"], [{"thing_id": 0}, {"thing_id": 1}])
    first, second = response.to_numpy()["megabyte_of_floats"]
    assert first.dtype == np.float32
    assert np.array_equal(first, np.array(VECTOR, np.float32))
    assert np.array_equal(first, second)
    window, other = response.features.values[1]
    row = np.frombuffer(window.obj, np.uint8)
    assert np.shares_memory(first, row), "no copy of what Redis sent"
    assert not np.shares_memory(second, row)
    assert other.obj is not window.obj
    again = response.to_numpy()["megabyte_of_floats"][0]
    assert np.shares_memory(again, first)
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1.0
    # A list is the caller's own.
    listed = response.to_dict()["megabyte_of_floats"][0]
    listed[0] = -1.0
    assert response.to_dict()["megabyte_of_floats"][0][0] == 0.0


def test_frames_and_tables_of_vectors_are_feasts(store: FeatureStore) -> None:
    names = [f"things:{name}" for name in ("odd_floats", "empty_floats", "integers", "bools", "moments", "integers32")]
    ours = store.get_online_features(names, [{"thing_id": 0}, {"thing_id": 9}])
    theirs = OnlineResponse(ours.proto)
    pd.testing.assert_frame_equal(ours.to_df(), theirs.to_df())
    assert ours.to_arrow().schema.equals(theirs.to_arrow().schema)
    assert same(ours.to_arrow().to_pylist(), theirs.to_arrow().to_pylist())
