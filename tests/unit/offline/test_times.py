"""Instants in int64: exact bounds, whatever the units."""

from datetime import UTC, date, datetime
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yummy_feast.errors import ColumnTypeError
from yummy_feast.offline.times import (
    MISSING,
    PER_SECOND,
    instants,
    newest_allowed,
    oldest_allowed,
    show,
    to_micros,
    unit_of,
    utc,
)

UNITS = st.sampled_from(list(PER_SECOND))


@given(
    st.integers(-(10**15), 10**15),
    st.sampled_from(["us", "ns"]),
    st.integers(-(10**15), 10**15),
    UNITS,
    st.integers(0, 10**12),
)
def test_bounds_decide_exactly_as_fractions_do(entity, entity_unit, feature, unit, ttl):
    at = Fraction(entity, PER_SECOND[entity_unit])
    seen = Fraction(feature, PER_SECOND[unit])
    row = np.array([entity], np.int64)
    assert (feature <= newest_allowed(row, entity_unit, unit)[0]) == (seen <= at)
    assert (feature >= oldest_allowed(row, entity_unit, unit, ttl)[0]) == (seen >= at - Fraction(ttl, 10**6))


@given(st.integers(-(10**9), 10**9), st.sampled_from(["s", "ms"]), st.integers(0, 10**7))
def test_coarse_entity_times_keep_a_fine_ttl(entity, unit, ttl):
    oldest = oldest_allowed(np.array([entity], np.int64), unit, "us", ttl)[0]
    assert oldest == entity * (10**6 // PER_SECOND[unit]) - ttl


def test_far_times_clip_instead_of_wrapping():
    year_9999 = np.array([253_370_764_800_000_000], np.int64)
    assert newest_allowed(year_9999, "us", "ns")[0] > 2**62
    assert oldest_allowed(-year_9999, "us", "ns", 10**18)[0] < -(2**62)
    assert oldest_allowed(year_9999, "us", "us", 2**63)[0] == MISSING + 1


@pytest.mark.parametrize("unit", list(PER_SECOND))
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_instants_of_every_unit_and_zone(unit, zone):
    moment = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    column = pa.array([moment, None], pa.timestamp("us", "UTC")).cast(pa.timestamp(unit, zone))
    assert instants(column, "ns").tolist() == [int(moment.timestamp()) * 10**9, MISSING]
    assert utc(column).to_pylist()[0] == moment


def test_dates_are_midnight_utc():
    column = pa.chunked_array([pa.array([date(2020, 1, 2), None], pa.date32())])
    assert instants(column, "us").tolist() == [1_577_923_200_000_000, MISSING]
    assert instants(column.cast(pa.date64())).tolist() == [1_577_923_200_000, MISSING]


def test_to_micros_rounds_the_way_it_is_told():
    values = np.array([1_001, -1_001, MISSING], np.int64)
    assert to_micros(values, "ns").tolist() == [1, -2, MISSING]
    assert to_micros(values, "ns", up=True).tolist() == [2, -1, MISSING]
    assert to_micros(values, "ms").tolist() == [1_001_000, -1_001_000, MISSING]


def test_a_column_without_times_is_named():
    with pytest.raises(ColumnTypeError, match="column 'when' holds string"):
        unit_of("when", pa.string())


def test_show_is_for_people():
    assert show(MISSING) == "the beginning"
    assert show(0) == "1970-01-01 00:00:00+00:00"
    assert show(10**18).endswith("us since 1970")
