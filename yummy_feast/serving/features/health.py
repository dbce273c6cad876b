"""Whether the server can answer now."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from yummy_feast.errors import OnlineStoreError
from yummy_feast.online.loops import mux_for
from yummy_feast.online.redis import translated
from yummy_feast.serving.features import refusals
from yummy_feast.serving.http import RefusedError

if TYPE_CHECKING:
    from yummy_feast.online.address import RedisSettings

_PATIENCE: Final = 2.0


class Healthy(Protocol):
    """Tells whether requests would be answered.

    is_warm: set once the server has connected and compiled its feature services. served_by: who reads the rows.
    """

    is_warm: bool
    served_by: str

    async def check(self) -> None:
        """Return when requests would be answered. RefusedError (503) that says why not."""
        ...


class Health:
    """Asks Redis, over the connection that requests use."""

    served_by = "yummy"

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self.is_warm = False

    async def check(self) -> None:
        """Return when requests would be answered. RefusedError (503) that says why not."""
        refuse_while_starting(self.is_warm)
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


class SdkHealth:
    """Of a server that reads through Feast's SDK, whose stores have no way to ask how they are."""

    served_by = "feast sdk"

    def __init__(self) -> None:
        self.is_warm = False

    async def check(self) -> None:
        """Return once the server has started. RefusedError (503) before."""
        refuse_while_starting(self.is_warm)


def refuse_while_starting(is_warm: bool) -> None:
    """RefusedError (503) before the server is warm."""
    if not is_warm:
        raise RefusedError(503, "STARTING", "the feature services are being compiled", "ask again in a moment")
