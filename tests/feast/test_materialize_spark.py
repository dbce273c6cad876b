"""Materialization with `engine: spark`: what comes online is what comes online from here, whatever dies on the way."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from feast import Entity, FeatureStore, FeatureView, Field
from feast.types import Array, Bool, Bytes, Float32, Float64, Int64, String, UnixTimestamp
from feast.value_type import ValueType

from tests import places
from tests.feast import spark_writers
from tests.feast.repo import FORMATS, at, feature_store
from tests.feast.spark_writers import NOON
from tests.online_server import address, client, client_of, server
from tests.spark_cluster import SparkCluster, spark_cluster
from yummy_feast.errors import OnlineStoreError
from yummy_feast.materialization import parts
from yummy_feast.online.keys import progress_key
from yummy_feast.online.progress import ProgressBook
from yummy_feast.sources.base import context_of

__all__ = ["address", "client", "server", "spark_cluster"]

pytestmark = [pytest.mark.slow, pytest.mark.spark]

ROOT = Path(__file__).parents[2]
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
REGION = Entity(name="region", join_keys=["region"], value_type=ValueType.STRING)
KEYS = 1_000
US = pa.timestamp("us", "UTC")
FIELDS = {
    "score": Float64,
    "big": Int64,
    "name": String,
    "when": UnixTimestamp,
    "small": Float32,
    "flag": Bool,
    "raw": Bytes,
    "seen": Array(Float32),
    "tags": Array(String),
}
IN_CSV = 4
"""So many of them can be."""


def rows(number: int, drivers: range = range(KEYS), first: datetime = NOON - DAY) -> pa.Table:
    """A row per driver, of which some have neither a driver nor a region; times and values as ``number`` draws."""
    made, keys = np.random.default_rng(number), len(drivers)
    none = made.random(keys) < 0.02
    return pa.table(
        {
            "driver_id": pa.array(made.permutation(drivers), pa.int64(), mask=none),
            "region": pa.array([f"r{region}" for region in made.integers(0, 50, keys)], mask=none),
            # Of a region many are the newest: the created time breaks ties, and then the place.
            "at": pa.array([first + 10 * MINUTE * int(tick) for tick in made.integers(0, 144, keys)], US),
            "made": pa.array([NOON + MINUTE * int(tick) for tick in made.integers(0, 3, keys)], US),
            "score": pa.array(made.normal(size=keys), mask=made.random(keys) < 0.1),
            # Of one width: how wide an integer is stored depends on its neighbours.
            "big": pa.array(2**40 + made.integers(0, 2**30, keys), pa.int64()),
            "name": pa.array([f"näme {name}" for name in made.integers(0, 99, keys)]),
            "when": pa.array([NOON + timedelta(microseconds=int(tick)) for tick in made.integers(0, 10**9, keys)], US),
            "small": pa.array(made.normal(size=keys).astype(np.float32)),
            "flag": pa.array(made.random(keys) < 0.5),
            "raw": pa.array([bytes(made.bytes(5)) for _ in range(keys)]),
            "seen": pa.array(made.normal(size=(keys, 3)).tolist(), pa.list_(pa.float32())),
            "tags": pa.array([[f"t{tag}" for tag in range(number % 4)] or None for number in range(keys)]),
        }
    )


def views(source: Any, fields: dict[str, Any]) -> list[FeatureView]:
    schema = [Field(name=name, dtype=kind) for name, kind in fields.items()]
    common: dict[str, Any] = {"source": source, "ttl": timedelta(0)}
    return [
        FeatureView(name="wide", entities=[DRIVER], schema=schema, **common),
        FeatureView(name="few", entities=[DRIVER], schema=schema[:2], **common),
        FeatureView(name="regional", entities=[REGION], schema=schema[:3], **common),
        FeatureView(name="both", entities=[DRIVER, REGION], schema=schema[2:], **common),
        FeatureView(name="everywhere", entities=[], schema=schema, **common),
    ]


class Lab:
    """One source and two repositories over it, one per engine, each with a database of its own."""

    def __init__(self, folder: Path, address: str, kind: str = "delta", **online: Any) -> None:
        self.folder, self.address = folder, address
        first = pa.concat_tables([rows(number) for number in range(3)])
        self.columns = first.column_names if kind != "csv" else first.column_names[: 4 + IN_CSV]
        self.fields = {name: FIELDS[name] for name in self.columns[4:]}
        times = {"timestamp_field": "at", "created_timestamp_column": "made"}
        self.source = FORMATS[kind](folder, "rows", first.select(self.columns), **times)
        self.here = self.store("duckdb", elsewhere(address), **online)
        self.spark = self.store("spark", address, **online)

    def store(self, engine: str, address: str, **online: Any) -> FeatureStore:
        top = {"registry": str(self.folder / f"{engine}.db")}
        made: FeatureStore = feature_store(self.folder, online=at(address, **online), top=top, engine=engine)
        made.apply([DRIVER, REGION, *views(self.source, self.fields)])
        return made

    def append(self, more: pa.Table) -> None:
        self.source.append(more.select(self.columns), context_of(self.here.config))

    def same(self) -> dict[bytes, dict[bytes, bytes]]:
        """What both databases hold; the progress has runs of other names."""
        with client_of(elsewhere(self.address)) as here, client_of(self.address) as spark:
            found = contents(spark)
            assert found == contents(here)
        return found


def elsewhere(address: str) -> str:
    """Another database of the same server."""
    return f"{address}{'&' if '?' in address else '?'}db=1" if "://" in address else f"{address},db=1"


def contents(client: Any) -> dict[bytes, dict[bytes, bytes]]:
    return {key: client.hgetall(key) for key in client.scan_iter() if key != progress_key("lab")}


@pytest.fixture(autouse=True)
def emptied(address: str) -> Iterator[None]:
    yield
    with client_of(elsewhere(address)) as other:
        other.flushdb()


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Any:
    """What a run says became of each view's rows, and how many it left out."""
    caplog.set_level(logging.INFO, "yummy_feast")

    def run(job: Any, *arguments: Any) -> list[str]:
        caplog.clear()
        job(*arguments)
        said = [record.getMessage() for record in caplog.records]
        return sorted(line for line in said if "rows written" in line or "left out" in line)

    return run


def counted(lines: list[str], name: str) -> tuple[int, int]:
    """Rows of a view that were written, and that were there."""
    [found] = filter(
        None, (re.search(rf"view {name}: (\d+) rows written, (\d+) already there", line) for line in lines)
    )
    return int(found[1]), int(found[2])


# ------------------------------------------------------------------------------------------------- the same bytes


@pytest.mark.parametrize(
    ("kind", "layout"),
    [("parquet", "rows"), ("parquet", "feast"), ("csv", "feast"), ("delta", "rows"), ("iceberg", "rows")],
)
def test_redis_holds_the_same_bytes(
    spark_session: Any, tmp_path: Path, address: str, kind: str, layout: str, told: Any
) -> None:
    lab = Lab(tmp_path, address, kind, layout=layout)
    names = ["wide", "few", "both", *(["regional", "everywhere"] if kind == "parquet" else [])]
    first = told(lab.spark.materialize, NOON - DAY, NOON, names)
    assert first == told(lab.here.materialize, NOON - DAY, NOON, names)
    assert counted(first, "wide") == (KEYS, 0)
    assert sum("left out" in line for line in first) == (3 if kind == "parquet" else 2)
    before = len(lab.same())
    assert before > 2 * KEYS
    # In time, late, and later than anybody waits for; a few of each.
    for number, since in enumerate((NOON, NOON - 30 * MINUTE, NOON - 2 * DAY)):
        lab.append(rows(7 + number, range(900, 1_010), since).slice(0, 60))
    again = told(lab.spark.materialize_incremental, NOON + DAY, names)
    assert again == told(lab.here.materialize_incremental, NOON + DAY, names)
    assert 50 <= counted(again, "wide")[0] <= 120
    assert len(lab.same()) > before
    assert counted(told(lab.spark.materialize_incremental, NOON + 2 * DAY, ["few"]), "few") == (0, 0)
    assert lab.spark.get_feature_view("few").most_recent_end_time == NOON + 2 * DAY


# -------------------------------------------------------------------------------------------------- what goes wrong


def test_a_value_that_does_not_fit_fails_its_view_alone(spark_session: Any, tmp_path: Path, address: str) -> None:
    lab = Lab(tmp_path, address)
    wrong = views(lab.source, {"score": Float64, "name": Int64})[1]
    said = []
    for store in (lab.here, lab.spark):
        store.apply([wrong])
        with pytest.raises(Exception, match="feature view 'few': column 'name' of rows") as error:
            store.materialize(NOON - DAY, NOON, ["few", "wide"])
        said.append((type(error.value), str(error.value)))
        assert store.get_feature_view("few").most_recent_end_time is None
        assert store.get_feature_view("wide").most_recent_end_time == NOON
    assert said[0] == said[1]
    lab.same()


def program(kind: str, master: str, lab: Lab) -> subprocess.Popen[bytes]:
    """Materializes two views in a process group of its own, with Spark in it."""
    command = [sys.executable, "-m", "tests.feast.spark_writers", *given(kind, {"master": master}, lab)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)


def given(kind: str, conf: dict[str, str], lab: Lab) -> list[str]:
    """What the program wants to be told."""
    (lab.folder / "marks").mkdir()
    where = (str(lab.folder), str(lab.spark.config.registry.path), lab.address, str(lab.folder / "marks"))
    return [kind, json.dumps(conf), *where, "wide", "few"]


def attempts(lab: Lab) -> list[str]:
    """The part of each attempt that came half way."""
    return sorted(path.name.partition("-")[0] for path in (lab.folder / "marks").iterdir())


def test_tasks_that_die_half_way_are_tried_again(tmp_path: Path, address: str) -> None:
    lab = Lab(tmp_path, address)
    lab.here.materialize(NOON - DAY, NOON, ["wide", "few"])
    # Of the tasks of one job, each may fail three times.
    process = program("dying", "local[2,4]", lab)
    assert process.wait(280) == 0
    assert attempts(lab) == ["0", "0", "1", "1", "2", "2", "3", "3"]
    lab.same()


def test_a_worker_that_dies_is_made_up_for_by_the_other(
    spark_cluster: SparkCluster, tmp_path: Path, address: str, client: Any
) -> None:
    lab = Lab(tmp_path, address)
    lab.here.materialize(NOON - DAY, NOON, ["wide", "few"])
    driver = spark_cluster.driver("tests.feast.spark_writers", *given("slow", spark_cluster.conf, lab))

    def are_in_two_more() -> bool:
        assert driver.poll() is None, driver.communicate()[0]
        return len(attempts(lab)) == len(noted(client)) + 2 > 2

    places.wait_until(are_in_two_more, 200, "two parts at a time")
    spark_cluster.kill_worker()
    said = driver.communicate(timeout=200)[0]
    assert driver.returncode == 0, said
    assert spark_cluster.alive() == 1
    assert sorted(set(attempts(lab))) == ["0", "1", "2", "3"]
    assert len(attempts(lab)) > 4
    lab.same()


def noted(client: Any, view: bytes = b"few") -> dict[int, int]:
    """The parts of a view that are online, and their rows."""
    book = ProgressBook(client, "lab")
    made, _ = book.last(view)
    return {} if made is None else book.parts(made.run, [view])[0]


def test_a_run_that_is_killed_goes_on(spark_session: Any, tmp_path: Path, address: str, client: Any, told: Any) -> None:
    lab = Lab(tmp_path, address)
    lab.here.materialize(NOON - DAY, NOON, ["wide", "few"])
    process = program("slow", "local[1]", lab)

    def is_in_the_third() -> bool:
        assert process.poll() is None
        parts = noted(client)
        # Beside the rows there are their views' schemas, under one key.
        return len(parts) == 2 and len(contents(client)) - 1 > sum(parts.values())

    try:
        places.wait_until(is_in_the_third, 200, "a third part")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    done, before = noted(client), len(contents(client))
    assert len(done) == 2
    assert lab.spark.get_feature_view("few").most_recent_end_time is None
    lines = told(lab.spark.materialize, NOON - DAY, NOON, ["wide", "few"])
    written, there = counted(lines, "few")
    assert (written, there) == (len(lab.same()) - before, before - 1 - sum(done.values()))
    assert there > 0
    assert lab.spark.get_feature_view("few").most_recent_end_time == NOON


def test_redis_that_dies_is_one_clean_error_and_the_next_run_goes_on(
    spark_session: Any, tmp_path: Path, told: Any
) -> None:
    with places.node(tmp_path, "--appendonly", "yes") as node:
        lab = Lab(tmp_path, node.address, retries=0)
        lab.here.materialize(NOON - DAY, NOON, ["few"])

        def strike() -> None:
            with client_of(node.address) as watching:
                places.wait_until(lambda: bool(noted(watching)), 60, "a first part")
            node.kill()

        striker = threading.Thread(target=strike)
        striker.start()
        slowly = mock.patch.object(parts, "PartWriter", spark_writers.SlowWriter)
        with slowly, pytest.raises(OnlineStoreError) as error:
            lab.spark.materialize(NOON - DAY, NOON, ["few"])
        striker.join()
        assert "\n" not in str(error.value)
        assert str(error.value).startswith(f"redis at {node.address} ")
        assert lab.spark.get_feature_view("few").materialization_intervals == []
        node.start()
        lines = told(lab.spark.materialize, NOON - DAY, NOON, ["few"])
        assert sum(counted(lines, "few")) < KEYS * 0.9
        lab.same()
