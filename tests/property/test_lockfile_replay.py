"""A lockfile over sources that move on in any way: a replay has the very bytes, or says which source moved."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureStore
from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st

from tests.feast.lockfiles import HOUR, START, applied, fetch, history, locked, questions, view
from tests.feast.repo import FORMATS
from tests.property.moves import MOVES, TIME, Move
from yummy_feast import Lockfile
from yummy_feast.errors import SourceMovedError
from yummy_feast.offline.job import YummyRetrievalJob
from yummy_feast.sources.storage import SavedDatasetYummyStorage

NAMES = ("first", "second")
FEATURES = [f"{name}:rate" for name in NAMES]


@st.composite
def rows(draw: st.DrawFn) -> pa.Table:
    """A few, on time or late: most of them would be seen by some question."""
    chosen = draw(
        st.lists(
            st.tuples(st.integers(0, 5), st.integers(-3, 95), st.sampled_from([None, 0.5, -1.0])),
            min_size=1,
            max_size=5,
        )
    )
    return pa.table(
        {
            "driver_id": pa.array([driver for driver, _, _ in chosen], pa.int64()),
            TIME: pa.array([START + hour * HOUR for _, hour, _ in chosen], pa.timestamp("us", "UTC")),
            "rate": pa.array([rate for _, _, rate in chosen], pa.float64()),
        }
    )


@st.composite
def stories(draw: st.DrawFn) -> tuple[tuple[str, str], list[tuple[str, Move, pa.Table]]]:
    """The formats of the sources, and what happens to which of them."""
    kinds = (draw(st.sampled_from(sorted(MOVES))), draw(st.sampled_from(sorted(MOVES))))
    of = dict(zip(NAMES, kinds, strict=True))
    moves = []
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4)):
        # What breaks is rare, or it would hide what must not.
        gentle = [move for move in MOVES[of[name]] if not move.breaks]
        moves.append((name, draw(st.sampled_from([*gentle, *gentle, *gentle, *MOVES[of[name]]])), draw(rows())))
    return kinds, moves


def asked(store: FeatureStore) -> YummyRetrievalJob:
    return fetch(store, None, *FEATURES, full_feature_names=True)


def by(way: str, job: YummyRetrievalJob, folder: Path) -> pa.Table:
    """The rows on one of the ways that they take."""
    if way == "to_df":
        return pa.Table.from_pandas(job.to_df(), preserve_index=False)
    if way == "to_arrow":
        return job.to_arrow()
    job.persist(SavedDatasetYummyStorage(path=str(folder / "kept.parquet")), allow_overwrite=True)
    return pq.read_table(folder / "kept.parquet")


def as_bytes(table: pa.Table) -> bytes:
    """All there is to a table's columns."""
    sink = pa.BufferOutputStream()
    table = table.replace_schema_metadata(None).combine_chunks()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue())


def lockfile_of(job: YummyRetrievalJob, folder: Path) -> Lockfile | str:
    """The lockfile after its way through a file, or which source had moved too far for one."""
    try:
        return locked(job, folder)
    except SourceMovedError as error:
        return moved(error)


def replayed(lock: Lockfile, store: FeatureStore, way: str, folder: Path) -> pa.Table | str:
    """The rows again, or which source has moved too far."""
    try:
        return by(way, lock.get_historical_features(store, questions()), folder)
    except SourceMovedError as error:
        return moved(error)


def moved(error: SourceMovedError) -> str:
    found = re.match(r"source '(\w+)' moved: .{10,} \(.+\)$", str(error))
    assert found is not None, error
    return found[1]


# A story takes a while, so that it is told as it was found.
@settings(max_examples=25, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    story=stories(),
    when=st.sampled_from(["with the answer", "before the answer", "after the moves"]),
    way=st.sampled_from(["to_arrow", "to_df", "persist"]),
)
def test_a_replay_has_the_very_bytes_or_names_what_moved(
    tmp_path_factory: pytest.TempPathFactory,
    story: tuple[tuple[str, str], list[tuple[str, Move, pa.Table]]],
    when: str,
    way: str,
) -> None:
    folder, (kinds, moves) = tmp_path_factory.mktemp("replay"), story
    sources: list[Any] = [
        FORMATS[kind](folder, name, history(), timestamp_field=TIME) for name, kind in zip(NAMES, kinds, strict=True)
    ]
    store = applied(folder, *(view(source, source.name, ttl=timedelta(days=2)) for source in sources))
    before = as_bytes(by(way, asked(store), folder))
    job = asked(store)
    if when != "before the answer":
        job.to_df()
    lock = None if when == "after the moves" else lockfile_of(job, folder)
    for name, move, more in moves:
        event(str(move))
        move.do(folder, name, more)
    may_fail = {name for name, move, _ in moves if move.breaks or (move.late and lock is None)}
    lock = lockfile_of(job, folder) if lock is None else lock
    if isinstance(lock, str):
        assert lock in may_fail
        return
    assert (lock.answer is None) == (when == "before the answer")
    found = replayed(lock, store, way, folder)
    if isinstance(found, str):
        assert found in may_fail
    else:
        assert as_bytes(found) == before
