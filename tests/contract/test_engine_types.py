"""What may be a join key, a time and a feature, by every engine: equal things meet, whatever type holds them."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from tests.contract.engine_kit import Kit, asked, micros, rows_of, view
from yummy_feast.errors import EntityRowsError

DAY = 86_400 * 10**6
DICTIONARY = pa.dictionary(pa.int8(), pa.string())

# name: entity type, entity values, source type, source values. The n-th row of the source has v = n; what is expected
# is worked out from Python's ==.
MEETING: dict[str, tuple[pa.DataType, list[Any], pa.DataType, list[Any]]] = {
    "int32 and int64": (pa.int32(), [1, -1, 7], pa.int64(), [-1, 1, 2**40]),
    "int64 and int32": (pa.int64(), [1, -1, 2**40, 2**32 + 1], pa.int32(), [-1, 1]),
    "int64 and int8": (pa.int64(), [255, -1, 256], pa.int8(), [-1, 0]),
    "int64 and uint64": (pa.int64(), [-1, 5], pa.uint64(), [2**64 - 1, 5]),
    "uint64 and int64": (pa.uint64(), [2**64 - 1, 5, 2**63], pa.int64(), [-1, 5, -(2**63)]),
    "uint64 and uint64": (pa.uint64(), [2**64 - 1, 5, 2**63], pa.uint64(), [5, 2**63, 2**64 - 1, 2**63 + 1]),
    "uint32 and int32": (pa.uint32(), [2**32 - 1, 7], pa.int32(), [-1, 7]),
    "far apart": (pa.int64(), [2**63 - 1, -(2**63), 0], pa.int64(), [-(2**63), 2**63 - 1, 1]),
    "one huge": (pa.int64(), [2**63 - 1, 2**63 - 2], pa.int64(), [2**63 - 2, 2**63 - 1, -(2**63)]),
    "one tiny": (pa.int64(), [-(2**63)], pa.int64(), [2**63 - 1, -(2**63), 0]),
    "whole floats and int64": (pa.float64(), [1.0, None, 2.5, float("nan"), -0.0], pa.int64(), [1, 2, 0]),
    "int64 and whole floats": (pa.int64(), [1, 2, 3], pa.float64(), [2.0, 1.5, float("nan"), 1.0, float("inf")]),
    "uint64 and whole floats": (pa.uint64(), [2**63, 3], pa.float64(), [3.0, 2.0**63, -1.0, 2.0**64]),
    "float32 and int32": (pa.float32(), [1.0, 4.0], pa.int32(), [4, 1]),
    "float and double": (pa.float32(), [0.5, 1.0, 0.0], pa.float64(), [1.0, 0.5, 0.1, -0.0]),
    "doubles": (pa.float64(), [float("nan"), 0.1, -0.0], pa.float64(), [float("nan"), 0.1, 0.0]),
    "string and large_string": (pa.string(), ["a", "", "Ä"], pa.large_string(), ["", "Ä", "A"]),
    "large_string and string": (pa.large_string(), ["a", ""], pa.string(), ["", "a"]),
    "string_view and string": (
        pa.string_view(),
        ["a", "a longer one than fits inline"],
        pa.string(),
        ["a longer one than fits inline", "a"],
    ),
    "dictionary and string": (DICTIONARY, ["a", None, "b"], pa.string(), ["b", "a"]),
    "string and dictionary": (pa.string(), ["a", "b", None], DICTIONARY, ["b", "a"]),
    "dictionary of ints": (pa.dictionary(pa.int8(), pa.int64()), [5, 6], pa.int32(), [6, 5]),
    "binary and large_binary": (pa.binary(), [b"a", b"\0"], pa.large_binary(), [b"\0", b"a"]),
    "binary and fixed": (pa.binary(), [b"ab", b"a"], pa.binary(2), [b"cd", b"ab"]),
    "binary_view and binary": (pa.binary_view(), [b"ab"], pa.binary(), [b"cd", b"ab"]),
    "bool": (pa.bool_(), [True, False, None], pa.bool_(), [False, True]),
    "date and date": (pa.date32(), [date(2020, 1, 2)], pa.date64(), [date(2020, 1, 1), date(2020, 1, 2)]),
    "decimals": (
        pa.decimal128(5, 2),
        [Decimal("1.50"), Decimal("2.00")],
        pa.decimal128(20, 4),
        [Decimal(2), Decimal("1.5")],
    ),
    "all null": (pa.null(), [None, None], pa.string(), ["a"]),
    "against all null": (pa.string(), ["a", None], pa.null(), [None, None]),
}


@pytest.mark.parametrize("case", MEETING)
def test_equal_keys_meet_and_others_do_not(kit: Kit, case: str) -> None:
    entity_type, entity, source_type, stored = MEETING[case]
    count = len(stored)
    source = kit.source(rows_of(k=pa.array(stored, source_type), t=[1] * count, v=list(range(count))), 1)
    found = kit.ask(asked(pa.array(entity, entity_type), [9] * len(entity)), view(source))
    expected = [stored.index(key) if key is not None and key == key and key in stored else None for key in entity]
    assert found["v"].to_pylist() == expected
    # The same as the second of two keys, where another path numbers it.
    both = pa.table(
        {"s": ["x"] * len(entity), "k": pa.array(entity, entity_type), "event_timestamp": micros(*[9] * len(entity))}
    )
    pair = kit.source(rows_of(s=["x"] * count, k=pa.array(stored, source_type), t=[1] * count, v=list(range(count))))
    assert kit.ask(both, view(pair, keys=("s", "k")))["v"].to_pylist() == expected


def test_integers_with_gaps_come_from_pandas_as_floats(kit: Kit) -> None:
    frame = pd.DataFrame({"k": [2**40 + 1, None, 3], "event_timestamp": pd.Timestamp("2026-01-01", tz="UTC")})
    assert frame["k"].dtype == "float64"
    source = kit.source(rows_of(k=[3, 2**40 + 1], t=[1, 1], v=[3, 40]))
    found = kit.ask(pa.Table.from_pandas(frame, preserve_index=False), view(source))
    assert found["v"].to_pylist() == [40, None, 3]


@pytest.mark.parametrize("source_unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("entity_unit", ["s", "ms", "us", "ns"])
def test_times_as_keys_are_equal_only_to_the_last_tick(kit: Kit, entity_unit: str, source_unit: str) -> None:
    def times(unit: str, zone: str, *off: int) -> pa.Array:
        second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
        return pa.array([1_700_000_000 * second + tick for tick in off], pa.timestamp(unit, zone))

    source = kit.source(rows_of(k=times(source_unit, "America/New_York", 1, 0), t=[1, 1], v=[1, 0]))
    found = kit.ask(asked(times(entity_unit, "UTC", 0, 1), [9, 9]), view(source))
    assert found["v"].to_pylist() == [0, 1 if entity_unit == source_unit else None]


def test_times_as_keys_beyond_the_reach_of_nanoseconds(kit: Kit) -> None:
    far = [datetime(9999, 12, 31, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)]
    source = kit.source(rows_of(k=pa.array(far[1:] * 2, pa.timestamp("ns", "UTC")), t=[1, 1], v=[0, 1]))
    assert kit.ask(asked(pa.array(far, pa.timestamp("us", "UTC")), [9, 9]), view(source))["v"].to_pylist() == [None, 1]
    source = kit.source(rows_of(k=pa.array(far, pa.timestamp("us", "UTC")), t=[1, 1], v=[0, 1]))
    assert kit.ask(asked(pa.array(far, pa.timestamp("s")), [9, 9]), view(source))["v"].to_pylist() == [0, 1]


def test_a_day_as_key_is_its_midnight(kit: Kit) -> None:
    source = kit.source(rows_of(k=micros(DAY, DAY + 1), t=[1, 1], v=[0, 1]))
    days = pa.array([date(1970, 1, 2), date(1970, 1, 3)], pa.date32())
    assert kit.ask(asked(days, [9, 9]), view(source))["v"].to_pylist() == [0, None]


@pytest.mark.parametrize(
    ("entity", "stored"),
    [
        (pa.array(["1"]), pa.array([1])),
        (pa.array([1]), pa.array(["1"])),
        (pa.array([True]), pa.array([1])),
        (pa.array(["2020-01-01"]), pa.array([date(2020, 1, 1)])),
        (pa.array([1]), pa.array([date(1970, 1, 2)])),
        (pa.array([b"a"]), pa.array(["a"])),
        (pa.array([1]), pa.array([Decimal(1)])),
    ],
    ids=lambda column: str(column.type),
)
def test_keys_that_can_never_be_equal_are_refused(kit: Kit, entity: pa.Array, stored: pa.Array) -> None:
    source = kit.source(pa.table({"id": stored, "t": micros(1), "v": [1]}))
    with pytest.raises(EntityRowsError) as caught:
        kit.ask(asked(entity, [9]), view(source, keys={"k": "id"}))
    text = str(caught.value)
    assert f"'k' holds {entity.type} in the entity rows but 'id' holds {stored.type}" in text
    assert f"cast the entity rows' column to {stored.type}" in text


@pytest.mark.parametrize("side", ["entity", "source"])
def test_a_list_is_no_key(kit: Kit, side: str) -> None:
    lists, numbers = pa.array([[1]]), pa.array([1])
    source = kit.source(rows_of(k=lists if side == "source" else numbers, t=[1], v=[1]))
    with pytest.raises(EntityRowsError, match=r"column 'k'( of .*)? holds list<.*>, which cannot be a join key"):
        kit.ask(asked(lists if side == "entity" else numbers, [9]), view(source))


# ------------------------------------------------------------------------------------------------ times


@pytest.mark.parametrize("entity_unit", ["s", "ms", "us", "ns"])
def test_times_are_compared_as_instants(kit: Kit, entity_unit: str) -> None:
    """Of every unit and zone, all in one fetch."""
    per = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
    base = 1_700_000_000
    times = [base * per[entity_unit] + tick for tick in (-1, 0, 1)]
    entity_rows = pa.table({"k": [1, 1, 1], "event_timestamp": pa.array(times, pa.timestamp(entity_unit, "UTC"))})

    def exact(ticks: int, unit: str) -> int:
        return ticks * (10**9 // per[unit])

    views, expected = [], {}
    for number, (unit, zone) in enumerate(itertools.product(per, [None, "UTC", "+05:30", "America/New_York"])):
        stored = [base * per[unit] + tick for tick in (-1, 0, 1)]
        rows = {"k": [1, 1, 1], "t": pa.array(stored, pa.timestamp(unit, zone)), f"v{number}": [0, 1, 2]}
        views.append(view(kit.source(pa.table(rows)), f"v{number}", ttl=1_500_000, name=f"view{number}"))
        expected[f"v{number}"] = [
            max(
                (
                    row
                    for row, tick in enumerate(stored)
                    if exact(time, entity_unit) - 1_500_000_000 <= exact(tick, unit) <= exact(time, entity_unit)
                ),
                default=None,
            )
            for time in times
        ]
    assert kit.ask(entity_rows, *views).to_pydict() == expected


def test_days_are_event_times_too(kit: Kit) -> None:
    for kind in (pa.date32(), pa.date64()):
        table = pa.table({"k": [1, 1], "t": pa.array([date(1970, 1, 2), date(1970, 1, 3)], kind), "v": [2, 3]})
        found = kit.ask(asked([1] * 3, [DAY - 1, DAY, 2 * DAY]), view(kit.source(table), created="t"))
        assert found["v"].to_pylist() == [None, 2, 3]


def test_the_end_of_time_is_not_seen_today(kit: Kit) -> None:
    # Multiplied into nanoseconds, the year 9999 would wrap around into the past.
    table = pa.table({"k": [1, 1], "t": pa.array([253_402_214_400, 1_577_836_800], pa.timestamp("s")), "v": [9, 2]})
    now = pa.array([datetime(2026, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    source = kit.source(table)
    for ttl in (0, 40 * 365 * DAY):
        found = kit.ask(pa.table({"k": [1, 1], "event_timestamp": now}), view(source, ttl=ttl))
        assert found["v"].to_pylist() == [2, 9]
    today = now.slice(0, 1).cast(pa.timestamp("ns", "UTC"))
    assert kit.ask(pa.table({"k": [1], "event_timestamp": today}), view(source))["v"].to_pylist() == [2]


# --------------------------------------------------------------------------------------------- features

TEXT_MAP = pa.map_(pa.string(), pa.string())
FEATURES: list[pa.Array] = [
    *(pa.array([1, None, 0, 2, 3], kind) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())),
    *(pa.array([2**7, None, 0, 2, 3], kind) for kind in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())),
    pa.array([2**64 - 1, None, 0, 2, 3], pa.uint64()),
    *(pa.array([0.5, None, -0.0, float("inf"), -1.0], kind) for kind in (pa.float16(), pa.float32(), pa.float64())),
    pa.array([True, None, False, True, False]),
    *(pa.array(["a", None, "", "Ä€😀", "b" * 100], kind) for kind in (pa.string(), pa.large_string())),
    *(pa.array([b"\0", None, b"", b"b", b"c"], kind) for kind in (pa.binary(), pa.large_binary())),
    pa.array([b"ab", None, b"cd", b"ef", b"gh"], pa.binary(2)),
    pa.array([Decimal("1.25"), None, Decimal(-2), Decimal(0), Decimal(7)], pa.decimal128(10, 2)),
    pa.array([Decimal("1.25"), None, Decimal(-2), Decimal(0), Decimal(7)], pa.decimal256(50, 2)),
    *(pa.array([1, None, -1, 0, 2], pa.timestamp(unit, "UTC")) for unit in ("s", "ms", "us", "ns")),
    pa.array([1, None, -1, 0, 2], pa.date32()),
    pa.array([[1, None], None, [], [2], [3, 4]], pa.list_(pa.int32())),
    pa.array([["a"], None, [], [None], ["b", "c"]], pa.large_list(pa.string())),
    pa.array([[1.0, 2.0], None, [3.0, 4.0], [5.0, None], [6.0, 7.0]], pa.list_(pa.float32(), 2)),
    pa.array([[[1], []], None, [], [None], [[2, 3]]], pa.list_(pa.list_(pa.int64()))),
    pa.array([[("a", "1")], None, [], [("b", None)], [("c", "2"), ("d", "3")]], TEXT_MAP),
    pa.array([[[("a", "1")]], None, [], [[]], [[("c", "2")], []]], pa.list_(TEXT_MAP)),
    pa.array([{"x": 1, "y": ["a"]}, None, {"x": None, "y": []}, {"x": 3, "y": None}, {"x": 4, "y": ["b"]}]),
    pa.array([[{"x": 1}], None, [], [None], [{"x": 2}, {"x": 3}]]),
]


@pytest.mark.parametrize("column", FEATURES, ids=lambda column: str(column.type))
@pytest.mark.parametrize("threads", [1, 4])
def test_features_come_as_they_are(kit: Kit, column: pa.Array, threads: int) -> None:
    kit.settings["threads"] = threads
    # From the third row of a longer array on, so that every buffer has an offset; some rows asked for twice, one never.
    longer = pa.concat_arrays([column.slice(3), column]).slice(2)
    table = pa.table({"k": range(5), "t": micros(*[1] * 5), "f": longer, "v": range(5)})
    seen = view(kit.source(table, 2), {"f": column.type, "v": pa.int64()})
    keys = [4, 0, 1, None, 4, 3, 77]
    found = kit.ask(asked(keys, [9] * 7), seen)
    expected = column.take(pa.array([4, 0, 1, None, 4, 3, None]))
    kept = found["f"].combine_chunks()
    assert kept.to_pylist() == expected.to_pylist()
    assert found["v"].to_pylist() == [4, 0, 1, None, 4, 3, None]
    if kit.stored_in == "memory":
        assert kept.type == column.type


def test_no_match_at_all_keeps_the_types(kit: Kit) -> None:
    columns = {f"f{number}": column for number, column in enumerate(FEATURES)}
    source = kit.source(pa.table({"k": range(5), "t": micros(*[1] * 5), **columns}))
    found = kit.ask(asked([9, 9], [9, 9]), view(source, {name: column.type for name, column in columns.items()}))
    assert all(column.null_count == 2 for column in found.columns)
    if kit.stored_in == "memory":
        assert found.schema.types == [column.type for column in FEATURES]


def test_a_dictionary_is_its_values(kit: Kit) -> None:
    levels = pa.array(["low", None, "high", "low"]).dictionary_encode()
    source = kit.source(rows_of(k=[0, 1, 2, 3], t=[1] * 4, f=levels), 2)
    found = kit.ask(asked([3, 2, 1, 9], [5] * 4), view(source, {"f": pa.string()}))
    assert found["f"].to_pylist() == ["low", "high", None, None]
    assert found["f"].type == pa.string()


def test_timestamps_without_a_zone_are_answered_in_utc(kit: Kit) -> None:
    source = kit.source(
        rows_of(
            k=[1],
            t=[1],
            naive=pa.array([1_782_907_200], pa.timestamp("s")),
            there=pa.array([datetime(2026, 7, 1, 12, tzinfo=UTC)], pa.timestamp("us", "America/New_York")),
        )
    )
    declared = pa.timestamp("us", "UTC")
    found = kit.ask(asked([1], [9]), view(source, {"naive": declared, "there": declared}))
    assert [column.tz for column in found.schema.types] == ["UTC", "UTC"]
    assert found.to_pylist() == [{name: datetime(2026, 7, 1, 12, tzinfo=UTC) for name in ("naive", "there")}]
