"""Engine spark with a master of ``k8s://``: the scheduler and the executors are Spark's own, the Kubernetes is not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.feast import cluster_fetch, kube_fetch, slow_source
from tests.feast.slow_source import MARKS
from tests.feast.test_materialize_spark import contents, elsewhere, emptied
from tests.feast.test_spark_cluster import read_so_far
from tests.kube_api import kube_api
from tests.kube_node import Node, running_node
from tests.online_server import address, client_of, server
from tests.places import wait_until
from tests.spark_cluster import end_group, start_driver
from tests.spark_session import ROOT, skipped_without_spark, spark_jars
from yummy_feast.spark.jars import VARIABLE
from yummy_feast.spark.java import find_java

__all__ = ["address", "emptied", "server"]

pytestmark = [pytest.mark.slow, pytest.mark.spark]

TOKEN = "hush-of-the-service-account"
_QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


def conf_for(url: str) -> dict[str, Any]:
    """``spark_conf`` of a driver outside of the cluster; two pods of one core."""
    return {
        "master": f"k8s://{url}",
        "spark.kubernetes.container.image": "lake/spark:4.1.4",
        "spark.kubernetes.authenticate.oauthToken": TOKEN,
        "spark.executor.instances": 2,
        "spark.executor.memory": "1g",
        "spark.executorEnv.PYTHONPATH": str(ROOT),
        "spark.pyspark.python": sys.executable,
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": False,
        "spark.sql.shuffle.partitions": 4,
        "spark.shuffle.io.retryWait": "500ms",
        "spark.kubernetes.allocation.batch.delay": "200ms",
        "spark.databricks.delta.snapshotPartitions": 1,
        # Programs that run for seconds.
        "spark.driver.extraJavaOptions": _QUICK,
        "spark.executor.extraJavaOptions": _QUICK,
    }


@contextmanager
def driver(repo: Path, conf: dict[str, Any], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The process that asks."""
    (repo / "conf.json").write_text(json.dumps(conf))
    process = start_driver("tests.feast.kube_fetch", str(repo), str(repo / "conf.json"), *arguments)
    try:
        yield process
    finally:
        end_group(process)


def test_a_pod_that_dies_during_a_fetch_changes_nothing(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with skipped_without_spark():
        find_java("the executors of this test")
        monkeypatch.setenv(VARIABLE, str(spark_jars()))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    repo, found = tmp_path / "repo", tmp_path / "answer.parquet"
    repo.mkdir()
    cluster_fetch.lay(repo, 2_000)
    with monkeypatch.context() as quickly:
        quickly.setattr(slow_source, "SECONDS", 0)
        expected = cluster_fetch.answer(repo)
    for mark in (repo / MARKS).iterdir():
        mark.unlink()
    with client_of(elsewhere(address)) as here, client_of(address) as there:
        kube_fetch.materialize(repo, elsewhere(address))

        with kube_api(TOKEN) as api, running_node(api.objects, tmp_path / "node") as node:
            with driver(repo, conf_for(api.url), str(found), address) as process:
                dead = kill_one_that_reads(node, process, repo)
                said = process.communicate(timeout=200)[0]
            assert process.returncode == 0, f"{said}\n{node.logs()}"
            wait_until(lambda: not api.objects.find("pods"), 20, "the end of all pods")
            assert not api.objects.find("configmaps")

        assert pq.read_table(found).equals(expected)
        online = contents(there)
        assert len(online) > 400
        assert online == contents(here)

    # What the dead pod had read is lost, and was read again by others.
    numbers = [number for number, _ in read_so_far(repo)]
    assert set(numbers) == set(range(cluster_fetch.FILES))
    assert len(numbers) > cluster_fetch.FILES
    pods = [thing for event, thing in api.objects.said if thing["kind"] == "Pod" and event == "ADDED"]
    phases = [thing["status"]["phase"] for _, thing in api.objects.said if thing["metadata"]["name"] == dead]
    assert phases[:3] == ["Pending", "Running", "Failed"]
    assert len(pods) == 3
    # A pod's own memory: that of Java, and two fifths for Python.
    limits = {pod["spec"]["containers"][0]["resources"]["limits"]["memory"] for pod in pods}
    assert limits == {"1433Mi"}
    assert TOKEN not in said + json.dumps(api.objects.said) + node.logs()
    assert "spark.kubernetes.authenticate.oauthToken" in said


def kill_one_that_reads(node: Node, process: subprocess.Popen[str], repo: Path) -> str:
    """The name of one of two pods, both of which are at work; no command line near it has the token."""

    def both_read() -> bool:
        assert process.poll() is None, f"{process.communicate()[0]}\n{node.logs()}"
        seen = read_so_far(repo)
        return len({worker for _, worker in seen}) >= 2 and len(seen) >= 4

    wait_until(both_read, 180, "work on two pods")
    commands = subprocess.run(["ps", "-eww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert "k8s://" in commands
    assert TOKEN not in commands
    dead = min(node.containers)
    node.kill(dead)
    assert process.poll() is None, "the fetch was over too soon"
    return dead
