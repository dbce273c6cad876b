"""As much of a Kubernetes API as Spark's scheduler asks for: objects of a namespace that are made, listed, watched,
changed and deleted, over HTTP.

What becomes of pods is others' work: ``tests/kube_node.py`` runs them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import queue
import re
import struct
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_PATH = re.compile(r"/api/v1/namespaces/(?P<namespace>[^/]+)/(?P<kind>[^/]+)(?:/(?P<name>[^/]+))?$")
_REQUIREMENT = re.compile(
    r"(?P<key>!?[\w./-]+)(?:\s*(?P<how>==|=|!=|\bnotin\b|\bin\b)\s*(?P<value>\([^)]*\)|[^,]*))?(?:,|$)"
)
_KINDS = {
    "pods": "Pod",
    "configmaps": "ConfigMap",
    "services": "Service",
    "persistentvolumeclaims": "PersistentVolumeClaim",
}
_WEBSOCKET = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""Of RFC 6455: what proves that a server speaks it."""
Thing = dict[str, Any]
"""An object of Kubernetes, as JSON has it."""


def matches(selector: str, labels: Mapping[str, str]) -> bool:
    """Whether labels fulfil a label selector."""
    for found in _REQUIREMENT.finditer(selector):
        key, how, value = found["key"], found["how"], (found["value"] or "").strip("() ")
        if how is None:
            fulfilled = key in labels if not key.startswith("!") else key[1:] not in labels
        else:
            named = labels.get(key) in [part.strip() for part in value.split(",")]
            fulfilled = named is (how in ("=", "==", "in"))
        if not fulfilled:
            return False
    return True


class Objects:
    """All objects by kind and name, and who watches them. said: each event, in order."""

    def __init__(self) -> None:
        self.said: list[tuple[str, Thing]] = []
        self._things: dict[tuple[str, str], Thing] = {}
        self._watchers: list[tuple[str, str, queue.Queue[Thing | None]]] = []
        self._version = 0
        self._lock = threading.RLock()

    def add(self, kind: str, thing: Thing) -> Thing | None:
        """None: there is one of that name."""
        with self._lock:
            name = thing["metadata"].get("name") or thing["metadata"]["generateName"] + uuid.uuid4().hex[:5]
            if (kind, name) in self._things:
                return None
            made = deepcopy(thing)
            made["metadata"] |= {"name": name, "uid": str(uuid.uuid4()), "creationTimestamp": "2026-01-01T00:00:00Z"}
            if kind == "pods":
                made["status"] = {"phase": "Pending"}
            return self._put("ADDED", kind, made)

    def change(self, kind: str, name: str, patch: Thing) -> Thing | None:
        """Merge ``patch`` into one; None: there is none."""
        with self._lock:
            found = self._things.get((kind, name))
            return None if found is None else self._put("MODIFIED", kind, _merged(found, patch))

    def delete(self, kind: str, name: str) -> Thing | None:
        with self._lock:
            found = self._things.pop((kind, name), None)
            return None if found is None else self._say("DELETED", kind, found)

    def get(self, kind: str, name: str) -> Thing | None:
        with self._lock:
            return deepcopy(self._things.get((kind, name)))

    def find(self, kind: str, labels: str = "", fields: str = "") -> list[Thing]:
        """Those that fulfil a label selector, and a field selector of ``status.phase`` or ``metadata.name``."""
        with self._lock:
            things = [thing for (its, _), thing in self._things.items() if its == kind]
            return [deepcopy(thing) for thing in things if _selected(thing, labels, fields)]

    @contextmanager
    def watched(self, kind: str, labels: str, since: str) -> Iterator[queue.Queue[Thing | None]]:
        """What happens to some after version ``since``; a None is the end."""
        mine: queue.Queue[Thing | None] = queue.Queue()
        entry = (kind, labels, mine)
        with self._lock:
            for type_, thing in self.said:
                if thing["kind"] == _KINDS[kind] and int(thing["metadata"]["resourceVersion"]) > int(
                    since or self._version
                ):
                    self._tell(entry, kind, {"type": type_, "object": thing})
            self._watchers.append(entry)
        try:
            yield mine
        finally:
            with self._lock:
                self._watchers.remove(entry)

    def close(self) -> None:
        """Let all who watch go."""
        with self._lock:
            for _, _, watcher in self._watchers:
                watcher.put(None)

    @property
    def version(self) -> str:
        return str(self._version)

    def _put(self, type_: str, kind: str, thing: Thing) -> Thing:
        self._things[kind, thing["metadata"]["name"]] = thing
        return self._say(type_, kind, thing)

    def _say(self, type_: str, kind: str, thing: Thing) -> Thing:
        self._version += 1
        thing["metadata"]["resourceVersion"] = self.version
        thing |= {"kind": _KINDS[kind], "apiVersion": "v1"}
        seen = deepcopy(thing)
        self.said.append((type_, seen))
        for watcher in self._watchers:
            self._tell(watcher, kind, {"type": type_, "object": seen})
        return seen

    @staticmethod
    def _tell(watcher: tuple[str, str, queue.Queue[Thing | None]], kind: str, event: Thing) -> None:
        if watcher[0] == kind and _selected(event["object"], watcher[1], ""):
            watcher[2].put(event)


def _selected(thing: Thing, labels: str, fields: str) -> bool:
    seen = {"status.phase": thing.get("status", {}).get("phase"), "metadata.name": thing["metadata"]["name"]}
    return matches(labels, thing["metadata"].get("labels", {})) and matches(fields, seen)


def _merged(thing: Thing, patch: Thing) -> Thing:
    merged = deepcopy(thing)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key, {}), value) if isinstance(value, dict) else value
    return merged


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
        elif (place := _PATH.match(url.path)) is None or place["kind"] not in _KINDS:
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
                    "kind": f"{_KINDS[kind]}List",
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
