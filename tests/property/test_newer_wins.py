"""Newest event, then newest created: against a model, and with writers of several processes at a time."""

from __future__ import annotations

import itertools
import random
import threading
import time
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.rival_writers import (
    FEATURES,
    RETENTION,
    VIEW,
    Row,
    contested_rows,
    encoder,
    push,
    rank,
    start_rivals,
    write,
)
from yummy_feast.online.layouts.rows import ROWS as ROWS_LAYOUT
from yummy_feast.online.retention import expires_fields
from yummy_feast.online.retrieval import read_rows
from yummy_feast.online.schemas import SchemaBook

MOMENTS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([-(2**62), -(2**32), -(2**32) - 1, 2**32 - 1, 2**32, 2**53, 2**53 + 1, 2**62]),
)
ROWS = st.tuples(st.integers(0, 2), MOMENTS, st.none() | MOMENTS, st.integers(-(2**63), 2**63 - 1))
_projects = (f"p{number}" for number in itertools.count())


def stored(client: Any, project: str, keys: int) -> dict[int, tuple[int, int]]:
    """Per key the event timestamp and the value that is there."""
    names = encoder(project).encode_columns({"id": list(range(keys))})
    rows = read_rows(client, ROWS_LAYOUT, SchemaBook(client, project), VIEW, FEATURES, names)
    return {key: (row[0], row[1][0]) for key, row in enumerate(rows) if row is not None}


# What a writer does: many rows at once, some one by one, or nothing while a row expires.
STEPS = st.one_of(
    st.tuples(st.sampled_from(["write", "push"]), st.lists(ROWS, min_size=1, max_size=6)),
    st.tuples(st.just("expire"), st.integers(0, 2)),
)


def act(client: Any, project: str, step: tuple[str, Any]) -> None:
    kind, given_rows = step
    if kind == "expire":
        [name] = encoder(project).encode_columns({"id": [given_rows]})
        client.hdel(name, VIEW)
    elif kind == "write":
        write(client, project, [given_rows], retention=60)
    else:
        push(client, project, [row for row in given_rows if has_datetimes(row)], retention=60)


def has_datetimes(row: Row) -> bool:
    """A push takes datetimes, which have the years 1 to 9999."""
    return all(moment is None or abs(moment) < 2**54 for moment in row[1:3])


@given(steps=st.lists(STEPS, max_size=8))
@settings(max_examples=100)
def test_one_writer_against_a_model(client_of_session: Any, steps: list[tuple[str, Any]]) -> None:
    project = next(_projects)
    model: dict[int, Row] = {}
    for step in steps:
        act(client_of_session, project, step)
        kind, given_rows = step
        if kind == "expire":
            model.pop(given_rows, None)
            continue
        for row in given_rows:
            known = model.get(row[0])
            if kind == "push" and not has_datetimes(row):
                continue
            # A later row wins a tie: it may be the same row with a new feature.
            if known is None or rank(row) >= rank(known):
                model[row[0]] = row
        assert stored(client_of_session, project, 3) == {key: (row[1], row[3]) for key, row in model.items()}


WRITERS = st.lists(st.lists(STEPS.filter(lambda step: step[0] != "expire"), max_size=4), min_size=2, max_size=3)


@given(writers=WRITERS)
@settings(max_examples=60)
def test_writers_at_a_time_against_a_model(client_of_session: Any, writers: list[list[tuple[str, Any]]]) -> None:
    """Threads with connections of their own, in an order that nobody knows: the newest is there, of a tie any."""
    project = next(_projects)
    start = threading.Barrier(len(writers))
    failures: list[BaseException] = []

    def work(steps: list[tuple[str, Any]]) -> None:
        start.wait()
        try:
            for step in steps:
                act(client_of_session, project, step)
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(steps,)) for steps in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    rows = [
        row
        for kind, given_rows in itertools.chain.from_iterable(writers)
        for row in given_rows
        if kind == "write" or has_datetimes(row)
    ]
    newest = {key: max(rank(row) for row in rows if row[0] == key) for key in {row[0] for row in rows}}
    winners = {(row[0], row[1], row[3]) for row in rows if rank(row) == newest[row[0]]}
    found = stored(client_of_session, project, 3)
    assert found.keys() == newest.keys()
    assert {(key, event, value) for key, (event, value) in found.items()} <= winners


def test_writers_of_four_processes_at_a_time(client: Any, address: str) -> None:
    """Two write in bulk and two push, while rows of every tenth key expire under them."""
    seed, rows, keys = 20_261_123, 12_000, 3_000
    contested = contested_rows(seed, rows, keys)
    rivals = start_rivals(address, seed, rows, keys, writers=4)
    names = encoder("prod").encode_columns({"id": list(range(keys))})
    dice = random.Random(seed)
    expired = 0
    while any(rival.poll() is None for rival in rivals):
        expired += client.hdel(names[dice.randrange(0, keys, 10)], VIEW)
        time.sleep(0.001)
    for rival in rivals:
        _, errors = rival.communicate(timeout=120)
        assert rival.returncode == 0, errors
    assert expired > 0
    newest = {key: max(rank(row) for row in contested[key::keys]) for key in range(keys)}
    found = stored(client, "prod", keys)
    assert {key for key in newest if key % 10} <= found.keys()
    for key, (event, value) in found.items():
        winner = contested[value]
        assert winner[:2] == (key, event)
        # Behind an expired row an older one may come, as behind none.
        assert rank(winner) == newest[key] or key % 10 == 0
    # Whoever wrote last, each row is kept for as long as it should be.
    by_field = expires_fields(client, "prod")
    left = [client.httl(names[key], VIEW)[0] if by_field else client.ttl(names[key]) for key in found]
    assert 0 < min(left) <= max(left) <= RETENTION


def test_the_comparison_is_what_decides(client: Any) -> None:
    """The same rows without it: the last one written stays, so the tests above could fail."""
    contested = contested_rows(1, 500, 5)
    write(client, "prod", [[row] for row in contested], newer_wins=False)
    last = {row[0]: (row[1], row[3]) for row in contested}
    assert stored(client, "prod", 5) == last
    newest = {key: max(rank(row) for row in contested if row[0] == key)[0] for key in last}
    assert newest != {key: event for key, (event, _) in last.items()}
