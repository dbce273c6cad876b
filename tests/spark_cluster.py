"""A Spark standalone cluster on this machine: a master and workers as processes of their own, which end with its block.

A process has one Spark, and that of the tests runs in itself; so whoever wants the cluster asks from a process of its
own, which ``SparkCluster.driver`` starts.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.spark_session import ROOT, skipped_without_spark, spark_jars
from tests.unit.online.servers import free_port
from yummy_feast.spark.jars import VARIABLE
from yummy_feast.spark.java import find_java

_PR_SET_PDEATHSIG = 1
_PATIENCE = 90
"""Seconds for a process to come up on a busy machine."""


@dataclass
class SparkCluster:
    """Where it is. folder: its logs and scratch. workers: each with its executors is a process group."""

    folder: Path
    port: int
    web_port: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def master(self) -> str:
        """For ``spark_conf.master``."""
        return f"spark://127.0.0.1:{self.port}"

    @property
    def conf(self) -> dict[str, str]:
        """``spark_conf`` of a driver: one small executor per worker."""
        return {
            "master": self.master,
            "spark.pyspark.python": sys.executable,
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.memory": "1g",
            "spark.executor.memory": "600m",
            "spark.executor.cores": "1",
            "spark.ui.enabled": "false",
            "spark.sql.shuffle.partitions": "4",
            "spark.shuffle.io.retryWait": "500ms",
            "spark.local.dir": str(self.folder / "scratch"),
        }

    def driver(self, module: str, *arguments: str) -> subprocess.Popen[str]:
        """``python -m module arguments``, whose output is a pipe."""
        process = start_driver(module, *arguments)
        self.processes.append(process)  # type: ignore[arg-type]
        return process

    def add_worker(self) -> None:
        """One more, of one core."""
        number = len(self.workers)
        options = ["--cores", "1", "--memory", "1g", "--work-dir", str(self.folder / f"work{number}")]
        options += ["--host", "127.0.0.1", "--webui-port", "0", self.master]
        self.workers.append(self._start("worker.Worker", f"worker{number}", *options))

    def kill_worker(self, number: int = 0) -> None:
        """As when its machine loses power: the worker and its executors, at once."""
        os.killpg(self.workers[number].pid, signal.SIGKILL)
        self.workers[number].wait()

    def alive(self) -> int:
        """Workers that the master counts on."""
        page = f"http://127.0.0.1:{self.web_port}/json/"
        with suppress(OSError), urllib.request.urlopen(page, timeout=5) as answer:
            return int(json.load(answer)["aliveworkers"])
        return -1

    def wait(self, workers: int) -> None:
        """Until the master has that many."""
        deadline = time.monotonic() + _PATIENCE
        while self.alive() != workers:
            if time.monotonic() > deadline or any(process.poll() is not None for process in self.processes[:1]):
                logs = "\n".join(path.read_text(errors="replace")[-2000:] for path in self.folder.glob("*.log"))
                raise TimeoutError(f"the cluster has {self.alive()} workers instead of {workers}\n{logs}")
            time.sleep(0.1)

    def begin(self, workers: int) -> None:
        """Start the master, then the workers."""
        options = ["--host", "127.0.0.1", "--port", str(self.port), "--webui-port", str(self.web_port)]
        self._start("master.Master", "master", *options)
        self.wait(0)
        for _ in range(workers):
            self.add_worker()
        self.wait(workers)

    def end(self) -> None:
        """Drivers, workers with their executors, and the master, whatever state they are in."""
        for process in reversed(self.processes):
            end_group(process)

    def _start(self, name: str, log: str, *options: str) -> subprocess.Popen[bytes]:
        program = spark_home() / "bin" / "spark-class"
        with (self.folder / f"{log}.log").open("wb") as sink:
            process = subprocess.Popen(
                [str(program), f"org.apache.spark.deploy.{name}", *options],
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=environment(),
                cwd=self.folder,
                start_new_session=True,
                preexec_fn=ends_with_me,
            )
        self.processes.append(process)
        return process


def start_driver(module: str, *arguments: str) -> subprocess.Popen[str]:
    """``python -m module arguments`` as a process group whose output is a pipe."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
        cwd=ROOT,
        start_new_session=True,
        preexec_fn=ends_with_me,
    )


def end_group(process: subprocess.Popen[Any]) -> None:
    """The process and all of its group, whatever state they are in."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def ends_with_me() -> None:
    """In a process that is about to become another program: end when the tests do, however they do (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def spark_home() -> Path:
    """Of the pyspark that is installed here."""
    import pyspark

    return Path(pyspark.__file__).parent


def environment() -> dict[str, str]:
    """For Spark's processes: executors import this package and what the tests define, in this very Python."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_HOME": str(spark_home()),
        "SPARK_DAEMON_MEMORY": "256m",
    }


@contextmanager
def running_cluster(folder: Path, workers: int = 2) -> Iterator[SparkCluster]:
    """A cluster of its own on free ports."""
    found = SparkCluster(folder, free_port(), free_port())
    (folder / "scratch").mkdir()
    try:
        found.begin(workers)
        yield found
    finally:
        found.end()


@pytest.fixture
def spark_cluster(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[SparkCluster]:
    """A master and two workers of one core each, for one test: it may kill them."""
    with skipped_without_spark():
        find_java("the cluster of the tests")
        # Here, and not in each of its drivers.
        jars = spark_jars()
    monkeypatch.setenv(VARIABLE, str(jars))
    with running_cluster(tmp_path_factory.mktemp("cluster")) as found:
        yield found
