"""The objects of a namespace of Kubernetes: made, found, changed, deleted and watched."""

from __future__ import annotations

import queue
import re
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

_REQUIREMENT = re.compile(
    r"(?P<key>!?[\w./-]+)(?:\s*(?P<how>==|=|!=|\bnotin\b|\bin\b)\s*(?P<value>\([^)]*\)|[^,]*))?(?:,|$)"
)
KINDS = {
    "pods": "Pod",
    "configmaps": "ConfigMap",
    "services": "Service",
    "persistentvolumeclaims": "PersistentVolumeClaim",
}
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
                if thing["kind"] == KINDS[kind] and int(thing["metadata"]["resourceVersion"]) > int(
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
        thing |= {"kind": KINDS[kind], "apiVersion": "v1"}
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
