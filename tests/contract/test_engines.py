"""The point-in-time rule, by every engine. ``tests/property`` asks the same at random; here each clause has a name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from tests.contract.engine_kit import HOUR, Kit, asked, micros, read, rows_of, view
from yummy_feast.errors import ColumnNotFoundError, ColumnTypeError

# ------------------------------------------------------------------------------------- which row wins


def test_the_newest_event_that_is_not_in_the_future_wins(kit: Kit) -> None:
    source = kit.source(rows_of(k=[1, 1, 2, 1], t=[20, 10, 15, 30], v=[200, 100, 150, 300]))
    found = kit.ask(asked([1, 1, 1, 1, 1, 2, 3], [9, 10, 19, 20, 99, 99, 99]), view(source))
    assert found["v"].to_pylist() == [None, 100, 100, 200, 300, 150, None]


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("cuts", [(), (2,), (1, 2, 3)], ids=["one file", "two files", "four files"])
def test_a_tie_goes_to_the_newest_created_then_to_the_last_row(kit: Kit, cuts: tuple[int, ...], threads: int) -> None:
    kit.settings["threads"] = threads
    for made, winner in [
        ([3, 9, 9, 3], 2),
        ([None, 3, None, None], 1),
        ([None, None, None, None], 3),
        ([-5, None, None, -9], 0),
        ([7, 7, 7, 7], 3),
    ]:
        source = kit.source(rows_of(k=[1] * 4, t=[5] * 4, made=made, v=[0, 1, 2, 3]), *cuts)
        assert kit.ask(asked([1], [5]), view(source, created="made"))["v"].to_pylist() == [winner], made


def test_created_times_decide_ties_only(kit: Kit) -> None:
    source = kit.source(rows_of(k=[1, 1], t=[5, 6], made=[99, None], v=[5, 6]))
    assert kit.ask(asked([1], [9]), view(source, created="made"))["v"].to_pylist() == [6]


def test_without_a_created_column_the_last_row_wins_a_tie_wherever_it_lies(kit: Kit) -> None:
    source = kit.source(rows_of(k=[1] * 12, t=[5, 4] * 6, v=list(range(12))), 5, 6)
    assert kit.ask(asked([1, 1], [5, 4]), view(source))["v"].to_pylist() == [10, 11]


def test_a_null_of_the_winner_stays_null(kit: Kit) -> None:
    source = kit.source(rows_of(k=[1, 1], t=[4, 5], v=[4, None], w=["old", None]))
    found = kit.ask(asked([1, 1], [4, 5]), view(source, {"v": pa.int64(), "w": pa.string()}))
    assert found.to_pydict() == {"v": [4, None], "w": ["old", None]}


def test_a_missing_event_time_is_never_a_candidate(kit: Kit) -> None:
    source = kit.source(rows_of(k=[1, 1], t=[None, 2], made=[9, 1], v=[0, 1]))
    assert kit.ask(asked([1, 1], [9, 1]), view(source, created="made"))["v"].to_pylist() == [1, None]


def test_an_entity_row_without_a_time_gets_nothing_and_stays(kit: Kit) -> None:
    beginning = kit.source(rows_of(k=[1], t=[-(2**63) + 1], v=[7]))
    assert kit.ask(asked([1, 1], [None, 3]), view(beginning))["v"].to_pylist() == [None, 7]
    source = kit.source(rows_of(k=[1], t=[2], v=[7]))
    assert kit.ask(asked([1, 1, 1], [None, 3, None]), view(source, ttl=1))["v"].to_pylist() == [None, 7, None]
    assert kit.ask(asked([1], [None]), view(source, ttl=1))["v"].to_pylist() == [None]


# ----------------------------------------------------------------------------------------------- ttl


def test_both_ends_of_the_ttl_are_inside(kit: Kit) -> None:
    source = kit.source(rows_of(k=[1], t=[10 * HOUR], v=[7]))
    times = [10 * HOUR - 1, 10 * HOUR, 11 * HOUR - 1, 11 * HOUR, 11 * HOUR + 1]
    assert kit.ask(asked([1] * 5, times), view(source, ttl=HOUR))["v"].to_pylist() == [None, 7, 7, 7, None]


def test_a_ttl_of_zero_is_no_limit(kit: Kit) -> None:
    source = kit.source(rows_of(k=[1], t=[0], v=[7]))
    assert kit.ask(asked([1], [10**16]), view(source, ttl=0))["v"].to_pylist() == [7]


def test_a_ttl_longer_than_time_itself_is_no_limit(kit: Kit) -> None:
    source = kit.source(rows_of(k=[1], t=[-(10**17)], v=[7]))
    assert kit.ask(asked([1], [10**17]), view(source, ttl=2**64))["v"].to_pylist() == [7]


def test_an_expired_row_hides_older_ones_and_is_counted(kit: Kit) -> None:
    source = kit.source(rows_of(k=[1, 1, 2], t=[1, 3, 9], v=[1, 3, 9]))
    answer = kit.answer(asked([1, 1, 2, 3], [4, 20, 9, 9]), view(source, ttl=5))
    assert answer.table()["v"].to_pylist() == [3, None, 9, None]
    report = answer.explanation().views[0]
    assert (report.matched, report.expired, report.unmatched) == (2, 1, 1)


def test_each_entity_row_has_its_own_lower_end(kit: Kit) -> None:
    # The oldest entity row brings old rows in; they must not leak into the newer ones.
    source = kit.source(rows_of(k=[1, 2], t=[1, 1], v=[1, 2]))
    found = kit.ask(asked([1, 2, 2, 1], [2, 100, 2, 100]), view(source, ttl=5))
    assert found["v"].to_pylist() == [1, None, 2, None]


# ---------------------------------------------------------------------------- created-timestamp cut-off


def test_the_cut_off_hides_what_was_written_later(kit: Kit) -> None:
    source = kit.source(
        rows_of(k=[1] * 4, t=[2, 2, 3, 3], made=[2, 8, None, 9], v=[0, 1, 2, 3]),
        2,
    )
    cut = kit.ask(asked([1] * 4, [1, 7, 8, 9]), view(source, created="made", cutoff=True))
    assert cut["v"].to_pylist() == [None, 0, 1, 3]
    free = kit.ask(asked([1] * 4, [1, 7, 8, 9]), view(source, created="made"))
    assert free["v"].to_pylist() == [None, 3, 3, 3]


def test_the_cut_off_still_prefers_the_newest_event(kit: Kit) -> None:
    # Row 1 happened later but was known sooner: a running "last one that became known" would answer row 0 at 9.
    source = kit.source(rows_of(k=[1, 1], t=[2, 5], made=[8, 6], v=[0, 1]))
    found = kit.ask(asked([1] * 4, [5, 6, 8, 9]), view(source, created="made", cutoff=True))
    assert found["v"].to_pylist() == [None, 1, 1, 1]


def test_the_cut_off_never_shows_an_event_of_the_future(kit: Kit) -> None:
    source = kit.source(rows_of(k=[1], t=[50], made=[1], v=[0]))
    found = kit.ask(asked([1] * 2, [49, 50]), view(source, created="made", cutoff=True))
    assert found["v"].to_pylist() == [None, 0]


def test_the_cut_off_measures_the_ttl_from_the_event(kit: Kit) -> None:
    source = kit.source(rows_of(k=[1], t=[10], made=[14], v=[0]))
    found = kit.ask(asked([1] * 3, [13, 15, 16]), view(source, created="made", cutoff=True, ttl=5))
    assert found["v"].to_pylist() == [None, 0, None]


@pytest.mark.parametrize(("event_unit", "created_unit"), [("s", "ns"), ("ns", "s"), ("us", "ns"), ("ms", "us")])
def test_the_cut_off_is_exact_between_units(kit: Kit, event_unit: str, created_unit: str) -> None:
    second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
    table = pa.table(
        {
            "k": [1],
            "t": pa.array([3 * second[event_unit]], pa.timestamp(event_unit)),
            "made": pa.array([5 * second[created_unit] + (created_unit != "s")], pa.timestamp(created_unit, "UTC")),
            "v": [7],
        }
    )
    seen = view(kit.source(table), created="made", cutoff=True)
    tick = second["ns"] // second[created_unit] if created_unit != "s" else 0
    times = pa.array([5 * second["ns"] + tick - 1, 5 * second["ns"] + tick], pa.timestamp("ns", "UTC"))
    found = kit.ask(pa.table({"k": [1, 1], "event_timestamp": times}), seen)
    assert found["v"].to_pylist() == [None, 7]


# ---------------------------------------------------------------------------------------- entity rows


def test_every_entity_row_answers_once_in_the_order_given(kit: Kit) -> None:
    source = kit.source(rows_of(k=[1, 2, 2], t=[1, 1, 5], v=[11, 21, 25]), 1)
    keys = [2, 1, 2, 2, 9, 1, 2, 2]
    times = [9, 1, 1, 9, 9, 0, 4, 9]
    assert kit.ask(asked(keys, times), view(source))["v"].to_pylist() == [25, 11, 21, 25, None, None, 21, 25]


def test_null_keys_match_nothing(kit: Kit) -> None:
    source = kit.source(rows_of(k=[None, 1, None], t=[1, 1, 2], v=[0, 1, 2]))
    assert kit.ask(asked([None, 1, None], [9, 9, 9]), view(source))["v"].to_pylist() == [None, 1, None]


def test_only_null_keys_on_either_side(kit: Kit) -> None:
    nulls = pa.nulls(2, pa.int64())
    known = kit.source(rows_of(k=[1], t=[1], v=[1]))
    unknown = kit.source(rows_of(k=nulls, t=[1, 1], v=[1, 1]))
    assert kit.ask(asked(nulls, [9, 9]), view(known))["v"].to_pylist() == [None, None]
    assert kit.ask(asked([1, 1], [9, 9]), view(unknown))["v"].to_pylist() == [None, None]
    assert kit.ask(asked(pa.nulls(2), [9, 9]), view(known))["v"].to_pylist() == [None, None]


def test_no_entity_rows_make_no_rows(kit: Kit) -> None:
    source = kit.source(rows_of(k=[1], t=[1], v=[1], w=["a"]))
    found = kit.ask(
        asked(pa.array([], pa.int64()), []), view(source, {"v": pa.int64(), "w": pa.string()}, ttl=5, created="t")
    )
    assert found.schema == pa.schema([("v", pa.int64()), ("w", pa.string())])


def test_an_empty_source_makes_nulls(kit: Kit) -> None:
    nothing = pa.table(
        {"k": pa.array([], pa.int64()), "t": micros(), "v": pa.array([], pa.int64()), "w": pa.array([], pa.string())}
    )
    found = kit.ask(asked([1, 2], [1, 1]), view(kit.source(nothing), {"v": pa.int64(), "w": pa.string()}))
    assert found.to_pydict() == {"v": [None, None], "w": [None, None]}


def test_empty_files_between_full_ones(kit: Kit) -> None:
    source = kit.source(rows_of(k=[1, 2], t=[1, 1], v=[10, 20], w=["x", "y"]), 0, 1, 1, 2)
    found = kit.ask(asked([2, 1, 3], [5, 5, 5]), view(source, {"v": pa.int64(), "w": pa.string()}))
    assert found.to_pydict() == {"v": [20, 10, None], "w": ["y", "x", None]}


# ---------------------------------------------------------------------------------------- several views


def test_a_view_without_join_keys_has_one_entity(kit: Kit) -> None:
    source = kit.source(rows_of(t=[1, 5, None], made=[1, 1, 9], v=[10, 50, 90]))
    found = kit.ask(asked([1, 2, None], [4, 5, 0]), view(source, keys=(), created="made"))
    assert found["v"].to_pylist() == [10, 50, None]


def test_composite_keys_of_mixed_types(kit: Kit) -> None:
    days = pa.array([0, 1, 0, 0, None], pa.date32())
    source = kit.source(
        pa.table(
            {
                "a": pa.array([1, 1, 12, 1, 1], pa.int32()),
                "b": ["x", "x", "x", "2x", "x"],
                "c": days,
                "d": [True, True, True, True, True],
                "t": micros(1, 1, 1, 1, 1),
                "v": [0, 1, 2, 3, 4],
            }
        )
    )
    entity_rows = pa.table(
        {
            "b": ["x", "x", "x", "2x", "x", None, "x"],
            "c": pa.array([0, 1, 0, 0, 2, 0, 0], pa.date32()),
            "d": [True, True, True, True, True, True, False],
            "a": pa.array([1, 1, 12, 1, 1, 1, 1], pa.int64()),
            "event_timestamp": micros(*[9] * 7),
        }
    )
    found = kit.ask(entity_rows, view(source, keys=("a", "b", "c", "d")))
    assert found["v"].to_pylist() == [0, 1, 2, 3, None, None, None]


def test_parts_of_composite_keys_do_not_run_together(kit: Kit) -> None:
    source = kit.source(rows_of(a=["a", "ab"], b=["bc", "c"], t=[1, 1], v=[0, 1]))
    entity_rows = pa.table({"a": ["ab", "a", "ab"], "b": ["c", "bc", "bc"], "event_timestamp": micros(9, 9, 9)})
    assert kit.ask(entity_rows, view(source, keys=("a", "b")))["v"].to_pylist() == [1, 0, None]


def test_one_source_twice_by_different_entity_columns(kit: Kit) -> None:
    places = kit.source(rows_of(place=["a", "b"], t=[1, 1], v=[1, 2]))
    entity_rows = pa.table({"origin": ["a", "b", "a"], "dest": ["b", "a", None], "event_timestamp": micros(9, 9, 9)})
    there = kit.ask(entity_rows, view(places, keys={"dest": "place"}))
    here = kit.ask(entity_rows, view(places, keys={"origin": "place"}))
    assert (here["v"].to_pylist(), there["v"].to_pylist()) == ([1, 2, 1], [2, 1, None])


def test_views_with_their_own_keys_times_and_ttls_answer_in_one_fetch(kit: Kit) -> None:
    users = kit.source(rows_of(k=[1, 2], t=[1, 1], u=[10, 20]))
    pairs = kit.source(rows_of(s=["x", "x"], k=[2, 1], t=[5, 50], p=[0.5, 1.5]))
    world = kit.source(rows_of(t=[8], w=["hot"]))
    entity_rows = pa.table({"s": ["x", "x", "y"], "k": [1, 2, 2], "event_timestamp": micros(9, 9, 9)})
    found = kit.ask(
        entity_rows,
        view(world, {"w": pa.string()}, keys=(), ttl=1),
        view(pairs, {"p": pa.float64()}, keys=("k", "s")),
        view(users, {"u": pa.int64()}),
    )
    assert found.to_pydict() == {"w": ["hot"] * 3, "p": [None, 0.5, None], "u": [10, 20, 20]}


def test_the_answer_may_be_asked_for_again_and_explained_before_or_after(kit: Kit) -> None:
    source = kit.source(rows_of(k=[1, 2], t=[1, 1], v=[1, 2]))
    answer = kit.answer(asked([2, 3], [9, 9]), view(source, name="speeds"))
    text = str(answer.explanation())
    assert answer.table() == answer.table()
    assert str(answer.explanation()) == text
    assert "speeds" in text
    assert "1 matched, 0 expired, 1 unmatched" in text
    report = answer.explanation().views[0]
    assert (report.columns, report.time_field, report.rows_read) == (("k", "t", "v"), "t", 2)


def test_two_threads_may_ask_for_the_same_answer(kit: Kit) -> None:
    source = kit.source(rows_of(k=list(range(500)), t=[1] * 500, v=list(range(500))), 100, 200, 300)
    for _ in range(2 if kit.engine_name == "spark" else 5):
        answer = kit.answer(asked(list(range(500)), [9] * 500), view(source), view(source, {"k": pa.int64()}))
        with ThreadPoolExecutor(4) as pool:
            found = [future.result() for future in [pool.submit(answer.table) for _ in range(4)]]
        assert all(table["v"].to_pylist() == list(range(500)) for table in found)


def test_a_key_or_a_time_may_be_a_feature_too(kit: Kit) -> None:
    source = kit.source(rows_of(k=[1], t=[5], v=[7]))
    found = kit.ask(asked([1, 2], [9, 9]), view(source, {"k": pa.int64(), "t": pa.timestamp("us", "UTC")}))
    assert found["k"].to_pylist() == [1, None]
    assert found["t"].cast(pa.int64()).to_pylist() == [5, None]


# ---------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("missing", ["k", "t", "made", "v"])
def test_a_missing_column_is_named_with_its_view_and_the_nearest_name(kit: Kit, missing: str) -> None:
    table = rows_of(k=[1], t=[1], made=[1], v=[1])
    names = [f"{name}x" if name == missing else name for name in table.column_names]
    source = kit.source(table.rename_columns(names))
    with pytest.raises(ColumnNotFoundError) as caught:
        kit.ask(asked([1], [1]), view(source, created="made", name="speeds"))
    text = str(caught.value)
    assert "'speeds'" in text
    assert f"'{missing}'" in text
    assert f"did you mean '{missing}x'" in text
    assert "\n" not in text


@pytest.mark.parametrize("column", ["t", "made"])
def test_a_time_column_that_holds_no_times_is_named(kit: Kit, column: str) -> None:
    table = rows_of(k=[1], t=[1], made=[1], v=[1])
    place = table.column_names.index(column)
    source = kit.source(table.set_column(place, column, [["2026-01-01"]]))
    place = "memory" if kit.stored_in == "memory" else r".*\.parquet"
    with pytest.raises(ColumnTypeError, match=f"'{column}' of {place} holds string, not timestamps"):
        kit.ask(asked([1], [1]), view(source, created="made"))
    for what in (kit.engine.latest, kit.engine.between):
        with pytest.raises(ColumnTypeError, match=f"'{column}' of {place} holds string, not timestamps"):
            what(read(source, "v", created="made")).read_all()
