"""Copying between stores in memory: what is read together, what fails alone, what is noted, and when."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from feast import FeatureView, Field
from feast.credentials import ConnectionRef
from feast.types import Int64, String

from tests.unit.materialization.memory_stores import DRIVER, REGION, Lab, StoppedError, moment, view
from yummy_feast.errors import (
    ColumnNotFoundError,
    ConfigError,
    ServerUnavailableError,
    SourceReadError,
    ValueTypeError,
    YummyError,
)
from yummy_feast.materialization import notes
from yummy_feast.materialization.copying import Outcome, Task, copy
from yummy_feast.online.progress import Copy
from yummy_feast.sources.parquet import ParquetSource

START, END = moment(100), moment(200)
ELSEWHERE = ConnectionRef(provider="env", name="elsewhere")
N, M = Field(name="n", dtype=Int64), Field(name="m", dtype=Int64)


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Ten rows, of which each count is noted."""
    monkeypatch.setattr(notes, "_NOTE_EVERY", 0.0)
    made = Lab()
    made.source.add((key, 110 + key) for key in range(6))
    made.source.add((key, 110 + key) for key in range(6, 10))
    return made


def run(
    lab: Lab, *views: FeatureView, start: datetime = START, end: datetime = END
) -> tuple[list[Outcome], list[tuple[str, datetime]]]:
    """What became of each, and which were done until when, in the order they were."""
    heard: list[tuple[str, datetime]] = []
    tasks = [Task(table, start, end) for table in views]
    outcomes = copy(lab.stores, tasks, lambda number, until: heard.append((views[number].name, until)))
    return outcomes, heard


def errors(outcomes: Sequence[Outcome]) -> list[str]:
    return [str(outcome.error) if outcome.error else "" for outcome in outcomes]


def other_source(path: str = "others.parquet") -> ParquetSource:
    return ParquetSource(path, name=path, timestamp_field="at")


# ------------------------------------------------------------------------------------------------------ what is sent


def test_every_row_of_the_window_is_sent_and_counted(lab: Lab) -> None:
    [outcome], heard = run(lab, view())
    assert lab.online.rows == {"stats": set(range(10))}
    assert (outcome.written.written, outcome.written.rows, outcome.error) == (10, 10, None)
    assert heard == [("stats", END)]
    [bar] = lab.bars
    assert (bar.total, bar.rows, bar.unit, bar.title) == (10, 10, "row", "stats")


def test_both_ends_of_a_window_are_in_it(lab: Lab) -> None:
    run(lab, view(), start=moment(112), end=moment(114))
    assert lab.online.rows == {"stats": {2, 3, 4}}


def test_nothing_to_do_is_done(lab: Lab) -> None:
    assert run(lab) == ([], [])
    [outcome], heard = run(lab, view(), start=moment(500), end=moment(600))
    assert (outcome.written.rows, outcome.error) == (0, None)
    assert heard == [("stats", moment(600))]


def test_feasts_batch_size_is_kept() -> None:
    lab = Lab(batch_size=4)
    lab.source.add((key, 110) for key in range(10))
    run(lab, view())
    assert lab.online.sizes == [4, 4, 2]


def test_nothing_holds_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first rows are sent while the last ones have not been read."""
    from yummy_feast.materialization import columns

    lab = Lab()
    lab.source.add((key, 110) for key in range(9))
    monkeypatch.setattr(columns, "_ROWS", 3)
    monkeypatch.setattr(columns, "_FIRST_ROWS", 3)
    lab.online.left = 3
    with pytest.raises(StoppedError):
        run(lab, view())
    assert lab.online.sizes == [3, 3]


# --------------------------------------------------------------------------------------------- what is read together


def test_views_of_one_source_and_window_are_read_together(lab: Lab) -> None:
    views = [view("a"), view("b", features=[N, M]), view("regional", entities=[REGION])]
    outcomes, heard = run(lab, *views)
    assert [outcome.error for outcome in outcomes] == [None] * 3
    # One look, with a read for each set of join keys.
    assert [(read.join_keys, read.features) for read in lab.source.opened] == [
        (("id",), ("n", "m")),
        (("region",), ("n",)),
    ]
    assert lab.online.rows == {name: set(range(10)) for name in ("a", "b", "regional")}
    assert heard == [("a", END), ("b", END), ("regional", END)]
    [bar] = lab.bars
    assert (bar.total, bar.rows, bar.title) == (30, 30, "a, b, regional")


@pytest.mark.parametrize(
    "change",
    [
        {"source": other_source()},
        {"source": ParquetSource("rows.parquet", name="rows", timestamp_field="n"), "features": [M]},
        {"source": ParquetSource("rows.parquet", name="rows", timestamp_field="at", created_timestamp_column="n")},
        {"source": ParquetSource("rows.parquet", name="rows", timestamp_field="at", connection_ref=ELSEWHERE)},
    ],
    ids=["source", "time", "created", "connection"],
)
def test_others_are_read_apart(lab: Lab, change: dict[str, Any]) -> None:
    run(lab, view("a"), view("b", **change))
    assert len(lab.bars) == 2
    assert len(lab.source.opened) == 2


def test_names_of_the_source_make_one_read_of_renamed_columns(lab: Lab) -> None:
    renamed = ParquetSource("rows.parquet", name="rows", timestamp_field="at", field_mapping={"n": "rides"})
    run(lab, view("a"), view("b", source=renamed, features=[Field(name="rides", dtype=Int64)]))
    [read] = lab.source.opened
    assert read.features == ("n",)


# -------------------------------------------------------------------------------------------------- what fails alone


def test_a_view_that_cannot_be_read_fails_alone_and_is_named(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.source.broken["m"] = ColumnNotFoundError("rows.parquet has no column 'm'", hint="did you mean 'n'")
    outcomes, heard = run(lab, view("a"), view("wrong", features=[N, M]), view("b"))
    expected = "feature view 'wrong': rows.parquet has no column 'm' (did you mean 'n')"
    assert errors(outcomes) == ["", expected, ""]
    assert isinstance(outcomes[1].error, ColumnNotFoundError)
    assert outcomes[1].error.__cause__ is lab.source.broken["m"]
    assert lab.online.rows == {"a": set(range(10)), "b": set(range(10))}
    assert heard == [("a", END), ("b", END)]
    # Feast raises the first error alone: the others are told all the same.
    assert expected in [record.message for record in caplog.records if record.levelno == logging.ERROR]


def test_a_view_whose_values_do_not_fit_fails_alone_after_rows_of_others_were_sent(lab: Lab) -> None:
    outcomes, heard = run(lab, view("a"), view("text", features=[Field(name="n", dtype=String)]), view("b"))
    expected = "feature view 'text': column 'n' of rows.parquet holds int64, but is declared string"
    assert errors(outcomes)[0::2] == ["", ""]
    assert errors(outcomes)[1].startswith(expected)
    assert heard == [("a", END), ("b", END)]
    # Counted are the rows of the way that came to its end.
    assert [outcome.written.rows for outcome in outcomes] == [10, 0, 10]
    assert lab.online.book.copies[b"a"].done
    assert not lab.online.book.copies[b"text"].done


def test_what_the_online_store_refuses_is_told_with_view_and_source(lab: Lab) -> None:
    lab.online.left, lab.online.ends_with = 2, ValueTypeError("column 'n' is too much", hint="have less")
    [outcome], heard = run(lab, view())
    assert errors([outcome]) == ["feature view 'stats' from rows.parquet: column 'n' is too much (have less)"]
    assert heard == []
    assert outcome.written.rows == 2


def test_a_view_that_cannot_even_be_looked_at_fails_alone(lab: Lab) -> None:
    bare = FeatureView(name="bare", entities=[DRIVER], schema=[N])
    outcomes, heard = run(lab, bare, view("late", tags={"lateness": "soon"}), view("a"))
    assert isinstance(outcomes[1].error, ConfigError)
    assert "feature view 'bare' has no batch source" in errors(outcomes)[0]
    assert "feature view 'late': tag lateness: 'soon' is not a duration" in errors(outcomes)[1]
    assert heard == [("a", END)]


def test_one_source_that_is_gone_leaves_others_alone(lab: Lab) -> None:
    lab.source.broken["m"] = SourceReadError("others.parquet cannot be read")
    views = [view("x", source=other_source(), features=[M]), view("y", source=other_source(), features=[M, N])]
    outcomes, heard = run(lab, *views, view("a"))
    assert errors(outcomes) == [
        "feature view 'x': others.parquet cannot be read",
        "feature view 'y': others.parquet cannot be read",
        "",
    ]
    assert heard == [("a", END)]


# ----------------------------------------------------------------------------------------------------- Redis is away

AWAY = ServerUnavailableError("Redis at localhost:1 does not answer", hint="start it")


def test_redis_away_is_asked_once(lab: Lab) -> None:
    lab.online.away = AWAY
    outcomes, heard = run(lab, *(view(f"v{number}") for number in range(25)))
    assert [outcome.error for outcome in outcomes] == [AWAY] * 25
    assert heard == []
    assert lab.online.asked == 1
    assert lab.source.opened == []


def test_redis_that_goes_away_fails_what_is_left_without_trying(lab: Lab) -> None:
    lab.online.left, lab.online.ends_with = 15, AWAY
    outcomes, heard = run(lab, *(view(f"v{number}", source=other_source(f"{number}.parquet")) for number in range(9)))
    assert [outcome.error for outcome in outcomes] == [None, *[AWAY] * 8]
    # The first was done by then, and marked; of the second what was acknowledged is kept for the next run.
    assert heard == [("v0", END)]
    assert len(lab.source.opened) == 2
    assert lab.online.book.last(b"v1")[1] == 5
    assert outcomes[1].written.rows == 5


def test_a_view_that_was_done_before_redis_went_away_stays_done(lab: Lab) -> None:
    """Also when views of one source are tried one by one, after one of them failed."""
    lab.source.broken["m"] = ColumnNotFoundError("rows.parquet has no column 'm'")
    views = [view("a"), view("wrong", features=[M]), view("b"), view("c")]
    lab.online.left, lab.online.ends_with = 12, AWAY
    outcomes, heard = run(lab, *views)
    assert [outcome.error for outcome in outcomes][0::3] == [None, AWAY]
    assert outcomes[2].error is AWAY
    assert "feature view 'wrong'" in errors(outcomes)[1]
    assert heard == [("a", END)]


# ----------------------------------------------------------------------------------------------------- what is noted


def test_a_window_is_done_before_the_next_source_is_read(lab: Lab) -> None:
    order: list[str] = []
    lab.source.before_open = lambda: order.append("open")
    tasks = [Task(view("a"), START, END), Task(view("b", source=other_source()), START, END)]
    copy(lab.stores, tasks, lambda number, _: order.append(f"done {number}"))
    assert order == ["open", "done 0", "open", "done 1"]


def test_nothing_is_done_when_a_run_is_cut_off_at_its_last_row(lab: Lab) -> None:
    lab.online.left = 9
    with pytest.raises(StoppedError):
        run(lab, view())
    made, rows = lab.online.book.last(b"stats")
    assert made is not None
    assert (made.done, made.start, made.end, made.state, rows) == (False, 100, 200, lab.source.state, 9)


def cut_off(lab: Lab, *views: FeatureView, after: int) -> None:
    lab.online.left = after
    with pytest.raises(StoppedError):
        run(lab, *views)
    lab.online.left = None
    lab.online.sent.clear()


def test_it_goes_on_where_it_stopped(lab: Lab) -> None:
    cut_off(lab, view(), after=7)
    [outcome], heard = run(lab, view())
    assert lab.online.sent == [("stats", key) for key in (7, 8, 9)]
    assert outcome.written.rows == 3
    assert heard == [("stats", END)]
    assert lab.bars[-1].total == 3
    assert lab.online.book.copies[b"stats"].done


def test_cut_off_again_and_again_it_counts_on_and_stays_as_old_as_it_is(lab: Lab) -> None:
    cut_off(lab, view(), after=3)
    first, _ = lab.online.book.last(b"stats")
    cut_off(lab, view(), after=2)
    cut_off(lab, view(), after=0)
    second, rows = lab.online.book.last(b"stats")
    assert first is not None
    assert second is not None
    assert rows == 5
    # The oldest of its rows may be the first to expire.
    assert second.began == first.began
    assert second.run != first.run
    run(lab, view())
    assert lab.online.sent == [("stats", key) for key in range(5, 10)]


def test_a_later_end_is_two_windows_and_each_is_marked(lab: Lab) -> None:
    cut_off(lab, view(), after=7)
    _, heard = run(lab, view(), end=moment(300))
    assert heard == [("stats", END), ("stats", moment(300))]
    assert lab.online.sent == [("stats", key) for key in (7, 8, 9)]


def test_the_end_of_a_task_is_told_as_it_was_given(lab: Lab) -> None:
    naive = END.replace(tzinfo=None)
    assert run(lab, view(), end=naive)[1] == [("stats", naive)]


def test_after_the_source_changed_all_is_sent(lab: Lab) -> None:
    cut_off(lab, view(), after=7)
    lab.source.add([(10, 150)])
    run(lab, view())
    assert lab.online.sent == [("stats", key) for key in range(11)]


def test_a_source_that_changes_before_it_is_read_has_moved_its_rows(lab: Lab) -> None:
    """It was still the old one when it was looked at."""
    cut_off(lab, view(), after=7)
    first = lab.source.parts.pop(1)

    lab.source.parts[1] = first

    def change() -> None:
        lab.source.parts[3] = lab.source.parts.pop(1)

    lab.source.before_open = change
    run(lab, view())
    assert lab.online.sent == [("stats", key) for key in (6, 7, 8, 9, 0, 1, 2, 3, 4, 5)]


def test_views_that_came_differently_far_go_on_together(lab: Lab) -> None:
    lab.online.book.keeps = lambda: True
    cut_off(lab, view("a"), after=7)
    cut_off(lab, view("b"), after=4)
    _, heard = run(lab, view("new"), view("a"), view("b"))
    # One look, although one of them has nothing yet.
    assert len(lab.bars) == 3
    assert lab.bars[-1].total == 10 + 3 + 6
    assert [key for name, key in lab.online.sent if name == "a"] == [7, 8, 9]
    assert [key for name, key in lab.online.sent if name == "b"] == list(range(4, 10))
    assert [key for name, key in lab.online.sent if name == "new"] == list(range(10))
    assert heard == [("new", END), ("a", END), ("b", END)]


def test_two_runs_at_a_time_do_not_take_each_others_counts(lab: Lab) -> None:
    """The older run counts on while the younger one, with a later end and so with other rows, is cut off."""
    lab.source.add((key, 150 + key) for key in range(10, 20))
    cut_off(lab, view(), after=8)
    older, _ = lab.online.book.last(b"stats")
    assert older is not None
    run_of_older = older.run
    lab.online.book.copies.clear()
    lab.online.left = 2
    with pytest.raises(StoppedError):
        run(lab, view(), end=moment(300))
    lab.online.book.advance(run_of_older, {b"stats": 9})
    lab.online.left = None
    lab.online.rows.clear()
    run(lab, view(), end=moment(300))
    assert lab.online.rows == {"stats": set(range(20))}


def test_counts_are_noted_now_and_then(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[bool] = []

    def keeps() -> bool:
        noted.append(True)
        return True

    lab.online.book.keeps = keeps
    monkeypatch.setattr(notes, "_NOTE_EVERY", 3600.0)
    run(lab, view())
    assert noted == []
    assert lab.online.book.copies[b"stats"].done


def test_what_a_copy_says_of_itself(lab: Lab) -> None:
    before = datetime.now(UTC).timestamp()
    run(lab, view())
    copied = lab.online.book.copies[b"stats"]
    assert (copied.start, copied.end, copied.seen, copied.seen_start) == (100, 200, "", None)
    assert (copied.done, copied.state) == (True, lab.source.state)
    assert before <= copied.began <= datetime.now(UTC).timestamp()
    table = view()
    table.materialization_intervals = [(START, END)]
    run(lab, table, start=END, end=moment(300))
    after = lab.online.book.copies[b"stats"]
    assert isinstance(after, Copy)
    assert (after.start, after.end, after.seen, after.seen_start) == (200, 300, copied.state, 200)


def test_no_error_but_ours_is_caught(lab: Lab) -> None:
    lab.online.left, lab.online.ends_with = 1, MemoryError()
    with pytest.raises(MemoryError):
        run(lab, view())
    assert not issubclass(MemoryError, YummyError)
