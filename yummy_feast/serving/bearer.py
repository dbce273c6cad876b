"""Who may ask: a bearer token before an application."""

from __future__ import annotations

from hmac import compare_digest
from typing import Final

from yummy_feast.serving.health import HEALTH_PATH
from yummy_feast.serving.http import JSON, Application, Receive, RefusedError, Scope, Send, respond

_CHALLENGE: Final = (b"www-authenticate", b"Bearer")


class Bearer:
    """Lets requests pass that bring ``token``, and everybody ask for the health. Others are answered with 401."""

    def __init__(self, application: Application, token: str) -> None:
        self._application = application
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI event."""
        if scope["type"] != "http" or scope["path"] == HEALTH_PATH or self._brings_it(scope):
            await self._application(scope, receive, send)
        else:
            error = RefusedError(
                401, "UNAUTHENTICATED", "this server wants its token", "send the header Authorization: Bearer TOKEN"
            )
            await respond(send, error.status, [JSON, _CHALLENGE], error.body())

    def _brings_it(self, scope: Scope) -> bool:
        for name, value in scope["headers"]:
            if name == b"authorization":
                scheme, _, given = value.partition(b" ")
                return scheme.lower() == b"bearer" and compare_digest(given.strip(), self._token)
        return False
