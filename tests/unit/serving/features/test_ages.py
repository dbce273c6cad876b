"""The age of a view is that of the newest row seen lately, whichever worker saw it."""

from __future__ import annotations

from pathlib import Path

import pytest

from yummy_feast.serving.features import ages as module
from yummy_feast.serving.features.ages import Ages


class Clock:
    now = 10_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(module, "time", found)
    return found


def told(ages: Ages) -> dict[str, float]:
    (metric,) = ages.collect()
    return {sample.labels["view"]: sample.value for sample in metric.samples}


def test_the_newest_row_seen_lately_counts(clock: Clock) -> None:
    ages = Ages()
    ages.see("a", 9_000_000_000)
    ages.see("a", 8_000_000_000)
    ages.see("b", 9_999_500_000)
    assert told(ages) == {"a": 1000.0, "b": 0.5}
    clock.now += 59
    ages.see("a", 8_000_000_000)
    assert told(ages) == {"a": 1059.0, "b": 59.5}
    # The newer one was long ago: perhaps it is there no more.
    clock.now += 2
    ages.see("a", 8_000_000_000)
    assert told(ages)["a"] == 2061.0
    # And of what nobody asks for, nothing is known.
    clock.now += 3600
    assert told(ages) == {}


def test_workers_tell_each_other(clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Ages(tmp_path)
    monkeypatch.setattr(module.os, "getpid", lambda: 1)
    other = Ages(tmp_path)
    other.see("a", 9_500_000_000)
    other.see("b", 9_000_000_000)
    mine.see("a", 9_000_000_000)
    assert told(mine) == {"a": 1000.0}
    other.publish()
    assert told(mine) == {"a": 500.0, "b": 1000.0}
    mine.publish()
    assert told(other) == {"a": 500.0, "b": 1000.0}
    # A worker that is gone, or is not asked for the view any more, counts no longer.
    clock.now += 100
    mine.see("a", 9_000_000_000)
    assert told(mine)["a"] == 1100.0
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []
