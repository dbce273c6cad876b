"""One pass over the pieces of a scan, several pieces at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

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
