"""Settings of a session that are another for a while."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(slots=True)
class _Loan:
    """users: who want it as it is now. before: what it was, None where it was not set."""

    users: int
    before: str | None


_lock = threading.Lock()
_loans: dict[tuple[int, str, str], _Loan] = {}


@contextmanager
def borrowed(session: SparkSession, key: str, value: str) -> Iterator[None]:
    """``key`` is ``value`` inside. Threads that want the same at a time share it; the last one gives back what was
    there before the first.
    """
    name = (id(session), key, value)
    with _lock:
        loan = _loans.get(name)
        if loan is None:
            loan = _loans[name] = _Loan(0, session.conf.get(key, None))
            session.conf.set(key, value)
        loan.users += 1
    try:
        yield
    finally:
        with _lock:
            loan.users -= 1
            if not loan.users:
                del _loans[name]
                if loan.before is None:
                    session.conf.unset(key)
                else:
                    session.conf.set(key, loan.before)
