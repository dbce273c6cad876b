"""A small application behind `run`, as a process of its own: ``python -m tests.unit.serving.tiny OPTIONS_AS_JSON``."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.places import wait_until
from tests.unit.online.servers import ROOT
from yummy_feast.errors import ConfigError
from yummy_feast.serving.http import ClientGoneError, Receive, RefusedError, Scope, Send, read_body, respond
from yummy_feast.serving.options import RunOptions
from yummy_feast.serving.run import run


class Tiny:
    """Answers with the process id, after as many seconds as the query says.

    Args:
        folder: a file ``sick`` in it makes the health 503, ``broken`` stops the application from being made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        if (folder / "broken").exists():
            raise ConfigError("the folder is broken", hint="mend it")
        if (folder / "crash").exists():
            os._exit(7)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            (self._folder / f"ended-{os.getpid()}").touch()
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["path"] == "/health" and (self._folder / "sick").exists():
            await respond(send, 503, [], RefusedError(503, "SICK", "the store is away").body())
        elif scope["path"] == "/large":
            await respond(send, 200, [], b"x" * 20_000_000)
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(receive, 1000, scope["headers"])
        except ClientGoneError:
            return
        except RefusedError as error:
            await respond(send, error.status, error.headers(), error.body(), unread=receive if error.close else None)
            return
        await asyncio.sleep(float(scope["query_string"] or b"0"))
        await respond(send, 200, [], b"%d %d %b" % (os.getpid(), len(body), scope["path"].encode()))


def make(folder: str, _: Path | None) -> Tiny:
    return Tiny(Path(folder))


@dataclass
class Server:
    """The process, where it listens, and what it said on stderr so far."""

    process: subprocess.Popen[str]
    folder: Path
    lines: list[str] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def port(self) -> int:
        found = self.wait_for(r"ready on https?://127\.0\.0\.1:(\d+)")
        return int(found[1])

    def wait_for(self, pattern: str, seconds: float = 20) -> re.Match[str]:
        """The first line that holds ``pattern``."""

        def found() -> re.Match[str] | None:
            return next(filter(None, (re.search(pattern, line) for line in self.lines)), None)

        wait_until(lambda: found() is not None or self.process.poll() is not None, seconds)
        match = found()
        assert match is not None, self.lines
        return match

    def get(self, path: str = "/", **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """SIGTERM; the exit code."""
        self.signal(signal.SIGTERM)
        return self.process.wait(timeout=20)


@contextmanager
def started(command: list[str], folder: Path, **environment: str) -> Iterator[Server]:
    """A process whose stderr is read."""
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    server = Server(process, folder)
    reader = threading.Thread(target=lambda: server.lines.extend(iter(process.stderr.readline, "")))  # type: ignore[union-attr]
    reader.start()
    try:
        yield server
    finally:
        process.kill()
        process.wait()
        reader.join()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


@contextmanager
def tiny(folder: Path, **options: Any) -> Iterator[Server]:
    """The application with these RunOptions, on a free port."""
    given = json.dumps({"port": 0, **options})
    with started([sys.executable, "-m", "tests.unit.serving.tiny", str(folder), given], folder) as server:
        yield server


def answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers, and body of the next answer on a connection."""
    with connection.makefile("rb") as file:
        status = int(file.readline().split()[1])
        headers = {}
        while line := file.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        return status, headers, file.read(int(headers["content-length"]))


def request(path: str = "/", body: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (path.encode(), len(body), body)


class Load:
    """Clients that ask one after the other, half of them on connections that they keep; counts what became of it."""

    def __init__(self, port: int, packet: bytes, clients: int = 8) -> None:
        self.answered = 0
        self.lost: list[str] = []
        self._port = port
        self._packet = packet
        self._threads = [threading.Thread(target=self._ask, args=(bool(each % 2),)) for each in range(clients)]
        for each in self._threads:
            each.start()

    def join(self) -> None:
        for each in self._threads:
            each.join(timeout=30)
            assert not each.is_alive()

    def _ask(self, keeps: bool) -> None:
        connection: socket.socket | None = None
        while True:
            if connection is None:
                try:
                    connection = socket.create_connection(("127.0.0.1", self._port), timeout=20)
                except ConnectionRefusedError:
                    return
            try:
                connection.sendall(self._packet)
                status, headers, _ = answer(connection)
            except (OSError, IndexError) as error:
                self.lost.append(repr(error))
                connection.close()
                return
            if status != 200:
                self.lost.append(str(status))
            self.answered += 1
            if not keeps or headers.get("connection") == "close":
                connection.close()
                connection = None
            time.sleep(0.001)


if __name__ == "__main__":
    run(partial(make, sys.argv[1]), RunOptions(**json.loads(sys.argv[2])))
