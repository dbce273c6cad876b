"""Newest event, then newest created: against a model, and with writers of several processes at a time."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.rival_writers import (
    FEATURES,
    VIEW,
    Row,
    contested_rows,
    encoder,
    rank,
    start_rivals,
    write,
)
from yummy_feast.online.layouts.rows import ROWS as ROWS_LAYOUT
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


@given(batches=st.lists(st.lists(ROWS, min_size=1, max_size=6), max_size=6))
@settings(max_examples=60)
def test_one_writer_against_a_model(client_of_session: Any, batches: list[list[Row]]) -> None:
    project = next(_projects)
    write(client_of_session, project, batches)
    model: dict[int, Row] = {}
    for row in itertools.chain.from_iterable(batches):
        known = model.get(row[0])
        # A later row wins a tie: it may be the same row with a new feature.
        if known is None or rank(row) >= rank(known):
            model[row[0]] = row
    assert stored(client_of_session, project, 3) == {key: (row[1], row[3]) for key, row in model.items()}


def test_writers_of_four_processes_at_a_time(client: Any, address: str) -> None:
    seed, rows, keys = 20_261_123, 24_000, 6_000
    contested = contested_rows(seed, rows, keys)
    for rival in start_rivals(address, seed, rows, keys, writers=4):
        _, errors = rival.communicate(timeout=120)
        assert rival.returncode == 0, errors
    newest = {key: max(rank(row) for row in contested[key::keys]) for key in range(keys)}
    found = stored(client, "prod", keys)
    assert found.keys() == newest.keys()
    for key, (event, value) in found.items():
        winner = contested[value]
        assert winner[:2] == (key, event)
        assert rank(winner) == newest[key]


def test_the_comparison_is_what_decides(client: Any) -> None:
    """The same rows without it: the last one written stays, so the tests above could fail."""
    contested = contested_rows(1, 500, 5)
    write(client, "prod", [[row] for row in contested], newer_wins=False)
    last = {row[0]: (row[1], row[3]) for row in contested}
    assert stored(client, "prod", 5) == last
    newest = {key: max(rank(row) for row in contested if row[0] == key)[0] for key in last}
    assert newest != {key: event for key, (event, _) in last.items()}
