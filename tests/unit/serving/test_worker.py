"""What a worker does beyond what `run` shows of it."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
from pathlib import Path

import pytest

from tests.unit.serving.tiny import Tiny, answer, request
from yummy_feast.errors import ConfigError
from yummy_feast.serving.door import listen
from yummy_feast.serving.http import Receive, Scope, Send
from yummy_feast.serving.options import RunOptions
from yummy_feast.serving.run import serve
from yummy_feast.serving.worker import Place, Worker


def test_it_serves_in_a_thread_and_lets_garbage_collection_pass_over_what_was_there(tmp_path: Path) -> None:
    """There are no signals in a thread; a request for the end is the caller's."""
    ready = threading.Event()
    listeners = listen("127.0.0.1", 0)
    worker = Worker(Tiny(tmp_path), RunOptions(), Place(listeners, ready.set, lambda _: None))
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        assert ready.wait(20)
        assert gc.get_freeze_count() > 10_000
        with socket.create_connection(("127.0.0.1", listeners[0].getsockname()[1]), timeout=20) as connection:
            connection.sendall(request())
            assert answer(connection)[0] == 200
    finally:
        worker.should_exit = True
        thread.join(20)
        gc.unfreeze()
    assert not thread.is_alive()


def test_an_application_that_does_not_start_is_told() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    listeners = listen("127.0.0.1", 0)
    with pytest.raises(ConfigError, match="the application did not start"):
        serve(broken, RunOptions(), Place(listeners, lambda: None, lambda _: None))
    listeners[0].close()


def test_what_an_application_answers_is_uvicorns_to_send(tmp_path: Path) -> None:
    """Neither its name nor a wrapper around the application is."""
    worker = Worker(Tiny(tmp_path), RunOptions(), Place((), lambda: None, lambda _: None))
    worker.config.load()
    assert worker.config.encoded_headers == []
    assert isinstance(worker.config.loaded_app, Tiny)
    assert asyncio.iscoroutinefunction(worker.serve)
