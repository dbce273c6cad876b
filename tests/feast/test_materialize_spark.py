"""Materialization with `engine: spark`: what comes online is what comes online from here, whatever dies on the way."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field
from feast.types import Array, Bool, Bytes, Float32, Float64, Int64, String, UnixTimestamp
from feast.value_type import ValueType

from tests import places
from tests.feast import spark_writers
from tests.feast.repo import at, feature_store, in_csv
from tests.online_server import address, client, server
from yummy_feast import ParquetSource
from yummy_feast.errors import OnlineStoreError
from yummy_feast.materialization import parts
from yummy_feast.online.keys import progress_key
from yummy_feast.online.progress import ProgressBook
from yummy_feast.online.redis import RedisSettings, connect

__all__ = ["address", "client", "server"]

pytestmark = [pytest.mark.slow, pytest.mark.spark]

ROOT = Path(__file__).parents[2]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
REGION = Entity(name="region", join_keys=["region"], value_type=ValueType.STRING)
KEYS = 3_000
US = pa.timestamp("us", "UTC")


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    session = spark_writers.session("local[2]")
    yield session
    session.stop()


def rows(number: int, keys: int = KEYS, first: datetime = NOON - DAY) -> pa.Table:
    """One row per driver, of which some have neither a driver nor a region; times and values as ``number`` draws."""
    made = np.random.default_rng(number)
    at_ = [first + timedelta(seconds=int(second)) for second in made.integers(0, 80_000, keys)]
    none = made.random(keys) < 0.02
    return pa.table(
        {
            "driver_id": pa.array(made.permutation(keys), pa.int64(), mask=none),
            "region": pa.array([f"r{region}" for region in made.integers(0, 50, keys)], mask=none),
            "at": pa.array(at_, US),
            # Ties of the event time are for these to break, and then for the place.
            "made": pa.array([NOON + timedelta(seconds=int(second)) for second in made.integers(0, 3, keys)], US),
            "score": pa.array(made.normal(size=keys), mask=made.random(keys) < 0.1),
            # Of one width: how wide an integer is stored depends on its neighbours.
            "big": pa.array(2**40 + made.integers(0, 2**30, keys), pa.int64()),
            "name": pa.array([f"näme {number}" for number in made.integers(0, 99, keys)]).dictionary_encode(),
            "small": pa.array(made.normal(size=keys).astype(np.float32)),
            "flag": pa.array(made.random(keys) < 0.5),
            "raw": pa.array([bytes(made.bytes(5)) for _ in range(keys)]),
            "when": pa.array([NOON + timedelta(microseconds=int(tick)) for tick in made.integers(0, 10**9, keys)],
                             pa.timestamp("ns")),
            "seen": pa.array(made.normal(size=(keys, 3)).tolist(), pa.list_(pa.float32())),
            "tags": pa.array([[f"t{tag}" for tag in range(number % 4)] or None for number in range(keys)]),
        }
    )  # fmt: skip


FIELDS = {
    "score": Float64,
    "big": Int64,
    "name": String,
    "small": Float32,
    "flag": Bool,
    "raw": Bytes,
    "when": UnixTimestamp,
    "seen": Array(Float32),
    "tags": Array(String),
}


def views(source: Any) -> list[FeatureView]:
    schema = [Field(name=name, dtype=kind) for name, kind in FIELDS.items()]
    common: dict[str, Any] = {"source": source, "ttl": timedelta(0)}
    return [
        FeatureView(name="wide", entities=[DRIVER], schema=schema, **common),
        FeatureView(name="few", entities=[DRIVER], schema=schema[:2], **common),
        FeatureView(name="regional", entities=[REGION], schema=schema[:3], **common),
        FeatureView(name="both", entities=[DRIVER, REGION], schema=schema[2:4], **common),
        FeatureView(name="everywhere", entities=[], schema=schema[:4], **common),
    ]


NAMES = ["wide", "few", "regional", "both", "everywhere"]


class Lab:
    """The same repository with either engine."""

    def __init__(self, folder: Path, address: str, source: Any = None, **online: Any) -> None:
        (folder / "rows").mkdir()
        for number in range(3):
            pq.write_table(rows(number), folder / "rows" / f"{number}.parquet", row_group_size=500)
        self.folder = folder
        source = source or ParquetSource(
            "rows", name="rows", timestamp_field="at", created_timestamp_column="made"
        )
        self.here: FeatureStore = feature_store(folder, online=at(address, **online))
        self.spark: FeatureStore = feature_store(folder, online=at(address, **online), engine="spark")
        self.here.apply([DRIVER, REGION, *views(source)])


def contents(client: Any) -> dict[bytes, dict[bytes, bytes]]:
    """All there is but the progress, whose runs have names of their own."""
    return {key: client.hgetall(key) for key in client.keys() if key != progress_key("lab")}


def of_the_embedded_engine(lab: Lab, client: Any, *names: str) -> dict[bytes, dict[bytes, bytes]]:
    """What it brings online, of an empty server; afterwards it is empty again."""
    lab.here.materialize(NOON - DAY, NOON, list(names or NAMES))
    found = contents(client)
    client.flushdb()
    forget_windows(lab)
    return found


def forget_windows(lab: Lab) -> None:
    for name in NAMES:
        view = lab.here.get_feature_view(name)
        view.materialization_intervals = []
        lab.here.registry.apply_feature_view(view, "lab")


def counted(caplog: pytest.LogCaptureFixture, name: str) -> tuple[int, int]:
    """Rows of a view that were written, and that were there, by the last line that tells."""
    said = [record.getMessage() for record in caplog.records if f"feature view {name}: " in record.getMessage()]
    found = re.search(r": (\d+) rows written, (\d+) already there", said[-1])
    assert found
    return int(found[1]), int(found[2])


@pytest.fixture(autouse=True)
def lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "yummy_feast")


# ------------------------------------------------------------------------------------------------- the same bytes


@pytest.mark.parametrize("layout", ["rows", "feast"])
def test_redis_holds_the_same_bytes(
    spark: Any, tmp_path: Path, address: str, client: Any, layout: str, caplog: pytest.LogCaptureFixture
) -> None:
    lab = Lab(tmp_path, address, layout=layout)
    expected = of_the_embedded_engine(lab, client)
    assert len(expected) > KEYS
    keyless = [record.getMessage() for record in caplog.records if "join key" in record.getMessage()]
    caplog.clear()
    lab.spark.materialize(NOON - DAY, NOON, NAMES)
    assert contents(client) == expected
    assert counted(caplog, "wide") == (counted(caplog, "few"))
    told = [record.getMessage() for record in caplog.records if "join key" in record.getMessage()]
    assert sorted(line for line in told if "left out" in line) == sorted(line for line in keyless if "left out" in line)
    # And again: nothing is written twice.
    before = client.info("persistence")["rdb_changes_since_last_save"]
    caplog.clear()
    lab.spark.materialize(NOON - DAY, NOON, ["few"])
    assert counted(caplog, "few")[0] == 0
    assert contents(client) == expected
    assert before >= 0


def test_pieces_of_other_formats_too(spark: Any, tmp_path: Path, address: str, client: Any) -> None:
    """CSV is read by our own pieces, on executors."""
    plain = rows(5).select(["driver_id", "region", "at", "made", "score", "big", "name", "small"])
    plain = plain.set_column(6, "name", plain.column("name").cast(pa.string()))
    source = in_csv(tmp_path, "plain", plain, timestamp_field="at", created_timestamp_column="made")
    lab = Lab(tmp_path, address, source)
    names = ["few", "regional", "everywhere"]
    expected = of_the_embedded_engine(lab, client, *names)
    lab.spark.materialize(NOON - DAY, NOON, names)
    assert contents(client) == expected


def test_incremental_reads_what_is_new(
    spark: Any, tmp_path: Path, address: str, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    lab = Lab(tmp_path, address)
    lab.spark.materialize(NOON - 2 * DAY, NOON, ["few"])
    # A late row, rows of the next day, and rows nobody waits for any more.
    late = rows(7, 10, NOON - timedelta(minutes=50)).slice(0, 1)
    pq.write_table(late, tmp_path / "rows" / "late.parquet")
    pq.write_table(rows(8, 40, NOON), tmp_path / "rows" / "new.parquet")
    pq.write_table(rows(9, 20, NOON - 2 * DAY), tmp_path / "rows" / "old.parquet")
    caplog.clear()
    lab.spark.materialize_incremental(NOON + DAY, ["few"])
    written, there = counted(caplog, "few")
    assert 30 <= written <= 41
    assert there <= 1
    found = contents(client)
    client.flushdb()
    forget_windows(lab)
    lab.here.materialize(NOON - 2 * DAY, NOON + DAY, ["few"])
    assert contents(client) == found


# -------------------------------------------------------------------------------------------------- what goes wrong


def test_a_value_that_does_not_fit_is_the_same_error(spark: Any, tmp_path: Path, address: str) -> None:
    lab = Lab(tmp_path, address)
    wrong = FeatureView(
        name="few", entities=[DRIVER], schema=[Field(name="name", dtype=Int64)],
        source=views(ParquetSource("rows", name="rows", timestamp_field="at"))[0].batch_source, ttl=timedelta(0),
    )  # fmt: skip
    lab.here.apply([wrong])
    said = []
    for store in (lab.here, lab.spark):
        with pytest.raises(Exception, match="column 'name' of rows") as error:
            store.materialize(NOON - DAY, NOON, ["few"])
        said.append((type(error.value), str(error.value)))
    assert said[0] == said[1]


def program(kind: str, master: str, lab: Lab, address: str, *names: str, **environment: str) -> subprocess.Popen[bytes]:
    moments = ((NOON - DAY).isoformat(), NOON.isoformat())
    # Imported, so that executors find its classes by the same name.
    code = "import sys; from tests.feast.spark_writers import main; main(*sys.argv[1:])"
    command = [sys.executable, "-c", code, kind, master, str(lab.folder), address, *moments]
    return subprocess.Popen([*command, *names], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), **environment})


def test_tasks_that_die_half_way_are_tried_again(tmp_path: Path, address: str, client: Any) -> None:
    lab = Lab(tmp_path, address)
    expected = of_the_embedded_engine(lab, client, "wide", "few")
    (tmp_path / "died").mkdir()
    # Of the tasks of one job, each may fail three times.
    process = program("dying", "local[2,4]", lab, address, "wide", "few", YUMMY_TEST_MARKER=str(tmp_path / "died"))
    assert process.wait(240) == 0
    assert len(list((tmp_path / "died").iterdir())) == 8
    assert contents(client) == expected


def parts_noted(client: Any, view: bytes = b"few") -> int:
    book = ProgressBook(client, "lab")
    made, _ = book.last(view)
    return 0 if made is None else len(book.parts(made.run, [view])[0])


def test_a_run_that_is_killed_goes_on(
    spark: Any, tmp_path: Path, address: str, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    lab = Lab(tmp_path, address)
    expected = of_the_embedded_engine(lab, client, "few")
    process = program("slow", "local[1]", lab, address, "few")
    deadline = time.monotonic() + 120
    while parts_noted(client) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    # What it left behind may write on for a moment: the virtual machine ends when it notices.
    noted = -1
    while noted != (noted := parts_noted(client)):
        time.sleep(2)
    assert 3 <= noted < 8
    before = len(contents(client))
    caplog.clear()
    lab.spark.materialize(NOON - DAY, NOON, ["few"])
    written, there = counted(caplog, "few")
    # The parts that are left, and what the killed run wrote of one of them.
    assert written + there <= len(expected) * (8 - noted + 0.5) / 8
    assert written <= len(expected) - before + 1
    assert contents(client) == expected


def test_redis_that_dies_is_one_clean_error_and_the_next_run_goes_on(
    spark: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with places.node(tmp_path, "--appendonly", "yes") as node:
        lab = Lab(tmp_path, node.address, retries=0)

        def strike() -> None:
            with connect(RedisSettings.parse(node.address)) as watching:
                places.wait_until(lambda: parts_noted(watching) >= 2, 60, "a second part")
            node.kill()

        striker = threading.Thread(target=strike)
        striker.start()
        slowly = mock.patch.object(parts, "PartWriter", spark_writers.SlowWriter)
        with slowly, pytest.raises(OnlineStoreError) as error:
            lab.spark.materialize(NOON - DAY, NOON, ["few"])
        striker.join()
        assert "\n" not in str(error.value)
        assert str(error.value).startswith(f"redis at {node.address} ")
        assert lab.here.get_feature_view("few").materialization_intervals == []
        node.start()
        caplog.clear()
        lab.spark.materialize(NOON - DAY, NOON, ["few"])
        with connect(RedisSettings.parse(node.address)) as client:
            found = contents(client)
            assert sum(counted(caplog, "few")) < len(found) * 0.9
            client.flushdb()
            assert found == of_the_embedded_engine(lab, client, "few")
