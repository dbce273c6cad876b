"""The oracle itself: cases small enough for a person to answer, and Feast's duckdb store where that one is right."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

import pytest
from feast import FileSource
from feast.infra.offline_stores.duckdb import DuckDBOfflineStore
from hypothesis import given

from tests.property.harness import Repo
from tests.property.oracle import View, point_in_time
from tests.property.worlds import Domain, World, plain, worlds

# Feast 0.67's duckdb store fails on nanoseconds, chooses at random among full ties, knows no view without keys, forgets
# the keys that a key map does not name, takes one file and a pandas frame, and returns the entity rows in any order.
FEAST_IS_RIGHT = Domain(
    units=("s", "ms", "us"),
    nulls_in_entity_keys=False,
    full_ties=False,
    keyless_views=False,
    partial_key_maps=False,
    many_files=False,
    min_entity_rows=1,
    forms=("pandas",),
    renamed_time=False,
    far_away=False,
    key_types=("int32", "int64", "string"),
)


def ask(
    rows: Sequence[tuple[object, ...]], *asked: tuple[object, int | None], ttl: int | None = None, **options: bool
) -> list[object]:
    """Source rows are (key, event, created, value); asked for are (key, time); what comes back are the values."""
    view = View(
        rows=[dict(zip(("k", "event", "created", "v"), row, strict=True)) for row in rows],
        keys={"k": "k"},
        features={"v": "v"},
        event="event",
        created="created",
        ttl=ttl,
    )
    answer = point_in_time([{"k": key, "t": time} for key, time in asked], [view], time="t", **options)
    assert [(line["k"], line["t"]) for line in answer] == list(asked)
    return [line["v"] for line in answer]


def test_newest_event_that_is_not_in_the_future_wins() -> None:
    rows = [(1, 20, 0, "later"), (1, 10, 9, "sooner"), (2, 15, 0, "another's")]
    assert ask(rows, (1, 9), (1, 10), (1, 19), (1, 20), (1, 99)) == [None, "sooner", "sooner", "later", "later"]


def test_both_ends_of_the_ttl_are_inside() -> None:
    rows = [(1, 100, 0, "a")]
    assert ask(rows, (1, 99), (1, 100), (1, 110), (1, 111), ttl=10) == [None, "a", "a", None]


@pytest.mark.parametrize("ttl", [None, 0])
def test_no_ttl_is_no_limit(ttl: int | None) -> None:
    assert ask([(1, -(10**18), 0, "old")], (1, 10**18), ttl=ttl) == ["old"]


def test_newest_created_wins_a_tie_and_a_missing_one_loses() -> None:
    rows = [(1, 5, 0, "none so old"), (1, 5, 3, "newest"), (1, 5, 2, "older"), (1, 5, None, "missing")]
    assert ask(rows, (1, 5)) == ["newest"]
    assert ask([(1, 5, -1, "before 1970"), (1, 5, None, "missing")], (1, 5)) == ["before 1970"]


def test_last_row_wins_a_full_tie() -> None:
    assert ask([(1, 5, 3, "first"), (1, 5, 3, "last")], (1, 5)) == ["last"]
    assert ask([(1, 5, None, "first"), (1, 5, None, "last")], (1, 5)) == ["last"]


def test_null_of_the_winner_stays_null() -> None:
    assert ask([(1, 4, 0, "older"), (1, 5, 0, None)], (1, 9)) == [None]


def test_null_keys_match_nothing() -> None:
    assert ask([(None, 5, 0, "a")], (None, 9), (1, 9)) == [None, None]


def test_null_event_is_never_a_candidate() -> None:
    assert ask([(1, None, 9, "no time"), (1, 2, 0, "a")], (1, 9)) == ["a"]


def test_duplicate_entity_rows_stay() -> None:
    assert ask([(1, 2, 0, "a")], (1, 9), (1, 9), (7, 9), (1, 9)) == ["a", "a", None, "a"]


def test_created_cutoff_hides_what_was_written_later() -> None:
    rows = [(1, 2, 2, "first"), (1, 2, 8, "corrected"), (1, 3, None, "unknown"), (1, 3, 9, "late")]
    assert ask(rows, (1, 7), (1, 8), (1, 9), created_cutoff=True) == ["first", "corrected", "late"]
    assert ask(rows, (1, 7)) == ["late"]


@pytest.fixture(scope="module")
def feast_repo(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    return Repo(tmp_path_factory.mktemp("feast"), {"type": "duckdb"}, DuckDBOfflineStore(), FileSource)


# ibis still calls what duckdb 2.0 deprecates.
@pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")
@given(world=worlds(FEAST_IS_RIGHT))
def test_agrees_with_feast_where_feast_is_right(feast_repo: Repo, world: World) -> None:
    answer = plain(feast_repo.fetch(world, feast_repo.entity_df(world)).to_arrow())
    number = itemgetter("entity_row")
    assert sorted(answer, key=number) == sorted(world.expected(), key=number)
