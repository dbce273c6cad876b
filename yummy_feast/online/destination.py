"""Where rows of feature views go, as plain data: whoever holds it can write, in another process or on another machine.

It pickles, with the password that is needed to connect, which its repr does not show. Connections are made where rows
are written, and belong to that process.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yummy_feast.errors import ServerUnavailableError
from yummy_feast.online.address import RedisSettings
from yummy_feast.online.entity_keys import EntityKeys
from yummy_feast.online.layouts.base import Layout, Target
from yummy_feast.online.progress import ProgressBook
from yummy_feast.online.redis import client_for
from yummy_feast.online.redis_errors import translated
from yummy_feast.online.retention import expires_fields
from yummy_feast.online.schemas import SchemaBook
from yummy_feast.online.writer import Rows, Stream, Written, write_streams

if TYPE_CHECKING:
    from yummy_feast.online.keys import KeyEncoder

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@cache
def this_machine() -> str:
    """A name that no other machine has: containers of one machine share it, and what they share of its files."""
    with suppress(OSError):
        return _BOOT.read_text().strip()
    return platform.node()


@dataclass(frozen=True, slots=True)
class StoredView:
    """One feature view as its rows are stored.

    stored_as: see ``Target.view``. features, retention: as there. keys: (join key, Feast type number) as declared,
    empty for a view without entities. timestamp_field, created: columns of the times of rows that come as Arrow.
    """

    stored_as: bytes
    features: tuple[tuple[str, int], ...]
    keys: tuple[tuple[str, int], ...]
    retention: int
    timestamp_field: str
    created: str | None = None


@dataclass(frozen=True, slots=True)
class Destination:
    """The online store of a project as a place to write rows of ``views`` to.

    newer_wins: see ``Target``. machine: where the settings were read; a server that is reached through a socket is on
    that machine.
    """

    settings: RedisSettings
    project: str
    layout: Layout
    newer_wins: bool
    views: tuple[StoredView, ...]
    machine: str = field(default_factory=this_machine)

    def check_within_reach(self) -> None:
        """Raises ServerUnavailableError where this process runs on another machine than a server behind a socket."""
        settings = self.settings
        if settings.nodes or (self.machine == this_machine() and (settings.repo_path or Path("/")).is_dir()):
            return
        raise ServerUnavailableError(
            f"{settings.address} cannot be reached from {platform.node()}, another machine",
            hint="set online_store.connection_string to a host:port that every machine reaches",
        )

    def keys(self, view: StoredView) -> EntityKeys:
        """The Redis keys of a view's rows."""
        return EntityKeys(self.layout, self.project, dict(view.keys))

    def target(self, view: StoredView, book: SchemaBook, field_expiry: bool) -> Target:
        """The terms under which a view's rows are written. field_expiry: what the server can, see ``Target``."""
        return Target(
            layout=self.layout,
            book=book,
            view=view.stored_as,
            features=view.features,
            retention=view.retention,
            newer_wins=self.newer_wins,
            field_expiry=field_expiry,
            one_key_scripts=self.settings.redis_type == "redis_cluster",
        )

    def write(
        self,
        batches: Iterable[Rows],
        acknowledged: Callable[[int, Written], Any] | None = None,
        book: SchemaBook | None = None,
    ) -> list[Written]:
        """Write rows, newest wins: (indices of ``views``, rows of each); see ``writer.write_streams``.

        book: the project's schemas, where they are known already. Raises OnlineStoreError when Redis cannot be used.
        """
        with translated(self.settings):
            client = client_for(self.settings)
            known = book or SchemaBook(client, self.project)
            expires = self.layout.expires_fields and expires_fields(client, self.project)
            streams = [
                Stream(self.target(view, known, expires), self._encoder(view), view.timestamp_field, view.created)
                for view in self.views
            ]
            if self.layout.keeps_schemas:
                known.meet(view.stored_as for view in self.views)
            return write_streams(client, streams, batches, acknowledged)

    def progress(self) -> ProgressBook:
        """How far materialization has come. What it raises about Redis goes through ``translated``."""
        return ProgressBook(client_for(self.settings), self.project)

    def _encoder(self, view: StoredView) -> KeyEncoder:
        return self.keys(view).encoder()
