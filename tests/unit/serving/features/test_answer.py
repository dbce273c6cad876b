"""The JSON of an answer: equal to what Feast's own function makes of the same answer, cell by cell."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from feast.feature_server_utils import convert_response_to_dict
from hypothesis import given
from hypothesis import strategies as st

from tests import stored_values
from tests.unit.online import samples
from yummy_feast.errors import ValueTypeError
from yummy_feast.online.answer import Heading, OnlineFeatures, Rows, Status
from yummy_feast.online.response import build_proto
from yummy_feast.serving.features.answer import Rendering
from yummy_feast.values import KINDS

PRESENT, MISSING, OLD = Status.PRESENT.value, Status.NOT_FOUND.value, Status.OUTSIDE_MAX_AGE.value
TIME = 1_700_000_000_123_456
# Feast writes null for it, see test_json_values.
TYPES = [name for name in samples.PYTHON if name != "scalar_map"]


def rendered(answer: OnlineFeatures, **options: bool) -> Any:
    return json.loads(Rendering(answer.heading).render(answer, **options))


def feast_s(answer: OnlineFeatures, **options: bool) -> Any:
    return json.loads(json.dumps(convert_response_to_dict(build_proto(answer, **options)), allow_nan=False))


def of(
    columns: list[tuple[str, int, int, list[Any]]], rows: list[Rows], views: tuple[tuple[str, int], ...] = ()
) -> OnlineFeatures:
    """columns: (name, kind, which rows, stored values)."""
    length = len(columns[0][3])
    heading = Heading.of([column[:3] for column in columns], views)
    return OnlineFeatures(heading, [column[3] for column in columns], [Rows.given(length), *rows], length)


@pytest.mark.parametrize("at", [*range(4), None])
def test_every_type_with_a_null_in_it(at: int | None) -> None:
    """A row alone is written in another way than rows together."""
    columns = [("driver_id", 4, 0, [1, 2, 3, 4])]
    columns += [(name, samples.value_type(name).value, 1, samples.stored(name)) for name in TYPES]
    if at is not None:
        columns = [(name, kind, rows, [values[at]]) for name, kind, rows, values in columns]
    length = len(columns[0][3])
    answer = of(columns, [Rows([PRESENT] * length, [TIME + row for row in range(length)])])
    assert rendered(answer) == feast_s(answer)
    statuses = rendered(answer)["results"][1]["statuses"]
    assert statuses[-1] == ("NULL_VALUE" if at in (3, None) else "PRESENT")


@pytest.mark.parametrize("length", [1, 3])
def test_statuses_and_times_are_those_of_the_view(length: int) -> None:
    views = [
        Rows([PRESENT, MISSING, OLD][:length], [TIME, 0, TIME - 1][:length]),
        Rows([OLD, OLD, PRESENT][:length], [5_000_000, 5_000_000, 5_000_000][:length]),
        Rows([MISSING] * length, [0] * length),
    ]
    columns = [
        ("key", 2, 0, ["a", 'null, "b"', "c"][:length]),
        ("x", 4, 1, [1, None, 3][:length]),
        ("y", 5, 1, [0.5, None, None][:length]),
        ("u", 2, 1, ["null", None, ""][:length]),
        ("z", 7, 2, [True, False, True][:length]),
        ("v", 5, 2, [math.nan, -math.inf, 1e300][:length]),
        ("w", 4, 3, [None] * length),
    ]
    answer = of(columns, views, (("stats", 0), ("more", 2)))
    assert rendered(answer) == feast_s(answer)
    assert rendered(answer, versions=True) == feast_s(answer, version_metadata=True)
    by_name = dict(zip(rendered(answer)["metadata"]["feature_names"], rendered(answer)["results"], strict=True))
    assert by_name["key"]["event_timestamps"] == ["1970-01-01T00:00:00Z"] * length
    assert by_name["z"]["event_timestamps"] == ["1970-01-01T00:00:05Z"] * length
    assert by_name["v"]["values"] == ["NaN", "-Infinity", 1e300][:length]


@given(st.data())
def test_any_answer_is_feast_s(data: st.DataObject) -> None:
    length = data.draw(st.integers(1, 4))
    count = data.draw(st.integers(1, 3))
    times = st.integers(-(10**15), 4 * 10**15)
    rows = [
        Rows(
            data.draw(st.lists(st.sampled_from([PRESENT, MISSING, OLD]), min_size=length, max_size=length)),
            data.draw(st.lists(times, min_size=length, max_size=length)),
        )
        for _ in range(count)
    ]
    columns: list[tuple[str, int, int, list[Any]]] = [("key", 4, 0, list(range(length)))]
    for number in data.draw(st.lists(st.sampled_from(sorted(KINDS)), max_size=6)):
        kind = KINDS[number]
        if kind.name in ("NULL", "SCALAR_MAP"):
            continue
        values = st.lists(st.none() | stored_values.stored(kind), min_size=length, max_size=length)
        place = data.draw(st.integers(0, count))
        there = [place == 0 or status != MISSING for status in rows[place - 1].statuses]
        column = [value if is_there else None for value, is_there in zip(data.draw(values), there, strict=True)]
        columns.append((f"f{len(columns)}", number, place, column))
    answer = of(columns, rows)
    assert stored_values.same(rendered(answer), feast_s(answer))


def test_an_answer_without_columns() -> None:
    answer = OnlineFeatures(Heading.of([]), [], [Rows.given(1)], 1)
    assert rendered(answer) == {"metadata": {"feature_names": []}, "results": []}


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 11, 20, 12, 0, 7, tzinfo=UTC), "2026-11-20T12:00:07Z"),
        (datetime(2026, 11, 20, 12, 0, 7, 250_000, tzinfo=UTC), "2026-11-20T12:00:07.250Z"),
        (datetime(2026, 11, 20, 12, 0, 7, 1, tzinfo=UTC), "2026-11-20T12:00:07.000001Z"),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), "1969-12-31T23:59:59.999999Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00Z"),
    ],
)
def test_moments(moment: datetime, text: str) -> None:
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    time = (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
    answer = of([("x", 4, 1, [1, 2])], [Rows([PRESENT] * 2, [time, 0])])
    assert rendered(answer)["results"][0]["event_timestamps"] == [text, "1970-01-01T00:00:00Z"]


def test_damage_is_an_error() -> None:
    with pytest.raises(ValueTypeError, match="outside the years 1 to 9999"):
        rendered(of([("x", 4, 1, [1])], [Rows([PRESENT], [2**62])]))
    with pytest.raises(ValueTypeError, match="no Feast value"):
        rendered(of([("x", 20, 1, [b"\xff"])], [Rows([PRESENT], [TIME])]))
