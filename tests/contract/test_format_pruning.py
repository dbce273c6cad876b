"""What a scan may leave out: never a wanted row, in any format."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.format_cases import CASES, SECOND, FormatCase, read, rows, times
from yummy_feast.sources.base import Prune, Scan

SPAN = 40


def _messy(case: FormatCase) -> list[pa.Table]:
    """Files whose times and keys overlap, with nulls in both, a file of nulls only, and an empty one."""
    tables = []
    for number in range(6):
        ids = [(number * 5 + step * 7) % SPAN for step in range(12)]
        tables.append(
            pa.table(
                {
                    "ts": times(*(None if i % 11 == 0 else i * 60 + number for i in ids)),
                    "id": pa.array([None if i % 13 == 0 else i for i in ids], pa.int64()),
                    "name": pa.array([None if i % 9 == 0 else f"name {i:02}" for i in ids], pa.string()),
                }
            )
        )
    nulls = pa.table(
        {name: pa.nulls(3, kind) for name, kind in zip(("ts", "id", "name"), tables[0].schema.types, strict=True)}
    )
    return [*tables, nulls, tables[0].slice(0, 0)]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def messy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Scan, pa.Table]:
    case: FormatCase = request.param(tmp_path_factory.mktemp("messy"))
    case.lay(_messy(case))
    scan = case.source().scan(case.context)
    return scan, read(scan)


prunes = st.builds(
    lambda start, end, ids, names: Prune(
        "ts",
        start,
        end,
        {
            **({} if ids is None else {"id": pa.array(ids, pa.int64())}),
            **({} if names is None else {"name": pa.array(names, pa.string())}),
        },
    ),
    start=st.none() | st.integers(-2 * SECOND, SPAN * 60 * SECOND + 10),
    end=st.none() | st.integers(-2 * SECOND, SPAN * 60 * SECOND + 10),
    ids=st.none() | st.lists(st.none() | st.integers(-1, SPAN + 3), max_size=4) | st.just([2**62]),
    names=st.none()
    | st.lists(st.none() | st.sampled_from([f"name {i:02}" for i in range(SPAN)] + ["", "z"]), max_size=4),
)


@given(prune=prunes)
def test_pruning_never_loses_a_wanted_row(messy: tuple[Scan, pa.Table], prune: Prune) -> None:
    scan, whole = messy

    def wanted(row: dict[str, Any]) -> bool:
        if row["ts"] is None or any(row[key] is None or row[key] not in keys for key, keys in exact.items()):
            return False
        micros = (row["ts"] - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
        return (prune.start is None or prune.start <= micros) and (prune.end is None or micros <= prune.end)

    exact = {key: set(values.to_pylist()) for key, values in prune.keys.items()}
    kept = read(scan, None, scan.pieces(prune)).to_pylist()
    assert [row for row in kept if wanted(row)] == [row for row in whole.to_pylist() if wanted(row)]


def test_pruning_skips_what_cannot_match(case: FormatCase) -> None:
    case.lay([rows(*range(25)), rows(*range(25, 50)), rows(*range(50, 55))])
    scan = case.source().scan(case.context)
    late = Prune("ts", 51 * 60 * SECOND, None)
    few = Prune("ts", None, None, {"id": pa.array([3])})
    named = Prune("ts", None, None, {"name": pa.array(["name 54"])})
    for prune, at_most in ((late, 5), (few, 25), (named, 30)):
        kept = read(scan, ["id"], scan.pieces(prune)).num_rows
        assert kept <= at_most if case.has_statistics else kept == 55
    assert scan.pieces(Prune("ts", None, None, {"id": pa.array([None], pa.int64())})) == []


@pytest.mark.parametrize("kind", ["s", "ms", "us", "ns", "us UTC", "us Asia/Tokyo", "date"], ids=str)
def test_pruning_knows_units_and_zones(case: FormatCase, kind: str) -> None:
    day = 86_400
    if kind == "date":
        stamps = times(0, 10 * day, 20 * day).cast(pa.timestamp("s")).cast(pa.date32())
    else:
        unit, _, zone = kind.partition(" ")
        stamps = times(0, 10 * day, 20 * day, kind=pa.timestamp(unit, tz=zone or None))
    case.lay([pa.table({"ts": stamps.slice(i, 1), "id": [i]}) for i in range(3)])
    scan = case.source().scan(case.context)
    exact = Prune("ts", 10 * day * SECOND, 10 * day * SECOND)
    kept = read(scan, ["id"], scan.pieces(exact))["id"].to_pylist()
    assert 1 in kept
    if case.has_statistics and case.name != "parquet-file":
        assert kept == [1]
    just_after = Prune("ts", 10 * day * SECOND + 2_000, None)
    assert 2 in read(scan, ["id"], scan.pieces(just_after))["id"].to_pylist()
