"""Reading what is new: random appends, overwrites and compactions against a model that knows each row's part."""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.format_cases import CASES, SECOND, CsvFolder, DeltaTable, FormatCase, ParquetFile, read, times
from yummy_feast.sources.base import Prune

moments = st.lists(st.integers(0, 50), min_size=1, max_size=4)
steps = st.one_of(
    st.tuples(st.just("append"), moments),
    st.tuples(st.just("append"), moments),
    st.tuples(st.just("replace"), moments),
    st.tuples(st.just("compact"), st.just([])),
    st.tuples(st.just("look"), st.just([])),
)


@dataclass
class Model:
    """Parts by number, and the time (seconds) of each row by its id, which no two rows share."""

    parts: dict[int, dict[int, int]] = field(default_factory=dict)
    numbers: Any = field(default_factory=itertools.count)
    ids: Any = field(default_factory=itertools.count)

    def rows(self, seconds: list[int]) -> dict[int, int]:
        return {next(self.ids): second for second in seconds}

    def join(self, more: dict[int, int]) -> None:
        """All rows in one new part."""
        self.parts = {next(self.numbers): {**{i: t for part in self.parts.values() for i, t in part.items()}, **more}}


def table_of(rows: dict[int, int]) -> pa.Table:
    return pa.table({"ts": times(*rows.values()), "id": pa.array(list(rows), pa.int64())})


def take(case: FormatCase, model: Model, action: str, seconds: list[int]) -> None:
    """One step, in the source and in the model."""
    rows = model.rows(seconds)
    if action == "append":
        case.source().append(table_of(rows), case.context, create=True)
        if isinstance(case, ParquetFile):
            model.join(rows)
        else:
            model.parts[next(model.numbers)] = rows
    elif action == "replace":
        case.source().replace(table_of(rows), case.context, allow_overwrite=True)
        model.parts = {next(model.numbers): rows}
    elif action == "compact" and isinstance(case, DeltaTable) and len(model.parts) > 1:
        import deltalake

        deltalake.DeltaTable(case.folder / "table").optimize.compact()
        model.join({})


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.name)
@settings(max_examples=30)
@given(
    before=st.lists(steps, max_size=4),
    after=st.lists(steps, max_size=4),
    first=moments,
    start=st.none() | st.integers(-1, 51),
    end=st.none() | st.integers(-1, 51),
    seen_start=st.integers(-1, 52),
)
def test_what_is_read_and_then_filtered_is_what_the_rule_wants(
    kind: type[FormatCase],
    before: list[tuple[str, list[int]]],
    after: list[tuple[str, list[int]]],
    first: list[int],
    start: int | None,
    end: int | None,
    seen_start: int,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        case, model = kind(Path(folder)), Model()
        for action, seconds in [("append", first), *before]:
            take(case, model, action, seconds)
        state, seen = case.source().scan(case.context).state, set(model.parts)
        for action, seconds in after:
            take(case, model, action, seconds)

        def from_when(part: int) -> int | None:
            return seen_start if part in seen else start

        def is_wanted(part: int, second: int) -> bool:
            low = from_when(part)
            return (low is None or low <= second) and (end is None or second <= end)

        part_of = {i: part for part, rows in model.parts.items() for i in rows}
        wanted = {i for part, rows in model.parts.items() for i, second in rows.items() if is_wanted(part, second)}
        scan = case.source().scan(case.context)
        micros = [None if second is None else second * SECOND for second in (start, end)]
        prune = Prune("ts", *micros, seen=state, seen_start=seen_start * SECOND)
        found = Counter(read(scan, ["id"], scan.pieces(prune))["id"].to_pylist())
        assert max(found.values(), default=1) == 1
        assert {i for i in found if is_wanted(part_of[i], model.parts[part_of[i]][i])} == wanted
        if not isinstance(case, CsvFolder):
            # Nothing is read of a part whose times lie apart from what is wanted of it.
            parts = {part_of[i] for i in found}
            assert parts == {part for part in parts if _may_hold(model.parts[part], from_when(part), end)}


def _may_hold(rows: dict[int, int], low: int | None, high: int | None) -> bool:
    seconds = rows.values()
    return (low is None or max(seconds) >= low) and (high is None or min(seconds) <= high)
