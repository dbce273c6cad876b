"""Servers and writers killed at any moment: what Redis acknowledged is there, whole, and never older than that."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.property.mortal_writers import KEYS, NAMES, PROJECT, VIEW, Writers, settings_of
from tests.property.rival_writers import FEATURES
from tests.unit.online.servers import put_down, running_pid
from yummy_feast.online import embedded
from yummy_feast.online.layouts.rows import ROWS
from yummy_feast.online.redis import connect
from yummy_feast.online.retrieval import read_rows
from yummy_feast.online.schemas import SchemaBook

SEED = 20_261_125
VICTIMS = ("server", "server", "server", "writer", "writer", "both")


@contextmanager
def writing(folder: Path) -> Iterator[Writers]:
    writers = Writers(folder)
    try:
        embedded.ensure(folder)
        writers.start()
        writers.wait_for_more()
        yield writers
    finally:
        writers.close()
        put_down(folder)


def nothing_is_lost(folder: Path, acknowledged: list[int]) -> None:
    """Every row that was acknowledged is there, or a later one of its key; each row is whole."""
    with connect(settings_of(folder)) as client:
        found = read_rows(client, ROWS, SchemaBook(client, PROJECT), VIEW, FEATURES, NAMES)
    for least, row in zip(acknowledged, found, strict=True):
        if row is None:
            assert least == -1
            continue
        event, (value,) = row
        assert event == value
        assert value >= least


def kill_server(folder: Path) -> None:
    # Its writers start another one within moments, so nobody waits to see it gone.
    os.kill(running_pid(folder), signal.SIGKILL)


def strike(folder: Path, kills: int, seed: int) -> None:
    dice = random.Random(seed)
    with writing(folder) as writers:
        for number in range(kills):
            victim = dice.choice(VICTIMS)
            writers.wait_for_more()
            time.sleep(dice.uniform(0, 0.03))
            if victim in ("writer", "both"):
                writers.kill()
            if victim in ("server", "both"):
                kill_server(folder)
            # What was acknowledged by now has to be there from now on.
            nothing_is_lost(folder, writers.acknowledged())
            if victim != "server":
                writers.start()
            assert writers.ends == [], number
        writers.wait_for_more()
        assert writers.rows > kills * KEYS / 10


def test_twenty_kills_lose_nothing(tmp_path: Path) -> None:
    strike(tmp_path, 20, SEED)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_two_hundred_kills_lose_nothing(tmp_path: Path, part: int) -> None:
    strike(tmp_path, 25, SEED + 1 + part)


def test_a_server_that_forgets_is_noticed(tmp_path: Path) -> None:
    """The tests above could fail: here the last half second is cut off what the server has on disk."""
    with writing(tmp_path) as writers:
        for _ in range(10):
            writers.wait_for_more()
        writers.kill()
        kill_server(tmp_path)
        [log] = tmp_path.rglob("*.incr.aof")
        with log.open("rb+") as file:
            file.truncate(log.stat().st_size // 2)
        with pytest.raises(AssertionError):
            nothing_is_lost(tmp_path, writers.acknowledged())
        writers.start()
