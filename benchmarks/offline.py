"""Historical features: this offline store beside Feast's own and a join by hand, on the same files in the same run.

python benchmarks/offline.py --help
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import ContenderError, Usage, gigabytes, machine, median, run_alone, table
from benchmarks.offline_answer import Verdict, answer, judge, prove, read_arrow
from benchmarks.offline_contenders import CONTENDERS
from benchmarks.offline_data import WARM_UP, Shape, prepare
from benchmarks.offline_growth import growth, judged, sizes

PACKAGES = ("feast", "duckdb", "pyarrow", "pandas", "numpy")


@dataclass(slots=True)
class Outcome:
    """A contender's runs, what was wrong with its answers, and how it failed if it did."""

    name: str
    runs: list[Usage] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    failure: str = ""

    @property
    def worst(self) -> Verdict:
        return max(
            self.verdicts, key=lambda verdict: (verdict.lost, verdict.extra, verdict.different, not verdict.ordered)
        )

    @property
    def counts(self) -> bool:
        """Whether its figures may be shown: it answered right, or it is known that it cannot and the table says so."""
        return not self.failure and (self.worst.right or bool(CONTENDERS[self.name].wrong))


def measure(names: Sequence[str], shape: Shape, folder: Path, repeat: int, timeout: float) -> list[Outcome]:
    """Every contender ``repeat`` times, taking turns, so that a slow minute of the machine hits all of them."""
    data, warm_up = prepare(shape, folder), prepare(WARM_UP, folder)
    right = answer(shape, data)
    asked = prove(shape, data, right)
    print(f"the sorted answer agrees with the naive oracle on {asked:,} random entity rows", file=sys.stderr)
    outcomes = {name: Outcome(name) for name in names}
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        result = Path(scratch, "result.arrow")
        for turn in range(repeat):
            for name, outcome in outcomes.items():
                contender = CONTENDERS[name]
                if outcome.failure or turn >= contender.repeats:
                    continue
                print(f"turn {turn + 1} of {repeat}: {contender.title}", file=sys.stderr)
                paths = (str(data), str(warm_up), str(result))
                try:
                    usage = run_alone("benchmarks.offline_contenders", name, *paths, timeout=timeout)
                except ContenderError as error:
                    outcome.failure = str(error)
                    continue
                outcome.runs.append(Usage(**usage))
                outcome.verdicts.append(judge(read_arrow(result), right))
    return list(outcomes.values())


def medians(outcomes: Sequence[Outcome]) -> dict[str, Usage]:
    """By contender, of those whose figures count."""
    return {outcome.name: median(outcome.runs) for outcome in outcomes if outcome.counts}


def lines(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """The table's lines; what the others are compared with is ours where it takes part, else the Spark engine."""
    shown = medians(outcomes)
    ours = shown.get("ours") or shown.get("spark")
    rows = []
    for outcome in outcomes:
        contender = CONTENDERS[outcome.name]
        if not outcome.counts:
            rows.append([contender.title, "-", "-", "-", "-", "-", *shortcomings(outcome)])
            continue
        usage = shown[outcome.name]
        rows.append(
            [
                contender.title,
                f"{usage.seconds:.2f} s" + (f" ({len(outcome.runs)})" if len(outcome.runs) > 1 else ""),
                f"{usage.seconds / ours.seconds:.2f}" if ours else "-",
                gigabytes(usage.peak),
                f"{usage.peak / ours.peak:.2f}" if ours else "-",
                gigabytes(usage.before),
                *shortcomings(outcome),
            ]
        )
    return rows


def shortcomings(outcome: Outcome) -> list[str]:
    """Rows lost, rows different, and what else there is to say."""
    if outcome.failure:
        return ["-", "-", f"no answer: {outcome.failure}"]
    worst = outcome.worst
    wrong = CONTENDERS[outcome.name].wrong or "WRONG ANSWER, no figures"
    remarks = ["equals the oracle's" if worst.right else wrong]
    if worst.extra:
        remarks.append(f"{worst.extra:,} rows too many")
    if not worst.ordered:
        remarks.append("order lost")
    return [f"{worst.lost:,}", f"{worst.different:,}", "; ".join(remarks)]


@dataclass(frozen=True, slots=True)
class Floor:
    """What this project promises about one figure beside another contender's: ``words`` with the ratio put in.
    mine: whose figure.
    """

    other: str
    figure: str
    words: str
    at_least: float = 0
    at_most: float = float("inf")
    mine: str = "ours"

    def line(self, ours: Usage, other: Usage) -> tuple[bool, str]:
        mine, theirs = getattr(ours, self.figure), getattr(other, self.figure)
        seen = theirs / mine if self.at_least else mine / theirs
        bound = f"at least {self.at_least:g}" if self.at_least else f"at most {self.at_most:g}"
        return promise(self.at_least <= seen <= self.at_most, f"{self.words.format(f'{seen:.2f}')} ({bound})")


FLOORS = (
    Floor("feast-duckdb", "seconds", "{} times faster than Feast's duckdb store", at_least=1.8),
    Floor("feast-dask", "seconds", "{} times faster than Feast's dask store", at_least=25),
    Floor("plain-asof", "seconds", "{} of the time of a plain ASOF join", at_most=1.6),
    Floor("feast-duckdb", "peak", "{} of the peak memory of Feast's duckdb store", at_most=0.7),
    Floor("feast-spark", "seconds", "engine: spark {} times faster than Feast's Spark store", at_least=3, mine="spark"),
)


def promise(kept: bool, words: str) -> tuple[bool, str]:
    return kept, f"{'kept' if kept else 'MISSED'}: {words}"


def floors(outcomes: Sequence[Outcome]) -> list[tuple[bool, str]]:
    """Each promise that this run can tell about: whether it was kept, and the line to print."""
    shown = medians(outcomes)
    found = [
        floor.line(shown[floor.mine], shown[floor.other])
        for floor in FLOORS
        if floor.mine in shown and floor.other in shown
    ]
    for outcome in outcomes:
        if outcome.name == "ours-1gb":
            peak = f" (peak {gigabytes(shown[outcome.name].peak)})" if outcome.counts else ""
            found.append(promise(outcome.counts, f"completes under memory_limit: 1GB{peak}"))
    return found


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        epilog="examples: --engines ours,feast-duckdb --repeat 3; with Java,"
        " --engines ours,spark,feast-spark --entities 500,5000,50000,500000",
    )
    standard = Shape()
    several = "; several with commas: one size after the other"
    parser.add_argument(
        "--rows", type=_numbers, default=[standard.rows], help=f"rows per feature view ({standard.rows}{several})"
    )
    parser.add_argument(
        "--entities", type=_numbers, default=[standard.entities], help=f"entity rows ({standard.entities}{several})"
    )
    parser.add_argument("--views", type=int, default=standard.views, help="feature views (%(default)s)")
    parser.add_argument("--features", type=int, default=standard.features, help="features per view (%(default)s)")
    parser.add_argument("--keys", type=int, default=standard.keys, help="distinct keys (%(default)s)")
    parser.add_argument("--ttl-days", type=int, default=standard.ttl_days, help="ttl of every view (%(default)s)")
    usual = ",".join(name for name, contender in CONTENDERS.items() if not contender.asked)
    named = ", ".join(name for name, contender in CONTENDERS.items() if contender.asked)
    parser.add_argument("--engines", default=usual, help=f"contenders, in turn (%(default)s; with Java also {named})")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each; the median counts (%(default)s)")
    parser.add_argument("--timeout", type=float, default=600, help="seconds before a run is given up (%(default)s)")
    parser.add_argument("--data", type=Path, default=None, help="where generated data is kept (a temporary folder)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    options.engines = options.engines.split(",")
    for name in options.engines:
        if name not in CONTENDERS:
            parser.error(f"unknown engine '{name}': known are {', '.join(CONTENDERS)}")
    rest = Shape(views=options.views, features=options.features, keys=options.keys, ttl_days=options.ttl_days)
    try:
        options.shapes = sizes(options.rows, options.entities, rest)
    except ValueError as error:
        parser.error(str(error))
    return options


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    folder = options.data or Path(tempfile.gettempdir()) / "yummy-feast-benchmarks"
    measured = [
        (shape, measure(options.engines, shape, folder, options.repeat, options.timeout)) for shape in options.shapes
    ]
    # The promises are about the standard size; a small run measures overheads, a huge one the disk.
    kept = [line for shape, outcomes in measured if shape == Shape() for line in floors(outcomes)]
    seconds = [{name: usage.seconds for name, usage in medians(outcomes).items()} for _, outcomes in measured]
    kept += [promise(*line) for line in judged("spark", options.shapes, seconds)]
    if options.json:
        print(json.dumps(as_json(measured, kept), indent=2))
    else:
        print(machine(*PACKAGES))
        for shape, outcomes in measured:
            show(shape, outcomes)
        if len(measured) > 1:
            titles = {name: CONTENDERS[name].title for name in options.engines}
            print(growth(titles, options.shapes, seconds), "\n")
        print(*(line for _, line in kept), sep="\n")
    return 0 if all(outcome.counts for _, outcomes in measured for outcome in outcomes) else 1


def show(shape: Shape, outcomes: Sequence[Outcome]) -> None:
    print(f"\n{shape.entities:,} entity rows x {shape.views} views x {shape.features} features,")
    print(f"{shape.rows:,} rows a view, ttl {shape.ttl_days} days\n")
    head = ["", "time (runs)", "/ ours", "peak memory", "/ ours", "at start", "rows lost", "rows different", ""]
    print(table(head, lines(outcomes)), "\n")


def as_json(measured: Sequence[tuple[Shape, Sequence[Outcome]]], kept: Sequence[tuple[bool, str]]) -> dict[str, Any]:
    """``machine``, ``floors``, and ``sizes``: per size its shape and contenders."""
    return {
        "machine": machine(*PACKAGES),
        "sizes": [
            {"shape": asdict(shape), "contenders": {outcome.name: _as_json(outcome) for outcome in outcomes}}
            for shape, outcomes in measured
        ],
        "floors": [{"kept": ok, "line": line} for ok, line in kept],
    }


def _as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "title": CONTENDERS[outcome.name].title,
        "failure": outcome.failure or None,
        "verdict": asdict(outcome.worst) if outcome.verdicts else None,
        "median": asdict(median(outcome.runs)) if outcome.counts else None,
        "runs": [asdict(run) for run in outcome.runs] if outcome.counts else [],
    }


if __name__ == "__main__":
    sys.exit(main())
