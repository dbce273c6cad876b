"""Work on several pieces at a time: order, bounded look-ahead, and one error that is the first."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from typing import cast

import pytest

from yummy_feast.offline.engines.passes import each


class BrokenError(Exception):
    pass


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_results_come_in_the_order_of_the_items(threads: int) -> None:
    def work(number: int) -> int:
        time.sleep(0.01 if number == 0 else 0)
        return number * 2

    assert list(each(work, range(20), threads)) == [number * 2 for number in range(20)]
    assert list(each(work, [], threads)) == []


@pytest.mark.parametrize("threads", [1, 3])
def test_no_more_than_one_result_waits_per_thread(threads: int) -> None:
    started: list[int] = []
    results = cast("Generator[None, None, None]", each(started.append, range(50), threads))
    next(results)
    time.sleep(0.05)
    assert started[0] == 0
    assert len(started) <= threads + 1
    results.close()
    assert len(started) <= threads + 1


@pytest.mark.parametrize("threads", [1, 3])
def test_the_first_error_stops_the_pass_and_is_the_one_that_is_seen(threads: int) -> None:
    started: list[int] = []

    def work(number: int) -> int:
        started.append(number)
        if number in (4, 6):
            time.sleep(0.02 if number == 4 else 0)
            raise BrokenError(number)
        return number

    done: list[int] = []
    with pytest.raises(BrokenError) as caught:
        done.extend(each(work, range(1000), threads))
    assert caught.value.args == (4,)
    assert done == [0, 1, 2, 3]
    assert len(started) < 20


def test_what_runs_is_waited_for_before_the_error_is_seen() -> None:
    running = threading.Event()
    finished = threading.Event()

    def work(number: int) -> None:
        if number == 0:
            running.wait(5)
            raise BrokenError
        running.set()
        time.sleep(0.05)
        finished.set()

    with pytest.raises(BrokenError):
        list(each(work, range(2), 2))
    assert finished.is_set()


def test_threads_really_work_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=10)
    assert len(list(each(lambda _: meeting.wait(), range(3), 3))) == 3


def test_a_pass_that_nobody_finishes_leaves_no_thread() -> None:
    results = cast("Generator[int, None, None]", each(lambda number: number, range(100), 4))
    next(results)
    results.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("yummy-pass")]
