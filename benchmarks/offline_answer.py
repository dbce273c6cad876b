"""The right answer to the offline benchmark, and how far a contender's answer is from it.

``answer`` computes it by sorting; ``prove`` holds it against the naive oracle of the tests on a random sample, in every
run, before anybody is measured. Neither shares code with the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.offline_data import Shape
from tests.property.oracle import View, point_in_time

NEVER = np.iinfo(np.int64).min


def answer(shape: Shape, folder: Path) -> pa.Table:
    """The entity rows with every feature, computed once and kept beside the data."""
    kept = folder / "answer.arrow"
    if not kept.exists():
        entities = pq.read_table(folder / "entity_rows.parquet")
        table = entities
        for view in range(shape.views):
            rows = pq.read_table(folder / f"v{view}.parquet")
            indices = pa.array(winners(entities, rows, shape.ttl_days * 86_400_000_000))
            for name in shape.feature_names(view):
                table = table.append_column(name, rows[name].combine_chunks().take(indices))
        unfinished = kept.with_suffix(".unfinished")
        with pa.ipc.new_file(unfinished, table.schema) as sink:
            sink.write_table(table.combine_chunks())
        unfinished.rename(kept)
    return read_arrow(kept)


def read_arrow(path: Path) -> pa.Table:
    """An Arrow file, mapped into memory instead of read."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def winners(entities: pa.Table, rows: pa.Table, ttl: int) -> np.ma.MaskedArray:
    """For each entity row the number of the source row that answers it, masked where none does. ttl: microseconds.

    Sorted by key, event, created (a missing one first) and place, the answer is the last row that is not after the
    entity row, if it has the same key and is not expired.
    """
    keys, asked = integers(entities["id"]), integers(entities["event_timestamp"])
    row_keys, events, created = (integers(rows[name]) for name in ("id", "event_timestamp", "created"))
    order = np.lexsort((np.arange(len(row_keys)), created, events, row_keys))
    sorted_keys, sorted_events = row_keys[order], events[order]
    # Key and event as one number: both are small enough to share 64 bits.
    start = min(sorted_events.min(), asked.min())
    bits = int(max(sorted_events.max(), asked.max()) - start).bit_length()
    assert int(max(sorted_keys.max(), keys.max())).bit_length() + bits <= 63
    needles = (keys << bits) | (asked - start)
    last = np.searchsorted((sorted_keys << bits) | (sorted_events - start), needles, side="right") - 1
    found = (last >= 0) & (sorted_keys[last] == keys)
    if ttl:
        found &= sorted_events[last] >= asked - ttl
    return np.ma.masked_array(order[last], ~found)


def integers(column: pa.ChunkedArray) -> np.ndarray:
    """A column without nulls, or of times, as 64-bit integers; a missing time is before all others."""
    return np.asarray(pc.fill_null(column.cast(pa.int64()), NEVER).to_numpy(), np.int64)


def prove(shape: Shape, folder: Path, right: pa.Table, *, sample: int = 2000, seed: int | None = None) -> int:
    """Ask the naive oracle about ``sample`` random entity rows; the number asked.

    Raises:
        AssertionError: ``right`` is not right.
    """
    chosen = np.sort(np.random.default_rng(seed).choice(len(right), min(sample, len(right)), replace=False))
    asked = right.take(pa.array(chosen))
    entity_rows = plain(asked.select(["row", "id", "event_timestamp", "label"]))
    sources = [of_keys(folder / f"v{view}.parquet", asked["id"]) for view in range(shape.views)]
    for entity_row, expected in zip(entity_rows, plain(asked), strict=True):
        views = [
            View(
                rows=source.get(entity_row["id"], []),
                keys={"id": "id"},
                features={name: name for name in shape.feature_names(view)},
                created="created",
                ttl=shape.ttl_days * 86_400_000_000_000,
            )
            for view, source in enumerate(sources)
        ]
        naive = point_in_time([entity_row], views)
        assert naive == [expected], f"the sorted answer says {expected}, the naive oracle {naive}"
    return len(entity_rows)


def of_keys(path: Path, keys: pa.ChunkedArray) -> dict[object, list[dict[str, object]]]:
    """The rows of those keys, by key, in the file's order."""
    found: dict[object, list[dict[str, object]]] = {}
    for batch in pq.ParquetFile(path).iter_batches():
        table = pa.table(batch)
        for row in plain(table.filter(pc.is_in(table["id"], keys.combine_chunks()))):
            found.setdefault(row["id"], []).append(row)
    return found


def plain(table: pa.Table) -> list[dict[str, object]]:
    """Rows as dicts; times as nanoseconds since 1970 UTC, as the naive oracle wants them."""
    for i, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            table = table.set_column(i, field.name, pc.multiply(table[field.name].cast(pa.int64()), 1000))
    rows: list[dict[str, object]] = table.to_pylist()
    return rows


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with an answer, in rows.

    lost: entity rows that are missing. extra: rows too many. different: rows with a wrong value. ordered: as asked.
    """

    lost: int
    extra: int
    different: int
    ordered: bool

    @property
    def right(self) -> bool:
        return not (self.lost or self.extra or self.different)


def judge(found: pa.Table, right: pa.Table) -> Verdict:
    """Compare all cells, whatever the order of the rows. Raises KeyError where a column is missing."""
    numbers = integers(found["row"])
    unique, first = np.unique(numbers, return_index=True)
    expected = right.take(pa.array(unique))
    actual = found.take(pa.array(first))
    different = np.zeros(len(unique), bool)
    for name in right.column_names:
        different |= differs(actual[name], expected[name])
    return Verdict(
        lost=len(right) - len(unique),
        extra=len(numbers) - len(unique),
        different=int(different.sum()),
        ordered=bool(np.array_equal(numbers, np.arange(len(right)))),
    )


def differs(actual: pa.ChunkedArray, expected: pa.ChunkedArray) -> np.ndarray:
    """Where two columns differ: a null equals a null only, and no type is forgiven that holds another value."""
    unlike = pc.not_equal(actual.cast(expected.type), expected)
    one_is_null = pc.xor(actual.is_null(), expected.is_null())
    return np.asarray(pc.or_(pc.fill_null(unlike, False), one_is_null).to_numpy(), np.bool_)
