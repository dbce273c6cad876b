"""How far materialization has come, kept in Redis beside the rows it concerns.

Only there does it stay true: a server that was emptied has forgotten both. One hash per project,
``keys.progress_key(project)``, with two fields per feature view: what is or was copied, as JSON, and how many of its
rows Redis has acknowledged, behind the name of the run that counted them: of two runs at a time, one must not go on
from the count of the other. A copy that many write at once, each a part of its keys, cannot be told by a count: a third
field has the parts that are online as a whole, each with its rows, behind the name of the run too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from yummy_feast.online.keys import progress_key
from yummy_feast.online.pipeline import execute

if TYPE_CHECKING:
    from yummy_feast.online.redis import Client


Parts = dict[int, int]
"""Number of a part -> its rows."""


class Copy(msgspec.Struct, frozen=True):
    """One window of one feature view on its way from a source.

    view: digest of what decides the rows (columns, types, source, layout). start, end: of the window; seen_start: from
    where on the parts of ``seen`` counted (all microseconds since 1970, None = open). seen, state: what of the source
    was known from an earlier copy, and what this one reads (see ``Scan.state``). began: when the first row was written,
    seconds since 1970. run: who copies, of letters and digits. done: whether all of it is online. division: how its
    keys are divided into parts that are written by themselves; empty: they are not.
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
    division: str = ""


_PART_DONE: Final = b"""
-- KEYS: the project's progress. ARGV: the run, a part, its rows, then the field of each view whose part is online. Says
-- it once, whoever says it again, and not in the place of another run.
local run, part = ARGV[1] .. ' ', ' ' .. ARGV[2] .. ':'
for place = 4, #ARGV do
  local said = redis.call('HGET', KEYS[1], ARGV[place])
  if said and (said .. ' '):sub(1, #run) == run and not said:find(part, 1, true) then
    redis.call('HSET', KEYS[1], ARGV[place], said .. part .. ARGV[3])
  end
end
return #ARGV - 3
"""


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

    def parts(self, run: str, views: Sequence[bytes]) -> list[Parts]:
        """Per view the parts of a divided copy that ``run`` has brought online."""
        found = self._client.hmget(self._key, [_parts_of(view) for view in views]) if views else []
        return [_read_parts(said, run) for said in found]

    def begin_parts(self, run: str, views: Mapping[bytes, Parts]) -> None:
        """Divided copies of views start, or go on after these parts; ``begin`` comes first."""
        said = {
            _parts_of(view): " ".join([run, *(f"{part}:{rows}" for part, rows in sorted(parts.items()))])
            for view, parts in views.items()
        }
        self._client.hset(self._key, mapping=said)

    def part_done(self, run: str, part: int, rows: int, views: Sequence[bytes]) -> None:
        """Every row of one part of the copies of ``views`` is online; told twice, it counts once."""
        execute(self._client, [("EVAL", _PART_DONE, 1, self._key, run, part, rows, *map(_parts_of, views))])

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
        fields = [name for view in views for name in (view, _rows_of(view), _parts_of(view))]
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


def _read_parts(said: bytes | None, run: str) -> Parts:
    name, *parts = (said or b"").split(b" ")
    pairs = [part.partition(b":") for part in parts] if name == run.encode() else []
    return {int(part): int(rows) for part, _, rows in pairs if part.isdigit() and rows.isdigit()}


def _parts_of(view: bytes) -> bytes:
    return view + b"\0parts"
