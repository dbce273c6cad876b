"""`feast serve` and our feature server on the same Redis, as processes of their own, and what they answer over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.places import wait_until
from tests.unit.online.servers import ROOT, free_port

PATH = "/get-online-features"


@dataclass(frozen=True)
class Reply:
    """status, headers and the parsed body of an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @cached_property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def columns(self) -> dict[str, dict[str, list[Any]]]:
        """Name -> values, statuses, event timestamps."""
        names = self.json["metadata"]["feature_names"]
        assert len(set(names)) == len(names)
        return dict(zip(names, self.json["results"], strict=True))

    @property
    def code(self) -> str:
        """The code of a refusal of ours."""
        return str(self.json["detail"]["error"])


class Client:
    """One kept connection to a server on this machine; headers go with every request.

    hangs_up: the server may end a connection between two requests: servers do so after a while without any, and workers
    of Feast's after some thousand.
    """

    def __init__(
        self, port: int, headers: Mapping[str, str] | None = None, timeout: float = 60, *, hangs_up: bool = False
    ) -> None:
        self.port = port
        self._hangs_up = hangs_up
        self._headers = {"content-type": "application/json", **(headers or {})}
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def post(self, body: Any, path: str = PATH, headers: Mapping[str, str] | None = None) -> Reply:
        """``body`` is sent as JSON unless it is bytes."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", path, content, headers)

    def get(self, path: str) -> Reply:
        return self.request("GET", path, None)

    def request(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None = None) -> Reply:
        for is_last in (self._hangs_up is False, True):
            try:
                self._connection.request(method, path, body, {**self._headers, **(headers or {})})
                answer = self._connection.getresponse()
                reply = Reply(answer.status, {name.lower(): text for name, text in answer.getheaders()}, answer.read())
                break
            except (OSError, http.client.HTTPException):
                self.close()
                if is_last:
                    raise
        if reply.status not in (200, 422):
            # Feast's server hangs up after an error of its own, and does not say so.
            self.close()
        return reply

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Process:
    """A server process of ours alone, its output in a file; ended with whatever it started."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "HOME": str(log.parent)}
        self.log = log
        with log.open("wb") as output:
            self.popen = subprocess.Popen(
                command, stdout=output, stderr=output, env=environment, cwd=log.parent, start_new_session=True
            )

    def wait_for(self, port: int, seconds: float = 90) -> None:
        """Until the server at ``port`` says that it is well."""

        def is_well() -> bool:
            if self.popen.poll() is not None:
                raise RuntimeError(f"{self.popen.args} ended: {self.log.read_text(errors='replace')[-3000:]}")
            try:
                with Client(port, timeout=5) as client:
                    return client.get("/health").status == 200
            except OSError:
                return False

        wait_until(is_well, seconds, f"a server at port {port}")

    def end(self) -> None:
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.popen.pid, signal.SIGKILL)
                self.popen.wait()


def feast_serve(repo: Path, port: int) -> Process:
    """Feast's own server, as its users start it."""
    feast = str(Path(sys.executable).parent / "feast")
    arguments = ["serve", "--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
    return Process([feast, "--chdir", str(repo), *arguments], repo / "feast_serve.log")


def our_server(places: Mapping[Path, int], log: Path, **options: Any) -> Process:
    """Our server for several repositories, see ``our_servers``. options: of ServingOptions."""
    served = [f"{repo}={port}" for repo, port in places.items()]
    command = [sys.executable, "-m", "tests.feast.served.our_servers", json.dumps({"registry_poll": 0.2, **options})]
    return Process([*command, *served], log)


@contextmanager
def running(stock: Sequence[Path], ours: Sequence[Path]) -> Iterator[tuple[list[int], list[int]]]:
    """`feast serve` of each folder in ``stock`` and our server of each in ``ours``; their ports."""
    ports = {repo: free_port() for repo in ours}
    with ExitStack() as stack:
        # All at once: each takes seconds to import Feast.
        theirs = [(feast_serve(repo, port), port) for repo, port in ((repo, free_port()) for repo in stock)]
        mine = our_server(ports, ours[0] / "our_servers.log")
        for process in (*(process for process, _ in theirs), mine):
            stack.callback(process.end)
        for process, port in theirs:
            process.wait_for(port)
        for port in ports.values():
            mine.wait_for(port)
        yield [port for _, port in theirs], list(ports.values())
