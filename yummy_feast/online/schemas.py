"""The schemas of rows, kept in Redis beside the rows: what makes rows of any age readable after `feast apply`.

One hash per project, ``keys.schemas_key(project)``, with a field ``<view>:<fingerprint in hex>`` per schema. A schema
is written in front of every batch of rows that uses it, not once per process: whoever removed it meanwhile (`feast
teardown` elsewhere, a flushed server) then cannot make later rows unreadable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from yummy_feast.errors import OnlineStoreError, RowDecodeError
from yummy_feast.online.keys import schemas_key
from yummy_feast.online.rows import RowSchema
from yummy_feast.online.wire import Command, command

if TYPE_CHECKING:
    from yummy_feast.online.redis import Client


class UnmetSchemaError(Exception):
    """A schema that this process has not met: ask for it, and decode again. No error of anybody's."""

    def __init__(self, view: bytes, fingerprint: bytes) -> None:
        super().__init__(view, fingerprint)
        self.view = view
        self.fingerprint = fingerprint


class MetSchemas:
    """What a SchemaBook knows by itself."""

    def __init__(self, known: Mapping[tuple[bytes, bytes], RowSchema]) -> None:
        self._known = known

    def get(self, view: bytes, fingerprint: bytes) -> RowSchema:
        """The schema of a row of ``view``. UnmetSchemaError when it is not here."""
        schema = self._known.get((view, fingerprint))
        if schema is None:
            raise UnmetSchemaError(view, fingerprint)
        return schema


class SchemaBook:
    """The schemas of one project's rows, cached in this process. Threads may share one. ``key`` is their hash in Redis.

    ``client``: a client, or what gives one, asked when Redis is first needed. What redis-py raises passes through: the
    caller knows the address. ``met``: the schemas that are here already, which never asks Redis.
    """

    def __init__(self, client: Client | Callable[[], Client], project: str) -> None:
        self._connect = client if callable(client) else lambda: client
        self.key = schemas_key(project)
        # A fingerprint stands for one schema for ever, so what is here never goes stale.
        self._known: dict[tuple[bytes, bytes], RowSchema] = {}
        # One for ever: every read asks for it.
        self.met = MetSchemas(self._known)
        self._complete: set[bytes] = set()

    def get(self, view: bytes, fingerprint: bytes) -> RowSchema:
        """The schema of a row of ``view`` (its hash field), asked of Redis when this process has not met it.

        RowDecodeError when Redis does not know it either.
        """
        schema = self._known.get((view, fingerprint))
        if schema is None:
            schema = self.learn_one(view, fingerprint, self._client.hget(self.key, _field(view, fingerprint)))
        return schema

    def question(self, view: bytes, fingerprint: bytes) -> Command:
        """The command whose reply ``learn_one`` takes, for those who ask Redis in their own way."""
        return command("HGET", self.key, _field(view, fingerprint))

    def learn_one(self, view: bytes, fingerprint: bytes, data: bytes | None) -> RowSchema:
        """The schema that Redis tells. RowDecodeError when it tells none, or another one."""
        if data is None:
            raise RowDecodeError(
                f"feature view {view.decode()!r} has rows of an unknown schema {fingerprint.hex()}",
                hint="materialize the feature view again",
            )
        schema = self._remember(view, data)
        if schema.fingerprint != fingerprint:
            raise RowDecodeError(f"the schema {fingerprint.hex()} of feature view {view.decode()!r} is damaged")
        return schema

    def known(self, view: bytes) -> list[RowSchema]:
        """Every schema that rows of ``view`` have been written with, as of this process's first question."""
        if not self.is_complete(view):
            self.learn(view, self._client.hgetall(self.key))
        # A copy first: another thread may be adding one.
        return [schema for (name, _), schema in list(self._known.items()) if name == view]

    def meet(self, views: Iterable[bytes]) -> None:
        """Ask for the schemas of all ``views`` at once, where ``known`` would ask for one view at a time."""
        new = [view for view in views if not self.is_complete(view)]
        if len(new) > 1:
            stored = self._client.hgetall(self.key)
            for view in new:
                self.learn(view, stored)

    def is_complete(self, view: bytes) -> bool:
        """Whether ``known`` answers without asking Redis."""
        return view in self._complete

    def learn(self, view: bytes, stored: Mapping[bytes, bytes]) -> None:
        """Remember the schemas of ``view`` in ``stored``, which is all of the hash ``key``: now ``view`` is complete.

        For whoever asks Redis over a connection of its own. RowDecodeError for a damaged schema.
        """
        for field, data in stored.items():
            if field.rpartition(b":")[0] == view:
                self._remember(view, data)
        self._complete.add(view)

    def registration(self, view: bytes, schema: RowSchema) -> tuple[str | bytes, ...]:
        """The Redis command that must reach the server before a row of ``schema`` does.

        Raises OnlineStoreError in the one case in four thousand million where another schema of the view has its
        fingerprint.
        """
        other = self._known.setdefault((view, schema.fingerprint), schema)
        if other != schema:
            raise OnlineStoreError(
                f"two schemas of feature view {view.decode()!r} share the fingerprint {schema.fingerprint.hex()}",
                hint="rename or reorder a feature",
            )
        return ("HSET", self.key, _field(view, schema.fingerprint), schema.to_json())

    def forget(self, views: Iterable[bytes]) -> None:
        """Remove the schemas of views that have no rows any more, here and in Redis."""
        gone = set(views)
        fields = [field for field in self._client.hkeys(self.key) if field.rpartition(b":")[0] in gone]
        if fields:
            self._client.hdel(self.key, *fields)
        self._complete -= gone
        for view, fingerprint in list(self._known):
            if view in gone:
                del self._known[view, fingerprint]

    @property
    def _client(self) -> Any:
        # redis-py declares keys as str; ours are bytes.
        return self._connect()

    def _remember(self, view: bytes, data: bytes) -> RowSchema:
        schema = RowSchema.from_json(data)
        return self._known.setdefault((view, schema.fingerprint), schema)


def _field(view: bytes, fingerprint: bytes) -> bytes:
    return view + b":" + fingerprint.hex().encode()
