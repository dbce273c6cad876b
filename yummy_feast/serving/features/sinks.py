"""Where rows go online: our own store over the loop's connection, any other store through Feast."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from yummy_feast.errors import OnlineStoreError, ValueTypeError
from yummy_feast.serving.features import refusals
from yummy_feast.serving.http import RefusedError

if TYPE_CHECKING:
    from feast import RepoConfig

    from yummy_feast.online.store import YummyOnlineStore
    from yummy_feast.serving.features.frames import Row
    from yummy_feast.serving.features.own_store import OwnStore


class Sink(Protocol):
    """Takes the rows of one feature view."""

    async def write(self, view: Any, rows: Sequence[Row]) -> None:
        """Return when the store has acknowledged them. RefusedError when it has not."""
        ...


class OurSink:
    """Rows in Redis, newest wins.

    Args:
        online, config: our store, and a configuration whose online store is ours.
    """

    def __init__(self, online: YummyOnlineStore, config: RepoConfig) -> None:
        self._online = online
        self._config = config

    async def write(self, view: Any, rows: Sequence[Row]) -> None:
        """As the protocol says."""
        try:
            await self._online.online_write_batch_async(self._config, view, list(rows), None)
        except OnlineStoreError as error:
            raise refusals.of_store(error) from error
        except ValueTypeError as error:
            raise RefusedError(422, "INVALID_VALUES", error.message, error.hint) from error


class SdkSink:
    """Any store of Feast's: its async write where it has one, else a thread."""

    def __init__(self, own: OwnStore, config: RepoConfig) -> None:
        self._own = own
        self._config = config

    async def write(self, view: Any, rows: Sequence[Row]) -> None:
        """As the protocol says."""
        try:
            provider = await asyncio.to_thread(lambda: self._own.provider)
            if provider.async_supported.online.write:
                await provider.online_write_batch_async(self._config, view, list(rows), None)
            else:
                await asyncio.to_thread(provider.online_write_batch, self._config, view, list(rows), None)
        # Stores of others raise what they like.
        except Exception as error:
            raise refusals.of_other_store(error) from error
