"""The offline store against the naive oracle, over any small world that hypothesis can think of."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings

from tests.property.harness import Repo
from tests.property.worlds import World, worlds
from yummy_feast import ParquetSource, YummyOfflineStore


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    return Repo(tmp_path_factory.mktemp("yummy"), "yummy_feast.YummyOfflineStore", YummyOfflineStore(), ParquetSource)


@given(world=worlds())
def test_answers_as_the_oracle_does(repo: Repo, world: World) -> None:
    check(repo, world)


@pytest.mark.slow
@settings(max_examples=2000)
@given(world=worlds())
def test_answers_as_the_oracle_does_many_times(repo: Repo, world: World) -> None:
    check(repo, world)


def check(repo: Repo, world: World) -> None:
    answer, schema = repo.fetch(world)
    assert answer == world.expected()
    features = [world.column_of(use, feature) for use in world.uses for feature in use.features]
    assert schema.names == [*world.entity_rows.column_names, *features]
    # Entity columns come back as they were given; only the time column is converted, to UTC.
    for field in world.entity_rows.schema:
        if field.name == world.time:
            assert schema.field(field.name).type == pa.timestamp(field.type.unit, "UTC")
        elif world.form != "pandas":
            assert schema.field(field.name).type == field.type
