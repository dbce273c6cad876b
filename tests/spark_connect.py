"""A Spark Connect server in a process of its own, which ends with its block."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.spark_cluster import ends_with_me, environment, spark_home
from tests.unit.online.servers import free_port, wait_for_port

_PATIENCE = 120
"""Seconds for it to come up on a busy machine."""


@contextmanager
def connect_server(folder: Path) -> Iterator[str]:
    """Its address, for ``spark_conf.master``. It knows nothing of ours but the package, for what runs on executors."""
    port = free_port()
    conf = {
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": str(port),
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "4",
        "spark.local.dir": str(folder / "scratch"),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
    }
    options = [part for key, value in conf.items() for part in ("--conf", f"{key}={value}")]
    command = [str(spark_home() / "bin" / "spark-submit"), "--master", "local[2]", *options]
    command += ["--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "spark-internal"]
    log = folder / "connect.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**environment(), "SPARK_DAEMON_MEMORY": "1g"},
            cwd=folder,
            start_new_session=True,
            preexec_fn=ends_with_me,
        )
    try:
        try:
            wait_for_port(port, _PATIENCE)
        except BaseException as error:
            error.add_note(log.read_text(errors="replace")[-2000:])
            raise
        yield f"sc://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
