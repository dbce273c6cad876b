"""Entity rows from pandas and Arrow: which column is the time, and what comes back untouched."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from yummy_feast.errors import EntityRowsError
from yummy_feast.offline.entity_rows import EntityRows, distinct, drop_null_rows, select_all, time_column_of
from yummy_feast.offline.times import MISSING

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MICROS = 1_767_268_800_000_000


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"event_timestamp": pd.to_datetime([NOON, NOON])} | columns)


# ----------------------------------------------------------------------------------------------- pandas


def test_columns_of_every_dtype_are_the_same_objects_afterwards() -> None:
    given = frame(
        ints=[1, 2],
        gaps=[1.0, None],
        nullable=pd.array([1, None], dtype="Int64"),
        small=np.array([1, 2], np.int8),
        levels=pd.Categorical(["b", None], categories=["b", "a"], ordered=True),
        texts=["a", None],
        arrow=pd.array(["a", None], dtype="string[pyarrow]"),
        mixed=[1, "two"],
        sets=[{1}, frozenset({2})],
        objects=[object(), object()],
        huge=[2**70, 1],
        numbers=[1j, 2j],
        periods=pd.period_range("2026", periods=2),
        intervals=pd.interval_range(0, 2),
        sparse=pd.arrays.SparseArray([0, 1]),
        naive=pd.to_datetime(["2026-01-01", None]),
        tokyo=pd.to_datetime(["2026-01-01", None]).tz_localize("Asia/Tokyo"),
        deltas=pd.to_timedelta([1, None], unit="s"),
        prices=[Decimal("1.5"), None],
        days=[date(2026, 1, 1), None],
    )
    before = given.copy(deep=True)
    rows = EntityRows.of_pandas(given)
    pd.testing.assert_frame_equal(given, before)
    assert rows.frame is not None
    pd.testing.assert_frame_equal(rows.frame, before)
    assert rows.names == list(before.columns)
    for name in ("mixed", "objects", "huge", "numbers", "sparse"):
        with pytest.raises(EntityRowsError, match=rf"entity column '{name}' .* or ask with to_df\(\)"):
            rows.column(name)
        assert name not in rows.table(partial=True).column_names
    with pytest.raises(EntityRowsError, match="'mixed'"):
        rows.table()
    assert rows.column("levels").type == pa.dictionary(pa.int8(), pa.string(), ordered=True)
    assert rows.column("nullable").to_pylist() == [1, None]


def test_the_index_is_no_column_and_decides_nothing() -> None:
    given = frame(k=[1, 2]).set_index(pd.Index([7, 7], name="k2"))
    rows = EntityRows.of_pandas(given)
    assert rows.names == ["event_timestamp", "k"]
    assert rows.frame is not None
    assert list(rows.frame.index) == [0, 1]


def test_columns_that_are_no_text_get_names_that_are() -> None:
    assert EntityRows.of_pandas(frame().assign(k=1).rename(columns={"k": 0})).names == ["event_timestamp", "0"]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_times_become_utc_and_keep_their_unit(unit: str, zone: str | None) -> None:
    moments = pd.Series(pd.to_datetime([NOON, None])).dt.as_unit(unit)
    moments = moments.dt.tz_localize(None) if zone is None else moments.dt.tz_convert(zone)
    rows = EntityRows.of_pandas(pd.DataFrame({"event_timestamp": moments}))
    assert rows.time_unit == unit
    per = {"s": 10**6, "ms": 10**3, "us": 1}
    assert rows.times[0] == (MICROS * 1000 if unit == "ns" else MICROS // per[unit])
    assert rows.times[1] == MISSING
    assert rows.frame is not None
    assert rows.frame["event_timestamp"].dtype == f"datetime64[{unit}, UTC]"
    assert rows.span() == (NOON, NOON)


def test_arrow_backed_times() -> None:
    moments = pd.Series([NOON, None], dtype=pd.ArrowDtype(pa.timestamp("ms", "Asia/Tokyo")))
    rows = EntityRows.of_pandas(pd.DataFrame({"event_timestamp": moments}))
    assert (rows.time_unit, rows.times.tolist()) == ("ms", [MICROS // 1000, MISSING])


def test_datetimes_in_an_object_column() -> None:
    plus_two = timezone(timedelta(hours=2))
    moments = [NOON, NOON.replace(tzinfo=None), NOON.astimezone(plus_two), pd.Timestamp(NOON), None, pd.NaT]
    rows = EntityRows.of_pandas(pd.DataFrame({"event_timestamp": pd.Series(moments, dtype=object)}))
    scale = 1000 if rows.time_unit == "ns" else 1
    assert rows.times.tolist() == [MICROS * scale] * 4 + [MISSING] * 2


def test_datetimes_beyond_nanoseconds() -> None:
    moments = [datetime(9999, 12, 31, tzinfo=UTC), datetime(1, 1, 1), NOON, None, pd.Timestamp(NOON)]  # noqa: DTZ001
    rows = EntityRows.of_pandas(pd.DataFrame({"event_timestamp": pd.Series(moments, dtype=object)}))
    assert rows.time_unit == "us"
    assert rows.times.tolist() == [253_402_214_400_000_000, -62_135_596_800_000_000, MICROS, MISSING, MICROS]
    assert rows.span() == (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC))


@pytest.mark.parametrize(
    "values", [["2026-01-01"], [5], [5.5], [date(2026, 1, 1)], [NOON, "2026-01-01"], [True]], ids=str
)
def test_what_is_no_time_is_shown_and_refused(values: list[Any]) -> None:
    odd = values[-1]
    with pytest.raises(EntityRowsError) as caught:
        EntityRows.of_pandas(pd.DataFrame({"event_timestamp": pd.Series(values, dtype=object)}))
    text = str(caught.value)
    assert f"'event_timestamp' holds {type(odd).__name__} ({odd!r}), not timestamps" in text
    assert "pd.to_datetime(df['event_timestamp'], utc=True)" in text


def test_no_rows() -> None:
    for dtype in (object, "datetime64[ns]", "datetime64[us, UTC]"):
        rows = EntityRows.of_pandas(pd.DataFrame({"event_timestamp": pd.Series([], dtype=dtype), "k": []}))
        assert (len(rows), rows.span()) == (0, (None, None))


# ------------------------------------------------------------------------------------------------ Arrow


def test_an_arrow_table_keeps_all_but_the_zone_of_its_time() -> None:
    when = pa.array([NOON, None], pa.timestamp("s", "Asia/Tokyo"))
    table = pa.table({"k": pa.array(["a", "b"]).dictionary_encode(), "event_timestamp": when, "l": [[1], None]})
    rows = EntityRows.of_arrow(table)
    found = rows.table()
    assert found.schema.field("event_timestamp").type == pa.timestamp("s", "UTC")
    assert found.drop_columns("event_timestamp") == table.drop_columns("event_timestamp")
    assert rows.times.tolist() == [MICROS // 10**6, MISSING]
    assert rows.frame is None


def test_many_chunks_and_none() -> None:
    one = pa.table({"event_timestamp": pa.array([NOON], pa.timestamp("us"))})
    assert EntityRows.of_arrow(pa.concat_tables([one, one.slice(0, 0), one])).times.tolist() == [MICROS, MICROS]
    empty = pa.table({"event_timestamp": pa.chunked_array([], pa.timestamp("us"))})
    assert len(EntityRows.of_arrow(empty)) == 0


def test_twins_are_refused() -> None:
    with pytest.raises(EntityRowsError, match="two columns named 'k'"):
        EntityRows.of_arrow(pa.table([[1], [2], pa.array([NOON])], names=["k", "k", "event_timestamp"]))
    twins = pd.concat([frame(k=[1, 2]), frame(k=[1, 2])[["k"]]], axis=1)
    with pytest.raises(EntityRowsError, match="two columns named 'k'"):
        EntityRows.of_pandas(twins)


def test_dates_are_no_entity_times() -> None:
    with pytest.raises(EntityRowsError, match=r"'event_timestamp' holds date32.* \(cast it to a timestamp\)"):
        EntityRows.of_arrow(pa.table({"event_timestamp": pa.array([date(2026, 1, 1)])}))


# ---------------------------------------------------------------------------------------------- helpers


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        ({"event_timestamp": True, "other": True}, "event_timestamp"),
        ({"event_timestamp": False, "other": True}, "event_timestamp"),
        ({"k": False, "at": True}, "at"),
    ],
)
def test_the_time_column(columns: dict[str, bool], name: str) -> None:
    assert time_column_of(columns) == name


@pytest.mark.parametrize("columns", [{}, {"k": False}, {"a": True, "b": True}, {"event_timestmp": False}])
def test_no_time_column_or_several(columns: dict[str, bool]) -> None:
    with pytest.raises(EntityRowsError, match="none named 'event_timestamp'") as caught:
        time_column_of(columns)
    if "event_timestmp" in columns:
        assert "did you mean 'event_timestmp'" in str(caught.value)
    if len(columns) == 2:
        assert "several time columns (a, b)" in str(caught.value)


def test_select_all_is_utc_unless_it_says_otherwise() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert select_all(NOON.replace(tzinfo=None)).timestamp == NOON
    assert select_all(NOON.astimezone(tokyo)).timestamp == NOON


def test_select_all_wants_a_moment() -> None:
    for odd in ("2026-01-01", date(2026, 1, 1), None):
        with pytest.raises(EntityRowsError, match=r"not a moment \(pass a datetime\)"):
            select_all(odd)  # type: ignore[arg-type]


def test_times_beyond_the_calendar_still_have_a_span() -> None:
    rows = EntityRows.of_arrow(pa.table({"event_timestamp": pa.array([2**50, -(2**50)], pa.timestamp("s"))}))
    assert rows.span() == (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


def test_distinct_rows_in_order_of_appearance() -> None:
    one = pa.table({"k": [2, 1, 2], "t": pa.array([1, 1, 1], pa.timestamp("us", "UTC"))})
    two = pa.table({"k": pa.array([3, 1], pa.int32()), "t": pa.array([1, 1], pa.timestamp("s", "UTC"))})
    found = distinct([one, two])
    assert found["k"].to_pylist() == [2, 1, 3, 1]
    assert found["t"].type == pa.timestamp("us", "UTC")


def test_rows_with_a_null_anywhere_drop_out() -> None:
    table = pa.table({"a": [1, None, 3], "b": ["x", "y", None]})
    assert drop_null_rows(table).to_pylist() == [{"a": 1, "b": "x"}]
    assert drop_null_rows(pa.table({})).num_columns == 0
