"""The arithmetic of a report, and what is kept of many differences."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from yummy_feast.verification.report import Cause, Example, Tally, Verification, ViewReport

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def report(name: str = "stats", **counts: int) -> ViewReport:
    return ViewReport(name, NOON, "", 10, {Cause(cause): count for cause, count in counts.items()})


def test_what_is_skew() -> None:
    whole = report(missing=1, stale=1, value=1, type=1, uncovered=1, ahead=2, expired=1)
    assert (whole.skewed, whole.equal, whole.share) == (5, 2, 0.5)
    assert ViewReport("empty", NOON).share == 0.0


def test_a_small_view_does_not_drown() -> None:
    big = ViewReport("big", NOON, "", 1_000_000, {})
    small = ViewReport("small", NOON, "", 1, {Cause.MISSING: 1})
    skipped = ViewReport("skipped", skipped="never materialized")
    found = Verification((big, skipped, small))
    assert found.over(0.5) == (small,)
    assert found.over(1.0) == ()
    assert found.compared == (big, small)
    assert Verification((report(ahead=9),)).over(0) == ()


def test_a_tally_keeps_a_few_examples_of_each_cause_in_order_of_causes() -> None:
    tally = Tally(examples_per_cause=2)
    for number in range(5):
        tally.entities += 1
        tally.add(Cause.VALUE, ["b", "a"] if number else ["a"])
        tally.show(Example(Cause.VALUE, {"id": number}, "1", "2", feature="a"))
    tally.entities += 1
    tally.add(Cause.MISSING)
    tally.show(Example(Cause.MISSING, {"id": 9}, "then", "no row"))
    made = tally.report("stats", NOON)
    assert made.counts == {Cause.VALUE: 5, Cause.MISSING: 1}
    assert list(made.features.items()) == [("a", 5), ("b", 4)]
    assert [(example.cause.value, example.keys["id"]) for example in made.examples] == [
        ("missing", 9),
        ("value", 0),
        ("value", 1),
    ]
    assert str(made.examples[1]) == "value: id=0: a is 1 offline, 2 online"


def test_json_has_every_cause_and_only_its_own_types() -> None:
    example = Example(Cause.TYPE, {"id": b"\xff", "at": NOON, "n": 1}, "x", "y")
    made = ViewReport("stats", NOON, "", 2, {Cause.TYPE: 1}, {}, (example,)).to_json()
    again = json.loads(json.dumps(made))
    assert {cause.value for cause in Cause} <= again.keys()
    assert again["examples"][0]["keys"] == {"id": "b'\\xff'", "at": "2026-01-01 12:00:00+00:00", "n": 1}
