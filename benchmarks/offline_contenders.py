"""Who is measured by the offline benchmark. One process runs one contender once:

python -m benchmarks.offline_contenders CONTENDER DATA WARM_UP_DATA RESULT

reports seconds and memory, and writes its answer to the Arrow file RESULT, where the benchmark judges it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure import peak_memory, report, resident_memory
from benchmarks.offline_data import Shape, shape_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Fetch = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Contender:
    """Who takes part. wrong: why its answer cannot be right, else empty. repeats: at most. asked: takes part only if it
    is named (it needs Java).
    """

    title: str
    prepare: Callable[[Shape, Path, Path], Fetch]
    wrong: str = ""
    repeats: int = 99
    asked: bool = False


def ours(memory_limit: str | None = None) -> Callable[[Shape, Path, Path], Fetch]:
    def prepare(shape: Shape, folder: Path, repo: Path) -> Fetch:
        from yummy_feast import ParquetSource

        offline_store: dict[str, Any] = {"type": "yummy_feast.YummyOfflineStore"}
        if memory_limit:
            offline_store["memory_limit"] = memory_limit
        return through_feast(shape, folder, repo, offline_store, ParquetSource)

    return prepare


def feast_store(kind: str) -> Callable[[Shape, Path, Path], Fetch]:
    def prepare(shape: Shape, folder: Path, repo: Path) -> Fetch:
        from feast import FileSource

        return through_feast(shape, folder, repo, {"type": kind}, FileSource)

    return prepare


def on_spark(shape: Shape, folder: Path, repo: Path) -> Fetch:
    from yummy_feast import ParquetSource

    spark_session()
    offline_store = {"type": "yummy_feast.YummyOfflineStore", "engine": "spark"}
    return through_feast(shape, folder, repo, offline_store, ParquetSource)


def feast_on_spark(shape: Shape, folder: Path, repo: Path) -> Fetch:
    from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource

    spark_session()
    return through_feast(shape, folder, repo, {"type": "spark"}, partial(SparkSource, file_format="parquet"))


def spark_session() -> SparkSession:
    """The session both Spark stores find: made once per process, with more memory than either of them needs here."""
    from pyspark.sql import SparkSession

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 6 // 10 >> 20
    # Executors' Python is the driver's; files beside nothing of the user's.
    os.environ["PYSPARK_PYTHON"] = sys.executable
    scratch = tempfile.gettempdir()
    settings = {
        "spark.driver.memory": f"{memory}m",
        "spark.driver.maxResultSize": "0",
        "spark.driver.extraJavaOptions": f"-Dderby.system.home={scratch}",
        "spark.local.dir": scratch,
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.python.sql.dataFrameDebugging.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(4 * cores),
        "spark.sql.warehouse.dir": str(Path(scratch, "yummy-feast-benchmarks-warehouse")),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    return SparkSession.builder.master(f"local[{cores}]").config(map=settings).getOrCreate()


def through_feast(
    shape: Shape, folder: Path, repo: Path, offline_store: dict[str, Any], make_source: Callable[..., Any]
) -> Fetch:
    """The SDK's own call on a FeatureStore with one feature view per file; ready to be timed."""
    import pyarrow.parquet as pq
    from feast import Entity, FeatureStore, FeatureView, Field, ValueType
    from feast.repo_config import RepoConfig
    from feast.types import Float32, Int64

    repo.mkdir()
    config = RepoConfig(
        project="benchmark",
        provider="local",
        registry=str(repo / "registry.db"),
        offline_store=offline_store,
        online_store=None,
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    entity = Entity(name="id", join_keys=["id"], value_type=ValueType.INT64)
    views = []
    for view in range(shape.views):
        source = make_source(
            name=f"v{view}_source",
            path=str(folder / f"v{view}.parquet"),
            timestamp_field="event_timestamp",
            created_timestamp_column="created",
        )
        features = [Field(name=name, dtype=Float32) for name in shape.feature_names(view)]
        schema = [Field(name="id", dtype=Int64), *features]
        views.append(FeatureView(name=f"v{view}", entities=[entity], ttl=shape.ttl, schema=schema, source=source))
    store.apply([entity, *views])
    entity_df = pq.read_table(folder / "entity_rows.parquet").to_pandas()
    return lambda: store.get_historical_features(entity_df=entity_df, features=shape.references).to_arrow()


def plain_asof(shape: Shape, folder: Path, repo: Path) -> Fetch:  # noqa: ARG001 (as the others are called)
    """What DuckDB itself does with the same files: no ttl, any of several rows that tie."""
    import duckdb

    columns = ["e.*"]
    joins = [f"'{folder}/entity_rows.parquet' e"]
    for view in range(shape.views):
        columns += [f"v{view}.{name}" for name in shape.feature_names(view)]
        joins.append(
            f"ASOF LEFT JOIN '{folder}/v{view}.parquet' v{view}"
            f" ON e.id = v{view}.id AND e.event_timestamp >= v{view}.event_timestamp"
        )
    query = f"SELECT {', '.join(columns)} FROM {' '.join(joins)}"
    connection = duckdb.connect()
    return lambda: connection.sql(query).to_arrow_table()


CONTENDERS = {
    "ours": Contender("yummy", ours()),
    "ours-1gb": Contender("yummy, memory_limit: 1GB", ours("1GB")),
    "plain-asof": Contender("DuckDB ASOF join by hand", plain_asof, wrong="no ttl, ties at random"),
    "feast-duckdb": Contender("Feast's duckdb store", feast_store("duckdb")),
    "feast-dask": Contender("Feast's dask store", feast_store("dask"), wrong="loses rows, ties at random", repeats=1),
    "spark": Contender("yummy, engine: spark", on_spark, asked=True),
    "feast-spark": Contender(
        "Feast's Spark store", feast_on_spark, wrong="repeats rows, ties at random", repeats=2, asked=True
    ),
}


def main(name: str, data: Path, warm_up: Path, result: Path) -> None:
    import pyarrow as pa

    contender = CONTENDERS[name]
    with tempfile.TemporaryDirectory() as folder:
        contender.prepare(shape_of(warm_up), warm_up, Path(folder, "warm_up"))()
        fetch = contender.prepare(shape_of(data), data, Path(folder, "measured"))
        before = resident_memory()
        started = time.perf_counter()
        table = fetch()
        seconds = time.perf_counter() - started
        peak = peak_memory()
    with pa.ipc.new_file(result, table.schema) as sink:
        sink.write_table(table)
    report(seconds=seconds, before=before, peak=peak)


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
