"""Bounds against what is wanted."""

import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yummy_feast.sources.base import Prune
from yummy_feast.sources.pruning import (
    DAY,
    Bounds,
    Wanted,
    WantedParts,
    comparable,
    comparable_values,
    domain_of,
    micros_of_count,
)

SCHEMA = pa.schema(
    [("ts", pa.timestamp("us")), ("id", pa.int64()), ("name", pa.string()), ("x", pa.float64()), ("day", pa.string())]
)


def test_domains() -> None:
    assert [domain_of(SCHEMA.field(name).type) for name in SCHEMA.names] == ["time", "int", "bytes", None, "bytes"]


@pytest.mark.parametrize(
    ("count", "unit", "micros"), [(1, "s", 10**6), (-1, "ms", -1000), (-1, "ns", -1), (1999, "ns", 1)]
)
def test_counts_round_down(count: int, unit: str, micros: int) -> None:
    assert micros_of_count(count, unit) == micros


def test_times_are_compared_in_utc() -> None:
    zone = dt.timezone(dt.timedelta(hours=2))
    assert comparable(dt.datetime(1970, 1, 1, 2, tzinfo=zone), pa.timestamp("us", tz="+02:00")) == 0
    assert comparable(dt.datetime(1970, 1, 2), pa.timestamp("us")) == DAY  # noqa: DTZ001 - naive means UTC
    assert comparable(dt.date(1969, 12, 31), pa.date32()) == -DAY
    assert comparable(1.5, pa.float64()) is None


def test_arrays_beyond_the_year_9999() -> None:
    far = pa.array([2**60, None], pa.int64()).cast(pa.timestamp("us"))
    assert comparable_values(far) == [2**60, None]
    assert comparable_values(pa.array([dt.date(1970, 1, 2)])) == [DAY]
    assert comparable_values(pa.array(["ü", None])) == ["ü".encode(), None]


@given(
    low=st.integers(-50, 50),
    width=st.integers(0, 20),
    start=st.none() | st.integers(-60, 60),
    end=st.none() | st.integers(-60, 60),
    keys=st.none() | st.lists(st.none() | st.integers(-60, 60)),
)
def test_a_part_is_kept_if_any_of_its_values_is_wanted(
    low: int, width: int, start: int | None, end: int | None, keys: list[int | None] | None
) -> None:
    wanted = Wanted(Prune("ts", start, end, {} if keys is None else {"id": pa.array(keys, pa.int64())}), SCHEMA)
    bounds = {"ts": Bounds(low, low + width), "id": Bounds(low, low + width)}
    inside = range(low, low + width + 1)
    times = any((start is None or start <= v) and (end is None or v <= end) for v in inside)
    if (keys is None or any(v in keys for v in inside)) and times:
        assert wanted.may_hold(bounds.get)
    if keys is not None and not any(v in keys for v in inside):
        assert not wanted.may_hold(bounds.get)


def test_open_and_unknown_bounds_keep_a_part() -> None:
    wanted = Wanted(Prune("ts", 10, 20, {"name": pa.array(["b"])}), SCHEMA)
    assert wanted.may_hold(lambda _: None)
    assert wanted.may_hold({"ts": Bounds(None, None)}.get)
    assert wanted.may_hold({"name": Bounds(b"a", None)}.get)
    assert not wanted.may_hold({"name": Bounds(b"c", None)}.get)
    assert not wanted.may_hold({"ts": Bounds(None, 9)}.get)


def test_many_keys_count_by_their_edges_only() -> None:
    wanted = Wanted(Prune("ts", None, None, {"id": pa.array(range(0, 40_000, 2))}), SCHEMA)
    assert wanted.may_hold({"id": Bounds(1, 1)}.get)
    assert not wanted.may_hold({"id": Bounds(40_000, 50_000)}.get)


def test_keys_of_another_kind_do_not_prune() -> None:
    for keys in ({"id": pa.array(["1"])}, {"x": pa.array([1.0])}, {"gone": pa.array([1])}):
        assert Wanted(Prune("ts", None, None, keys), SCHEMA).may_hold({"id": Bounds(5, 6)}.get)


@pytest.mark.parametrize(
    ("day", "kept"),
    [("2026-11-01", True), ("2026-11-04", True), ("2026-11-09", False), ("2026-10-01", False), ("01/10/2026", True)],
)
def test_days_as_text(day: str, kept: bool) -> None:
    november = int(dt.datetime(2026, 11, 2, tzinfo=dt.UTC).timestamp()) * 10**6
    wanted = Wanted(Prune("ts", november, november + DAY), SCHEMA, "day")
    assert wanted.may_hold({"day": Bounds(day.encode(), day.encode())}.get) is kept
    assert wanted.may_hold({"day": Bounds(b"2020", b"2021")}.get)


@pytest.mark.parametrize(
    ("prune", "state", "new", "seen"),
    [
        (None, "", True, True),
        (Prune("ts", 6), "", False, False),
        (Prune("ts", 6, seen="s"), "", False, False),
        (Prune("ts", 6, seen_start=2), "", False, False),
        (Prune("ts", 6, seen="s", seen_start=5), "s", False, True),
        (Prune("ts", 5, seen="s", seen_start=6), "s", True, False),
        (Prune("ts", None, 3, seen="s", seen_start=0), "s", False, False),
    ],
)
def test_known_parts_have_a_start_of_their_own(prune: Prune | None, state: str, new: bool, seen: bool) -> None:
    parts = WantedParts(prune, SCHEMA)
    assert parts.state == state
    for is_seen, expected in ((False, new), (True, seen)):
        assert parts.of(seen=is_seen).may_hold(lambda _: Bounds(4, 5)) is expected


def test_the_day_of_known_parts() -> None:
    parts = WantedParts(Prune("ts", 0, None, seen="s", seen_start=20 * DAY), SCHEMA, "day")

    def tenth(name: str) -> Bounds | None:
        return Bounds(b"1970-01-11", b"1970-01-11") if name == "day" else None

    assert parts.new.may_hold(tenth)
    assert not parts.seen.may_hold(tenth)
