"""A feature server of this process: uvicorn in a thread, on a free port."""

from __future__ import annotations

import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn

from yummy_feast.serving.features.app import FeatureApp, ServingOptions

if TYPE_CHECKING:
    from feast import FeatureStore


@contextmanager
def served(store: FeatureStore, **options: Any) -> Iterator[str]:
    """The URL of a server of ``store`` that is warm. Its registry is looked at often unless told otherwise."""
    with running(FeatureApp(store, ServingOptions(**{"registry_poll": 0.2, **options}))) as url:
        yield url


@contextmanager
def served_by_feast(store: FeatureStore) -> Iterator[str]:
    """The same by Feast's own server."""
    from feast.feature_server import get_app

    app: Any = get_app(store)

    async def closing(scope: Any, receive: Any, send: Any) -> None:
        async def send_closed(message: Any) -> None:
            # Feast's store does not close it, and pytest's error for that lets uvloop close its loop for ever.
            client = getattr(store._get_provider().online_store, "_client_async", None)
            if message["type"] == "lifespan.shutdown.complete" and client is not None:
                await client.aclose()
            await send(message)

        await app(scope, receive, send_closed if scope["type"] == "lifespan" else send)

    with running(closing) as url:
        yield url


@contextmanager
def running(app: Any) -> Iterator[str]:
    """The URL of an ASGI application."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=5))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="server")
        thread.start()
        try:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            _wait(url, thread)
            yield url
        finally:
            server.should_exit = True
            thread.join()


def _wait(url: str, thread: threading.Thread) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and thread.is_alive():
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.02)
    raise TimeoutError("the server does not get warm")
