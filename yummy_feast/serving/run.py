"""`run`: an application of ours behind a port, with as many processes as asked for.

One process serves by itself. Several are children of one that only looks after them; see `parent`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from yummy_feast.errors import ConfigError
from yummy_feast.serving.door import listen
from yummy_feast.serving.http import Application
from yummy_feast.serving.options import RunOptions, configure_logging

if TYPE_CHECKING:
    from yummy_feast.serving.worker import Place

logger = logging.getLogger(__name__)

ApplicationFactory = Callable[[Path | None], Application]
"""Makes the application in the process that serves it; is given the folder of the metrics of several workers.

With several workers it is sent to each, so it must be picklable: a frozen dataclass, or a partial of a function.
"""


def run(factory: ApplicationFactory, options: RunOptions, preload: Sequence[str] = ()) -> None:
    """Serve until SIGTERM or SIGINT, then answer what is under way and return.

    The application tells on ``GET /health`` whether it is ready; its lifespan is started and stopped.

    Args:
        preload: modules that several workers import once, and share.

    Raises:
        ConfigError: the port is taken, the TLS files are damaged, and whatever ``factory`` raises.
    """
    configure_logging(options.log_level)
    # Before the port: whoever waits for it should not see it come and go.
    options.tls()
    listeners = listen(options.host, options.port)
    if not options.is_loopback and not options.token:
        logger.warning(
            "%s can be reached from other machines and asks for no token: --token, or --host 127.0.0.1", options.host
        )
    url = options.url(listeners[0].getsockname()[1])
    try:
        if options.workers == 1:
            serve(factory(None), options, _alone(listeners, url))
        else:
            from yummy_feast.serving.parent import Parent

            Parent(factory, options, listeners, url, preload).run()
    finally:
        for listener in listeners:
            listener.close()


def serve(application: Application, options: RunOptions, place: Place) -> None:
    """Serve in this process until a signal ends it. ConfigError when the application does not start."""
    from yummy_feast.serving.worker import Worker

    worker = Worker(application, options, place)
    with asyncio.Runner(loop_factory=worker.config.get_loop_factory()) as runner:
        try:
            runner.run(worker.serve())
        except SystemExit as error:
            # uvicorn's way to say that an application refuses to.
            raise ConfigError("the application did not start", hint="the log says why") from error


def _alone(listeners: Sequence[socket.socket], url: str) -> Place:
    from yummy_feast.serving.worker import Place

    return Place(
        listeners,
        on_ready=partial(logger.info, "ready on %s", url),
        on_trouble=partial(logger.warning, "not ready: %s"),
    )
