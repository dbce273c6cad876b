"""Lines of the access log: whole, and no burden to requests whoever reads them."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from typing import Any

import pytest

from tests.unit.serving.kit import call
from yummy_feast.serving import access_log
from yummy_feast.serving.access_log import AccessLog
from yummy_feast.serving.http import Receive, Scope, Send, respond


async def application(scope: Scope, _: Receive, send: Send) -> None:
    if scope["path"] == "/raises":
        raise ValueError
    if scope["path"] != "/gone":
        await respond(send, 404, [], b"absent")


def lines(paths: list[str], read: int, write: int) -> list[dict[str, Any]]:
    async def ask() -> None:
        log = AccessLog(write)
        logged = log.around(application)
        for path in paths:
            if path in {"/raises", "/gone"}:
                with pytest.raises((ValueError, AssertionError)):
                    await call(logged, path, b"")
            else:
                await call(logged, path, b"", method="GET")
        await log.flush()

    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.extend(iter(lambda: os.read(read, 65_536), b"")))
    reader.start()
    asyncio.run(ask())
    os.close(write)
    reader.join()
    os.close(read)
    return [json.loads(line) for line in b"".join(found).splitlines()]


def test_each_request_is_a_line() -> None:
    first, second, third = lines(["/a?b=\u00e9", "/raises", "/gone"], *os.pipe())
    assert first.pop("time") == pytest.approx(time.time(), abs=60)
    assert first.pop("ms") >= 0
    assert first == {"client": "127.0.0.1", "method": "GET", "path": "/a?b=Ã©", "status": 404, "bytes": 6}
    assert (second["path"], second["status"], third["status"]) == ("/raises", 0, 0)


def test_many_lines_are_written_in_pieces_that_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[bytes] = []
    write = os.write

    def counted(file: int, data: bytes) -> int:
        pieces.append(bytes(data))
        return write(file, data)

    monkeypatch.setattr(access_log.os, "write", counted)
    found = lines([f"/{each}" for each in range(200)], *os.pipe())
    assert [line["path"] for line in found] == [f"/{each}" for each in range(200)]
    assert 2 < len(pieces) < 50
    assert all(len(piece) <= 4096 and piece.endswith(b"\n") for piece in pieces)


def test_a_reader_that_sleeps_costs_lines_and_no_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(access_log, "_MOST_LINES", 10)
    read, write = os.pipe()

    async def ask() -> None:
        log = AccessLog(write)
        for each in range(15):
            await call(log.around(application), f"/{each}", b"")
        await log.flush()

    asyncio.run(ask())
    assert os.read(read, 65_536).count(b"\n") == 10
    assert [record.message for record in caplog.records] == ["the access log was read too slowly: 5 lines are lost"]
    os.close(read)
    os.close(write)


def test_a_reader_that_is_gone_is_no_reason_to_stop() -> None:
    read, write = os.pipe()
    os.close(read)

    async def ask() -> int:
        log = AccessLog(write)
        found = await call(log.around(application), "/", b"")
        await log.flush()
        return found.status

    assert asyncio.run(ask()) == 404
    os.close(write)
