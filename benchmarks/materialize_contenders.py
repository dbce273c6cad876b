"""Who is measured by the materialization benchmark. One process runs one contender once:

python -m benchmarks.materialize_contenders CONTENDER FILE WARM_UP_FILE KEYS SERVER RESULT

reports seconds and memory, and writes what it reads back for KEYS (an Arrow file) to the Arrow file RESULT.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.materialize_data import END, FEATURES, FLOATS, START
from benchmarks.measure import peak_memory, report, resident_memory
from benchmarks.offline_answer import read_arrow

# Entities in one call of get_online_features.
CHUNK = 500


@dataclass(frozen=True, slots=True)
class Contender:
    """What differs between the projects: lines of feature_store.yaml, and the class of the source."""

    title: str
    provider: str
    offline_store: str
    online_store: str
    source: str


CONTENDERS = {
    "ours": Contender(
        "yummy",
        provider="yummy_feast.YummyProvider",
        offline_store="yummy_feast.YummyOfflineStore",
        online_store="yummy_feast.YummyOnlineStore",
        source="yummy_feast.ParquetSource",
    ),
    "feast": Contender(
        "Feast: dask store to Redis store",
        provider="local",
        offline_store="dask",
        online_store="redis",
        source="feast.FileSource",
    ),
}


def store_of(contender: Contender, project: str, file: Path, server: str, repo: Path) -> Any:
    """A FeatureStore with one feature view over ``file``, applied."""
    from feast import Entity, FeatureStore, FeatureView, Field, ValueType
    from feast.importer import import_class
    from feast.repo_config import RepoConfig
    from feast.types import Float32, Int64

    config = RepoConfig(
        project=project,
        provider=contender.provider,
        registry=str(repo / f"{project}.db"),
        offline_store={"type": contender.offline_store},
        online_store={"type": contender.online_store, "connection_string": server},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    make_source: Callable[..., Any] = import_class(*contender.source.rsplit(".", 1))
    source = make_source(
        name="source", path=str(file), timestamp_field="event_timestamp", created_timestamp_column="created"
    )
    entity = Entity(name="id", join_keys=["id"], value_type=ValueType.INT64)
    features = [Field(name=name, dtype=Float32 if name in FLOATS else Int64) for name in FEATURES]
    view = FeatureView(name="view", entities=[entity], schema=[Field(name="id", dtype=Int64), *features], source=source)
    store.apply([entity, view])
    return store


def read_back(store: Any, keys: list[int]) -> pa.Table:
    """What the online store says about ``keys``, through the SDK."""
    references = [f"view:{name}" for name in FEATURES]
    columns: dict[str, list[Any]] = {name: [] for name in ("id", *FEATURES)}
    for start in range(0, len(keys), CHUNK):
        rows = [{"id": key} for key in keys[start : start + CHUNK]]
        answer = store.get_online_features(features=references, entity_rows=rows).to_dict()
        for name, column in columns.items():
            column += answer[name]
    types = {"id": pa.int64(), **{name: pa.float32() if name in FLOATS else pa.int64() for name in FEATURES}}
    return pa.table({name: pa.array(column, types[name]) for name, column in columns.items()})


def main(name: str, file: str, warm_up_file: str, keys: str, server: str, result: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        repo = Path(folder)
        # Imports and first connections are on nobody's bill.
        warm = store_of(CONTENDERS[name], "warm_up", Path(warm_up_file), server, repo)
        warm.materialize(START, END)
        warm.teardown()
        store = store_of(CONTENDERS[name], "measured", Path(file), server, repo)
        before = resident_memory()
        started = time.perf_counter()
        store.materialize(START, END)
        seconds = time.perf_counter() - started
        peak = peak_memory()
        table = read_back(store, read_arrow(Path(keys))["id"].to_pylist())
    with pa.ipc.new_file(result, table.schema) as sink:
        sink.write_table(table)
    report(seconds=seconds, before=before, peak=peak)


if __name__ == "__main__":
    main(*sys.argv[1:])
