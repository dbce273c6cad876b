"""docs/differences.md lists what the tests know of: no line more, no line less."""

from __future__ import annotations

from pathlib import Path

from tests.feast.served.differences import DIFFERENCES
from tests.feast.served.odd import ODD, STATUSES, Answer

PAGE = Path(__file__).resolve().parents[2] / "docs" / "differences.md"


def rows_of(heading: str) -> list[list[str]]:
    """The cells of the table under ``heading``, without its head."""
    section = PAGE.read_text(encoding="utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_difference_of_an_answer_has_its_row() -> None:
    listed = [(row[0], row[-1]) for row in rows_of("Answers")]
    assert sorted(listed) == sorted((each.what, "no" if each.remains else "yes") for each in DIFFERENCES.values())
    assert all(len(row) == 5 and all(row) for row in rows_of("Answers"))


def test_every_odd_request_has_its_row() -> None:
    assert rows_of("Requests") == [[odd.what, *map(shown, (odd.stock, odd.ours, odd.compat))] for odd in ODD]


def shown(answer: Answer) -> str:
    return str(answer) if isinstance(answer, int) else f"{STATUSES[answer]} `{answer}`"
