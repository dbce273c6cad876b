"""Writers in other processes that write different rows of the same keys at the same moment."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from feast.protos.feast.types.Value_pb2 import Value

from yummy_feast.online.keys import KeyEncoder
from yummy_feast.online.layouts.rows import ROWS
from yummy_feast.online.redis import RedisSettings, connect
from yummy_feast.online.retention import expires_fields
from yummy_feast.online.schemas import SchemaBook
from yummy_feast.online.writer import Target, Written, write_batches, write_protos
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


def write(client: Any, project: str, batches: list[list[Row]], newer_wins: bool = True, retention: int = 0) -> Written:
    """As materialization does: Arrow, many rows to a script."""
    target = target_of(client, project, newer_wins, retention)
    arrow = [arrow_of(rows) for rows in batches]
    return write_batches(client, target, encoder(project), arrow, "event", "created")


def arrow_of(rows: list[Row]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {
            "id": pa.array([row[0] for row in rows], pa.int64()),
            "event": pa.array([row[1] for row in rows], pa.timestamp("us")),
            "created": pa.array([row[2] for row in rows], pa.timestamp("us")),
            "n": pa.array([row[3] for row in rows], pa.int64()),
        }
    )


def push(client: Any, project: str, rows: list[Row], retention: int = 0) -> Written:
    """As `push` does: Feast's messages, a row to a call."""
    target = target_of(client, project, True, retention)
    total = Written()
    for key, event, created, value in rows:
        times = moment(event), None if created is None else moment(created)
        names = encoder(project).encode_columns({"id": [key]})
        total += write_protos(client, target, names, [({"n": Value(int64_val=value)}, *times)])
    return total


def target_of(client: Any, project: str, newer_wins: bool, retention: int) -> Target:
    fields = bool(retention) and expires_fields(client, project)
    book = SchemaBook(client, project)
    return Target(ROWS, book, VIEW, FEATURES, retention=retention, newer_wins=newer_wins, field_expiry=fields)


def moment(microseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


def contested_rows(seed: int, rows: int, keys: int) -> list[Row]:
    """Rows of few distinct moments around 1970, so that ties of both timestamps are common. The value is the place."""
    dice = random.Random(seed)
    return [
        (place % keys, dice.randint(-20, 20) * 10**9, dice.choice([None, -1, 0, 10**9]), place) for place in range(rows)
    ]


def start_rivals(address: str, seed: int, rows: int, keys: int, writers: int) -> list[subprocess.Popen[str]]:
    """Processes that write the contested rows in rounds, each its own share of the rows of a round's keys.

    The even ones write them in bulk, the odd ones push them one by one.
    """
    code = "import sys; from tests.property.rival_writers import main; main(*sys.argv[1:])"
    numbers = [str(number) for number in (seed, rows, keys, writers)]
    return [
        subprocess.Popen(
            [sys.executable, "-c", code, address, *numbers, str(number)],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in range(writers)
    ]


KEYS_PER_ROUND = 300
RETENTION = 3600


def main(address: str, *numbers: str) -> None:
    seed, rows, keys, writers, number = map(int, numbers)
    mine = [row for row in contested_rows(seed, rows, keys) if row[3] // keys % writers == number]
    with connect(RedisSettings.parse(address)) as client:
        for first in range(0, keys, KEYS_PER_ROUND):
            share = [row for row in mine if first <= row[0] < first + KEYS_PER_ROUND]
            # All start a round's keys at once, and no later round mends what this one lost.
            client.incr(f"round {first}")
            while client.get(f"round {first}") != str(writers).encode():
                time.sleep(0)
            if number % 2:
                written = push(client, "prod", share, RETENTION)
            else:
                written = write(client, "prod", [share], retention=RETENTION)
            assert written.rows == len(share)
