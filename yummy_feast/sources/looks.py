"""What one fetch looks at: the first look at a source fixes what every later one sees, and is there to be told.

Engines ask ``SourceContext.scan``, which comes here if the context belongs to a fetch. Given the pins of an earlier
fetch, even the first look sees what that one saw.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from yummy_feast.errors import LockfileError, SourceMovedError, SourceReadError
from yummy_feast.sources.base import NativeTable, Piece, Prune, Scan

if TYPE_CHECKING:
    from yummy_feast.sources.base import SourceContext, YummySource


@dataclass(frozen=True, slots=True)
class Look:
    """A source and what of it was read; see ``Scan.pin``."""

    source: YummySource
    pin: Mapping[str, Any]


class Looks:
    """The looks of one fetch. Thread-safe.

    pins: what the fetch is to see again, by ``source_key``; named: likewise, by the names of sources. Both None: what
    there is now.
    """

    def __init__(self, pins: Mapping[str, Mapping[str, Any]] | None = None, named: Mapping[str, Any] | None = None):
        self._pins = pins
        self._named = named or {}
        self._seen: dict[str, Look] = {}
        self._lock = threading.RLock()

    @property
    def seen(self) -> Mapping[str, Look]:
        """All there were, by ``source_key``, in order."""
        with self._lock:
            return dict(self._seen)

    def scan(self, source: YummySource, context: SourceContext) -> Scan:
        """See ``YummySource.scan``.

        Raises:
            SourceMovedError: what is to be seen is there no more. LockfileError: the earlier fetch did not read it.
        """
        key = source_key(source)
        with self._lock:
            pin = self._pin_of(key, source)
            scan = source.scan(context) if pin is None else _PinnedScan(source.scan_at(pin, context), source.name)
            if key not in self._seen:
                self._seen[key] = Look(source, scan.pin(context) if pin is None else pin)
            return scan

    def _pin_of(self, key: str, source: YummySource) -> Mapping[str, Any] | None:
        if key in self._seen:
            return self._seen[key].pin
        if self._pins is None:
            return None
        pin: Mapping[str, Any] | None = self._pins.get(key, self._named.get(source.name))
        if pin is None:
            raise LockfileError(
                f"source '{source.name}' was not read by the fetch that wrote the lockfile", hint="ask for the same"
            )
        return pin


class _PinnedScan(Scan):
    """A scan whose missing files mean that the source moved on."""

    def __init__(self, scan: Scan, name: str) -> None:
        self._scan = scan
        self._name = name
        self.format, self.schema, self.snapshot, self.location = scan.format, scan.schema, scan.snapshot, scan.location

    @property
    def state(self) -> str:
        return self._scan.state

    def pin(self, context: SourceContext) -> dict[str, Any]:
        return self._scan.pin(context)

    def pieces(self, prune: Prune | None = None) -> list[Piece]:
        with self._gone_is_moved():
            return self._scan.pieces(prune)

    @property
    def total_pieces(self) -> int:
        with self._gone_is_moved():
            return self._scan.total_pieces

    def native(self, columns: Sequence[str], prune: Prune | None = None) -> NativeTable | None:
        with self._gone_is_moved():
            return self._scan.native(columns, prune)

    @contextmanager
    def _gone_is_moved(self) -> Iterator[None]:
        try:
            yield
        except SourceReadError as error:
            if not isinstance(_root(error), FileNotFoundError):
                raise
            raise SourceMovedError(
                f"source '{self._name}' moved: files of {self.snapshot} are gone: {error.message}",
                hint="a vacuum or an expiry of snapshots removed them: restore them, or fetch anew",
            ) from error


def _root(error: BaseException) -> BaseException:
    """What an error began with."""
    return error if error.__cause__ is None else _root(error.__cause__)


def source_key(source: YummySource) -> str:
    """What tells one place of rows from another, whatever the source is called, if it has settings that say it."""
    kind = type(source)
    name = "" if kind.settings else source.name
    reference = getattr(source, "connection_ref", None)
    facts = [f"{kind.__module__}.{kind.__qualname__}", name, source.payload(), reference and str(reference)]
    return json.dumps(facts, sort_keys=True)
