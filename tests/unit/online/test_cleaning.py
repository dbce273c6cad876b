"""Deleting much while others work: small steps that the server answers at once, and nothing that it must stop for."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests import places
from tests.feast.store_calls import Calls

MANY = 200_000
# What a server does at once for one client, while the others wait.
PAGE = 1000


@pytest.mark.parametrize("name", ["update", "teardown"])
def test_two_hundred_thousand_keys_are_removed_in_small_steps(tmp_path: Path, name: str) -> None:
    with places.node(tmp_path) as node, node.client() as client:
        calls = Calls.of(tmp_path, node.address, read_timeout="30s")
        calls.write_arrow(count=MANY, view="gone")
        assert client.dbsize() == MANY + 1
        client.config_resetstat()
        client.config_set("slowlog-log-slower-than", 100_000)
        # What the writing left there.
        client.slowlog_reset()
        with node.client() as other:
            waits = Waits(other)
            getattr(calls, name)()
            longest = waits.stop()
        done = client.info("commandstats")
        assert client.dbsize() == 0
        # Nothing that takes the longer the more there is, and no memory freed while others wait.
        assert not {"cmdstat_keys", "cmdstat_del", "cmdstat_flushdb", "cmdstat_flushall", "cmdstat_eval"} & done.keys()
        removed = done["cmdstat_hdel" if name == "update" else "cmdstat_unlink"]["calls"]
        assert MANY <= removed <= 1.01 * MANY  # a SCAN may answer a key twice
        # A page of keys to a SCAN.
        assert done["cmdstat_scan"]["calls"] >= MANY / PAGE / 2
        # By the server's own clock, so that a busy machine is not blamed on us. It was asked all the time.
        assert [entry["command"][:80] for entry in client.slowlog_get()] == []
        assert done["cmdstat_ping"]["calls"] >= 20
        assert longest < 5


class Waits:
    """PINGs one after the other until it is stopped; knows the longest."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._longest = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        while not self._stopped.wait(0.005):
            started = time.perf_counter()
            self._client.ping()
            self._longest = max(self._longest, time.perf_counter() - started)

    def stop(self) -> float:
        self._stopped.set()
        self._thread.join()
        return self._longest
