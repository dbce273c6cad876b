"""Engine spark with a master of ``sc://``: the client has no Java, the server does the work."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tests.feast import cluster_fetch
from tests.spark_cluster import environment
from tests.spark_connect import connect_server
from tests.spark_session import ROOT, skipped_without_spark
from yummy_feast.spark.java import find_java

pytestmark = [
    pytest.mark.slow,
    pytest.mark.spark,
    # Where everything must run, the failed import tells what is missing.
    pytest.mark.skipif(
        not os.environ.get("CI") and not (find_spec("grpc") and find_spec("grpc_status")),
        reason="the client of Spark Connect is missing: pip install 'yummy-feast[spark-connect]'",
    ),
]
ORDER = [("thing_id", "ascending"), ("event_timestamp", "ascending")]


def test_all_results_through_spark_connect(tmp_path: Path) -> None:
    repo, answers = tmp_path / "repo", tmp_path / "answers"
    repo.mkdir()
    answers.mkdir()
    cluster_fetch.lay(repo)
    expected = cluster_fetch.answer(repo)
    with skipped_without_spark():
        find_java("the server of this test")
    with connect_server(tmp_path) as address:
        done = subprocess.run(
            [sys.executable, "-m", "tests.feast.connect_fetch", str(repo), address, str(answers)],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
            # No Java here.
            env={**environment(), "JAVA_HOME": "", "PATH": str(tmp_path)},
            cwd=ROOT,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert pq.read_table(answers / "arrow.parquet").equals(expected)
    for kept in (answers / "frame.parquet", answers / "kept", *(answers / "staged").iterdir()):
        found = pq.read_table(kept)
        assert in_order(found).equals(in_order(expected)), kept


def in_order(rows: pa.Table) -> pa.Table:
    """The same rows in an order of their own, without what only describes them."""
    plain = rows.replace_schema_metadata(None)
    plain = plain.set_column(1, "event_timestamp", plain["event_timestamp"].cast(pa.timestamp("us", "UTC")))
    return plain.take(pc.sort_indices(plain, ORDER)).combine_chunks()
