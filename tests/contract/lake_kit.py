"""What the suites for lakes share: rows that are hard to join, and both engines' answers about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa

from tests.contract.engine_kit import rows_of, view
from tests.contract.format_cases import times
from yummy_feast.offline.engines.base import Engine, EngineSettings
from yummy_feast.offline.engines.table import engine_of
from yummy_feast.offline.entity_rows import EntityRows
from yummy_feast.offline.plan import RetrievalPlan
from yummy_feast.sources.base import SourceContext, YummySource


def engines(context: SourceContext) -> Iterator[Engine]:
    for name in ("duckdb", "spark"):
        yield engine_of(name, EngineSettings(context=context, threads=2))


def answers(context: SourceContext, source: YummySource) -> tuple[pa.Table, pa.Table]:
    """Of the embedded engine and of Spark, about rows of ``parts``."""
    asked = rows_of(id=[*range(25), None], event_timestamp=[n * 30_000_000 for n in range(26)])
    one = replace(view(source, {"name": pa.string(), "score": pa.float64()}, keys=("id",), ttl=400_000_000), time="ts")
    plan = RetrievalPlan((one,), ("name", "score"), (), (), full_feature_names=False)
    embedded, spark = (engine.point_in_time(plan, EntityRows.of_arrow(asked)).table() for engine in engines(context))
    return embedded, spark


def parts() -> list[pa.Table]:
    """Files that overlap in time, with ties, nulls and keys that come again."""
    tables = []
    for part in range(4):
        ids = [(part * 7 + step * 5) % 23 for step in range(40)]
        tables.append(
            pa.table(
                {
                    "ts": times(*(None if step % 17 == 0 else (step // 3) * 60 + part for step in range(40))),
                    "id": pa.array([None if step % 19 == 0 else i for step, i in enumerate(ids)], pa.int64()),
                    "name": pa.array([None if step % 11 == 0 else f"n {part} {step}" for step in range(40)]),
                    "score": pa.array([None if step % 13 == 0 else step / 8 for step in range(40)]),
                }
            )
        )
    return tables


def ids_of(*ids: int) -> pa.Table:
    """Deletes of all rows with these ids."""
    schema = pa.schema([pa.field("id", pa.int64(), metadata={"PARQUET:field_id": "2"})])
    return pa.table([list(ids)], schema=schema)
