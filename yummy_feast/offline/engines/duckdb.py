"""The embedded engine: DuckDB for SQL and for the newest row per key, our own linear pass for point-in-time joins.

Sources reach DuckDB as Arrow streams, so every format works without DuckDB extensions (which would be downloaded at
run time). DuckDB sees join keys, times and row addresses only; feature columns keep the types the source gave them.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from yummy_feast.errors import ColumnNotFoundError, EntityRowsError, first_line, nearest
from yummy_feast.offline.engines.arrow_stream import STREAM, streamed
from yummy_feast.offline.engines.base import Engine, FeatureAnswer
from yummy_feast.offline.engines.matching import EmbeddedAnswer
from yummy_feast.offline.engines.newest import EmbeddedNewest, inside
from yummy_feast.offline.engines.passes import each
from yummy_feast.offline.times import unit_of
from yummy_feast.sources.base import Piece, Prune, Scan

if TYPE_CHECKING:
    from yummy_feast.offline.entity_rows import EntityRows
    from yummy_feast.offline.plan import ReadPlan, RetrievalPlan
    from yummy_feast.sources.base import YummySource

logger = logging.getLogger(__name__)

_PICKING = 1024 * 1024 * 1024
"""Bytes for picking the newest row of each key where the repo sets no limit: beyond, DuckDB goes to disk."""


class DuckDBEngine(Engine):
    """Everything on this machine, within ``memory_limit``."""

    name = "duckdb"
    # The matches are kept, and only features gathered anew.
    repeats_cheaply = True

    def point_in_time(self, plan: RetrievalPlan, rows: EntityRows) -> FeatureAnswer:
        """See ``matching`` for how."""
        return EmbeddedAnswer(plan, rows, self.settings)

    def newest(self, reads: Sequence[ReadPlan]) -> EmbeddedNewest:
        """DuckDB picks addresses, then the rows are read in the source's order; see ``newest``."""
        scan, pieces = self._open(reads)
        settings = self.settings
        limit = settings.memory_limit if settings.memory_limit is not None else _PICKING
        return EmbeddedNewest(self._connect(limit), reads, scan, pieces, settings.threads)

    def between(self, read: ReadPlan) -> pa.RecordBatchReader:
        """The rows of the range as they stream from the source."""
        scan, pieces = self._open([read])
        schema = pa.schema([scan.schema.field(name) for name in read.columns])
        return pa.RecordBatchReader.from_batches(schema, self._in_range(read, pieces))

    def query(self, sql: str, sources: Mapping[str, YummySource]) -> pa.Table:
        """One SELECT; sources it names become tables that DuckDB may spill."""
        # SQL does not tell DRIVERS from drivers.
        known = {name.lower(): source for name, source in sources.items()} | dict(sources)
        with self._connect(self.settings.memory_limit) as connection:
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
        scan = self.settings.context.scan(source)
        names = scan.schema.names
        batches = (batch for piece in scan.pieces() for batch in piece.read(names))
        with streamed(connection, scan.schema, batches):
            connection.execute(f"CREATE TABLE {_quoted(parts)} AS FROM {STREAM}")

    def _connect(self, memory_limit: int | None) -> duckdb.DuckDBPyConnection:
        settings = self.settings
        config: dict[str, str | bool | int | float | list[str]] = {
            "threads": settings.threads,
            "autoinstall_known_extensions": False,
            # Memory that is free goes back to the system, not into DuckDB's reserve.
            "allocator_flush_threshold": "1MB",
            "allocator_bulk_deallocation_flush_threshold": "1MB",
            # A table is a source; never a Python variable that happens to have its name.
            "python_enable_replacements": False,
        }
        connection = duckdb.connect(config=config)
        connection.execute("SET TimeZone = 'UTC'")
        if memory_limit is not None:
            connection.execute(f"SET memory_limit = '{memory_limit}B'")
        scratch = settings.scratch or Path(tempfile.gettempdir())
        scratch.mkdir(parents=True, exist_ok=True)
        folder = str(scratch).replace("'", "''")
        connection.execute(f"SET temp_directory = '{folder}'")
        return connection

    def _open(self, reads: Sequence[ReadPlan]) -> tuple[Scan, list[Piece]]:
        """The source of ``reads``, which differ in join keys and features alone."""
        read = reads[0]
        scan = self.settings.context.scan(read.source)
        for name in dict.fromkeys(name for one in reads for name in one.columns):
            if name not in scan.schema.names:
                raise ColumnNotFoundError(
                    f"{scan.location} has no column '{name}'", hint=nearest(name, scan.schema.names)
                )
        for name in filter(None, (read.time, read.created)):
            unit_of(name, scan.schema.field(name).type, scan.location)
        return scan, scan.pieces(Prune(read.time, read.start, read.end, seen=read.seen, seen_start=read.seen_start))

    def _in_range(self, read: ReadPlan, pieces: list[Piece]) -> Iterator[pa.RecordBatch]:
        columns = list(read.columns)

        def those(piece: Piece) -> list[pa.RecordBatch]:
            out = []
            for batch in piece.read(columns):
                wanted = inside(read, batch)
                out.append(batch if wanted.all() else batch.filter(pa.array(wanted)))
            return out

        for batches in each(those, pieces, self.settings.threads):
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
