"""The offline store against the naive oracle, over any small world that hypothesis can think of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings

from tests.property.harness import Repo
from tests.property.worlds import Domain, Source, Use, World, plain, worlds
from yummy_feast import ParquetSource, YummyOfflineStore
from yummy_feast.offline.engines.matching import EmbeddedAnswer


@pytest.fixture(scope="module", params=["roomy", "tight"])
def repo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repo]:
    """``tight``: every feature column goes to disk, and the entity rows are matched three at a time."""
    folder = tmp_path_factory.mktemp(request.param)
    offline_store = {"type": "yummy_feast.YummyOfflineStore"}
    if request.param == "roomy":
        yield Repo(folder, offline_store, YummyOfflineStore(), ParquetSource)
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmbeddedAnswer, "_blocks", lambda _, rows: [slice(i, i + 3) for i in range(0, rows, 3)])
        yield Repo(folder, {**offline_store, "memory_limit": 1}, YummyOfflineStore(), ParquetSource)


@given(world=worlds())
def test_answers_as_the_oracle_does(repo: Repo, world: World) -> None:
    check(repo, world)


def corrected_twice() -> World:
    """One event, told at 6 and (the row before it) at 8: who asks at 7 knows the first, who asks at 9 the second."""
    event, created, asked = (pa.array(hours, pa.timestamp("us")) for hours in ([5, 5], [8, 6], [7, 9]))
    code = pa.array([b"", b""])
    source = Source(
        name="view0",
        table=pa.table({"code": code, "event": event, "created": created, "view0_row": pa.array([0, 1])}),
        keys=("code",),
        created=True,
        mapping={},
        cuts=(0,),
        ttl=None,
    )
    return World(
        entity_rows=pa.table({"code": code, "event_timestamp": asked}),
        time="event_timestamp",
        uses=(Use(source, None, {"code": "code"}, ("view0_row",)),),
        created_cutoff=True,
        full_names=False,
        form="arrow",
    )


# With the cut-off a row becomes visible later than it happened, so a better row may appear before a worse one.
@example(world=corrected_twice())
@given(world=worlds(Domain(created=(True,), created_cutoff=(True,), units=("us",), key_types=("binary",))))
def test_cuts_off_what_was_created_later(repo: Repo, world: World) -> None:
    check(repo, world)


@pytest.mark.slow
@settings(max_examples=500)
@given(world=worlds())
def test_answers_as_the_oracle_does_many_times(repo: Repo, world: World) -> None:
    check(repo, world)


def check(repo: Repo, world: World) -> None:
    asked = repo.entity_df(world)
    job = repo.fetch(world, asked)
    answer = job.to_arrow()
    assert plain(answer) == world.expected()
    features = [world.column_of(use, feature) for use in world.uses for feature in use.features]
    assert answer.column_names == [*world.entity_rows.column_names, *features]
    if isinstance(asked, pd.DataFrame):
        check_dtypes(world, asked, job.to_df())
    else:
        check_types(world, pq.read_schema(asked) if isinstance(asked, Path) else asked.schema, answer.schema)


def check_types(world: World, asked: pa.Schema, answered: pa.Schema) -> None:
    """Entity columns come back in the types they were given in; only the time column is converted, to UTC."""
    for field in asked:
        expected = pa.timestamp(field.type.unit, "UTC") if field.name == world.time else field.type
        if world.form == "path" and pa.types.is_dictionary(expected):
            # In a Parquet file a dictionary is an encoding of any column, not a type.
            expected = expected.value_type
        assert answered.field(field.name).type == expected


def check_dtypes(world: World, asked: pd.DataFrame, answered: pd.DataFrame) -> None:
    for name, dtype in asked.dtypes.items():
        expected = pd.DatetimeTZDtype(np.datetime_data(dtype.base)[0], "UTC") if name == world.time else dtype
        assert answered[name].dtype == expected
