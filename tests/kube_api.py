"""As much of a Kubernetes API as Spark's scheduler asks for: objects of a namespace over HTTP, for who shows a token.

What becomes of pods is others' work: ``tests/kube_node.py`` runs them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.kube_objects import KINDS, Objects, Thing

_PATH = re.compile(r"/api/v1/namespaces/(?P<namespace>[^/]+)/(?P<kind>[^/]+)(?:/(?P<name>[^/]+))?$")
_WEBSOCKET = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""Of RFC 6455: what proves that a server speaks it."""


class KubeApi(ThreadingHTTPServer):
    """On a free port of this machine. Who does not show ``token`` is turned away."""

    daemon_threads = True

    def __init__(self, token: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token = token
        self.objects = Objects()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: KubeApi

    def log_message(self, *arguments: Any) -> None:
        pass

    def _handle(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        length = int(self.headers.get("Content-Length") or 0)
        body: Any = json.loads(self.rfile.read(length)) if length else {}
        if self.headers.get("Authorization") != f"Bearer {self.server.token}":
            self._fail(401, "Unauthorized")
        elif url.path == "/version":
            self._answer({"major": "1", "minor": "34", "gitVersion": "v1.34.0"})
        elif (place := _PATH.match(url.path)) is None or place["kind"] not in KINDS:
            self._fail(404, "NotFound")
        elif place["name"]:
            self._one(place["kind"], place["name"], body)
        else:
            self._many(place["kind"], query, body)

    do_GET = do_POST = do_DELETE = do_PATCH = _handle  # noqa: N815

    def _one(self, kind: str, name: str, body: Thing) -> None:
        objects = self.server.objects
        if self.command == "PATCH":
            found = objects.change(kind, name, body)
        else:
            found = objects.delete(kind, name) if self.command == "DELETE" else objects.get(kind, name)
        if found is None:
            self._fail(404, "NotFound")
        else:
            self._answer(found)

    def _many(self, kind: str, query: Mapping[str, str], body: Thing) -> None:
        objects = self.server.objects
        labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
        if self.command == "POST":
            made = objects.add(kind, body)
            if made is None:
                self._fail(409, "AlreadyExists")
            else:
                self._answer(made, 201)
        elif query.get("watch") == "true":
            self._watch(kind, labels, query.get("resourceVersion", ""))
        else:
            version = objects.version
            found = objects.find(kind, labels, fields)
            if self.command == "DELETE":
                for thing in found:
                    objects.delete(kind, thing["metadata"]["name"])
            self._answer(
                {
                    "kind": f"{KINDS[kind]}List",
                    "apiVersion": "v1",
                    "metadata": {"resourceVersion": version},
                    "items": found,
                }
            )

    def _watch(self, kind: str, labels: str, since: str) -> None:
        """Over a WebSocket, an event a frame: what Spark's client asks for first."""
        key = self.headers.get("Sec-WebSocket-Key", "") + _WEBSOCKET
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.close_connection = True
        with suppress(ConnectionError), self.server.objects.watched(kind, labels, since) as events:
            while (event := events.get()) is not None:
                text = json.dumps(event).encode()
                # Who writes a length in more bytes than it needs is hung up on; all of ours need two.
                self.wfile.write(struct.pack("!BBH", 0x81, 126, len(text)) + text)

    def _fail(self, code: int, reason: str) -> None:
        self._answer({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code}, code)

    def _answer(self, body: Thing, code: int = 200) -> None:
        text = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@contextmanager
def kube_api(token: str) -> Iterator[KubeApi]:
    """A server that answers until the block ends."""
    api = KubeApi(token)
    thread = threading.Thread(target=api.serve_forever, name="kube", daemon=True)
    thread.start()
    try:
        yield api
    finally:
        api.objects.close()
        api.shutdown()
        thread.join()
        api.server_close()
