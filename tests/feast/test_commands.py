"""A repository's life through Feast's own command line, with the embedded server: nothing else runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureStore

from tests.unit.online.servers import ROOT, client, put_down
from yummy_feast.online import embedded
from yummy_feast.online.valkey_files import Files

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DRIVERS = 200

CONFIGURATION = """
project: shop
provider: yummy_feast.YummyProvider
registry: data/registry.db
offline_store:
  type: yummy_feast.YummyOfflineStore
online_store:
  type: yummy_feast.YummyOnlineStore
  connection_string: embedded
entity_key_serialization_version: 3
"""

FEATURES = """
from datetime import timedelta
from feast import Entity, FeatureView, Field, ValueType
from feast.types import Int64
from yummy_feast import ParquetSource

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
stats = FeatureView(
    name="stats",
    entities=[driver],
    ttl=timedelta(0),
    schema=[Field(name="trips", dtype=Int64)],
    source=ParquetSource("rows.parquet", timestamp_field="known_at"),
)
"""


def lay(repo: Path, hours: int) -> None:
    """A row per driver and hour; its value is the hour."""
    columns: dict[str, Any] = {
        "driver_id": [driver for _ in range(hours) for driver in range(DRIVERS)],
        "known_at": pa.array([NOON + hour * HOUR for hour in range(hours) for _ in range(DRIVERS)]),
        "trips": [hour for hour in range(hours) for _ in range(DRIVERS)],
    }
    pq.write_table(pa.table(columns), repo / "rows.parquet")


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "repo"
    folder.mkdir()
    (folder / "feature_store.yaml").write_text(dedent(CONFIGURATION))
    (folder / "features.py").write_text(dedent(FEATURES))
    yield folder
    for place in tmp_path.iterdir():
        put_down(place)


def feast(repo: Path, *arguments: str) -> subprocess.Popen[str]:
    command = shutil.which("feast", path=str(Path(sys.executable).parent))
    assert command is not None
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen([command, *arguments], cwd=repo, env=environment, text=True, **pipes)


def done(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return output


def trips(repo: Path) -> set[Any]:
    rows = [{"driver_id": number} for number in range(DRIVERS)]
    return set(FeatureStore(str(repo)).get_online_features(["stats:trips"], rows).to_dict()["trips"])


def iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


def test_from_apply_to_teardown(repo: Path, tmp_path: Path) -> None:
    lay(repo, hours=10)
    assert "Deploying infrastructure for stats" in done(feast(repo, "apply"))
    assert not embedded.status(repo).is_running, "applying needs no server"

    # Two processes at once, neither of which finds a server: the newer window wins whoever comes last.
    windows = [(NOON + 5 * HOUR, NOON + 8 * HOUR), (NOON, NOON + 4 * HOUR)]
    running = [feast(repo, "materialize", iso(start), iso(end)) for start, end in windows]
    for process in running:
        assert "stats" in done(process)
    assert Files.of(repo).log.read_text().count("Valkey is starting") == 1
    assert trips(repo) == {8}

    # The server goes on in the folder's new place, and so does the registry.
    moved = tmp_path / "elsewhere"
    repo.rename(moved)
    assert trips(moved) == {8}
    output = done(feast(moved, "materialize-incremental", iso(NOON + 9 * HOUR)))
    assert f"to {NOON + 9 * HOUR:%Y-%m-%d %H:%M:%S}" in output.replace("\x1b[1m\x1b[32m", "")
    assert trips(moved) == {9}

    done(feast(moved, "teardown"))
    assert FeatureStore(str(moved)).list_feature_views() == []
    with client(moved) as rows:
        assert rows.dbsize() == 0
