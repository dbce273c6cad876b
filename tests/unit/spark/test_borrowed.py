"""Settings that are another for a while: shared by threads, and as before once nobody needs them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from yummy_feast.spark.borrowed import borrowed


class Conf(dict[str, str]):
    set = dict.__setitem__
    unset = dict.__delitem__


class Session:
    def __init__(self, **settings: str) -> None:
        self.conf = Conf(settings)


@pytest.mark.parametrize("before", [{}, {"key": "old"}])
def test_what_was_there_comes_back(before: dict[str, str]) -> None:
    session: Any = Session(**before)
    with suppress(ZeroDivisionError), borrowed(session, "key", "new"):
        assert session.conf == {"key": "new"}
        raise ZeroDivisionError
    assert session.conf == before


def test_the_last_thread_gives_it_back() -> None:
    session: Any = Session(key="old")
    second_is_in, first_is_out = threading.Event(), threading.Event()

    def first() -> None:
        with borrowed(session, "key", "new"):
            assert second_is_in.wait(20)
        first_is_out.set()

    def second() -> str:
        with borrowed(session, "key", "new"):
            second_is_in.set()
            assert first_is_out.wait(20)
            return str(session.conf["key"])

    with ThreadPoolExecutor() as pool:
        one, other = pool.submit(first), pool.submit(second)
        one.result(30)
        assert other.result(30) == "new"
    assert session.conf == {"key": "old"}
