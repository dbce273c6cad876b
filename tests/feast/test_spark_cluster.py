"""A cluster of a master and two workers, one of which dies while it works: the answer is as if it had not."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.feast import cluster_fetch
from tests.feast.slow_source import MARKS
from tests.spark_cluster import SparkCluster, spark_cluster

__all__ = ["spark_cluster"]

pytestmark = [pytest.mark.slow, pytest.mark.spark]


def read_so_far(folder: Path) -> list[tuple[int, int]]:
    """(number, process) of each file of the slow source that was opened."""
    names = [path.name.split("-") for path in (folder / MARKS).glob("*")]
    return [(int(name[0]), int(name[1])) for name in names]


def test_a_worker_that_dies_during_a_fetch_changes_nothing(spark_cluster: SparkCluster, tmp_path: Path) -> None:
    cluster_fetch.lay(tmp_path)
    expected = cluster_fetch.answer(tmp_path)
    assert {number for number, _ in read_so_far(tmp_path)} == set(range(cluster_fetch.FILES))
    for mark in (tmp_path / MARKS).iterdir():
        mark.unlink()

    found = tmp_path / "answer.parquet"
    driver = spark_cluster.driver(
        "tests.feast.cluster_fetch", str(tmp_path), json.dumps(spark_cluster.conf), str(found)
    )
    deadline = time.monotonic() + 180
    while len({process for _, process in read_so_far(tmp_path)}) < 2 or len(read_so_far(tmp_path)) < 4:
        assert driver.poll() is None, driver.communicate()[0]
        assert time.monotonic() < deadline, read_so_far(tmp_path)
        time.sleep(0.05)
    spark_cluster.kill_worker()
    assert driver.poll() is None, "the fetch was over too soon"
    said = driver.communicate(timeout=200)[0]
    assert driver.returncode == 0, said

    # What the dead worker had read is lost, and was read again by the other.
    numbers = [number for number, _ in read_so_far(tmp_path)]
    assert set(numbers) == set(range(cluster_fetch.FILES))
    assert len(numbers) > cluster_fetch.FILES
    assert spark_cluster.alive() == 1
    assert pq.read_table(found).equals(expected)
