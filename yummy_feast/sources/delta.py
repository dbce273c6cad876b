"""Delta tables as a data source."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Unpack, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from feast.errors import SavedDatasetLocationAlreadyExists

from yummy_feast.errors import (
    ColumnTypeError,
    ConfigError,
    MissingExtraError,
    SourceMovedError,
    SourceNotFoundError,
    SourceReadError,
    UnsupportedTableError,
    first_line,
    unsigned,
)
from yummy_feast.sources.base import MOVED, NativeFile, NativeTable, Piece, Prune, Scan, SourceContext, YummySource
from yummy_feast.sources.delta_log import DeltaFile, columns_of_table, files_of_table, refusal
from yummy_feast.sources.delta_seen import delta_state, seen_in_delta
from yummy_feast.sources.files import Location, locate
from yummy_feast.sources.keywords import PathLike, SourceKeywords, counted, path_text
from yummy_feast.sources.lake_types import lake_table
from yummy_feast.sources.parquet_native import native_file, readable_by_name
from yummy_feast.sources.parquet_pieces import FileColumn, ParquetFooter, parquet_pieces, read_footers
from yummy_feast.sources.pruning import WantedParts
from yummy_feast.sources.schemas import plain_type
from yummy_feast.sources.seen import state_facts
from yummy_feast.sources.store_errors import Credentials, store_error
from yummy_feast.sources.stores import is_object_uri, settings_of
from yummy_feast.sources.writing import conformed

if TYPE_CHECKING:
    from deltalake import DeltaTable


_COMMIT_TRIES = 8


class DeltaSource(YummySource):
    """Rows in a Delta table.

    path: the table's folder, local (relative to the feature repo) or in an object store.
    version, timestamp: read the table as it was (one of them; a time as datetime or ISO text, naive means UTC).
    Partition columns, deletion vectors, column mapping and schema changes are understood; a table that needs a feature
    of Delta we do not know is refused.
    """

    format: ClassVar[str] = "delta"
    settings: ClassVar[tuple[str, ...]] = ("path", "version", "timestamp")
    moments: ClassVar[tuple[str, ...]] = ("version", "timestamp")

    def __init__(
        self,
        path: PathLike | None = None,
        *,
        version: int | None = None,
        timestamp: datetime | str | None = None,
        **common: Unpack[SourceKeywords],
    ) -> None:
        super().__init__(default_name=path_text(path), **common)
        if not path:
            raise TypeError("DeltaSource() needs path: the table's folder")
        if version is not None and timestamp is not None:
            raise ConfigError(f"source '{self.name}' has version and timestamp", hint="give one of them")
        self.path = path_text(path)
        self.version = counted(version, self.name, "version")
        self.timestamp = _utc_text(timestamp, self.name)

    @property
    def location(self) -> str:
        """The table's folder as the user wrote it."""
        return self.path

    def scan(self, context: SourceContext) -> DeltaScan:
        """See ``YummySource.scan``. Reads the table's log."""
        place = locate(self.path, self.settled(context))
        uri, options = self._address(context)

        def at_version(version: int) -> DeltaTable:
            return cast("DeltaTable", _deltalake().DeltaTable(uri, version=version, storage_options=options))

        scan = DeltaScan(self.path, place, self._table(context), at_version, self.date_partition_column)
        scan.own_store = self.has_own_store(context)
        return scan

    def scan_at(self, pin: Mapping[str, Any], context: SourceContext) -> DeltaScan:
        """See ``YummySource.scan_at``: the same version of the same table."""
        then = copy(self)
        then.version, then.timestamp = pin["version"], None
        where = f"source '{self.name}' moved: version {then.version} of {self.location}"
        try:
            scan = then.scan(context)
        except SourceNotFoundError as error:
            raise SourceMovedError(f"{where} cannot be read any more: {error.message}", hint=MOVED) from error
        found = scan.pin(context)
        if found["table_id"] != pin["table_id"]:
            raise SourceMovedError(
                f"{where}: another table is there now, {found['table_id']} instead of {pin['table_id']}", hint=MOVED
            )
        if found != pin:
            raise SourceMovedError(f"{where} has other files than it had, so its log was rewritten", hint=MOVED)
        return scan

    def get_table_query_string(self) -> str:
        """DuckDB's call that reads the table, for a DuckDB that has its delta extension."""
        return "delta_scan('" + self.path.replace("'", "''") + "')"

    def append(self, table: pa.Table, context: SourceContext, *, create: bool = False) -> None:
        """See ``YummySource.append``: one commit, tried again if another writer was faster."""
        if self.version is not None or self.timestamp is not None:
            raise ConfigError(f"source '{self.name}' is pinned to a version", hint="rows cannot be added to the past")
        for attempt in range(_COMMIT_TRIES):
            try:
                self._write(self._appended(table, context, create=create), context, mode="append")
            except SourceReadError as error:
                # Overtaken: deltalake has tried again itself, but not where another writer made the table.
                if attempt == _COMMIT_TRIES - 1 or not _was_overtaken(error):
                    raise
                time.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311 - spreads writers, guards nothing
            else:
                return

    def _appended(self, table: pa.Table, context: SourceContext, *, create: bool) -> pa.Table:
        """The rows in the types of the table as it is now, or of one that is to be made."""
        try:
            stored = self._table(context)
        except SourceNotFoundError:
            if not create:
                raise
            return lake_table(table, self.path)
        schema = pa.schema(stored.schema().to_arrow())
        plain = pa.schema([column.with_type(plain_type(column.type)) for column in schema])
        return conformed(table, plain, self.path)

    def replace(self, table: pa.Table, context: SourceContext, *, allow_overwrite: bool) -> None:
        """See ``YummySource.replace``. Older versions stay readable."""
        place = locate(self.path, self.settled(context))
        if not allow_overwrite and place.has_files():
            raise SavedDatasetLocationAlreadyExists(location=place.text)
        self._write(lake_table(table, self.path), context, mode="overwrite", schema_mode="overwrite")

    def _write(self, table: pa.Table, context: SourceContext, **how: Any) -> None:
        deltalake = _deltalake()
        uri, options = self._address(context)
        with _table_errors(uri, self._credentials(context)):
            deltalake.write_deltalake(uri, table, storage_options=options, **how)

    def _address(self, context: SourceContext) -> tuple[str, dict[str, str]]:
        """URI and storage options as deltalake wants them."""
        settled = self.settled(context)
        place = locate(self.path, settled)
        if place.is_local:
            return place.path, {}
        return place.text, settings_of(self.path, settled.storage_options).for_deltalake()

    def _credentials(self, context: SourceContext) -> Credentials | None:
        if not is_object_uri(self.path):
            return None
        return settings_of(self.path, self.settled(context).storage_options).credentials

    def _table(self, context: SourceContext) -> DeltaTable:
        deltalake = _deltalake()
        uri, options = self._address(context)
        with _table_errors(uri, self._credentials(context)):
            try:
                if self.version is not None:
                    # Asked for a version far beyond the last one, deltalake counts up to it.
                    newest = deltalake.DeltaTable(uri, storage_options=options).version()
                    if self.version > newest:
                        raise SourceNotFoundError(f"{uri}: no version {self.version}", hint=f"the newest is {newest}")
                table = deltalake.DeltaTable(uri, version=self.version, storage_options=options)
            except (deltalake.exceptions.TableNotFoundError, deltalake.exceptions.DeltaProtocolError):
                raise
            except deltalake.exceptions.DeltaError as error:
                if self.version is None:
                    raise
                raise SourceNotFoundError(f"{uri}: no version {self.version} ({first_line(error)})") from error
            if self.timestamp is not None:
                _travel(table, self.timestamp, uri)
        return cast("DeltaTable", table)


class DeltaScan(Scan):
    """One version of a Delta table. Footers of its files are read when pieces first need them."""

    format = "delta"

    def __init__(
        self,
        location: str,
        place: Location,
        table: DeltaTable,
        at_version: Callable[[int], DeltaTable],
        date_partition: str = "",
    ) -> None:
        self.location = location
        self._place = place
        self._table = table
        self._at_version = at_version
        self.snapshot = f"version {table.version()}"
        with _table_errors(place.text, place.credentials):
            # A scan of such a table may still be read by Spark, which needs no more than its version and schema.
            self._refusal = refusal(table, place.text)
            self.schema, self._columns = columns_of_table(table)
            self._files = files_of_table(table, place, self.schema, self._columns)
        self._date_partition = date_partition
        self._footers: dict[str, ParquetFooter] = {}
        self._seen: dict[str, frozenset[str]] = {}
        self._lock = threading.Lock()

    @property
    def state(self) -> str:
        """See ``Scan.state``."""
        return delta_state(self._table, self._files)

    def pin(self, context: SourceContext) -> dict[str, Any]:
        """See ``Scan.pin``."""
        facts = state_facts(self.state)
        return {"table_id": facts["delta"], "version": facts["version"], "files_digest": facts["files"]}

    def pieces(self, prune: Prune | None = None) -> list[Piece]:
        """See ``Scan.pieces``. SourceReadError if the log names a file that is missing, UnsupportedTableError for a
        table that would be read wrongly.
        """
        return [piece for _, pieces in self._by_file(prune) for piece in pieces]

    @property
    def total_pieces(self) -> int:
        """See ``Scan.total_pieces``; of a table that is refused, its files."""
        return len(self._files if self._refusal is not None else self.pieces())

    def native(self, columns: Sequence[str], prune: Prune | None = None) -> NativeTable | None:
        """See ``Scan.native``: the version's files as plain Parquet, if that is what they are; as a Delta table of this
        version, if only its own reader knows what they mean.
        """
        if self.own_store:
            return None
        if self._refusal is not None:
            files = tuple(NativeFile(item.file.text) for item in self._files)
            return NativeTable("delta", self._place.text, str(self._table.version()), files)
        found = [(item, pieces) for item, pieces in self._by_file(prune) if pieces]
        if any(item.keep is not None for item, _ in found):
            return None
        files_of_columns = [(self._footers[item.file.text], self._columns_in(item)) for item, _ in found]
        if not readable_by_name(columns, self.schema, files_of_columns):
            return None
        chosen = [native_file(file, columns, pieces) for file, (_, pieces) in zip(files_of_columns, found, strict=True)]
        return NativeTable("parquet", self._place.text, str(self._table.version()), tuple(chosen))

    def _by_file(self, prune: Prune | None) -> list[tuple[DeltaFile, list[Piece]]]:
        """The files that may hold wanted rows, and the pieces of each."""
        if self._refusal is not None:
            raise self._refusal
        parts = WantedParts(prune, self.schema, self._date_partition)
        seen = self._seen_in(parts.state)
        chosen = [(item, parts.of(seen=item.file.text in seen)) for item in self._files]
        chosen = [(item, wanted) for item, wanted in chosen if wanted.may_hold(item.bounds)]
        footers = self._footers_of([item for item, _ in chosen])
        found = []
        for (item, wanted), footer in zip(chosen, footers, strict=True):
            pieces = parquet_pieces(footer, self._columns_in(item), wanted, _whole_mask(item, footer))
            found.append((item, [parts.marked(cast("Piece", piece), wanted) for piece in pieces]))
        return found

    def _seen_in(self, state: str) -> frozenset[str]:
        """Files that ``state`` covers, asked of the log once."""
        if not state:
            return frozenset()
        with self._lock:
            if state not in self._seen:
                self._seen[state] = seen_in_delta(state, self._table, self._files, self._place, self._at_version)
            return self._seen[state]

    def _footers_of(self, files: list[DeltaFile]) -> list[ParquetFooter]:
        with self._lock:
            missing = [item.file for item in files if item.file.text not in self._footers]
            try:
                found = read_footers(missing)
            except SourceReadError as error:
                if isinstance(error.__cause__, FileNotFoundError):
                    raise SourceReadError(
                        f"{self.location}: the log of {self.snapshot} names a file that is missing: {error.message}",
                        hint="restore the file, or drop it from the log with deltalake's DeltaTable.repair()",
                    ) from error
                raise
            self._footers.update((footer.file.text, footer) for footer in found)
            return [self._footers[item.file.text] for item in files]

    def _columns_in(self, item: DeltaFile) -> Mapping[str, FileColumn]:
        """How the columns come out of a file whose footer has been read."""
        footer = self._footers[item.file.text]
        return {
            column.name: FileColumn(
                column.type,
                stored=None if column.name in item.partition else self._columns[column.name].stored_in(footer.schema),
                constant=item.partition.get(column.name),
            )
            for column in self.schema
        }


def _was_overtaken(error: SourceReadError) -> bool:
    """Whether a commit failed because of another one, and so is not there."""
    failed = isinstance(error.__cause__, _deltalake().exceptions.CommitFailedError)
    return failed or "already exists" in error.message


def _travel(table: DeltaTable, timestamp: str, uri: str) -> None:
    """Load the version of a time. SourceNotFoundError for a time before the first commit that the log still has."""
    # Asked before travelling: afterwards deltalake counts the entries from the wrong version.
    newest, history = table.version(), table.history()
    table.load_as_version(timestamp)
    entry = newest - table.version()
    committed = history[entry].get("timestamp") if entry < len(history) else None
    # deltalake answers a time before the first commit with the first version, whose rows that time could not know.
    if committed is not None and committed > datetime.fromisoformat(timestamp).timestamp() * 1000:
        raise SourceNotFoundError(f"{uri} has no version as old as {timestamp}", hint="see the table's history")


def _whole_mask(item: DeltaFile, footer: ParquetFooter) -> npt.NDArray[np.bool_] | None:
    """The file's mask at full length: a deletion vector ends at its last deleted row."""
    if item.keep is None:
        return None
    whole = np.ones(footer.metadata.num_rows, bool)
    whole[: len(item.keep)] = item.keep
    return whole


def _deltalake() -> Any:
    try:
        import deltalake
        import deltalake.exceptions
    except ImportError as error:
        raise MissingExtraError.of("delta", "DeltaSource") from error
    return deltalake


@contextmanager
def _table_errors(place: str, credentials: Credentials | None) -> Iterator[None]:
    """Turn deltalake's errors into ours, with the table's place."""
    exceptions = _deltalake().exceptions
    try:
        yield
    except exceptions.TableNotFoundError as error:
        raise SourceNotFoundError(f"{place}: no Delta table", hint="relative paths start at the repo") from error
    except exceptions.DeltaProtocolError as error:
        raise UnsupportedTableError(f"{place}: {first_line(error)}", hint="use engine: spark") from error
    except (exceptions.SchemaMismatchError, pa.ArrowInvalid) as error:
        raise ColumnTypeError(f"{place}: {first_line(error)}") from error
    except (exceptions.DeltaError, OSError) as error:
        if isinstance(error, SourceReadError | SourceNotFoundError):
            raise
        text = first_line(error)
        if "unsupported" in text.lower() or "catalog-managed" in text:
            raise UnsupportedTableError(f"{place}: {text}", hint="use engine: spark") from error
        hint = "are its _delta_log and files whole and readable?"
        raise store_error(place, error, credentials, hint) from unsigned(error)


def _utc_text(timestamp: datetime | str | None, name: str) -> str | None:
    """A point in time as ISO text in UTC."""
    if timestamp is None:
        return None
    try:
        moment = datetime.fromisoformat(timestamp) if isinstance(timestamp, str) else timestamp
    except ValueError:
        raise ConfigError(
            f"source '{name}': timestamp '{timestamp}' is no time", hint="for example 2026-11-01T00:00:00Z"
        ) from None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
