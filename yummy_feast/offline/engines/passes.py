"""One pass over the pieces of a scan, several pieces at a time."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

PIECE_BITS = 40
"""A row's address is ``piece << 40 | row in piece``: room for 8 million pieces of a million million rows."""


def each(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Results in the order of ``items``, computed on up to ``threads`` threads, never more than one result ahead of
    each thread.

    The first error stops the pass: nothing further is started, and what runs is waited for.
    """
    if threads <= 1:
        for item in items:
            yield work(item)
        return
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="yummy-pass") as pool:
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) > threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def flow(
    work: Callable[[Item], Iterator[Result]], items: Iterable[Item], threads: int, ahead: int = 1
) -> Iterator[Result]:
    """What ``work`` yields for each item, in the order of ``items``: up to ``threads`` items are worked on at a time,
    each at most ``ahead`` results ahead of whoever reads. So many results are held, however many an item has.

    The first error, and an early end of the reading, stop all of them.
    """
    lanes: deque[_Lane[Result]] = deque()
    waiting = iter(items)
    try:
        while True:
            while len(lanes) < threads and (lane := _next_lane(work, waiting, ahead)) is not None:
                lanes.append(lane)
            if not lanes:
                return
            yield from lanes[0].results()
            lanes.popleft()
    finally:
        for lane in lanes:
            lane.stop()


def _next_lane(work: Callable[[Item], Iterator[Result]], waiting: Iterator[Item], ahead: int) -> _Lane[Result] | None:
    for item in waiting:
        return _Lane(work(item), ahead)
    return None


class _Lane(Generic[Result]):
    """One thread that works on one item."""

    _END = object()

    def __init__(self, results: Iterator[Result], ahead: int) -> None:
        self._queue: queue.Queue[object] = queue.Queue(ahead)
        self._stopped = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(results,), name="yummy-flow", daemon=True)
        self._thread.start()

    def results(self) -> Iterator[Result]:
        while (result := self._queue.get()) is not self._END:
            yield result  # type: ignore[misc]
        self._thread.join()
        if self._failed is not None:
            raise self._failed

    def stop(self) -> None:
        """Let the thread end, and wait for it."""
        self._stopped.set()
        while self._thread.is_alive():
            # It may be waiting for room.
            try:
                self._queue.get(timeout=0.01)
            except queue.Empty:
                continue

    def _run(self, results: Iterator[Result]) -> None:
        try:
            for result in results:
                self._queue.put(result)
                if self._stopped.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - it is raised where the results are read
            self._failed = error
        finally:
            self._queue.put(self._END)
