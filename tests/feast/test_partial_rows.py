"""A row that is written again without one of its features: a row of ours is one value, Feast's a cell per feature."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from feast.protos.feast.types.Value_pb2 import Value

from tests.feast.side_by_side import NOW, key, open_store, register, server, stats, write

__all__ = ["server"]

FULL = {"conv": Value(double_val=0.5), "trips": Value(int64_val=1), "label": Value(string_val="a")}


@pytest.mark.parametrize(
    ("online", "kept"),
    [
        ({"type": "redis"}, 0.5),
        ({"type": "yummy_feast.YummyOnlineStore", "layout": "rows"}, None),
        ({"type": "yummy_feast.YummyOnlineStore", "layout": "feast"}, None),
    ],
    ids=["stock", "rows", "feast"],
)
def test_what_becomes_of_a_missing_feature(tmp_path: Path, server: Any, online: Any, kept: float | None) -> None:
    store = open_store(tmp_path / "store", {**online, "connection_string": f"localhost:{server.port}"})
    register(store)
    driver = key(driver_id=Value(int64_val=1))
    write(store, stats, driver, FULL, NOW - timedelta(minutes=1))
    write(store, stats, driver, {"trips": Value(int64_val=2)})
    answer = store.get_online_features(["stats:conv", "stats:trips"], [{"driver_id": 1}]).to_dict()
    assert answer == {"driver_id": [1], "conv": [kept], "trips": [2]}
    store.teardown()
    if online["type"] == "redis":
        store._get_provider().online_store._client.close()
