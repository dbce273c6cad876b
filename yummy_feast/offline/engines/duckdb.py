"""The embedded engine: DuckDB for SQL and for the newest row per key, our own linear pass for point-in-time joins.

Sources reach DuckDB as Arrow streams, so every format works without DuckDB extensions (which would be downloaded at
run time). DuckDB sees join keys, times and row addresses only; feature columns keep the types the source gave them.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa

from yummy_feast.errors import ColumnNotFoundError, ColumnTypeError, EntityRowsError, RetrievalError, nearest
from yummy_feast.offline.engines.base import Engine, FeatureAnswer
from yummy_feast.offline.engines.codes import CANONICAL, canonical, family
from yummy_feast.offline.engines.matching import EmbeddedAnswer
from yummy_feast.offline.engines.passes import PIECE_BITS, each
from yummy_feast.offline.times import MISSING, Int64s, instants, to_micros, unit_of
from yummy_feast.sources.base import Piece, Prune, Scan
from yummy_feast.sources.files import first_line

if TYPE_CHECKING:
    from yummy_feast.offline.entity_rows import EntityRows
    from yummy_feast.offline.plan import ReadPlan, RetrievalPlan
    from yummy_feast.sources.base import YummySource

logger = logging.getLogger(__name__)

_ADDRESS = "address"
_STREAM = "yummy_stream"


class DuckDBEngine(Engine):
    """Everything on this machine, within ``memory_limit``."""

    name = "duckdb"

    def point_in_time(self, plan: RetrievalPlan, rows: EntityRows) -> FeatureAnswer:
        """See ``matching`` for how."""
        return EmbeddedAnswer(plan, rows, self.settings)

    def latest(self, read: ReadPlan) -> pa.RecordBatchReader:
        """The newest row per key: DuckDB picks addresses, then the rows are read in the source's order."""
        scan, pieces = self._open(read)
        addresses = self._newest(read, scan, pieces)
        return _reader(read, scan, self._picked(read, pieces, addresses))

    def between(self, read: ReadPlan) -> pa.RecordBatchReader:
        """The rows of the range as they stream from the source."""
        scan, pieces = self._open(read)
        return _reader(read, scan, self._in_range(read, pieces))

    def query(self, sql: str, sources: Mapping[str, YummySource]) -> pa.Table:
        """One SELECT; sources it names become tables that DuckDB may spill."""
        # SQL does not tell DRIVERS from drivers.
        known = {name.lower(): source for name, source in sources.items()} | dict(sources)
        with self._connect() as connection:
            try:
                for parts in _tables_of(connection, sql):
                    name = ".".join(parts)
                    source = known.get(name) or known.get(name.lower())
                    if source is not None:
                        self._register(connection, parts, source)
                return connection.sql(sql).to_arrow_table()
            except duckdb.Error as error:
                hint = f"sources: {', '.join(sorted(sources))}" if sources else "no sources are registered"
                raise EntityRowsError(f"the entity rows' SQL failed: {first_line(error)}", hint=hint) from error

    def _register(self, connection: duckdb.DuckDBPyConnection, parts: tuple[str, ...], source: YummySource) -> None:
        *spaces, _ = parts
        if len(spaces) == 2:
            connection.execute(f"ATTACH IF NOT EXISTS ':memory:' AS {_quoted(spaces[:1])}")
        if spaces:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_quoted(spaces)}")
        scan = source.scan(self.settings.context)
        names = scan.schema.names
        batches = (batch for piece in scan.pieces() for batch in piece.read(names))
        with _streamed(connection, _STREAM, scan.schema, batches):
            connection.execute(f"CREATE TABLE {_quoted(parts)} AS FROM {_STREAM}")

    def _connect(self) -> duckdb.DuckDBPyConnection:
        settings = self.settings
        config: dict[str, str | bool | int | float | list[str]] = {
            "threads": settings.threads,
            "autoinstall_known_extensions": False,
            # A table is a source; never a Python variable that happens to have its name.
            "python_enable_replacements": False,
        }
        connection = duckdb.connect(config=config)
        connection.execute("SET TimeZone = 'UTC'")
        if settings.memory_limit is not None:
            connection.execute(f"SET memory_limit = '{settings.memory_limit}B'")
        scratch = settings.scratch or Path(tempfile.gettempdir())
        scratch.mkdir(parents=True, exist_ok=True)
        folder = str(scratch).replace("'", "''")
        connection.execute(f"SET temp_directory = '{folder}'")
        return connection

    def _open(self, read: ReadPlan) -> tuple[Scan, list[Piece]]:
        scan = read.source.scan(self.settings.context)
        for name in read.columns:
            if name not in scan.schema.names:
                raise ColumnNotFoundError(
                    f"{scan.location} has no column '{name}'", hint=nearest(name, scan.schema.names)
                )
        for name in filter(None, (read.time, read.created)):
            unit_of(name, scan.schema.field(name).type, scan.location)
        return scan, scan.pieces(Prune(read.time, read.start, read.end))

    def _newest(self, read: ReadPlan, scan: Scan, pieces: list[Piece]) -> Int64s:
        """Addresses of the newest row per key, ascending."""
        keys = [f"k{number}" for number in range(len(read.join_keys))]
        kinds = [_key_family(scan, key) for key in read.join_keys]
        fields = [pa.field(key, CANONICAL[kind]) for key, kind in zip(keys, kinds, strict=True)]
        schema = pa.schema([*fields, ("t", pa.int64()), ("c", pa.int64()), (_ADDRESS, pa.int64())])
        by = f"GROUP BY {', '.join(keys)}" if keys else ""
        # The struct compares field by field: newest event, then newest created, then last in the source.
        sql = f"SELECT max({{'t': t, 'c': c, 'a': {_ADDRESS}}}).a AS a FROM {_STREAM} {by}"  # noqa: S608 - names of our own making
        keyless: list[int] = []
        try:
            with (
                self._connect() as connection,
                _streamed(connection, _STREAM, schema, self._keyed(read, pieces, kinds, schema, keyless)),
            ):
                found = connection.sql(sql).to_arrow_table().column("a").drop_null().to_numpy()
        except duckdb.Error as error:
            raise RetrievalError(
                f"the newest rows of {scan.location} cannot be picked: {first_line(error)}",
                hint="raise offline_store.memory_limit, or make room in offline_store.temp_directory",
            ) from error
        if any(keyless):
            logger.warning("%s: left out %d rows whose join key is null", scan.location, sum(keyless))
        return np.sort(found)

    def _keyed(
        self, read: ReadPlan, pieces: list[Piece], kinds: list[str], schema: pa.Schema, keyless: list[int]
    ) -> Iterator[pa.RecordBatch]:
        """Keys, times and address of each row of the range; how many had no key goes to ``keyless``."""
        names = list(dict.fromkeys([*read.join_keys, read.time, *([read.created] if read.created else [])]))

        def keyed(number: int) -> list[pa.RecordBatch]:
            out, offset = [], 0
            for batch in pieces[number].read(names):
                keys = [canonical(batch.column(k), kind, k) for k, kind in zip(read.join_keys, kinds, strict=True)]
                times = instants(batch.column(read.time))
                created = instants(batch.column(read.created)) if read.created else np.zeros(len(times), np.int64)
                wanted = _inside(read, batch) & (times != MISSING)
                in_range = int(wanted.sum())
                for key in keys:
                    if key.null_count:
                        wanted &= key.is_valid().to_numpy(zero_copy_only=False)
                keyless.append(in_range - int(wanted.sum()))
                address = np.arange(offset, offset + batch.num_rows, dtype=np.int64) + (number << PIECE_BITS)
                offset += batch.num_rows
                rows = pa.record_batch([*keys, pa.array(times), pa.array(created), pa.array(address)], schema=schema)
                out.append(rows if wanted.all() else rows.filter(pa.array(wanted)))
            return out

        for batches in each(keyed, range(len(pieces)), self.settings.threads):
            yield from batches

    def _picked(self, read: ReadPlan, pieces: list[Piece], addresses: Int64s) -> Iterator[pa.RecordBatch]:
        columns = list(read.columns)
        cuts = np.searchsorted(addresses, np.arange(len(pieces) + 1, dtype=np.int64) << PIECE_BITS)

        def take(number: int) -> list[pa.RecordBatch]:
            local = addresses[cuts[number] : cuts[number + 1]] - (number << PIECE_BITS)
            out, offset = [], 0
            for batch in pieces[number].read(columns):
                first, last = np.searchsorted(local, (offset, offset + batch.num_rows))
                if first < last:
                    out.append(batch.take(pa.array(local[first:last] - offset)))
                offset += batch.num_rows
            return out

        hit = [number for number in range(len(pieces)) if cuts[number] < cuts[number + 1]]
        for batches in each(take, hit, self.settings.threads):
            yield from batches

    def _in_range(self, read: ReadPlan, pieces: list[Piece]) -> Iterator[pa.RecordBatch]:
        columns = list(read.columns)

        def inside(piece: Piece) -> list[pa.RecordBatch]:
            out = []
            for batch in piece.read(columns):
                wanted = _inside(read, batch)
                out.append(batch if wanted.all() else batch.filter(pa.array(wanted)))
            return out

        for batches in each(inside, pieces, self.settings.threads):
            yield from batches


def _quoted(parts: Sequence[str]) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def _tables_of(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[str, ...]]:
    """Names of the tables that one SELECT reads, as written and split at their dots, each once; a parser's answer, so
    none of them need exist yet (DuckDB's get_table_names fails on JOIN ... USING then).
    """
    statements = connection.extract_statements(sql)
    if len(statements) == 1 and statements[0].type == duckdb.StatementType.SELECT:
        ((text,),) = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()
        tree = json.loads(text)
        if not tree["error"]:
            return list({".".join(parts).lower(): parts for parts in _table_names(tree)}.values())
    raise EntityRowsError("entity rows as SQL must be one SELECT statement", hint=f"got: {' '.join(sql.split())[:80]}")


def _table_names(node: Any) -> Iterator[tuple[str, ...]]:
    if isinstance(node, dict):
        if node.get("type") == "BASE_TABLE":
            parts = (node.get("catalog_name"), node.get("schema_name"), node["table_name"])
            yield tuple(str(part) for part in parts if part)
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from _table_names(item)


@contextmanager
def _streamed(
    connection: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]
) -> Iterator[None]:
    """Let SQL read the batches as a table. What a source raises meanwhile comes out as it is, not as DuckDB's text
    about it.
    """
    failed: list[BaseException] = []

    def watched() -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except GeneratorExit:
            raise
        except BaseException as error:
            failed.append(error)
            raise

    connection.register(name, pa.RecordBatchReader.from_batches(schema, watched()))
    try:
        yield
    except duckdb.Error:
        if failed:
            raise failed[0] from None
        raise
    finally:
        connection.unregister(name)


def _key_family(scan: Scan, key: str) -> str:
    kind = scan.schema.field(key).type
    found = family(kind)
    if found is None:
        raise ColumnTypeError(
            f"column '{key}' of {scan.location} holds {kind}, which cannot be a join key",
            hint="use text, whole numbers or timestamps",
        )
    return found


def _inside(read: ReadPlan, batch: pa.RecordBatch) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
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


def _reader(read: ReadPlan, scan: Scan, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatchReader:
    schema = pa.schema([scan.schema.field(name) for name in read.columns])
    return pa.RecordBatchReader.from_batches(schema, batches)
