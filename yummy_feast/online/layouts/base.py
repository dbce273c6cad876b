"""What a layout is: four questions about rows in Redis, answered without touching any socket."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from yummy_feast.online.arrow_numbers import Mask
from yummy_feast.online.columns import Column

if TYPE_CHECKING:
    from feast.value_type import ValueType

    from yummy_feast.online.keys import KeyEncoder
    from yummy_feast.online.rows import RowSchema

Command = tuple[Any, ...]
"""A Redis command: its name and its arguments."""

Reply = Sequence[bytes | None]
"""What HMGET answered: one cell per field; None where the hash has no such field."""


class Schemas(Protocol):
    """Where the schemas of rows are known, for the layouts that keep schemas."""

    def get(self, view: bytes, fingerprint: bytes) -> RowSchema:
        """The schema of a row of ``view``. RowDecodeError when nobody knows it."""
        ...


class SchemaRegister(Schemas, Protocol):
    """The same for who writes rows."""

    def known(self, view: bytes) -> list[RowSchema]:
        """Every schema that rows of ``view`` have been written with."""
        ...

    def registration(self, view: bytes, schema: RowSchema) -> Command:
        """The command that must reach the server before a row of ``schema`` does."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """Where the rows of one feature view go, and under which terms.

    book: the schemas of the project's rows.
    view: the name the view is stored under (with ``_vN`` where versioned), see ``keys.field_name``.
    features: (name, Feast type number) in the view's order.
    retention: seconds that a row is kept after its last write, 0 for ever.
    newer_wins: False overwrites without looking (Feast's ``skip_dedup``).
    field_expiry: whether the server can let a single field of a hash expire.
    one_key_scripts: whether a script may touch one key only, as in a cluster.
    """

    layout: Layout
    book: SchemaRegister
    view: bytes
    features: tuple[tuple[str, int], ...]
    retention: int = 0
    newer_wins: bool = True
    field_expiry: bool = False
    one_key_scripts: bool = False


class Times(NamedTuple):
    """Event and created timestamps of rows, microseconds since 1970.

    created: None where rows have none at all; ``created_null`` is set for single rows without one.
    """

    event: npt.NDArray[np.int64]
    created: npt.NDArray[np.int64] | None = None
    created_null: Mask = None


class Packed(NamedTuple):
    """Rows ready to be sent: ``EVAL script n <n keys> *arguments <n rows>`` writes any n of them.

    The script answers [written, equal]: how many rows were set, and how many were there already. The others were older
    than what Redis holds.

    rows: one argument per row.
    first: the command that must have reached the server before any row does.
    """

    script: bytes
    arguments: Command
    rows: list[bytes]
    first: Command | None = None


class Joined(NamedTuple):
    """How rows of several views go in one script: ``EVAL script n <n keys> *arguments <per key a row of each view>``.

    It answers [written, equal] per view, one after the other. first: as in ``Packed``.
    """

    script: bytes
    arguments: Command
    first: Command | None = None


Row = tuple[Any, ...]
"""Stored values in the order asked for: None for a null or an unknown feature."""


class Found(NamedTuple):
    """One view's rows out of replies, as columns: what answers are made of.

    columns: per feature one value per reply, None where there is no row too.
    times: event timestamps, microseconds since 1970; 0 where there is no row.
    there: per reply whether there is a row; None where all are there.
    """

    columns: Sequence[Sequence[Any]]
    times: Sequence[int]
    there: Sequence[bool] | None


class Reader(ABC):
    """Finds one view's rows in replies, and remembers what it compiled. RowDecodeError for damaged cells."""

    width: int
    """Features of a row."""

    @abstractmethod
    def row(self, reply: Reply, schemas: Schemas) -> tuple[Row | None, int]:
        """The row in one reply and its event timestamp (microseconds since 1970); (None, 0) where there is none."""

    def rows(self, replies: Sequence[Reply], schemas: Schemas) -> tuple[list[Row | None], list[int]]:
        """The rows in ``replies`` and their event timestamps."""
        found = [self.row(reply, schemas) for reply in replies]
        return [row for row, _ in found], [time for _, time in found]

    def columns(self, fields: Sequence[Sequence[bytes | None]], schemas: Schemas) -> Found:
        """The same by column, from replies that are turned: per field of HMGET its cells, at least one."""
        rows, times = self.rows(list(zip(*fields, strict=True)), schemas)
        if None not in rows:
            return Found(list(zip(*rows, strict=True)), times, None)
        missing = (None,) * self.width
        whole = [missing if row is None else row for row in rows]
        return Found(list(zip(*whole, strict=True)), times, [row is not None for row in rows])


Wanted = tuple[tuple[str, int], ...]
"""Features to read: (name, Feast type number)."""


class Layout(ABC):
    """How rows lie in Redis. Each hash belongs to one entity key; what is in it, the layout says."""

    name: str
    """As feature_store.yaml spells it."""

    keeps_schemas: bool
    """Whether the rows of a project need the schemas beside them (``schemas.SchemaBook``)."""

    expires_fields: bool
    """Whether a row lies in one field and so can expire by itself, where the server lets fields expire."""

    compares_created: bool
    """Whether the server compares created timestamps too. If not, the newest of each key goes alone."""

    @abstractmethod
    def key_encoder(self, project: str, join_keys: Iterable[tuple[str, int | ValueType]]) -> KeyEncoder:
        """Redis keys of one set of join keys (name, Feast type). ValueTypeError for a type that cannot be a key."""

    @abstractmethod
    def fields(self, view: bytes, features: Sequence[str]) -> tuple[bytes, ...]:
        """The hash fields that a read of ``features`` of a view needs, each once."""

    @abstractmethod
    def reader(self, view: bytes, wanted: Wanted, positions: Sequence[int]) -> Reader:
        """The function that finds a view's rows in replies.

        ``positions``: where the fields that ``fields`` answered stand in every reply.
        """

    @abstractmethod
    def pack(self, target: Target, columns: Sequence[Column], times: Times) -> Packed:
        """Rows of ``target`` as arguments of a script that writes each unless the hash holds a newer one.

        ``columns`` are those of ``target.features``. Raises ValueTypeError for a row that cannot be stored.
        """

    def joined(self, targets: Sequence[Target], packs: Sequence[Packed]) -> Joined | None:
        """One script for several views of the same entities; None where each view must go by itself."""
        return None

    @abstractmethod
    def pattern(self, project: str) -> bytes:
        """For SCAN's MATCH: finds every key of ``project``, and perhaps some that ``owns`` refuses."""

    @abstractmethod
    def owns(self, project: str, key: bytes, join_keys: Iterable[Sequence[str]]) -> bool:
        """Whether ``key`` is an entity key of ``project``. ``join_keys``: of the views concerned, sorted by name."""

    @abstractmethod
    def removal(self, key: bytes, views: Sequence[tuple[bytes, Sequence[str]]]) -> Command:
        """The command that takes the rows of ``views`` (name, features) out of one hash; answers how many there were.

        A hash without rows is gone afterwards.
        """
