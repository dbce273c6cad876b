"""Streams of several items at a time: order, what is held, errors at their place, and no thread left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import cast

import pytest

from yummy_feast.offline.engines.passes import flow


class BrokenError(Exception):
    pass


def threads_left() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("yummy-flow")]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert not threads_left()


def settled(value: Callable[[], int]) -> int:
    """What it comes to when nothing moves any more."""
    last, still = value(), 0
    while still < 5:
        time.sleep(0.01)
        last, still = value(), still + 1 if value() == last else 0
    return last


def opened(results: Iterator[int]) -> Generator[int, None, None]:
    return cast("Generator[int, None, None]", results)


@pytest.mark.parametrize("ahead", [1, 3])
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_results_come_item_by_item_in_order(threads: int, ahead: int) -> None:
    def work(number: int) -> Iterator[tuple[int, int]]:
        for step in range(number % 4):
            # Later items are sooner done.
            time.sleep(0.002 if number < 3 else 0)
            yield number, step

    expected = [(number, step) for number in range(20) for step in range(number % 4)]
    assert list(flow(work, range(20), threads, ahead)) == expected


@pytest.mark.parametrize("threads", [1, 3])
def test_items_without_results_and_no_items(threads: int) -> None:
    nothing: list[int] = []
    assert list(flow(lambda _: iter(nothing), range(10), threads)) == []
    assert list(flow(lambda number: iter([number]), nothing, threads)) == []
    assert list(flow(lambda number: iter([number] if number == 9 else nothing), range(10), threads)) == [9]


def test_none_is_a_result() -> None:
    assert list(flow(lambda _: iter([None, None]), range(2), 2)) == [None] * 4


@pytest.mark.parametrize(("threads", "ahead"), [(1, 1), (1, 4), (3, 1), (3, 2)])
def test_a_bounded_number_of_results_is_held(threads: int, ahead: int) -> None:
    made: list[int] = []

    def work(number: int) -> Iterator[int]:
        for _ in range(100):
            made.append(number)
            yield number

    results = opened(flow(work, range(10), threads, ahead))
    for taken in range(1, 30):
        next(results)
        # Those that wait for the reader, and the one that each thread has in its hands.
        assert settled(lambda: len(made)) <= taken + threads * (ahead + 1)
        assert len({*made}) <= threads
        if taken == 3:
            break
    results.close()


def test_reading_goes_on_while_the_reader_works() -> None:
    made: list[int] = []

    def work(number: int) -> Iterator[int]:
        made.append(number)
        yield number
        made.append(number)
        yield number

    results = opened(flow(work, [7], 1))
    assert next(results) == 7
    assert settled(lambda: len(made)) == 2
    results.close()


def test_threads_really_work_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=10)

    def work(number: int) -> Iterator[int]:
        meeting.wait()
        yield number

    assert list(flow(work, range(3), 3)) == [0, 1, 2]


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_comes_at_its_place_after_what_was_read_before_it(threads: int) -> None:
    started: list[int] = []

    def work(number: int) -> Iterator[tuple[int, int]]:
        started.append(number)
        yield number, 0
        if number in (2, 3):
            raise BrokenError(number)
        yield number, 1

    read: list[tuple[int, int]] = []
    with pytest.raises(BrokenError) as caught:
        read.extend(flow(work, range(1000), threads))
    assert caught.value.args == (2,)
    assert read == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    assert len(started) <= 2 + threads
    assert not threads_left()


def test_an_error_of_the_items_passes() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise BrokenError

    with pytest.raises(BrokenError):
        list(flow(lambda number: iter([number]), items(), 2))


@pytest.mark.parametrize("taken", [0, 1, 2, 5])
@pytest.mark.parametrize("threads", [1, 4])
def test_who_stops_early_leaves_no_thread_and_ends_what_was_read(threads: int, taken: int) -> None:
    ended: list[int] = []

    def work(number: int) -> Iterator[int]:
        try:
            for _ in range(3):
                yield number
        finally:
            ended.append(number)

    results = opened(flow(work, range(100), threads))
    for _ in range(taken):
        next(results)
    results.close()
    assert not threads_left()
    # Files that were open are closed by then.
    assert len(ended) <= taken + threads
    assert (len(ended) > 0) == (taken > 0)


def test_what_the_reader_raises_stops_it_too() -> None:
    def work(number: int) -> Iterator[int]:
        while True:
            yield number

    def reader() -> None:
        for _ in flow(work, range(5), 3):
            raise BrokenError

    with pytest.raises(BrokenError):
        reader()
    assert not threads_left()


def test_items_are_taken_when_a_thread_is_free() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(50):
            taken.append(number)
            yield number

    results = opened(flow(lambda number: iter([number, number]), items(), 2))
    next(results)
    assert len(taken) == 2
    next(results)
    next(results)
    assert len(taken) == 3
    results.close()
