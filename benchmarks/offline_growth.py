"""How a contender's time grows from one size to the next, when sizes grow tenfold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from benchmarks.measure import table
from benchmarks.offline_data import Shape

LINEAR = 1.2
"""How much more than linearly the Spark engine's time may grow: ten times the rows, at most twelve times the time."""

Seconds = Mapping[str, float]
"""What each contender with a right answer took."""


def sizes(rows: Sequence[int], entities: Sequence[int], rest: Shape) -> list[Shape]:
    """The shapes to measure, one after the other. Both lists have as many numbers as there are sizes, or one.

    Raises:
        ValueError: the lists are of different lengths.
    """
    count = max(len(rows), len(entities))
    if {len(rows), len(entities)} - {1, count}:
        raise ValueError(f"--rows has {len(rows)} sizes and --entities {len(entities)}: give as many, or one")
    pairs = zip(_stretched(rows, count), _stretched(entities, count), strict=True)
    return [replace(rest, rows=row, entities=entity) for row, entity in pairs]


def _stretched(numbers: Sequence[int], count: int) -> list[int]:
    return [*numbers] * count if len(numbers) == 1 else [*numbers]


def growth(titles: Mapping[str, str], shapes: Sequence[Shape], seconds: Sequence[Seconds]) -> str:
    """A table: seconds per contender and size, and in brackets how many times the size before took."""
    head = ["entity rows", *(f"{shape.entities:,}" for shape in shapes)]
    lines = [["rows a view", *(f"{shape.rows:,}" for shape in shapes)]]
    for name, title in titles.items():
        cells = []
        for number, found in enumerate(seconds):
            before = seconds[number - 1].get(name) if number else None
            grown = f" (x {found[name] / before:.1f})" if before and name in found else ""
            cells.append(f"{found[name]:.2f} s{grown}" if name in found else "-")
        lines.append([title, *cells])
    return table(head, lines)


def judged(name: str, shapes: Sequence[Shape], seconds: Sequence[Seconds]) -> list[tuple[bool, str]]:
    """For each step: whether time grew no worse than linearly, and by how much."""
    found = []
    for number in range(1, len(shapes)):
        smaller, larger = shapes[number - 1 : number + 1]
        if name in seconds[number - 1] and name in seconds[number]:
            rows = max(larger.rows / smaller.rows, larger.entities / smaller.entities)
            time = seconds[number][name] / seconds[number - 1][name]
            most = LINEAR * rows
            words = f"{name}: {rows:g} times the rows took {time:.2f} times as long (at most {most:g})"
            found.append((time <= most, words))
    return found
