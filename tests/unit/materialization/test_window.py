"""Which windows are copied: late rows, known parts, copies that were cut off. No store, no clock."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from feast import Field
from feast.credentials import ConnectionRef
from feast.types import Int32, Int64, UnixTimestamp

from tests.unit.materialization.memory_stores import REGION, view
from yummy_feast.errors import ConfigError
from yummy_feast.materialization.columns import ViewColumns
from yummy_feast.materialization.window import Window, digest, lateness, windows
from yummy_feast.online.progress import Copy
from yummy_feast.sources.parquet import ParquetSource

SECOND = 1_000_000
DAY = 86_400
NOW = 1_000_000.0
LATE = 10


def choose(last: Copy | None = None, rows: int = 0, **given: Any) -> list[Window]:
    """Asked for 1000 to 2000, where the last window ended at 1000."""
    asked = {"start": 1000, "end": 2000, "newest": 1000, "late": LATE, "view": "v", "state": "", "now": NOW, **given}
    start, end = asked.pop("start"), asked.pop("end")
    return windows(start, end, last=last, rows=rows, **asked)


def done(**given: Any) -> Copy:
    """A copy of 0 to 1000 that saw ``S1``."""
    facts = {"view": "v", "start": 0, "end": 1000, "seen_start": None, "seen": "", "state": "S1", "began": NOW - 60}
    return Copy(**{**facts, "done": True, **given})


def cut(**given: Any) -> Copy:
    """One that went on from it and was cut off in ``S2``."""
    facts = {"start": 990, "end": 1500, "seen_start": 1000, "seen": "S1", "state": "S2", "done": False, "run": "r"}
    return done(**{**facts, **given})


# --------------------------------------------------------------------------------------------------- a new copy


def test_a_window_that_goes_on_from_nothing_is_taken_as_it_is() -> None:
    assert choose(newest=None) == [Window(1000, 2000)]
    assert choose(newest=999, last=done()) == [Window(1000, 2000)]
    assert choose(start=None, newest=None) == [Window(None, 2000)]
    # Nothing is known of the time before 1970 that would not be of the time after.
    assert choose(start=-50, end=-10, newest=-50) == [Window(-60, -10)]


def test_one_that_goes_on_looks_for_late_rows_in_what_is_new() -> None:
    assert choose(last=done()) == [Window(990, 2000, "S1", 1000)]
    assert choose(last=done(), late=0) == [Window(1000, 2000, "S1", 1000)]


@pytest.mark.parametrize(
    "last",
    [None, done(end=999), done(end=1001), done(state=""), done(view="other"), done(done=False)],
    ids=["none", "older", "newer", "no state", "another view", "not done"],
)
def test_what_is_not_known_to_be_read_is_read(last: Copy | None) -> None:
    assert choose(last=last) == [Window(990, 2000)]


def test_a_last_window_shorter_than_the_lateness_proves_nothing_about_what_was_new_to_it() -> None:
    """Rows that came before it and are older than its start are still missing."""
    assert choose(last=done(start=990)) == [Window(990, 2000, "S1", 1000)]
    assert choose(last=done(start=991)) == [Window(990, 2000)]
    assert choose(last=done(start=None)) == [Window(990, 2000, "S1", 1000)]
    # So it is when one waits longer than before.
    assert choose(last=cut(), late=11) == [Window(989, 2000)]


def test_a_copy_that_is_done_and_not_in_the_registry_is_not_made_again() -> None:
    after = cut(done=True)
    assert choose(last=after) == [Window(1490, 2000, "S2", 1500)]
    assert choose(last=after, end=1500) == [Window(1490, 1500, "S2", 1500)]
    # Further than is asked for now: nobody knows what that was.
    assert choose(last=after, end=1499) == [Window(990, 1499)]
    # Whoever asks for a window of his own gets it.
    assert choose(last=after, newest=None, start=990, end=1500) == [Window(990, 1500)]


# ------------------------------------------------------------------------------------------------------ cut off


def test_a_copy_that_was_cut_off_goes_on() -> None:
    resumed = Window(990, 1500, "S1", 1000, 7, NOW - 60)
    assert choose(last=cut(), rows=7, state="S2", end=1500) == [resumed]
    # What is left comes after, and what came late meanwhile.
    assert choose(last=cut(), rows=7, state="S2") == [resumed, Window(1490, 2000, "S2", 1500)]


def test_a_window_of_its_own_goes_on_too_and_stays_within_itself() -> None:
    last = cut(start=1495, seen="", seen_start=None)
    resumed = Window(1495, 1500, "", None, 7, NOW - 60)
    found = choose(last=last, rows=7, state="S2", start=1495, newest=None)
    assert found == [resumed, Window(1495, 2000, "S2", 1500)]
    found = choose(last=cut(start=None, seen="", seen_start=None), rows=7, state="S2", start=None, newest=None)
    assert found[1] == Window(1490, 2000, "S2", 1500)


@pytest.mark.parametrize(
    ("change", "options"),
    [
        ({}, {"state": "S3"}),
        ({}, {"state": ""}),
        ({"state": ""}, {"state": ""}),
        ({"began": NOW - DAY}, {}),
        ({"began": NOW + 1}, {}),
        ({}, {"end": 1499}),
        ({}, {"newest": 900, "start": 900}),
        ({}, {"late": 11}),
    ],
    ids=["changed", "unknown", "both unknown", "a day ago", "in the future", "earlier end", "start", "lateness"],
)
def test_a_copy_that_is_no_part_of_this_one_is_left(change: dict[str, Any], options: dict[str, Any]) -> None:
    given = {"state": "S2", "end": 1500, **options}
    [window] = choose(last=cut(**change), rows=7, **given)
    assert (window.skip, window.began) == (0, None)
    assert window.end == given["end"]


def test_a_first_incremental_run_begins_later_each_time_and_goes_on_all_the_same() -> None:
    last = cut(start=500, seen="", seen_start=None)
    asked = {"start": 600, "newest": None, "state": "S2", "end": 1500}
    assert choose(last=last, rows=7, **asked) == [Window(500, 1500, "", None, 7, NOW - 60)]
    assert choose(last=last, rows=7, **{**asked, "start": 499}) == [Window(499, 1500)]
    far = {"start": 500 + DAY * SECOND, "end": 1500 + DAY * SECOND}
    assert choose(last=last, rows=7, **{**asked, **far}) == [Window(far["start"], far["end"])]
    # With windows behind it, a start is meant as it is given.
    assert choose(last=last, rows=7, **{**asked, "newest": 10}) == [Window(600, 1500)]


# ------------------------------------------------------------------------------------------------------- facts


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({}, 90 * SECOND),
        ({"lateness": "2h"}, 7200 * SECOND),
        ({"lateness": "0s"}, 0),
        ({"lateness": "1.5s"}, 1_500_000),
    ],
)
def test_lateness_is_the_views_or_the_repositorys(tags: dict[str, str], expected: int) -> None:
    assert lateness(view(tags=tags), 90.0) == expected


def test_a_lateness_that_is_none_names_the_view() -> None:
    with pytest.raises(ConfigError, match=r"^feature view 'stats': tag lateness: 'soon' is not a duration"):
        lateness(view(tags={"lateness": "soon"}), 0.0)


def _source(**options: Any) -> ParquetSource:
    return ParquetSource(**{"path": "rows.parquet", "name": "rows", "timestamp_field": "at", **options})


def _digest(layout: str = "rows", **options: Any) -> str:
    return digest(ViewColumns.of(view(**options)), layout)


def test_what_decides_the_rows_decides_the_digest() -> None:
    moments = [Field(name="at", dtype=UnixTimestamp), Field(name="other", dtype=UnixTimestamp)]
    digests = [
        _digest(),
        _digest("feast"),
        _digest(source=_source(path="more.parquet")),
        _digest(source=_source(connection_ref=ConnectionRef(provider="env", name="elsewhere"))),
        _digest(source=_source(created_timestamp_column="made")),
        _digest(source=_source(field_mapping={"m": "n"})),
        _digest(features=[Field(name="n", dtype=Int32)]),
        _digest(features=[Field(name="m", dtype=Int64)]),
        _digest(entities=[REGION]),
        _digest(features=moments),
        # The same columns, and another of them tells when.
        _digest(features=moments, source=_source(timestamp_field="other")),
    ]
    assert len(set(digests)) == len(digests)
    assert _digest() == digests[0]


def test_what_does_not_decide_them_does_not() -> None:
    assert _digest(tags={"team": "x"}, description="y", owner="z") == _digest()
    assert _digest(name="other") == _digest()


def test_a_view_whose_source_says_nothing_about_itself() -> None:
    columns: Any = SimpleNamespace(
        source=SimpleNamespace(payload=dict, connection_ref=None),
        stored={},
        join_keys=(),
        time="t",
        created=None,
        view=view(),
    )
    assert len(digest(columns, "rows")) == 32
