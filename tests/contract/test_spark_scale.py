"""What makes a join in Spark slow elsewhere: a key that has very many rows, and files that have very few.

Answers equal the embedded engine's, and no step of the plan has more rows than came in.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from tests.contract.engine_kit import HOUR, Kit, view
from yummy_feast import CsvSource, ParquetSource
from yummy_feast.offline.engines.spark_answer import SparkAnswer
from yummy_feast.offline.plan import ViewPlan
from yummy_feast.sources.base import YummySource

pytestmark = [pytest.mark.slow, pytest.mark.spark]

YEAR = 365 * 24 * HOUR
FILES = 1_000


@pytest.fixture
def kits(spark_session: Any, tmp_path: Path) -> tuple[Kit, Kit]:
    """The embedded engine and Spark over one folder."""
    return Kit("duckdb", "parquet", tmp_path), Kit("spark", "parquet", tmp_path)


def drawn(random: np.random.Generator, count: int, share: float, time: str) -> pa.Table:
    """Rows of which ``share`` belong to key 0, the others to one of a thousand keys."""
    keys = np.where(random.random(count) < share, 0, random.integers(1, 1_000, count))
    columns = {"k": pa.array(keys), time: pa.array(random.integers(0, YEAR, count), pa.timestamp("us", "UTC"))}
    if time == "t":
        columns |= {"v": pa.array(np.arange(count)), "w": pa.array(random.random(count))}
    return pa.table(columns)


def answered(kits: tuple[Kit, Kit], asked: pa.Table, *views: ViewPlan) -> SparkAnswer:
    """Spark's answer, which is that of the embedded engine."""
    expected, (_, spark) = kits[0].ask(asked, *views), kits
    answer = spark.answer(asked, *views)
    assert isinstance(answer, SparkAnswer)
    assert answer.table().equals(expected)
    assert 0 < expected.column(0).null_count < len(expected)
    return answer


def most_rows(frame: Any) -> int:
    """Of all steps of the plan, once it has run."""
    frame.collect()
    found = [rows for node in nodes(frame._jdf.queryExecution().executedPlan()) for rows in rows_of_node(node)]
    assert len(found) > 5
    return max(found)


def nodes(node: Any) -> Iterator[Any]:
    """The steps of a plan, those of its adaptive stages included."""
    yield node
    kind = node.getClass().getSimpleName()
    if kind == "AdaptiveSparkPlanExec":
        yield from nodes(node.executedPlan())
    elif kind.endswith("QueryStageExec"):
        yield from nodes(node.plan())
    else:
        children = node.children()
        for number in range(children.length()):
            yield from nodes(children.apply(number))


def rows_of_node(node: Any) -> Iterator[int]:
    for name in ("numOutputRows", "shuffleRecordsWritten"):
        metric = node.metrics().get(name)
        if metric.isDefined():
            yield int(metric.get().value())


@pytest.mark.parametrize("created", [False, True], ids=["", "created"])
def test_a_key_with_a_tenth_of_all_rows_explodes_nothing(kits: tuple[Kit, Kit], created: bool) -> None:
    random = np.random.default_rng(11)
    count, asks = 100_000, 20_000
    sources: list[YummySource] = []
    for _ in range(2):
        table = drawn(random, count, 0.1, "t")
        if created:
            made = table["t"].cast(pa.int64()).to_numpy() + random.integers(0, 24 * HOUR, count)
            table = table.append_column("made", pa.array(made, pa.timestamp("us", "UTC")))
        sources.append(kits[0].source(table, count // 3))
    asked = drawn(random, asks, 0.1, "event_timestamp")
    more = {"created": "made", "cutoff": True} if created else {}
    views = [
        view(sources[0], {"v": pa.int64()}, ttl=24 * HOUR, name="first", **more),
        view(sources[1], {"w": pa.float64()}, ttl=24 * HOUR, name="second", **more),
    ]
    answer = answered(kits, asked, *views)
    # A join by key alone would make 20 million rows of that key.
    assert most_rows(answer.frame()) <= 2 * count + asks


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_thousand_small_files(kits: tuple[Kit, Kit], tmp_path: Path, kind: str) -> None:
    random = np.random.default_rng(12)
    folder = tmp_path / kind
    folder.mkdir()
    for number in range(FILES):
        part = drawn(random, 20, 0.1, "t")
        if kind == "parquet":
            pq.write_table(part, folder / f"{number:04}.parquet")
        else:
            pacsv.write_csv(part, folder / f"{number:04}.csv")
    of_kind = {"parquet": ParquetSource, "csv": CsvSource}[kind]
    source = of_kind(path=kind, timestamp_field="t")
    asked = drawn(random, 2_000, 0.1, "event_timestamp")
    answer = answered(kits, asked, view(source, {"v": pa.int64(), "w": pa.float64()}, ttl=24 * 30 * HOUR))
    assert most_rows(answer.frame()) <= FILES * 20 + 2_000
    if kind == "parquet":
        report = answer.explanation().views[0]
        assert (report.pieces_read, report.rows_read) == (FILES, FILES * 20)
