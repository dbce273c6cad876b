"""Who is measured by the materialization benchmark. One process runs one contender once:

python -m benchmarks.materialize_contenders CONTENDER CASE FILE WARM_UP_FILE KEYS SERVER RESULT

reports seconds and memory, and writes what it reads back for KEYS (an Arrow file) to the Arrow file RESULT.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.materialize_data import CASES, END, START, Case
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
    online_store: dict[str, str] = field(hash=False)
    source: str
    offline_options: dict[str, Any] = field(default_factory=dict, hash=False)


SPARK = {
    "spark.master": "local[2]",
    "spark.driver.memory": "2g",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "8",
}
OURS = Contender(
    "yummy",
    provider="yummy_feast.YummyProvider",
    offline_store="yummy_feast.YummyOfflineStore",
    online_store={"type": "yummy_feast.YummyOnlineStore"},
    source="yummy_feast.ParquetSource",
)
CONTENDERS = {
    "ours": OURS,
    "ours-feast": Contender(
        "yummy, layout: feast",
        OURS.provider,
        OURS.offline_store,
        online_store={**OURS.online_store, "layout": "feast"},
        source=OURS.source,
    ),
    "ours-spark": Contender(
        "yummy, engine: spark, local[2]",
        OURS.provider,
        OURS.offline_store,
        OURS.online_store,
        OURS.source,
        offline_options={"engine": "spark", "spark_conf": SPARK},
    ),
    "feast": Contender(
        "Feast: dask store to Redis store",
        provider="local",
        offline_store="dask",
        online_store={"type": "redis"},
        source="feast.FileSource",
    ),
}


def store_of(contender: Contender, case: Case, project: str, file: Path, server: str, repo: Path) -> Any:
    """A FeatureStore with the case's feature views over ``file``, applied."""
    from feast import Entity, FeatureStore, FeatureView, Field, ValueType
    from feast.importer import import_class
    from feast.repo_config import RepoConfig
    from feast.types import Float32, Int32, Int64

    config = RepoConfig(
        project=project,
        provider=contender.provider,
        registry=str(repo / f"{project}.db"),
        offline_store={"type": contender.offline_store, **contender.offline_options},
        online_store={**contender.online_store, "connection_string": server},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    make_source: Callable[..., Any] = import_class(*contender.source.rsplit(".", 1))
    source = make_source(
        name="source", path=str(file), timestamp_field="event_timestamp", created_timestamp_column=case.created or ""
    )
    entity = Entity(name="id", join_keys=["id"], value_type=ValueType.INT64)
    types = {pa.float32(): Float32, pa.int32(): Int32, pa.int64(): Int64}
    views = [
        FeatureView(
            name=name,
            entities=[entity],
            ttl=case.ttl,
            schema=[Field(name="id", dtype=Int64), *(Field(name=f, dtype=types[kind]) for f, kind in features.items())],
            source=source,
        )
        for name, features in case.views.items()
    ]
    store.apply([entity, *views])
    return store


def read_back(store: Any, case: Case, keys: list[int]) -> pa.Table:
    """What the online store says about ``keys`` in every view, through the SDK."""
    columns: dict[str, list[Any]] = {name: [] for name in ("id", *case.types)}
    for start in range(0, len(keys), CHUNK):
        rows = [{"id": key} for key in keys[start : start + CHUNK]]
        answer = store.get_online_features(features=case.references, entity_rows=rows).to_dict()
        for name, column in columns.items():
            column += answer[name]
    types = {"id": pa.int64(), **case.types}
    return pa.table({name: pa.array(column, types[name]) for name, column in columns.items()})


def main(name: str, case_name: str, file: str, warm_up_file: str, keys: str, server: str, result: str) -> None:
    contender, case = CONTENDERS[name], CASES[case_name]
    with tempfile.TemporaryDirectory() as folder:
        repo = Path(folder)
        # Imports and first connections are on nobody's bill.
        warm = store_of(contender, case, "warm_up", Path(warm_up_file), server, repo)
        warm.materialize(START, END)
        warm.teardown()
        store = store_of(contender, case, "measured", Path(file), server, repo)
        before = resident_memory()
        started = time.perf_counter()
        store.materialize(START, END)
        seconds = time.perf_counter() - started
        peak = peak_memory()
        table = read_back(store, case, read_arrow(Path(keys))["id"].to_pylist())
    with pa.ipc.new_file(result, table.schema) as sink:
        sink.write_table(table)
    report(seconds=seconds, before=before, peak=peak)


if __name__ == "__main__":
    main(*sys.argv[1:])
