"""Who is measured by the feature servers' benchmark: real processes, each with a port of its own, on one Valkey."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil

from benchmarks.features_data import PROJECT, Spread, Truth
from benchmarks.features_load import HOST, Load, request
from benchmarks.measure import ROOT, ContenderError, run_alone

# Seconds that a server may take to start: Feast's reads its registry first.
PATIENCE = 120.0
UVICORN = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")
_YUMMY = "import sys; from yummy_feast.cli import main; sys.exit(main())"
# Databases of the one Valkey server.
FEAST_ROWS, PACKED_ROWS, OLD_ROWS = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Contender:
    """title: as it is printed. exact: its statuses and event timestamps are compared too. answers: with features."""

    title: str
    exact: bool = True
    answers: bool = True


CONTENDERS = {
    "rows": Contender("yummy"),
    "layout-feast": Contender("yummy on Feast's rows"),
    "hello": Contender("hello world, uvicorn", answers=False),
    "feast": Contender("feast serve", exact=False),
    "rust": Contender("original yummy, Rust", exact=False),
}


class Server:
    """A running server, all its workers included."""

    def __init__(self, name: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name, self.port, self.path = name, port, "/get-online-features"
        self._process, self._log = process, log
        self._root = psutil.Process(process.pid)

    def wait(self, body: bytes) -> None:
        """Return once it answers. ContenderError if it ends, or does not answer."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise ContenderError(f"{self.name} ended with code {self._process.returncode}: {self._last_words()}")
            try:
                if self.ask(body)[0] == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.1)
        raise ContenderError(f"{self.name} does not answer within {PATIENCE:.0f} s: {self._last_words()}")

    def ask(self, body: bytes) -> tuple[int, str]:
        """Status and body of one answer."""
        link = http.client.HTTPConnection(HOST, self.port, timeout=30)
        try:
            link.request("POST", self.path, body, {"Content-Type": "application/json"})
            answer = link.getresponse()
            return answer.status, answer.read().decode()
        finally:
            link.close()

    def processor_seconds(self) -> float:
        """Of all its processes so far, those that have ended included."""
        total = 0.0
        for process in self._processes():
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
            if process == self._root:
                total += times.children_user + times.children_system
        return total

    def resident(self) -> int:
        """Bytes of its largest process."""
        found = [0]
        for process in self._processes():
            try:
                found.append(process.memory_info().rss)
            except psutil.NoSuchProcess:
                continue
        return max(found)

    def settle(self, patience: float = 60.0) -> None:
        """Wait while it still works on requests that nobody waits for any more, ``patience`` seconds at most."""
        until = time.monotonic() + patience
        before = self.processor_seconds()
        while time.monotonic() < until:
            time.sleep(0.1)
            now = self.processor_seconds()
            if now - before < 0.05:
                return
            before = now

    def stop(self) -> None:
        running = self._processes()
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        for process in running:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(10)

    def _processes(self) -> list[psutil.Process]:
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def start(name: str, command: Sequence[str], port: int, folder: Path, environment: Mapping[str, str]) -> Server:
    log = folder / f"{name}.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            list(command),
            cwd=ROOT,
            env={**os.environ, "FEAST_USAGE": "False", **environment},
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    return Server(name, port, process, log)


def uvicorn(application: str, port: int, workers: int, *more: str) -> list[str]:
    command = [sys.executable, "-m", "uvicorn", application, "--host", HOST, "--port", str(port), *UVICORN, *more]
    return [*command, "--workers", str(workers)] if workers > 1 else command


@dataclass(frozen=True, slots=True)
class Setting:
    """What all servers share. rust: the command of the original's server, called with CONFIG HOST PORT LOG_LEVEL."""

    folder: Path
    address: str
    spreads: Sequence[Spread]
    frame: pd.DataFrame
    workers: int
    rust: str | None = None


# Who reads which of the two repositories: ours with layout rows, or stock Feast's own.
REPOSITORIES = {"rows": "rows", "layout-feast": "feast", "feast": "feast", "rust": "feast"}


@contextmanager
def running(setting: Setting, names: Sequence[str]) -> Iterator[dict[str, Server]]:
    """The servers of ``names``, on rows that are written first."""
    file = setting.folder / "rows.parquet"
    setting.frame.to_parquet(file)
    for name, database in (("rows", PACKED_ROWS), ("feast", FEAST_ROWS)):
        if any(REPOSITORIES.get(one) == name for one in names):
            spreads = [f"{spread.features}:{spread.views}" for spread in setting.spreads]
            address = f"{setting.address},db={database}"
            run_alone("benchmarks.features_data", name, str(setting.folder / name), address, str(file), *spreads)
    if "rust" in names:
        _fill_for_rust(setting)
    with ExitStack() as until:
        servers = {}
        for name in names:
            server = _COMMANDS[name](setting, free_port())
            until.callback(server.stop)
            servers[name] = server
        for server in servers.values():
            server.wait(request_body(setting.spreads[0].service, [1]))
        yield servers


def request_body(service: str, entities: list[int]) -> bytes:
    return request(service, entities).partition(b"\r\n\r\n")[2]


def _start_ours(name: str) -> Callable[[Setting, int], Server]:
    def begin(setting: Setting, port: int) -> Server:
        config = setting.folder / REPOSITORIES[name] / "feature_store.yaml"
        serve = ["features", "serve", "-f", str(config)]
        command = [sys.executable, "-c", _YUMMY, *serve, "-h", HOST, "-p", str(port), "--workers", str(setting.workers)]
        return start(name, command, port, setting.folder, {})

    return begin


def _start_hello(setting: Setting, port: int) -> Server:
    command = uvicorn("benchmarks.features_hello:app", port, setting.workers)
    return start("hello", command, port, setting.folder, {})


def _start_feast(setting: Setting, port: int) -> Server:
    # Its defaults, but for one in its favour: it would start anew after every 1,000 requests, some seconds each time.
    serve = ["serve", "--host", HOST, "--port", str(port), "--workers", str(setting.workers), "--max-requests", "0"]
    command = [sys.executable, "-m", "feast.cli.cli", "-c", str(setting.folder / "feast"), *serve]
    return start("feast", command, port, setting.folder, {})


def _start_rust(setting: Setting, port: int) -> Server:
    config = setting.folder / "rust.yaml"
    config.write_text(
        json.dumps(
            {
                "project": PROJECT,
                "provider": "local",
                "registry": str(setting.folder / "feast" / "registry.db"),
                "online_store": {"type": "redis", "connection_string": f"redis://{setting.address}/{OLD_ROWS}"},
                "entity_key_serialization_version": 2,
            }
        )
    )
    return start("rust", [str(setting.rust), str(config), HOST, str(port), "error"], port, setting.folder, {})


_COMMANDS: dict[str, Callable[[Setting, int], Server]] = {
    "rows": _start_ours("rows"),
    "layout-feast": _start_ours("layout-feast"),
    "hello": _start_hello,
    "feast": _start_feast,
    "rust": _start_rust,
}


def _fill_for_rust(setting: Setting) -> None:
    """Copy Feast's hashes to the keys of Feast's serialization 2, the newest that the original knows."""
    from feast.value_type import ValueType
    from redis import Redis

    from yummy_feast.online.layouts.feast_keys import FeastKeyEncoder

    columns = {"entity": setting.frame["entity"].tolist()}
    new, old = (FeastKeyEncoder(PROJECT, [("entity", ValueType.INT64)], n).encode_columns(columns) for n in (3, 2))
    host, _, port = setting.address.rpartition(":")
    with Redis(host=host, port=int(port), db=FEAST_ROWS) as client:
        pipe = client.pipeline(transaction=False)
        for key, copy in zip(new, old, strict=True):
            pipe.execute_command("COPY", key, copy, "DB", OLD_ROWS)
        pipe.execute()


def check(server: Server, spread: Spread, truth: Truth, entities: int, ids: int) -> str | None:
    """What is wrong with its answer about one request; None if it is right."""
    chosen = Load(server.port, spread.service, entities, 1, 0, ids=ids, bodies=1, seed=1).drawn()[0]
    status, answer = server.ask(request_body(spread.service, chosen))
    if status != 200:
        return f"answers {status}: {answer[:200]}"
    contender = CONTENDERS[server.name]
    return truth.complaint(answer, spread, chosen, exact=contender.exact) if contender.answers else None
