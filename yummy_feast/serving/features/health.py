"""Whether the server can answer now."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from yummy_feast.errors import OnlineStoreError
from yummy_feast.online.loops import mux_for
from yummy_feast.online.redis import translated
from yummy_feast.serving.features import refusals
from yummy_feast.serving.http import RefusedError

if TYPE_CHECKING:
    from yummy_feast.online.address import RedisSettings

_PATIENCE: Final = 2.0


class Health:
    """Asks Redis, over the connection that requests use.

    is_warm: set once the server has connected and compiled its feature services.
    """

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self.is_warm = False

    async def check(self) -> None:
        """Return when requests would be answered. RefusedError (503) that says why not."""
        if not self.is_warm:
            raise RefusedError(503, "STARTING", "the feature services are being compiled", "ask again in a moment")
        try:
            async with asyncio.timeout(_PATIENCE):
                with translated(self._settings):
                    await mux_for(self._settings).connect()
        except TimeoutError:
            raise RefusedError(
                503, "ONLINE_STORE_UNAVAILABLE", f"{self._settings.address} does not answer within {_PATIENCE:g} s"
            ) from None
        except OnlineStoreError as error:
            raise refusals.of_store(error) from error
