"""The load of the feature servers' benchmark, in a process of its own:

python -m benchmarks.features_load '{"port": 6566, "service": "feature_service_0", "connections": 8, ...}'

``Load`` says what can be given. It speaks to sockets by hand, because on a small machine a load generator takes from
the server what it needs itself; docs/benchmarks.md has the figures of others.
"""

from __future__ import annotations

import gc
import json
import random
import select
import socket
import sys
import time
from array import array
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.measure import report

HOST = "127.0.0.1"
# Bytes taken from a socket at once. Not more: from 128 KiB on the allocator asks the system for every piece.
PIECE = 1 << 16
# Seconds between looks for requests that nobody will answer.
LOOK = 0.25


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent, and how.

    service: the feature service; ``entities`` ids in a request are drawn from 0 to ``ids`` - 1.
    rate: requests a second of the open loop: each is due at its time, whether or not others have been answered, and its
        latency counts from then. None for the closed loop: every connection sends as soon as it has its answer.
    seconds: how long; ``warm_up`` seconds of the closed loop go before and are not counted.
    timeout: seconds after which a request has failed, and its connection is given up.
    bodies: how many different requests there are.
    """

    port: int
    service: str
    entities: int
    connections: int
    seconds: float
    rate: float | None = None
    ids: int = 10_000
    timeout: float = 5.0
    warm_up: float = 0.0
    bodies: int = 1000
    seed: int = 0

    def drawn(self) -> list[list[int]]:
        """The entities of each request."""
        chance = random.Random(self.seed)
        return [[chance.randrange(self.ids) for _ in range(self.entities)] for _ in range(self.bodies)]

    def requests(self) -> list[bytes]:
        return [request(self.service, entities) for entities in self.drawn()]


def request(service: str, entities: list[int]) -> bytes:
    """A whole HTTP request."""
    body = json.dumps({"feature_service": service, "entities": {"entity": entities}}, separators=(",", ":")).encode()
    head = f"POST /get-online-features HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class GaveUpError(OSError):
    """The server closed a connection, or answered what is no HTTP/1.1 with a length."""


class Connection:
    """One request at a time. due: when it was to be sent; index: which one it is."""

    __slots__ = ("due", "head", "index", "is_busy", "kept", "link", "missing", "port", "status")

    def __init__(self, port: int) -> None:
        self.port = port
        self.due = 0.0
        self.index = 0
        self.kept: bytearray | None = None
        self.connect()

    def connect(self) -> None:
        self.link = socket.create_connection((HOST, self.port), timeout=10)
        self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.missing, self.head, self.is_busy, self.status = 0, b"", False, b""

    def reconnect(self) -> None:
        self.link.close()
        self.connect()

    def fileno(self) -> int:
        return self.link.fileno()

    def send(self, data: bytes, due: float) -> None:
        self.due = due
        self.is_busy = True
        self.link.sendall(data)

    def read(self) -> bool:
        """Take what has come; whether the answer is complete, with its ``status`` then."""
        data = self.link.recv(PIECE)
        missing = self.missing
        if missing:
            if not data:
                raise GaveUpError("closed")
            missing -= len(data)
        else:
            data = self.head + data if self.head else data
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                return self._read_no_head(data)
            at = data.find(b"content-length: ", 0, end) + 16
            if at < 16:
                at = data[:end].lower().find(b"content-length: ") + 16
                if at < 16:
                    raise GaveUpError("answered without a length")
            self.head, self.status = b"", data[9:12]
            missing = end + int(data[at : data.find(b"\r", at)]) - len(data)
        if self.kept is not None:
            self.kept += data
        self.missing = missing
        self.is_busy = missing != 0
        return not missing

    def _read_no_head(self, data: bytes) -> bool:
        if len(data) == len(self.head):
            raise GaveUpError("closed")
        self.head = data
        return False


@dataclass(slots=True)
class Outcome:
    """What came of a load: seconds of each answer with status 200, and how often what else happened.

    late: seconds that this process itself noticed too late that a request was due: it was not given the processor.
    """

    latencies: array[float] = field(default_factory=lambda: array("d"))
    failures: Counter[str] = field(default_factory=Counter)
    late: array[float] = field(default_factory=lambda: array("d"))
    started: float = 0.0
    ended: float = 0.0

    def figures(self, timeout: float) -> dict[str, Any]:
        """Quantiles in seconds; a failure takes as long as the timeout. rate: answers a second."""
        answered, failed = len(self.latencies), self.failures.total()
        ordered = sorted(self.latencies) + [timeout] * failed
        late = sorted(self.late)
        seconds = self.ended - self.started
        return {
            "requests": answered + failed,
            "answered": answered,
            "failures": dict(self.failures),
            "seconds": seconds,
            "rate": answered / seconds if seconds > 0 else 0.0,
            "p50": quantile(ordered, 0.5),
            "p99": quantile(ordered, 0.99),
            "p999": quantile(ordered, 0.999),
            "late": quantile(late, 0.99),
        }


def quantile(ordered: list[float], part: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else None


def closed_loop(load: Load, seconds: float, links: list[Connection], requests: list[bytes]) -> Outcome:
    """Every connection sends as soon as it has its answer; for longer than ``seconds`` if nobody has one by then."""
    found, clock = Outcome(), time.perf_counter
    count, position = len(requests), 0
    found.started = found.ended = now = clock()
    over, look = now + seconds, now + LOOK
    for link in links:
        link.send(requests[position % count], clock())
        position += 1
    while now < over or not (found.latencies or found.failures):
        for link in select.select(links, (), (), LOOK)[0]:
            try:
                if link.read():
                    sent = link.due
                    link.send(requests[position % count], clock())
                    position += 1
                    _count(found, link.status, link.due - sent)
            except OSError as error:
                found.failures[str(error) or "closed"] += 1
                link.reconnect()
                link.send(requests[position % count], clock())
        now = clock()
        if now > look:
            look = now + LOOK
            for link in links:
                if now - link.due > load.timeout:
                    found.failures["timeout"] += 1
                    link.reconnect()
                    link.send(requests[position % count], clock())
    # Slow answers come rarely: their rate is that of whole ones.
    found.ended = max((link.due for link in links), default=now) if found.latencies else now
    _drain(links, load.timeout)
    return found


def open_loop(load: Load, rate: float, links: list[Connection], requests: list[bytes]) -> Outcome:
    """Requests are due at even times; one that finds no free connection waits for it, and its latency grows."""
    found, clock = Outcome(), time.perf_counter
    total, sent, count = round(rate * load.seconds), 0, len(requests)
    free, waiting = deque(links), deque[float]()
    found.started = clock() + 0.01
    while sent < total or waiting or len(free) < len(links):
        now = clock()
        while sent < total and found.started + sent / rate <= now:
            waiting.append(found.started + sent / rate)
            found.late.append(now - waiting[-1])
            sent += 1
        while waiting and (free or now - waiting[0] > load.timeout):
            due = waiting.popleft()
            if now - due > load.timeout:
                found.failures["timeout"] += 1
                continue
            link = free.popleft()
            try:
                link.send(requests[(sent - len(waiting)) % count], due)
            except OSError as error:
                found.failures[str(error)] += 1
                link.reconnect()
                free.append(link)
        pause = found.started + sent / rate - clock() if sent < total else LOOK
        for link in select.select(links, (), (), max(0.0, min(pause, LOOK)))[0]:
            was_busy = link.is_busy
            try:
                if link.read():
                    _count(found, link.status, clock() - link.due)
                    free.append(link)
            except OSError as error:
                # An idle connection that the server closes is no failure: nothing was asked.
                if was_busy:
                    found.failures[str(error) or "closed"] += 1
                    free.append(link)
                link.reconnect()
        now = clock()
        for link in links:
            if link.is_busy and now - link.due > load.timeout:
                found.failures["timeout"] += 1
                link.reconnect()
                free.append(link)
    found.ended = max(clock(), found.started + load.seconds)
    return found


def _count(found: Outcome, status: bytes, seconds: float) -> None:
    if status == b"200":
        found.latencies.append(seconds)
    else:
        found.failures[status.decode("latin-1")] += 1


def _drain(links: list[Connection], timeout: float) -> None:
    """Read the answers that are still on their way."""
    until = time.perf_counter() + timeout
    while (busy := [link for link in links if link.is_busy]) and time.perf_counter() < until:
        for link in select.select(busy, (), (), LOOK)[0]:
            try:
                link.read()
            except OSError:
                link.reconnect()
    for link in busy:
        link.reconnect()


def last_answers(load: Load, links: list[Connection], requests: list[bytes]) -> list[tuple[int, str]]:
    """Which request, and the body of its answer: one more per connection, all at once, to be compared by the caller."""
    for index, link in enumerate(links):
        link.index, link.kept = index % len(requests), bytearray()
        link.send(requests[link.index], time.perf_counter())
    _drain(links, load.timeout)
    return [(link.index, (link.kept or b"").partition(b"\r\n\r\n")[2].decode()) for link in links]


def run(load: Load) -> dict[str, Any]:
    """Figures, how many requests were sent in all, and under ``answers`` what ``last_answers`` says."""
    requests = load.requests()
    links = [Connection(load.port) for _ in range(load.connections)]
    warm = Outcome()
    if load.rate is None:
        if load.warm_up:
            warm = closed_loop(load, load.warm_up, links, requests)
        found = closed_loop(load, load.seconds, links, requests)
    else:
        found = open_loop(load, load.rate, links, requests)
    answers = last_answers(load, links, requests)
    for link in links:
        link.link.close()
    sent = sum(len(one.latencies) + one.failures.total() for one in (warm, found)) + len(answers)
    return {**found.figures(load.timeout), "sent": sent, "answers": answers}


def arguments(load: Load) -> str:
    """What ``main`` takes."""
    return json.dumps(asdict(load))


def main(text: str) -> None:
    # No pause of our own may look like one of the server's.
    gc.disable()
    report(**run(Load(**json.loads(text))))


if __name__ == "__main__":
    main(sys.argv[1])
