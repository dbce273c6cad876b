"""The load of the model servers' benchmark, in a process of its own:

python -m benchmarks.models_load '{"port": 5000, "path": "/invocations", "bodies": "FILE", "connections": 8, ...}'

bodies: a file with a body a line. The loops are those of the feature servers' benchmark.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.features_load import HOST, Connection, Load, Outcome, closed_loop, last_answers, open_loop
from benchmarks.measure import report


def requests_of(path: str, bodies: Path) -> list[bytes]:
    """Whole HTTP requests."""
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: "
    return [
        head.encode() + b"%d\r\n\r\n" % len(body) + body for body in bodies.read_bytes().strip().split(b"\n") if body
    ]


def run(port: int, path: str, bodies: str, connections: int, seconds: float, rate: float | None) -> dict[str, Any]:
    requests = requests_of(path, Path(bodies))
    load = Load(port, path, 0, connections, seconds, rate)
    links = [Connection(port) for _ in range(connections)]
    gc.disable()
    warm = Outcome()
    if rate is None:
        warm = closed_loop(load, min(0.3, seconds / 4), links, requests)
        found = closed_loop(load, seconds, links, requests)
    else:
        found = open_loop(load, rate, links, requests)
    answers = last_answers(load, links, requests)
    for link in links:
        link.link.close()
    sent = sum(len(one.latencies) + one.failures.total() for one in (warm, found)) + len(answers)
    return {**found.figures(load.timeout), "sent": sent, "answers": answers}


if __name__ == "__main__":
    report(**run(**json.loads(sys.argv[1])))
