"""Model servers side by side: ours and `mlflow models serve`, with the bare calls as the floor.

python benchmarks/models.py --help
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import models_entities
from benchmarks.features_servers import Server, free_port, start
from benchmarks.measure import ROOT, machine, megabytes, run_alone, table
from benchmarks.mlflow_environment import environment, mlflow_python
from benchmarks.models_data import KINDS, bodies, names

PACKAGES = ("lightgbm", "catboost", "uvicorn", "uvloop", "httptools", "msgspec", "numpy")
TITLES = {"yummy": "yummy models serve", "mlflow": "mlflow models serve"}
MAIN = "import sys; from yummy_feast.cli import main; sys.exit(main())"
# Times MLflow's answers a second at 8 connections, of single rows.
AT_LEAST = {"lightgbm": 40.0, "catboost": 25.0}
SLOWEST, LARGEST = 0.002, 300e6


@dataclass(frozen=True, slots=True)
class Size:
    """rows in a request; ``rate`` a second, or None for as fast as the connections go."""

    kind: str
    rows: int
    connections: int
    rate: float | None = None

    @property
    def title(self) -> str:
        how = f"c={self.connections}" if self.rate is None else f"{self.rate:g} rps"
        return f"{self.kind}, {self.rows} row{'s' if self.rows > 1 else ''}, {how}"


@dataclass(slots=True)
class Cell:
    """A size, and per server the figures of each round; wrong: what was wrong with an answer."""

    size: Size
    rounds: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)

    def median(self, name: str, figure: str) -> float | None:
        found = [one[figure] for one in self.rounds.get(name, ()) if one.get(figure) is not None]
        return None if name in self.wrong or not found else statistics.median(found)


def sizes(rates: Sequence[float]) -> list[Size]:
    closed = [Size(kind, rows, links) for kind in KINDS for rows in (1, 100) for links in (1, 8, 32)]
    return closed + [Size(kind, 1, 8, rate) for kind in KINDS for rate in rates]


@contextmanager
def running(folder: Path, contenders: Sequence[str], workers: int) -> Iterator[dict[tuple[str, str], Server]]:
    """The servers by (contender, kind of model)."""
    first = (folder / "1.txt").read_bytes().partition(b"\n")[0]
    with ExitStack() as until:
        servers = {}
        for contender in contenders:
            for kind in KINDS:
                port = free_port()
                shared = ["serve", "-m", str(folder / kind), "-p", str(port), "--workers", str(workers)]
                if contender == "yummy":
                    command = [sys.executable, "-c", MAIN, "models", *shared]
                    server = start(f"yummy-{kind}", command, port, folder, {"PYTHONPATH": str(ROOT)})
                else:
                    command = [str(mlflow_python()), "-m", "mlflow", "models", *shared, "--env-manager", "local"]
                    path = str(mlflow_python().parent)
                    added = {"PYTHONPATH": "", "PATH": f"{path}:{environment()['PATH']}"}
                    server = start(f"mlflow-{kind}", command, port, folder, added)
                until.callback(server.stop)
                server.path = "/invocations"
                servers[contender, kind] = server
        for server in servers.values():
            server.wait(first)
        yield servers


def run(server: Server, size: Size, folder: Path, expected: Sequence[float], seconds: float) -> dict[str, Any]:
    """The figures of one load. complaint: what is wrong with the answers that were kept."""
    given = {"port": server.port, "path": "/invocations", "bodies": str(folder / f"{size.rows}.txt")}
    given |= {"connections": size.connections, "seconds": seconds, "rate": size.rate}
    before = server.processor_seconds()
    found = run_alone("benchmarks.models_load", json.dumps(given), timeout=seconds * 3 + 120)
    worked = server.processor_seconds() - before
    complaints = [complaint(answer, size, expected) for answer in found.pop("answers")]
    found["complaint"] = next((one for one in complaints if one), None)
    found["processor"] = worked / found["sent"] * 1000 if found["sent"] else None
    found["resident"] = server.resident()
    return found


def complaint(answer: Sequence[Any], size: Size, expected: Sequence[float]) -> str | None:
    """What is wrong with an answer; None if it is what the model's own package predicts."""
    index, body = answer
    try:
        predictions = json.loads(body)["predictions"]
    except (ValueError, KeyError, TypeError):
        return f"is no answer: {body[:200]!r}"
    wanted = expected[index * size.rows : (index + 1) * size.rows]
    if len(predictions) != len(wanted) or any(abs(a - b) > 1e-12 for a, b in zip(predictions, wanted, strict=True)):
        return f"predicts {predictions[:3]}, the model itself {wanted[:3]}"
    return None


def measure(options: argparse.Namespace, folder: Path, made: dict[str, Any]) -> Iterator[Cell]:
    with running(folder, options.contenders, options.workers) as servers:
        for size in sizes(options.rates):
            cell = Cell(size)
            for _ in range(options.rounds):
                for name in options.contenders:
                    # Who cannot keep up takes minutes to show it again.
                    if any(one["answered"] < one["requests"] / 2 for one in cell.rounds.get(name, [])):
                        continue
                    expected = made[size.kind]["predictions"]
                    found = run(servers[name, size.kind], size, folder, expected, options.seconds)
                    if found["complaint"]:
                        cell.wrong[name] = found["complaint"]
                    cell.rounds.setdefault(name, []).append(found)
            rates = (f"{name} {cell.median(name, 'rate') or 0:,.0f}/s" for name in cell.rounds)
            print(f"{size.title}: {', '.join(rates)}", file=sys.stderr)
            yield cell


HEAD = ("", "answers/s", "p50 ms", "p99 ms", "answered", "CPU s per 1,000", "memory")


def lines(cells: Sequence[Cell]) -> list[list[str]]:
    found = []
    for cell in cells:
        found.append([cell.size.title, *[""] * (len(HEAD) - 1)])
        for name in cell.rounds:
            if name in cell.wrong:
                found.append([f"  {TITLES[name]}", "WRONG", *[""] * (len(HEAD) - 2)])
                continue
            share = statistics.median(one["answered"] / one["requests"] for one in cell.rounds[name])
            milliseconds = [cell.median(name, figure) for figure in ("p50", "p99")]
            found.append(
                [
                    f"  {TITLES[name]}",
                    f"{cell.median(name, 'rate') or 0:,.0f}",
                    *("-" if one is None else f"{one * 1000:.2f}" for one in milliseconds),
                    f"{share * 100:.4g} %",
                    f"{cell.median(name, 'processor') or 0:.3f}",
                    megabytes(cell.median(name, "resident") or 0),
                ]
            )
    return found


def verdicts(cells: Sequence[Cell]) -> list[tuple[bool, str]]:
    """What is promised of one worker, and whether it was kept."""
    found = []
    for cell in cells:
        size = cell.size
        ours, theirs = cell.median("yummy", "rate"), cell.median("mlflow", "rate")
        if (size.rows, size.connections, size.rate) == (1, 8, None) and ours and theirs:
            times, least = ours / theirs, AT_LEAST[size.kind]
            found.append((times >= least, f"{size.title}: {times:.1f} times MLflow's answers (at least {least:g})"))
            memory = cell.median("yummy", "resident") or 0
            if size.kind == "lightgbm":
                found.append((memory < LARGEST, f"{size.title}: {megabytes(memory)} (less than {megabytes(LARGEST)})"))
        slow = cell.median("yummy", "p99")
        if size.rate == 1000 and slow is not None:
            found.append((slow < SLOWEST, f"{size.title}: p99 {slow * 1000:.2f} ms (less than {SLOWEST * 1000:g} ms)"))
    return [(kept, f"{'kept' if kept else 'MISSED'}: {text}") for kept, text in found]


def draw(cells: Sequence[Cell], file: Path) -> None:
    """Answers a second of the closed loops."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    closed = [cell for cell in cells if cell.size.rate is None]
    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    contenders = list(dict.fromkeys(name for cell in closed for name in cell.rounds))
    for at, name in enumerate(contenders):
        places = [place + at * 0.4 for place in range(len(closed))]
        bars = axes.bar(places, [cell.median(name, "rate") or 0 for cell in closed], 0.38, label=TITLES[name])
        axes.bar_label(bars, fmt="{:,.0f}", fontsize=7)
    middles = [place + 0.2 for place in range(len(closed))]
    axes.set_xticks(middles, [cell.size.title for cell in closed], rotation=40, ha="right")
    axes.set_yscale("log")
    axes.set_ylabel("answers a second")
    axes.legend()
    figure.savefig(file)
    plt.close(figure)


def parse(given: Sequence[str] | None) -> argparse.Namespace:
    example = "example: benchmarks/models.py --rounds 1"
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], epilog=example)
    parser.add_argument("--contenders", default="yummy,mlflow", help="of yummy,mlflow (%(default)s)")
    parser.add_argument("--cases", default="servers,entities", help="of servers,entities (%(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="worker processes of each server (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of everybody in each size (%(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each turn (%(default)s)")
    parser.add_argument("--rates", default="10,100,300,1000", help="requests a second of the open loop (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--picture", type=Path, help="also draw the answers a second into this file (.png or .svg)")
    options = parser.parse_args(given)
    options.contenders, options.cases = options.contenders.split(","), options.cases.split(",")
    for case in options.cases:
        if case not in ("servers", "entities"):
            parser.error(f"--cases {case}: there are servers, entities")
    for name in options.contenders:
        if name not in TITLES:
            parser.error(f"--contenders {name}: there are {', '.join(TITLES)}")
    options.rates = [float(rate) for rate in options.rates.split(",") if rate]
    return options


def main(given: Sequence[str] | None = None) -> int:
    options = parse(given)
    code = servers(options) if "servers" in options.cases else 0
    if "entities" in options.cases:
        entity_lines, kept = models_entities.report(options.rounds, options.seconds)
        if options.json:
            print(json.dumps({"lines": entity_lines, "floors": [line for _, line in kept]}, indent=2))
        else:
            print("\n" + table(models_entities.HEAD, entity_lines), *(line for _, line in kept), sep="\n")
    return code


def servers(options: argparse.Namespace) -> int:
    """The case without features. 1 for a wrong answer."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        made = run_alone("benchmarks.models_data", temporary, timeout=600)
        for size in (1, 100):
            bodies(folder / f"{size}.txt", size, names())
        cells = list(measure(options, folder, made))
    kept = verdicts(cells) if options.workers == 1 else []
    bare = {kind: made[kind]["bare"] for kind in KINDS}
    if options.json:
        figures = ("rate", "p50", "p99", "processor", "resident")
        told = [
            {
                "size": cell.size.title,
                **{name: {figure: cell.median(name, figure) for figure in figures} for name in cell.rounds},
                "wrong": cell.wrong,
            }
            for cell in cells
        ]
        floors = [{"kept": is_kept, "line": line} for is_kept, line in kept]
        print(json.dumps({"machine": machine(*PACKAGES), "bare": bare, "cells": told, "floors": floors}, indent=2))
    else:
        print(f"POST /invocations, 50 numbers, 100 trees, {options.workers} worker(s), medians of {options.rounds}.")
        print(f"{machine(*PACKAGES)}; MLflow in an environment of its own\n")
        print(table(HEAD, lines(cells)))
        for kind, rates in bare.items():
            told = f"{rates['library']:,.0f} rows/s by its own package, {rates['ours']:,.0f} by ours"
            print(f"without a server, {kind}: {told}")
        print(*(line for _, line in kept), sep="\n")
    if options.picture:
        draw(cells, options.picture)
    for cell in cells:
        for name, what in cell.wrong.items():
            print(f"WRONG: {cell.size.title}: {TITLES[name]}: {what}", file=sys.stderr)
    return 1 if any(cell.wrong for cell in cells) else 0


if __name__ == "__main__":
    sys.exit(main())
