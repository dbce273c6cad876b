"""Layout `rows`, ours: one packed row per feature view (``online.rows``) in one field of the entity's hash."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from itertools import count
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from yummy_feast.errors import RowDecodeError
from yummy_feast.online.bulk_decoding import BulkDecoder, bulk_decoder
from yummy_feast.online.columns import Column
from yummy_feast.online.decoding import Decoder, decoder, read_tombstone
from yummy_feast.online.keys import KeyEncoder, match_pattern, progress_key, schemas_key
from yummy_feast.online.layouts.base import (
    Command,
    Found,
    Joined,
    Layout,
    Packed,
    Reader,
    Reply,
    Row,
    Schemas,
    Target,
    Times,
    Wanted,
)
from yummy_feast.online.rows import FINGERPRINT, HEADER_SIZE, TOMBSTONE, encode, fit
from yummy_feast.online.scripts import LAST_WINS, NEWER_WINS, NEWER_WINS_EACH

if TYPE_CHECKING:
    from feast.value_type import ValueType

_EVENT_TIME = struct.Struct(">xQ").unpack_from
_SIGN = 1 << 63
# So many fit on Lua's stack with their fields, whatever it was built with.
_MOST_VIEWS = 1000
# From so many rows on, numpy is faster than reading row by row.
_MANY = 8


class RowsLayout(Layout):
    """See ``online.rows`` for the bytes of a row and ``online.keys`` for those of a key."""

    name = "rows"
    keeps_schemas = True
    expires_fields = True
    compares_created = True

    def key_encoder(self, project: str, join_keys: Iterable[tuple[str, int | ValueType]]) -> KeyEncoder:
        """The project, a zero byte, the entity key."""
        return KeyEncoder(project, join_keys)

    def fields(self, view: bytes, features: Sequence[str]) -> tuple[bytes, ...]:
        """The view's name alone."""
        return (view,)

    def reader(self, view: bytes, wanted: Wanted, positions: Sequence[int]) -> Reader:
        """A row says which schema it has; its decoder is compiled when the first such row is met."""
        [position] = positions
        return _RowsReader(view, wanted, position)

    def pack(self, target: Target, columns: Sequence[Column], times: Times) -> Packed:
        """With the schema's registration first: rows nobody can read must not be there, not even for a moment."""
        schema = fit(columns, target.book.known(target.view))
        rows = encode(schema, columns, times.event, times.created, times.created_null)
        script = NEWER_WINS if target.newer_wins else LAST_WINS
        registration = target.book.registration(target.view, schema)
        return Packed(script, (target.view, target.retention, int(target.field_expiry)), rows, registration)

    def joined(self, targets: Sequence[Target], packs: Sequence[Packed]) -> Joined | None:
        """All views of an entity lie in one hash, so one look and one write do for all of them."""
        kept_whole = any(target.retention and not target.field_expiry for target in targets)
        if len(targets) > _MOST_VIEWS or kept_whole or not all(target.newer_wins for target in targets):
            return None
        views = [item for target in targets for item in (target.view, target.retention)]
        # One HSET registers all schemas: its name and key are the same.
        schemas = [pack.first for pack in packs if pack.first is not None]
        first = (*schemas[0][:2], *(item for command in schemas for item in command[2:])) if schemas else None
        arguments = (int(all(target.field_expiry for target in targets)), len(targets), *views)
        return Joined(NEWER_WINS_EACH, arguments, first)

    def pattern(self, project: str) -> bytes:
        """The prefix that no other project's keys have."""
        return match_pattern(project)

    def owns(self, project: str, key: bytes, join_keys: Iterable[Sequence[str]]) -> bool:
        """Everything under the prefix but the schemas and the progress."""
        return key not in (schemas_key(project), progress_key(project))

    def removal(self, key: bytes, views: Sequence[tuple[bytes, Sequence[str]]]) -> Command:
        """Redis deletes a hash with its last field."""
        return ("HDEL", key, *(view for view, _ in views))


class _RowsReader(Reader):
    __slots__ = ("_bulk", "_decoders", "_position", "_view", "_wanted", "width")

    def __init__(self, view: bytes, wanted: Wanted, position: int) -> None:
        self.width = len(wanted)
        self._view = view
        self._wanted = wanted
        self._position = position
        self._decoders: dict[bytes, Decoder] = {}
        self._bulk: dict[bytes, BulkDecoder | None] = {}

    def row(self, reply: Reply, schemas: Schemas) -> tuple[Row | None, int]:
        cell = reply[self._position]
        if cell is not None:
            row = (self._decoders.get(cell[FINGERPRINT]) or self._find(cell, schemas))(cell)
            if row is not None:
                return row, _EVENT_TIME(cell)[0] - _SIGN
        return None, 0

    def columns(self, fields: Sequence[Sequence[bytes | None]], schemas: Schemas) -> Found:
        """Many rows of one schema are read together."""
        cells = fields[self._position]
        if len(cells) >= _MANY:
            there = cells if None not in cells else [cell for cell in cells if cell is not None]
            decode = self._bulk_of(there[0], schemas) if len(there) >= _MANY else None  # type: ignore[arg-type]
            found = decode(there) if decode is not None else None  # type: ignore[arg-type]
            if found is not None:
                return _spread(cells, *found) if len(there) < len(cells) else Found(*found, None)
        return super().columns(fields, schemas)

    def _find(self, cell: bytes, schemas: Schemas) -> Decoder:
        if len(cell) < HEADER_SIZE:
            raise RowDecodeError(
                f"a row in Redis is {len(cell)} bytes long, shorter than a header", hint="materialize the view again"
            )
        if cell[17] == TOMBSTONE:
            return read_tombstone
        fingerprint = cell[FINGERPRINT]
        found = self._decoders[fingerprint] = decoder(schemas.get(self._view, fingerprint), self._wanted)
        return found

    def _bulk_of(self, cell: bytes, schemas: Schemas) -> BulkDecoder | None:
        fingerprint = cell[FINGERPRINT]
        if fingerprint not in self._bulk:
            # Raises for what is no row, and for a schema that is not known yet.
            if self._find(cell, schemas) is read_tombstone:
                return None
            self._bulk[fingerprint] = bulk_decoder(schemas.get(self._view, fingerprint), self._wanted)
        return self._bulk[fingerprint]


def _spread(cells: Sequence[bytes | None], columns: Sequence[Sequence[Any]], times: list[int]) -> Found:
    """What was found at the places of the cells it was found in."""
    there = [cell is not None for cell in cells]
    ranks = count()
    # The last place is that of what was added behind: nothing.
    pick = itemgetter(*[next(ranks) if is_there else -1 for is_there in there])
    return Found([pick([*column, None]) for column in columns], pick([*times, 0]), there)


ROWS: Final = RowsLayout()
