"""How far materialization has come, kept in Redis beside the rows it concerns.

Only there does it stay true: a server that was emptied has forgotten both. One hash per project,
``keys.progress_key(project)``, with two fields per feature view: what is or was copied, as JSON, and how many of its
rows Redis has acknowledged, behind the name of the run that counted them: of two runs at a time, one must not go on
from the count of the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from yummy_feast.online.keys import progress_key

if TYPE_CHECKING:
    from yummy_feast.online.redis import Client


class Copy(msgspec.Struct, frozen=True):
    """One window of one feature view on its way from a source.

    view: digest of what decides the rows (columns, types, source, layout). start, end: of the window; seen_start: from
    where on the parts of ``seen`` counted (all microseconds since 1970, None = open). seen, state: what of the source
    was known from an earlier copy, and what this one reads (see ``Scan.state``). began: when the first row was written,
    seconds since 1970. run: who copies, of letters and digits. done: whether all of it is online.
    """

    view: str
    start: int | None
    end: int
    seen_start: int | None
    seen: str
    state: str
    began: float
    run: str = ""
    done: bool = False


class ProgressBook:
    """The copies of one project. What redis-py raises passes through: the caller knows the address."""

    def __init__(self, client: Client, project: str) -> None:
        # redis-py declares keys as str; ours are bytes.
        self._client: Any = client
        self._key = progress_key(project)

    def last(self, view: bytes) -> tuple[Copy | None, int]:
        """The last copy of ``view`` (as it is stored), and how many of its rows were acknowledged."""
        return self.lasts([view])[0]

    def lasts(self, views: Sequence[bytes]) -> list[tuple[Copy | None, int]]:
        """The same for several views, in one question."""
        fields = [name for view in views for name in (view, _rows_of(view))]
        found = self._client.hmget(self._key, fields) if fields else []
        return [_read(copy, rows) for copy, rows in zip(found[::2], found[1::2], strict=True)]

    def begin(self, copies: Iterable[tuple[bytes, Copy, int]]) -> None:
        """Copies of views start, or go on after so many rows."""
        fields: dict[bytes, bytes | str] = {}
        for view, copy, rows in copies:
            fields |= {view: msgspec.json.encode(copy), _rows_of(view): _counted(copy.run, rows)}
        self._client.hset(self._key, mapping=fields)

    def advance(self, run: str, rows: dict[bytes, int]) -> None:
        """Redis has acknowledged so many rows of each view to ``run``."""
        self._client.hset(self._key, mapping={_rows_of(view): _counted(run, count) for view, count in rows.items()})

    def finish(self, copies: Iterable[tuple[bytes, Copy]]) -> None:
        """All rows of the views' copies are online."""
        self._client.hset(self._key, mapping={view: msgspec.json.encode(copy) for view, copy in copies})

    def forget(self, views: Iterable[bytes]) -> None:
        """Views that are gone."""
        fields = [name for view in views for name in (view, _rows_of(view))]
        if fields:
            self._client.hdel(self._key, *fields)


def _read(found: bytes | None, rows: bytes | None) -> tuple[Copy | None, int]:
    if found is None:
        return None, 0
    try:
        copy = msgspec.json.decode(found, type=Copy)
    except (msgspec.DecodeError, ValueError):
        # Of another release, or damaged: then nothing is known, and everything is copied.
        return None, 0
    run, _, count = (rows or b"").partition(b" ")
    return copy, int(count) if run == copy.run.encode() and count.isdigit() else 0


def _counted(run: str, rows: int) -> str:
    return f"{run} {rows}"


def _rows_of(view: bytes) -> bytes:
    # No name of a view has a zero byte.
    return view + b"\0rows"
