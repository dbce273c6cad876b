"""The process that looks after several workers: it starts them, starts the dead again, and passes on the end.

It serves nothing and imports nothing heavy. Workers are forked from a process of their own (multiprocessing's
forkserver), which has imported what they need: they start at once, share that memory, and inherit no thread and no
connection of the program that called us.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from yummy_feast.errors import ConfigError, YummyError
from yummy_feast.serving.door import Crowd, turn_away
from yummy_feast.serving.options import RunOptions, configure_logging

if TYPE_CHECKING:
    from yummy_feast.serving.run import ApplicationFactory

logger = logging.getLogger(__name__)

_BEYOND_DRAIN: Final = 3.0
_SHORTEST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 10.0
# Who has lived that long did not die of its beginning.
_GROWN_UP: Final = 10.0
_LOOK_AGAIN: Final = 0.2
_STOP: Final = {signal.SIGTERM, signal.SIGINT}


@dataclass(slots=True, eq=False)
class Child:
    """A worker, as its parent sees it."""

    process: BaseProcess
    pipe: Connection
    place: int
    since: float = field(default_factory=time.monotonic)
    is_ready: bool = False

    def end(self) -> None:
        """Ask it to drain."""
        if self.process.pid is not None and self.process.is_alive():
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGTERM)


class Parent:
    """Keeps ``options.workers`` workers serving on the listeners.

    Args:
        factory, preload: as for `run`.
        url: where the server is, for the log.
    """

    def __init__(
        self,
        factory: ApplicationFactory,
        options: RunOptions,
        listeners: Sequence[socket.socket],
        url: str,
        preload: Sequence[str],
    ) -> None:
        self._factory = factory
        self._options = options
        self._listeners = list(listeners)
        self._url = url
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload(list(preload))
        self._folder: Path
        self._crowd: Crowd
        self._children: list[Child] = []
        # In the order they are to be replaced, and the one that is to replace the first of them.
        self._old: list[Child] = []
        self._heir: Child | None = None
        self._is_ready = False
        self._trouble = ""
        self._pause = _SHORTEST_PAUSE
        # When to start a worker for one that died.
        self._due: list[float] = []

    def run(self) -> None:
        """Until a signal ends it. ConfigError when the first workers do not start."""
        with tempfile.TemporaryDirectory(prefix="yummy-serve-") as folder, _signals() as signals:
            self._folder = Path(folder)
            self._crowd = Crowd(self._folder / "crowd", 2 * self._options.workers)
            try:
                for _ in range(self._options.workers):
                    self._children.append(self._start())
                while not _STOP & set(signals.received):
                    self._look(signals)
            finally:
                self._end_all(signals)

    def _look(self, signals: _Signals) -> None:
        now = time.monotonic()
        timeout = max(0.0, min(self._due) - now) if self._due else None
        everyone = self._everyone()
        waited: list[Any] = [each.process.sentinel for each in everyone]
        waited += [each.pipe for each in everyone if not each.pipe.closed]
        found = wait([*waited, signals.wake], timeout)
        signals.rest()
        if signal.SIGHUP in signals.received:
            signals.received.remove(signal.SIGHUP)
            self._replace_all()
        for child in everyone:
            if child.pipe in found:
                self._hear(child)
            if child.process.sentinel in found and not child.process.is_alive():
                self._bury(child)
        while self._due and self._due[0] <= time.monotonic():
            self._due.pop(0)
            self._children.append(self._start())

    def _everyone(self) -> list[Child]:
        return [*self._children, *([self._heir] if self._heir else [])]

    def _start(self) -> Child:
        taken = {child.place for child in self._everyone()}
        place = next(each for each in range(2 * self._options.workers) if each not in taken)
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=work, args=(self._factory, self._options, self._listeners, theirs, self._folder, place)
        )
        process.start()
        theirs.close()
        return Child(process, ours, place)

    def _hear(self, child: Child) -> None:
        try:
            kind, message, hint = child.pipe.recv()
        except (EOFError, OSError):
            child.pipe.close()
            return
        if kind == "trouble":
            if message != self._trouble:
                logger.warning("not ready: %s", message)
            self._trouble = message
        elif kind == "failed":
            if not self._is_ready:
                raise ConfigError(message, hint=hint)
            logger.error("a worker could not start: %s", ConfigError(message, hint=hint))
        else:
            self._pause = _SHORTEST_PAUSE
            child.is_ready = True
            if child is self._heir:
                self._succeed(child)
            elif not self._is_ready and all(each.is_ready for each in self._children):
                self._is_ready = True
                logger.info("ready on %s (%d workers)", self._url, len(self._children))

    def _bury(self, child: Child) -> None:
        # What it said last may lie in the pipe.
        while not child.pipe.closed and child.pipe.poll():
            self._hear(child)
        child.pipe.close()
        self._crowd.leave(child.place)
        if child is self._heir:
            logger.error("the new worker ended before it was ready; the old ones stay")
            self._heir, self._old = None, []
            return
        self._children.remove(child)
        if child in self._old:
            self._old.remove(child)
        if not self._is_ready and not child.is_ready and child.process.exitcode:
            raise ConfigError(f"a worker ended with {_ending(child.process.exitcode)}", hint="what it said is above")
        if self._heir is None and self._old:
            self._heir = self._start()
        if len(self._children) + len(self._due) < self._options.workers:
            if time.monotonic() - child.since < _GROWN_UP:
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            logger.error(
                "worker %s ended with %s; another starts in %.1f s",
                child.process.pid,
                _ending(child.process.exitcode),
                self._pause,
            )
            self._due.append(time.monotonic() + self._pause)

    def _replace_all(self) -> None:
        """One after the other: the new one is ready before the old one drains."""
        if self._heir is None and not self._old:
            logger.info("SIGHUP: the workers are replaced")
            self._old = list(self._children)
            self._heir = self._start()

    def _succeed(self, heir: Child) -> None:
        self._heir = None
        self._children.append(heir)
        self._old.pop(0).end()

    def _end_all(self, signals: _Signals) -> None:
        turn_away(self._listeners)
        everyone = self._everyone()
        for child in everyone:
            child.end()
        for listener in self._listeners:
            listener.close()
        limit = time.monotonic() + (self._options.drain or float("inf")) + _BEYOND_DRAIN
        signals.received.clear()
        while left := [child for child in everyone if child.process.is_alive()]:
            for child in left:
                if signals.received:
                    child.end()
                if time.monotonic() > limit:
                    logger.error("worker %s did not end by itself", child.process.pid)
                    child.process.kill()
            signals.received.clear()
            wait([child.process.sentinel for child in left], _LOOK_AGAIN)
        for child in everyone:
            child.process.join()
            child.pipe.close()


def work(
    factory: ApplicationFactory,
    options: RunOptions,
    listeners: Sequence[socket.socket],
    pipe: Connection,
    folder: Path,
    place: int,
) -> None:
    """What a worker's process does."""
    from yummy_feast.serving.run import serve
    from yummy_feast.serving.worker import Place

    configure_logging(options.log_level)
    try:
        application = factory(folder)
        crowd = Crowd(folder / "crowd", 2 * options.workers, place)
        serve(
            application,
            options,
            Place(
                listeners,
                on_ready=lambda: pipe.send(("ready", "", "")),
                on_trouble=lambda reason: pipe.send(("trouble", reason, "")),
                crowd=crowd,
                parent=pipe.fileno(),
            ),
        )
    except (YummyError, OSError) as error:
        message, hint = (error.message, error.hint) if isinstance(error, YummyError) else (str(error), "")
        with suppress(OSError):
            pipe.send(("failed", message, hint))
        raise SystemExit(1) from None


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        with suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


class _Signals:
    """Signals that came, and a descriptor that becomes readable when one does."""

    def __init__(self) -> None:
        self.received: list[int] = []
        self.wake, self.waker = socket.socketpair()
        for each in (self.wake, self.waker):
            each.setblocking(False)

    def note(self, number: int, _: object) -> None:
        self.received.append(number)
        with suppress(BlockingIOError):
            self.waker.send(b"!")

    def rest(self) -> None:
        with suppress(BlockingIOError):
            self.wake.recv(4096)

    def close(self) -> None:
        self.wake.close()
        self.waker.close()


@contextmanager
def _signals() -> Iterator[_Signals]:
    signals = _Signals()
    handled = (*_STOP, signal.SIGHUP)
    is_main = threading.current_thread() is threading.main_thread()
    before = {each: signal.signal(each, signals.note) for each in handled} if is_main else {}
    try:
        yield signals
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        signals.close()
