"""Counting in passing gives what counting cell by cell would."""

from __future__ import annotations

import random
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from yummy_feast.online.answer import Rows, Status
from yummy_feast.serving.features import tally as module
from yummy_feast.serving.features.tally import Tally

PRESENT, NOT_FOUND, OUTSIDE = Status.PRESENT, Status.NOT_FOUND, Status.OUTSIDE_MAX_AGE


def tally_of(*widths: int, computed: int = 0) -> Tally:
    columns = [SimpleNamespace(rows=0)] * computed
    columns += [SimpleNamespace(rows=at) for at, width in enumerate(widths, 1) for _ in range(width)]
    plan: Any = SimpleNamespace(views=[SimpleNamespace(name=f"v{at}") for at in range(len(widths))], columns=columns)
    return Tally(plan)


@pytest.mark.parametrize("most", [1000, 3])
def test_rows_one_by_one_and_together_count_alike(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Also where there are more combinations than are kept."""
    monkeypatch.setattr(module, "_MOST_COMBINATIONS", most)
    draw = random.Random(7)
    widths = (3, 1, 10, 0)
    requests = [[draw.choice((PRESENT, NOT_FOUND, OUTSIDE)) for _ in widths] for _ in range(200)]
    one_by_one, together = tally_of(*widths), tally_of(*widths)
    for statuses in requests:
        one_by_one.add_row([status.value for status in statuses], [1] * 4)
    columns = [[row[view].value for row in requests] for view in range(4)]
    together.add_rows([Rows(column, [1] * 200) for column in columns], 200)
    rows, features = Counter[Status](), Counter[Status]()
    for statuses in requests:
        for status, width in zip(statuses, widths, strict=True):
            rows[status] += 1
            features[status] += width
    expected = (dict(rows), dict(features) | {Status.NULL_VALUE: 0})
    assert one_by_one.take() == together.take() == expected
    assert sum(sum(counts.values()) for counts in together.take()) == 0


def test_nulls_are_no_present_features_and_what_is_computed_is() -> None:
    tally = tally_of(2, computed=3)
    tally.add_rows([Rows([1, 1, 3], [5, 6, 0]), Rows.given(3)], 3)
    tally.nulls += 1
    rows, features = tally.take()
    assert rows == {PRESENT: 2, NOT_FOUND: 1, OUTSIDE: 0}
    assert features == {PRESENT: 2 * 2 + 3 * 3 - 1, NOT_FOUND: 2, OUTSIDE: 0, Status.NULL_VALUE: 1}


def test_the_newest_rows_of_the_last_request() -> None:
    tally = tally_of(1, 1, 1)
    assert list(tally.newest()) == []
    tally.add_row([1, 3, 4], [9, 0, 7])
    assert list(tally.newest()) == [("v0", 9), ("v2", 7)]
    tally.add_rows([Rows([1, 1], [5, 8]), Rows([3, 3], [0, 0]), Rows([1, 1], [2, 1]), Rows.given(2)], 2)
    assert list(tally.newest()) == [("v0", 8), ("v2", 2)]
