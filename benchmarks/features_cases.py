"""What the feature servers' benchmark measures, and what is promised about it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.features_data import Spread

MILLION = 1e6


@dataclass(frozen=True, slots=True)
class Size:
    """A request, and how it is sent: ``rate`` a second, or None for as fast as the connections go."""

    entities: int
    features: int
    connections: int
    rate: float | None = None
    views: int = 0

    @property
    def spread(self) -> Spread:
        """Ten features in a view, as in the original benchmark, where nothing else is said."""
        return Spread(self.features, self.views or self.features // 10)

    @property
    def title(self) -> str:
        size = f"{self.entities} x {self.features}"
        if self.views:
            size += f" in {self.views}"
        return f"{size}, c={self.connections}" if self.rate is None else f"{size}, {self.rate:g} rps"


@dataclass(slots=True)
class Cell:
    """A size, and per contender the figures of each round; wrong: what was wrong with an answer."""

    case: str
    size: Size
    rounds: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)

    def median(self, name: str, figure: str) -> float | None:
        """None for who has no figures."""
        found = [one[figure] for one in self.rounds.get(name, ()) if one.get(figure) is not None]
        return None if name in self.wrong or not found else statistics.median(found)

    def ratio(self, name: str, other: str) -> float | None:
        """Answers a second, compared: the median of the rounds, in each of which both had their turn one soon after
        the other."""
        if name in self.wrong or other in self.wrong:
            return None
        pairs = zip(self.rounds.get(name, ()), self.rounds.get(other, ()), strict=False)
        found = [ours["rate"] / theirs["rate"] for ours, theirs in pairs if theirs["rate"]]
        return statistics.median(found) if found else None

    def answered(self, name: str) -> float | None:
        """The share of all requests of all rounds that was answered with status 200."""
        rounds = self.rounds.get(name)
        if not rounds or name in self.wrong:
            return None
        asked = sum(one["requests"] for one in rounds)
        return sum(one["answered"] for one in rounds) / asked if asked else 0.0


# One connection and several, as the promises have it.
FLOORS = (Size(1, 50, 1), Size(1, 50, 8), Size(100, 250, 2))
_TENS = range(10, 101, 10)


def sweep() -> list[Size]:
    """The original benchmark: five connections, requests at a constant rate. No cell twice."""
    axes = [
        *((entities, 50, 10) for entities in (1, *_TENS)),
        *((1, features, 10) for features in range(50, 251, 50)),
        *((1, 50, rate) for rate in (*_TENS, *range(100, 1001, 100))),
        *((entities, features, rate) for entities, features in ((1, 250), (100, 50), (100, 250)) for rate in _TENS),
    ]
    return [Size(entities, features, 5, float(rate)) for entities, features, rate in dict.fromkeys(axes)]


def few() -> list[Size]:
    """The corners of the sweep."""
    corners = [(1, 50, 10), (1, 50, 100), (1, 50, 1000), (1, 250, 100), (100, 50, 100), (100, 250, 10), (100, 250, 100)]
    return [Size(entities, features, 5, float(rate)) for entities, features, rate in corners]


def matrix() -> list[Size]:
    return [
        Size(entities, features, 8 if entities <= 10 else 2, views=views)
        for entities in (1, 10, 100, 500)
        for features in (50, 250)
        for views in (1, 5, 25)
    ]


# Of "hello world", by connections at 1 x 50.
OF_HELLO = {1: 0.42, 8: 0.33}
# Times `feast serve`, by entities, features and connections.
OF_FEAST = {(1, 50, 8): 60.0, (100, 250, 2): 60.0}
OF_ROWS = 0.4
# Entities x features -> seconds of the 99th percentile.
SMALL, SMALL_P99 = 5_000, 0.004
LARGEST, LARGEST_P99 = (100, 250), 0.010
# Seconds of the load's own lateness from which latencies say little about a server.
BUSY = 0.001
MEMORY = 250 * MILLION
# Growth from the first round to the last that still counts as flat.
GROWTH = 1.05


def verdicts(cells: Sequence[Cell]) -> list[tuple[bool, str]]:
    """What is promised about cells that were measured, with one worker."""
    found: list[tuple[bool, str]] = []
    for cell in cells:
        size = (cell.size.entities, cell.size.features, cell.size.connections)
        if cell.case == "floors":
            if (cell.size.entities, cell.size.features) == (1, 50):
                _ratio(found, cell, "rows", "hello", OF_HELLO.get(cell.size.connections))
                _ratio(found, cell, "layout-feast", "rows", OF_ROWS)
            _ratio(found, cell, "rows", "feast", OF_FEAST.get(size))
        if cell.case == "sweep":
            _latency(found, cell)
    _all_answered(found, [cell for cell in cells if cell.case == "sweep"])
    _memory(found, cells)
    return found


def _tell(found: list[tuple[bool, str]], kept: bool, line: str) -> None:
    found.append((kept, f"{'kept' if kept else 'MISSED'}: {line}"))


_NAMES = {"rows": "yummy", "layout-feast": "yummy on Feast's rows", "hello": "a hello world", "feast": "feast serve"}


def _ratio(found: list[tuple[bool, str]], cell: Cell, name: str, other: str, floor: float | None) -> None:
    ratio = cell.ratio(name, other)
    if floor is not None and ratio is not None:
        line = f"{cell.size.title}: {_NAMES[name]} answers {ratio:.2f} times as many as {_NAMES[other]}"
        _tell(found, ratio >= floor, f"{line}, promised {floor:g}")


def _latency(found: list[tuple[bool, str]], cell: Cell) -> None:
    size = cell.size
    limit = SMALL_P99 if size.entities * size.features <= SMALL else None
    if (size.entities, size.features) == LARGEST:
        limit = LARGEST_P99
    late = cell.median("rows", "p99")
    if limit is not None and late is not None:
        line = f"{size.title}: p99 is {late * 1000:.2f} ms, promised less than {limit * 1000:g} ms"
        own = cell.median("rows", "late") or 0.0
        busy = f"; the machine is busy, the load itself comes {own * 1000:.1f} ms late" if own > BUSY else ""
        _tell(found, late < limit, line + busy)


def _all_answered(found: list[tuple[bool, str]], cells: Sequence[Cell]) -> None:
    shares = {cell.size.title: share for cell in cells if (share := cell.answered("rows")) is not None}
    if shares:
        missing = [f"{title} ({share:.2%})" for title, share in shares.items() if share < 1]
        line = f"{len(shares) - len(missing)} of {len(shares)} sizes of the sweep are answered to 100 %, promised all"
        _tell(found, not missing, f"{line}; not {', '.join(missing)}" if missing else line)


def _memory(found: list[tuple[bool, str]], cells: Sequence[Cell]) -> None:
    """Of both layouts; the rounds of a cell are the same work again and again, so that growth would be seen."""
    for name in ("rows", "layout-feast"):
        rounds = [one["resident"] for cell in cells for one in cell.rounds.get(name, ())]
        if rounds:
            line = f"{_NAMES[name]} takes {max(rounds) / MILLION:.0f} MB in a worker"
            _tell(found, max(rounds) < MEMORY, f"{line}, promised less than {MEMORY / MILLION:.0f} MB")
        growths = [
            runs[-1]["resident"] / runs[0]["resident"] for cell in cells if len(runs := cell.rounds.get(name, [])) > 1
        ]
        if growths:
            line = f"{_NAMES[name]}: memory grows by {max(growths) - 1:.1%} at most while a size is repeated"
            _tell(found, max(growths) < GROWTH, f"{line}, promised less than {GROWTH - 1:.0%}")
