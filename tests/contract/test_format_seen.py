"""What every format makes of an earlier scan's state: new parts are read, known ones from a time on, no row is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.contract.format_cases import CASES, SECOND, CsvFolder, FormatCase, ParquetFile, read, rows
from yummy_feast.sources.base import Prune, Scan

MINUTE = 60 * SECOND


@pytest.fixture
def case(case: FormatCase) -> FormatCase:
    """Twenty rows, a minute apart, in two parts."""
    case.lay([rows(*range(10)), rows(*range(10, 20))])
    return case


def scan_of(case: FormatCase) -> Scan:
    return case.source().scan(case.context)


def ids(scan: Scan, prune: Prune | None) -> list[int]:
    return sorted(read(scan, ["id"], scan.pieces(prune))["id"].to_pylist())


def tells_parts_apart(case: FormatCase) -> bool:
    """Whether known parts are left out: their times are known, and an append leaves them as they are."""
    return not isinstance(case, ParquetFile | CsvFolder)


def test_new_parts_are_read_and_known_ones_are_not(case: FormatCase) -> None:
    state = scan_of(case).state
    assert state
    case.source().append(rows(5, 30), case.context)
    found = ids(scan_of(case), Prune("ts", 3 * MINUTE, None, seen=state, seen_start=25 * MINUTE))
    assert {5, 30} <= set(found)
    if tells_parts_apart(case):
        # 5 of the first part is as late as 5 of the new one, and was read before.
        assert found == [5, 30]
    # Of what is new, rows before the start are not wanted.
    late = ids(scan_of(case), Prune("ts", 31 * MINUTE, None, seen=state, seen_start=25 * MINUTE))
    assert late == [] or not case.has_statistics


def test_known_parts_are_read_where_they_reach_beyond_the_time(case: FormatCase) -> None:
    state = scan_of(case).state
    case.source().append(rows(40), case.context)
    found = ids(scan_of(case), Prune("ts", 0, None, seen=state, seen_start=15 * MINUTE))
    assert {15, 16, 17, 18, 19, 40} <= set(found)
    if tells_parts_apart(case):
        assert found == [*range(10, 20), 40]
    bounded = ids(scan_of(case), Prune("ts", 0, 30 * MINUTE, seen=state, seen_start=15 * MINUTE))
    assert set(range(15, 20)) <= set(bounded)
    if case.has_statistics and not isinstance(case, ParquetFile):
        assert bounded == list(range(10, 20))


def test_known_parts_may_be_wanted_from_earlier_than_new_ones(case: FormatCase) -> None:
    state = scan_of(case).state
    found = ids(scan_of(case), Prune("ts", 100 * MINUTE, None, seen=state, seen_start=12 * MINUTE))
    assert set(range(12, 20)) <= set(found)


def test_nothing_new_is_nothing_to_read(case: FormatCase) -> None:
    scan, again = scan_of(case), scan_of(case)
    assert again.state == scan.state
    nothing = Prune("ts", 0, None, seen=scan.state, seen_start=20 * MINUTE)
    assert (again.pieces(nothing) == []) is case.has_statistics


def test_a_replaced_source_is_new(case: FormatCase) -> None:
    state = scan_of(case).state
    case.source().replace(rows(*range(20)), case.context, allow_overwrite=True)
    scan = scan_of(case)
    assert scan.state != state
    assert ids(scan, Prune("ts", 0, None, seen=state, seen_start=60 * MINUTE)) == list(range(20))


def test_a_state_of_later_than_the_look_loses_nothing(case: FormatCase) -> None:
    before = scan_of(case)
    case.source().append(rows(30), case.context)
    state = scan_of(case).state
    assert state != before.state
    prune = Prune("ts", 5 * MINUTE, None, seen=state, seen_start=15 * MINUTE)
    if not isinstance(case, ParquetFile):
        assert set(range(15, 20)) <= set(ids(before, prune))


def garbage(state: str) -> list[str]:
    facts: dict[str, Any] = json.loads(state)
    changed = [
        {**facts, key: value}
        for key in facts
        for value in (None, True, -1, 2**63 - 1, 2**80, 1.5, "", "?", "AAAA", [], {})
        if value != facts[key]
    ]
    return [
        " ",
        "null",
        "[]",
        "{}",
        '"files"',
        state[:-1],
        "[" * 100_000,
        "\ud800",
        *(json.dumps(item) for item in changed),
        *(json.dumps({name: value for name, value in facts.items() if name != key}) for key in facts),
    ]


def test_a_state_that_says_nothing_leaves_nothing_out(case: FormatCase, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = case.another(tmp_path / "other")
    other.lay([rows(*range(10)), rows(*range(10, 20))])
    scan = scan_of(case)
    foreign = other.source().scan(other.context).state
    assert foreign != scan.state
    for state in (foreign, *garbage(scan.state)):
        hinted = scan.pieces(Prune("ts", 0, None, seen=state, seen_start=60 * MINUTE))
        assert read(scan, ["id"], hinted)["id"].to_pylist() == list(range(20)), state[:200]


def test_one_hint_alone_changes_nothing(case: FormatCase) -> None:
    scan = scan_of(case)
    plain = Prune("ts", 12 * MINUTE, None)
    for hinted in (
        Prune("ts", 12 * MINUTE, None, seen=scan.state),
        Prune("ts", 12 * MINUTE, None, seen_start=60 * MINUTE),
    ):
        assert ids(scan, hinted) == ids(scan, plain)
        assert 12 in ids(scan, hinted)


def test_the_number_of_a_piece_is_an_address(case: FormatCase) -> None:
    state = scan_of(case).state
    for number in range(30, 36):
        case.source().append(rows(number, number - 25), case.context)
    scan = scan_of(case)

    def prune() -> Prune:
        return Prune("ts", 0, None, {"id": pa.array(range(40))}, seen=state, seen_start=15 * MINUTE)

    first = [read(scan, ["id"], [piece]) for piece in scan.pieces(prune())]
    scan.pieces()
    again = [read(scan, ["name", "id"], [piece]).select(["id"]) for piece in scan.pieces(prune())]
    assert again == first
    other = scan_of(case)
    assert [read(other, ["id"], [piece]) for piece in other.pieces(prune())] == first
    assert set(range(15, 20)) | set(range(30, 36)) <= {i for part in first for i in part["id"].to_pylist()}


def test_a_source_without_rows_has_a_state(tmp_path: Path) -> None:
    for kind in CASES:
        folder = tmp_path / kind.name
        folder.mkdir()
        case = kind(folder)
        case.lay([rows(1).slice(0, 0)])
        state = scan_of(case).state
        case.source().append(rows(1, 2), case.context)
        assert ids(scan_of(case), Prune("ts", 0, None, seen=state, seen_start=60 * MINUTE)) == [1, 2]
