"""The way from an endpoint to Redis: the connection of the loop it runs in, for reads with and without a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yummy_feast.online.loops import AnyMux, mux_for
from yummy_feast.online.mux import Mux
from yummy_feast.online.retrieval import Question, packed
from yummy_feast.serving.quick import Read

if TYPE_CHECKING:
    from yummy_feast.online.address import RedisSettings
    from yummy_feast.serving.features.snapshot import Served


class Way:
    """Belongs to one event loop. settings: where Redis is."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self._mux: AnyMux | None = None

    def mux(self) -> AnyMux:
        """The connection, looked for again once it is closed."""
        mux = self._mux
        if mux is None or mux.is_closed:
            mux = self._mux = mux_for(self._settings)
        return mux

    def read(self, served: Served, question: Question) -> Read | None:
        """What to send for a ``question`` of the plan ``served``; None where its answer needs a task, or no Redis."""
        mux = self.mux()
        # A cluster is asked node by node.
        if type(mux) is not Mux or served.is_large(question.length):
            return None
        read = Read(*packed(question), mux)
        return read if read.replies else None
