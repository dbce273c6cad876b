"""The newest row per key, streamed: how the embedded engine answers ``latest``.

Two passes over the source. The first hands join keys, times and row addresses to DuckDB, which picks the address of the
newest row per key and sorts them, on disk where memory is short. The second reads the feature columns in the source's
order, a few batches ahead, and keeps the rows that were picked. Views of one source share both passes, also when their
join keys differ.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

import duckdb
import numpy as np
import pyarrow as pa

from yummy_feast.errors import ColumnTypeError, RetrievalError, first_line
from yummy_feast.offline.engines.arrow_stream import STREAM, streamed
from yummy_feast.offline.engines.codes import CANONICAL, canonical, family
from yummy_feast.offline.engines.passes import PIECE_BITS, each, flow
from yummy_feast.offline.newest import Newest
from yummy_feast.offline.plan import ReadPlan
from yummy_feast.offline.times import MISSING, Int64s, instants, to_micros, unit_of
from yummy_feast.sources.base import Piece, Scan, SeenPiece

logger = logging.getLogger(__name__)

_SMALL = 32 * 1024
"""Rows of a piece below which several are read at a time: opening them is what takes long then. Of larger ones one is
enough, because writing is slower than reading, and each holds memory.
"""
_CHUNK = 64 * 1024
_LOCAL = (1 << PIECE_BITS) - 1


class EmbeddedNewest(Newest):
    """See ``Newest``. The first pass is made at once; the connection holds the addresses until the block is left."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        reads: Sequence[ReadPlan],
        scan: Scan,
        pieces: Sequence[Piece],
        threads: int,
    ) -> None:
        self._connection = connection
        self._reads = reads
        self._scan = scan
        self._pieces = pieces
        self._threads = threads
        self.state = scan.state
        self.schemas = tuple(pa.schema([scan.schema.field(name) for name in read.columns]) for read in reads)
        try:
            self.rows = tuple(self._pick())
        except BaseException:
            connection.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    # ------------------------------------------------------------------------------------------ first pass

    def _pick(self) -> list[int]:
        """One sorted table of addresses per read; their lengths."""
        names = list(dict.fromkeys(key for read in self._reads for key in read.join_keys))
        kinds = {name: _key_family(self._scan, name) for name in names}
        fields = [pa.field(f"k{number}", CANONICAL[kinds[name]]) for number, name in enumerate(names)]
        schema = pa.schema([*fields, ("t", pa.uint64()), ("c", pa.int64()), ("a", pa.int64())])
        keyless = [0] * len(self._reads)
        run = self._connection.execute
        try:
            with streamed(self._connection, schema, self._keyed(kinds, schema, keyless)):
                table = STREAM
                if len(self._reads) > 1:
                    # A stream can be read once, a table by each of them.
                    table = "keyed"
                    run(f"CREATE TABLE keyed AS FROM {STREAM}")
                for number, read in enumerate(self._reads):
                    run(_picking(table, number, [f"k{names.index(key)}" for key in read.join_keys], read.created))
            if len(self._reads) > 1:
                run("DROP TABLE keyed")
            # All that is left to do is reading them in order: what the threads keep for themselves goes back.
            run("SET threads = 1")
            pa.default_memory_pool().release_unused()
            counts = [run(f"SELECT count(*) FROM newest{number}").fetchall()[0][0] for number in range(len(keyless))]  # noqa: S608
        except duckdb.Error as error:
            raise RetrievalError(
                f"the newest rows of {self._scan.location} cannot be picked: {first_line(error)}",
                hint="raise offline_store.memory_limit, or make room in offline_store.temp_directory",
            ) from error
        for read, count in zip(self._reads, keyless, strict=True):
            if count:
                keys = ", ".join(read.join_keys)
                logger.warning("%s: left out %d rows whose join key %s is null", self._scan.location, count, keys)
        return counts

    def _keyed(self, kinds: dict[str, str], schema: pa.Schema, keyless: list[int]) -> Iterator[pa.RecordBatch]:
        """Keys, times and address of each row of the range; how many of them have no key goes to ``keyless``."""
        read = self._reads[0]
        names = list(dict.fromkeys([*kinds, read.time, *([read.created] if read.created else [])]))

        def keyed(number: int) -> list[pa.RecordBatch]:
            out, offset = [], 0
            piece = self._pieces[number]
            wanted_from = replace(read, start=piece.start) if isinstance(piece, SeenPiece) else read
            for batch in piece.read(names):
                keys = [canonical(batch.column(name), kind, name) for name, kind in kinds.items()]
                times = instants(batch.column(read.time))
                created = instants(batch.column(read.created)) if read.created else np.zeros(len(times), np.int64)
                wanted = inside(wanted_from, batch) & (times != MISSING)
                address = np.arange(offset, offset + batch.num_rows, dtype=np.int64) + (number << PIECE_BITS)
                offset += batch.num_rows
                # Shifted so that the order stays and none is negative.
                moments = times.view(np.uint64) ^ np.uint64(1 << 63)
                rows = pa.record_batch([*keys, pa.array(moments), pa.array(created), pa.array(address)], schema=schema)
                out.append(rows if wanted.all() else rows.filter(pa.array(wanted)))
            return out

        position = {name: number for number, name in enumerate(kinds)}
        for batches in each(keyed, range(len(self._pieces)), self._threads):
            for batch in batches:
                for number, plan in enumerate(self._reads):
                    keyless[number] += _without([batch.column(position[key]) for key in plan.join_keys])
                yield batch

    # ----------------------------------------------------------------------------------------- second pass

    def batches(self, skip: Sequence[int] = ()) -> Iterator[tuple[int, pa.RecordBatch]]:
        """See ``Newest.batches``."""
        skipped = list(skip) or [0] * len(self._reads)
        runs = [_Addresses(self._connection, number, start) for number, start in enumerate(skipped)]
        known = [piece.rows or _SMALL for piece in self._pieces]
        small = bool(known) and sum(known) / len(known) < _SMALL
        return flow(self._take, _by_piece(runs), self._threads if small else 1)

    def _take(self, wanted: tuple[int, list[Int64s]]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """The rows of one piece that each read wants; ``wanted``: the piece, and per read the rows' numbers in it."""
        piece, picked = wanted
        columns = list(
            dict.fromkeys(
                name for read, rows in zip(self._reads, picked, strict=True) if len(rows) for name in read.columns
            )
        )
        offset = 0
        for batch in self._pieces[piece].read(columns):
            for number, rows in enumerate(picked):
                first, last = np.searchsorted(rows, (offset, offset + batch.num_rows))
                if first < last:
                    part = batch.select(list(self._reads[number].columns))
                    whole = last - first == batch.num_rows
                    yield number, part if whole else part.take(pa.array(rows[first:last] - offset))
            offset += batch.num_rows


def _picking(table: str, number: int, keys: list[str], created: str | None) -> str:
    """SQL that keeps the addresses of the newest rows, sorted."""
    by = f"GROUP BY {', '.join(keys)}" if keys else ""
    real = f"WHERE {' AND '.join(f'{key} IS NOT NULL' for key in keys)}" if keys else ""
    # Newest event, then newest created, then last in the source: a struct compares field by field. Without created
    # times one wide number does, four times as fast once DuckDB has to go to disk.
    wide = "max((t::UHUGEINT << 64) | a::UHUGEINT)"
    newest = "max({'t': t, 'c': c, 'a': a}).a" if created else f"({wide} & 18446744073709551615::UHUGEINT)::BIGINT"
    picked = f"SELECT {newest} AS a FROM {table} {real} {by}"  # noqa: S608 - our own names
    return f"CREATE TABLE newest{number} AS SELECT a FROM ({picked}) WHERE a IS NOT NULL ORDER BY a"  # noqa: S608


def _without(keys: Sequence[pa.Array]) -> int:
    """Rows in which any of the keys is null."""
    missing = [key.is_null().to_numpy(zero_copy_only=False) for key in keys if key.null_count]
    return int(np.logical_or.reduce(missing).sum()) if missing else 0


class _Addresses:
    """The sorted addresses of one read, a chunk at a time."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, number: int, skip: int) -> None:
        # A cursor of its own: the results of several reads are open at the same time.
        self._cursor = connection.cursor()
        rows = self._cursor.sql(f"SELECT a FROM newest{number} OFFSET {skip}")  # noqa: S608 - numbers
        self._chunks: Iterator[pa.RecordBatch] = rows.to_arrow_reader(_CHUNK)
        self._left: Int64s = np.zeros(0, np.int64)

    def first(self) -> int | None:
        """The next address; None at the end."""
        while not len(self._left):
            chunk = next(self._chunks, None)
            if chunk is None:
                return None
            self._left = chunk.column(0).to_numpy()
        return int(self._left[0])

    def below(self, limit: int) -> Int64s:
        """Take all addresses below ``limit``."""
        taken = []
        while self.first() is not None:
            stop = int(np.searchsorted(self._left, limit))
            if stop == 0:
                break
            taken.append(self._left[:stop])
            self._left = self._left[stop:]
        return np.concatenate(taken) if taken else np.zeros(0, np.int64)


def _by_piece(runs: Sequence[_Addresses]) -> Iterator[tuple[int, list[Int64s]]]:
    """Piece after piece that holds any of the rows, with the rows' numbers in it per read."""
    while starts := [first for run in runs if (first := run.first()) is not None]:
        piece = min(starts) >> PIECE_BITS
        yield piece, [run.below((piece + 1) << PIECE_BITS) & _LOCAL for run in runs]


def _key_family(scan: Scan, key: str) -> str:
    kind = scan.schema.field(key).type
    found = family(kind)
    if found is None:
        raise ColumnTypeError(
            f"column '{key}' of {scan.location} holds {kind}, which cannot be a join key",
            hint="use text, whole numbers or timestamps",
        )
    return found


def inside(read: ReadPlan, batch: pa.RecordBatch) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which rows lie in the range; a range is in microseconds, so finer times are compared rounded both ways,
    exactly.
    """
    column = batch.column(read.time)
    times = instants(column)
    unit = unit_of(read.time, column.type)
    wanted = np.ones(len(times), bool)
    if read.start is not None:
        wanted &= to_micros(times, unit) >= read.start
    if read.end is not None:
        wanted &= to_micros(times, unit, up=True) <= read.end
    if read.start is not None or read.end is not None:
        wanted &= times != MISSING
    return wanted
