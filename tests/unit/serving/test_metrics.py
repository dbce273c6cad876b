"""Numbers with a fixed place, of one process and of several."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from yummy_feast.serving.metrics import Family, Sheet

FAMILIES = (
    Family("asked", "Requests", "counter", "code", ("OK", "BAD")),
    Family("seconds", "Time", "histogram", "stage", ("a", "b"), (0.1, 1.0)),
    Family("running", "Now", "gauge"),
    Family("oldest", "Age", "gauge", over=max),
)


def told(sheet: Sheet) -> dict[str, float]:
    lines = sheet.exposition().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def count(folder: Path) -> None:
    sheet = Sheet(FAMILIES, folder)
    sheet.adder("asked")("BAD")
    sheet.observer("seconds", "b")(5.0)
    sheet.numbers[sheet.place("running")] = 7


def test_counting() -> None:
    sheet = Sheet(FAMILIES)
    ask, observe = sheet.adder("asked"), sheet.observer("seconds", "b")
    for code in ("OK", "OK", "BAD"):
        ask(code)
    for seconds in (0.1, 0.5, 1.5):
        observe(seconds)
    sheet.numbers[sheet.place("running")] = 4
    sheet.numbers[sheet.place("asked", "BAD")] += 1
    assert told(sheet) == {
        'asked_total{code="OK"}': 2,
        'asked_total{code="BAD"}': 2,
        'seconds_bucket{le="0.1",stage="a"}': 0,
        'seconds_bucket{le="1.0",stage="a"}': 0,
        'seconds_bucket{le="+Inf",stage="a"}': 0,
        'seconds_count{stage="a"}': 0,
        'seconds_sum{stage="a"}': 0,
        'seconds_bucket{le="0.1",stage="b"}': 1,
        'seconds_bucket{le="1.0",stage="b"}': 2,
        'seconds_bucket{le="+Inf",stage="b"}': 3,
        'seconds_count{stage="b"}': 3,
        'seconds_sum{stage="b"}': pytest.approx(2.1),
        "running": 4,
        "oldest": 0,
    }


def test_a_histogram_may_be_counted_by_its_place() -> None:
    sheet = Sheet(FAMILIES)
    start = sheet.place("seconds", "b")
    sheet.numbers[start + 1] += 1
    sheet.numbers[start + 3] += 0.5
    found = told(sheet)
    assert (found['seconds_bucket{le="1.0",stage="b"}'], found['seconds_sum{stage="b"}']) == (1, 0.5)


def test_an_unknown_label_is_an_error() -> None:
    with pytest.raises(KeyError):
        Sheet(FAMILIES).adder("asked")("WORSE")


def test_the_living_and_the_dead_add_up_and_only_the_living_are_now(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=count, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == 0
    sheet = Sheet(FAMILIES, tmp_path)
    sheet.adder("asked")("BAD")
    sheet.numbers[sheet.place("running")] = 4
    # Of a third one there is only half a file so far.
    (tmp_path / "1.numbers").write_bytes(b"1234")
    found = told(sheet)
    assert (found['asked_total{code="BAD"}'], found['seconds_sum{stage="b"}'], found["running"]) == (2, 5.0, 4)


def test_gauges_of_several_are_one_as_their_family_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Sheet(FAMILIES, tmp_path)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    other = Sheet(FAMILIES, tmp_path)
    for sheet, number in ((mine, 2.0), (other, 5.0)):
        for name in ("running", "oldest"):
            sheet.numbers[sheet.place(name)] = number
    found = told(mine)
    assert (found["running"], found["oldest"]) == (7, 5)


def test_many_measurements_at_once_are_as_many_single_ones() -> None:
    one, many = Sheet(FAMILIES), Sheet(FAMILIES)
    measured = [0.05, 0.1, 0.5, 1.0, 7.0]
    for each in measured:
        one.observer("seconds", "b")(each)
    many.many_observer("seconds", "b")(np.array(measured))
    many.many_observer("seconds", "b")(np.array([]))
    assert told(one) == told(many)
