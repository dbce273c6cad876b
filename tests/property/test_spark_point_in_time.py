"""The Spark engine against the naive oracle, and against the embedded engine on more rows than an oracle can walk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings

from tests.contract.engine_kit import Kit, view
from tests.property.harness import Repo
from tests.property.test_point_in_time import check, corrected_twice
from tests.property.worlds import World, worlds
from yummy_feast import ParquetSource, YummyOfflineStore

pytestmark = [pytest.mark.slow, pytest.mark.spark]


@pytest.fixture(scope="module")
def repo(spark_session: Any, tmp_path_factory: pytest.TempPathFactory) -> Repo:
    offline_store = {"type": "yummy_feast.YummyOfflineStore", "engine": "spark"}
    return Repo(tmp_path_factory.mktemp("worlds"), offline_store, YummyOfflineStore(), ParquetSource)


# A Spark job takes a second where the embedded engine takes a hundredth.
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(world=worlds())
def test_answers_as_the_oracle_does(repo: Repo, world: World) -> None:
    check(repo, world)


def test_a_row_that_was_corrected_twice(repo: Repo) -> None:
    check(repo, corrected_twice())


UNITS = ("s", "ms", "us", "ns")


def crowded(random: np.random.Generator, rows: int, units: tuple[str, str]) -> pa.Table:
    """Few keys, few moments: ties of every kind, nulls everywhere, and a key that has a third of the rows."""
    second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}

    def moments(unit: str) -> pa.Array:
        values = 1_700_000_000 * second[unit] + random.integers(0, 40, rows) * max(second[unit] // 4, 1)
        return pa.array(values, pa.int64(), mask=random.random(rows) < 0.05).cast(pa.timestamp(unit, "UTC"))

    key = np.where(random.random(rows) < 0.3, 0, random.integers(0, 50, rows))
    return pa.table(
        {
            "k": pa.array(key, mask=random.random(rows) < 0.02),
            "t": moments(units[0]),
            "made": moments(units[1]),
            "v": pa.array(np.arange(rows), mask=random.random(rows) < 0.1),
        }
    )


@pytest.mark.parametrize("cutoff", [False, True])
@pytest.mark.parametrize("stored", ["memory", "parquet"])
def test_both_engines_answer_alike(spark_session: Any, tmp_path: Path, stored: str, cutoff: bool) -> None:
    random = np.random.default_rng(5)
    kits = [Kit(engine, stored, tmp_path / engine) for engine in ("duckdb", "spark")]
    for kit in kits:
        kit.folder.mkdir()
    tables = [crowded(random, 20_000, (UNITS[n % 4], UNITS[-1 - n % 3])) for n in range(4)]
    asked = crowded(random, 6_000, ("us", "us")).select(["k", "t"]).rename_columns(["k", "event_timestamp"])
    answers = []
    for kit in kits:
        views = [
            view(
                kit.source(table.rename_columns(["k", "t", "made", f"v{n}"]), 7, 9_000),
                f"v{n}",
                created="made" if n % 3 else None,
                ttl=(0, 2_000_000, 500_001, 1)[n],
                cutoff=cutoff and n % 3 > 0,
                name=f"view{n}",
            )
            for n, table in enumerate(tables)
        ]
        answer = kit.answer(asked, *views)
        reports = [(r.view, r.matched, r.expired, r.unmatched, r.rows_read) for r in answer.explanation().views]
        answers.append((answer.table(), reports))
    (expected, counted), (found, recounted) = answers
    assert found.equals(expected)
    assert recounted == counted
