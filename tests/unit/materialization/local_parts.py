"""Newest rows in parts, without a cluster: threads are its machines, and they die when a test says so."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self
from zlib import crc32

import pyarrow as pa

from yummy_feast.offline.newest import NewestParts, Work
from yummy_feast.offline.plan import ReadPlan
from yummy_feast.offline.store import YummyOfflineStore


class LostError(Exception):
    """A machine is lost, or the whole cluster."""


@dataclass
class Cluster:
    """An offline store whose rows come in ``count`` parts by join key.

    attempts: how often each part is worked on, one after the other; together: at the same time. cut: rows of a part
    after which its machine is lost, for the first attempt. ends_after: parts after which all is lost.
    """

    count: int = 4
    attempts: int = 1
    together: bool = False
    cut: int | None = None
    ends_after: int | None = None
    division: str = "crc"
    worked: list[int] = field(default_factory=list)
    before_open: Callable[[], object] = lambda: None
    reads: list[ReadPlan] = field(default_factory=list)

    def state(self, config: Any, source: Any) -> str:
        return YummyOfflineStore.state(config, source)

    def newest_parts(self, config: Any, reads: Sequence[ReadPlan]) -> LocalParts:
        self.before_open()
        self.reads += reads
        return LocalParts(self, config, reads)


class LocalParts(NewestParts):
    def __init__(self, cluster: Cluster, config: Any, reads: Sequence[ReadPlan]) -> None:
        self._cluster = cluster
        with YummyOfflineStore.newest(config, reads) as found:
            self.schemas, self.state = found.schemas, found.state
            batches: dict[int, list[pa.RecordBatch]] = {}
            for read, batch in found.batches():
                batches.setdefault(read, []).append(batch)
        self._rows = [pa.Table.from_batches(batches.get(read, []), schema) for read, schema in enumerate(found.schemas)]
        self._keys = [read.join_keys for read in reads]
        self.divisions = tuple(f"{cluster.division} {cluster.count}" for _ in reads)
        self.counts = tuple(cluster.count for _ in reads)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def _part(self, read: int, part: int) -> list[pa.RecordBatch]:
        rows, keys = self._rows[read], self._keys[read]
        texts = zip(*(rows.column(key).to_pylist() for key in keys), strict=True) if keys else [()] * len(rows)
        mine = [crc32(repr(text).encode()) % self._cluster.count == part for text in texts]
        return list(rows.filter(pa.array(mine, pa.bool_())).to_batches(max_chunksize=10))

    def run(self, read: int, work: Work, told: pa.Schema, skip: Collection[int] = ()) -> pa.Table:
        cluster = self._cluster
        # As it travels.
        sent = pickle.dumps(work)

        def attempt(part: int, cut: int | None) -> pa.RecordBatch:
            return pickle.loads(sent)(part, _dying(self._part(read, part), cut))

        answers = []
        for done, part in enumerate(number for number in range(cluster.count) if number not in skip):
            if done == cluster.ends_after:
                raise LostError
            cluster.worked.append(part)
            if cluster.cut is not None:
                with suppress(LostError):
                    attempt(part, cluster.cut)
            if cluster.together:
                with ThreadPoolExecutor(2) as pool:
                    answers += list(pool.map(attempt, [part] * 2, [None] * 2))[:1]
            else:
                answers += [attempt(part, None) for _ in range(cluster.attempts)][:1]
        return pa.Table.from_batches(answers, told)


def _dying(batches: Sequence[pa.RecordBatch], cut: int | None) -> Iterator[pa.RecordBatch]:
    seen = 0
    for batch in batches:
        if cut is not None and seen + batch.num_rows > cut:
            yield batch.slice(0, cut - seen)
            raise LostError
        seen += batch.num_rows
        yield batch
