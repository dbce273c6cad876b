"""Writers in other processes, all writing the same rows of the same keys, each in an order of its own."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import redis

from yummy_feast.online.keys import KeyEncoder
from yummy_feast.online.schemas import SchemaBook
from yummy_feast.online.writer import Target, Written, write_batches
from yummy_feast.values import BY_NAME

ROOT = Path(__file__).parents[2]
INT64 = BY_NAME["INT64"].number
FEATURES = (("n", INT64),)
VIEW = b"stats"

Row = tuple[int, int, int | None, int]
"""Key, event timestamp, created timestamp (microseconds since 1970), value."""


def rank(row: Row) -> tuple[int, int]:
    """What decides between two rows of one key; a missing created timestamp loses."""
    _, event, created, _ = row
    return event, -(2**63) if created is None else created


def encoder(project: str) -> KeyEncoder:
    return KeyEncoder(project, [("id", INT64)])


def write(client: Any, project: str, batches: list[list[Row]], newer_wins: bool = True) -> Written:
    target = Target(client, SchemaBook(client, project), VIEW, FEATURES, newer_wins=newer_wins)
    arrow = [
        pa.RecordBatch.from_pydict(
            {
                "id": pa.array([row[0] for row in rows], pa.int64()),
                "event": pa.array([row[1] for row in rows], pa.timestamp("us")),
                "created": pa.array([row[2] for row in rows], pa.timestamp("us")),
                "n": pa.array([row[3] for row in rows], pa.int64()),
            }
        )
        for rows in batches
    ]
    return write_batches(target, encoder(project), arrow, "event", "created")


def contested_rows(seed: int, keys: int, rows: int) -> list[Row]:
    """Rows with few distinct moments around 1970, so that ties of both timestamps are common."""
    dice = random.Random(seed)
    return [
        (dice.randrange(keys), dice.randint(-20, 20) * 10**9, dice.choice([None, -1, 0, 10**9]), number)
        for number in range(rows)
    ]


def start_rivals(path: str, seed: int, keys: int, rows: int, writers: int) -> list[subprocess.Popen[str]]:
    """Processes that wait for the key `go` and then write."""
    code = "import sys; from tests.property.rival_writers import main; main(*sys.argv[1:])"
    return [
        subprocess.Popen(
            [sys.executable, "-c", code, path, str(seed), str(keys), str(rows), str(number)],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in range(writers)
    ]


def main(path: str, seed: str, keys: str, rows: str, number: str) -> None:
    mine = contested_rows(int(seed), int(keys), int(rows))
    dice = random.Random(f"{seed} {number}")
    dice.shuffle(mine)
    batches = []
    while mine:
        size = dice.randint(1, 400)
        batches.append(mine[:size])
        mine = mine[size:]
    with redis.Redis(unix_socket_path=path) as client:
        client.incr("ready")
        while not client.exists("go"):
            time.sleep(0.001)
        written = write(client, "prod", batches)
        assert written.rows == int(rows)
