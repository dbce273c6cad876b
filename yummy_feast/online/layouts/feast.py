"""Layout `feast`: the bytes of Feast's own Redis store, which it reads and writes and we do too.

One hash per entity key; per feature a field, the murmur3 hash of ``view:feature``, with a serialized ``Value``; per
view a field ``_ts:view`` with the serialized event ``Timestamp``. There is no created timestamp, and no telling a null
from a feature that is younger than the row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

import mmh3

from yummy_feast.errors import ConfigError
from yummy_feast.online.columns import Column
from yummy_feast.online.keys import KeyEncoder
from yummy_feast.online.layouts.base import (
    Command,
    Found,
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
from yummy_feast.online.layouts.feast_decoding import CellDecoder, cell_decoder, timestamp_us
from yummy_feast.online.layouts.feast_keys import FeastKeyEncoder, belongs_to, pattern
from yummy_feast.online.layouts.feast_scripts import REMOVE, WRITE
from yummy_feast.online.layouts.feast_values import pack_rows, pack_strings

if TYPE_CHECKING:
    from feast.value_type import ValueType


def feature_field(view: bytes, feature: str) -> bytes:
    """The hash field of a feature: murmur3 of ``view:feature``, little-endian."""
    return mmh3.hash(view + b":" + feature.encode(), signed=False).to_bytes(4, "little")


def timestamp_field(view: bytes) -> bytes:
    """The hash field of a view's event timestamp."""
    return b"_ts:" + view


@dataclass(frozen=True, slots=True)
class FeastLayout(Layout):
    """key_version: how entity keys are serialized, Feast's ``entity_key_serialization_version``."""

    key_version: int = 3

    name = "feast"
    keeps_schemas = False
    expires_fields = False
    compares_created = False

    def __post_init__(self) -> None:
        if self.key_version not in (2, 3):
            raise ConfigError(
                f"entity_key_serialization_version: {self.key_version} is not known to layout feast", hint="set 3"
            )

    def key_encoder(self, project: str, join_keys: Iterable[tuple[str, int | ValueType]]) -> KeyEncoder:
        """The entity key, the project."""
        return FeastKeyEncoder(project, join_keys, self.key_version)

    def fields(self, view: bytes, features: Sequence[str]) -> tuple[bytes, ...]:
        """That of the timestamp, then one per feature."""
        return tuple(dict.fromkeys([timestamp_field(view), *(feature_field(view, name) for name in features)]))

    def reader(self, view: bytes, wanted: Wanted, positions: Sequence[int]) -> Reader:
        """A row is there when its timestamp is; a feature that is not there is null."""
        names = self.fields(view, [name for name, _ in wanted])
        place = dict(zip(names, positions, strict=True))
        stamp_at = place[timestamp_field(view)]
        places = [place[feature_field(view, name)] for name, _ in wanted]
        pick = itemgetter(*places) if len(places) > 1 else lambda reply: tuple(reply[at] for at in places)
        decoders = [cell_decoder(name, number) for name, number in wanted]

        return _CellsReader(stamp_at, places, pick, decoders)

    def pack(self, target: Target, columns: Sequence[Column], times: Times) -> Packed:
        """Cells of a row in one argument, the names of their fields once for all rows."""
        rows = pack_rows(columns, times.event)
        fields = _fields_of(target.view, [column.name for column in columns])
        return Packed(WRITE, (int(target.newer_wins), target.retention, fields), rows)

    def pattern(self, project: str) -> bytes:
        """Also finds projects whose names end alike."""
        return pattern(project)

    def owns(self, project: str, key: bytes, join_keys: Iterable[Sequence[str]]) -> bool:
        """The entity key ends where the project begins."""
        return belongs_to(project, key, join_keys, self.key_version)

    def removal(self, key: bytes, views: Sequence[tuple[bytes, Sequence[str]]]) -> Command:
        """Fields of features that a view had once, and does not any more, go with the hash's last view."""
        return ("EVAL", REMOVE, 1, key, *(_fields_of(view, features) for view, features in views))


class _CellsReader(Reader):
    __slots__ = ("_decoders", "_pick", "_places", "_stamp_at", "width")

    def __init__(
        self,
        stamp_at: int,
        places: Sequence[int],
        pick: Callable[[Reply], Sequence[bytes | None]],
        decoders: Sequence[CellDecoder],
    ) -> None:
        self.width = len(decoders)
        self._stamp_at = stamp_at
        self._places = places
        self._pick = pick
        self._decoders = decoders

    def row(self, reply: Reply, schemas: Schemas) -> tuple[Row | None, int]:
        stamp = reply[self._stamp_at]
        if stamp is None:
            return None, 0
        cells = zip(self._decoders, self._pick(reply), strict=True)
        return tuple([decode(cell) if cell else None for decode, cell in cells]), timestamp_us(stamp)

    def columns(self, fields: Sequence[Sequence[bytes | None]], schemas: Schemas) -> Found:
        stamps = fields[self._stamp_at]
        if None in stamps:
            # Cells without a timestamp are no row.
            return super().columns(fields, schemas)
        columns = [
            [decode(cell) if cell else None for cell in fields[place]]
            for decode, place in zip(self._decoders, self._places, strict=True)
        ]
        return Found(columns, [timestamp_us(stamp) for stamp in stamps], None)


def _fields_of(view: bytes, features: Iterable[str]) -> bytes:
    return pack_strings([timestamp_field(view), *(feature_field(view, name) for name in features)])
