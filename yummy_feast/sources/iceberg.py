"""Iceberg tables as a data source."""

from __future__ import annotations

import random
import re
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Unpack

import pyarrow as pa
from feast.errors import SavedDatasetLocationAlreadyExists

from yummy_feast.errors import ConfigError, MissingExtraError, SourceNotFoundError, SourceReadError, nearest
from yummy_feast.sources.base import SourceContext, YummySource
from yummy_feast.sources.files import Location, first_line, locate
from yummy_feast.sources.keywords import PathLike, SourceKeywords, counted, path_text
from yummy_feast.sources.lake_types import lake_table
from yummy_feast.sources.object_store import S3Settings
from yummy_feast.sources.writing import conformed

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

    from yummy_feast.sources.iceberg_scan import IcebergScan

_OLD_TABLE_PATH = re.compile(r"[\w-]+(\.[\w-]+){2,}")
_METADATA = re.compile(r"v?(\d+)(?:-[0-9a-f-]+)?(?:\.gz)?\.metadata\.json(?:\.gz)?")
_COMMIT_TRIES = 8
_PY_IO = {"py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO"}


class IcebergSource(YummySource):
    """Rows in an Iceberg table.

    table: ``catalog.namespace.name``, the catalog being one of ``offline_store.catalogs`` in feature_store.yaml; or
    path: the table's folder or one of its ``metadata.json`` files, read-only because no catalog can commit there.
    snapshot_id, branch: read an older snapshot, or a branch or tag by its name (one of them).
    Schema and partition changes and position deletes are applied; a table with equality deletes is refused.
    """

    format: ClassVar[str] = "iceberg"
    settings: ClassVar[tuple[str, ...]] = ("table", "path", "snapshot_id", "branch")

    def __init__(
        self,
        *,
        table: str | None = None,
        path: PathLike | None = None,
        snapshot_id: int | None = None,
        branch: str | None = None,
        **common: Unpack[SourceKeywords],
    ) -> None:
        place = path_text(path)
        if not table and _OLD_TABLE_PATH.fullmatch(place) and not place.endswith(".json"):
            warnings.warn(
                f"IcebergSource(path='{place}') is deprecated: say table='{place}'", DeprecationWarning, stacklevel=2
            )
            table, place = place, ""
        super().__init__(default_name=table or place, **common)
        if bool(table) == bool(place):
            raise TypeError("IcebergSource() needs table or path, and not both")
        if table and len(table.split(".")) < 3:
            raise ConfigError(f"source '{self.name}': table '{table}' lacks a part", hint="catalog.namespace.table")
        if snapshot_id is not None and branch:
            raise ConfigError(f"source '{self.name}' has snapshot_id and branch", hint="give one of them")
        self.table = table or None
        self.path = place or None
        self.snapshot_id = counted(snapshot_id, self.name, "snapshot_id")
        self.branch = branch or None

    @property
    def location(self) -> str:
        """The table's name or path as the user wrote it."""
        return self.table or self.path or ""

    def scan(self, context: SourceContext) -> IcebergScan:
        """See ``YummySource.scan``. Reads the table's metadata; manifests are read when pieces are asked for."""
        with iceberg_errors(self.location):
            from yummy_feast.sources.iceberg_scan import IcebergScan

            return IcebergScan(
                self.location, self._table(context), self.snapshot_id, self.branch, self.date_partition_column
            )

    def get_table_query_string(self) -> str:
        """DuckDB's call that reads a table by path, for a DuckDB with its iceberg extension; else the table's name."""
        return f"iceberg_scan('{self.path}')" if self.path else self.location

    def append(self, table: pa.Table, context: SourceContext, *, create: bool = False) -> None:
        """See ``YummySource.append``: one commit (to ``branch`` if the source has one), tried again on a conflict."""
        if self.snapshot_id is not None:
            raise ConfigError(f"source '{self.name}' is pinned to a snapshot", hint="rows cannot be added to the past")
        with self._catalog(context) as (catalog, name):
            if create and not catalog.table_exists(name):
                self._create(catalog, name, table)
                return
            self._commit_rows(catalog, name, table)

    def replace(self, table: pa.Table, context: SourceContext, *, allow_overwrite: bool) -> None:
        """See ``YummySource.replace``. Rows of the same columns are one commit; another schema makes a new table."""
        with self._catalog(context) as (catalog, name):
            if not catalog.table_exists(name):
                self._create(catalog, name, table)
                return
            if not allow_overwrite:
                raise SavedDatasetLocationAlreadyExists(location=self.location)
            stored = catalog.load_table(name)
            rows = lake_table(table, self.location)
            if arrow_schema(stored).remove_metadata() == rows.schema:
                stored.overwrite(rows)
                return
            aside = f"{name}_{uuid.uuid4().hex}"
            self._create(catalog, aside, table)
            catalog.drop_table(name)
            catalog.rename_table(aside, name)

    def _create(self, catalog: Catalog, name: str, table: pa.Table) -> None:
        rows = lake_table(table, self.location)
        catalog.create_namespace_if_not_exists(name.rsplit(".", 1)[0])
        catalog.create_table(name, schema=rows.schema).append(rows)

    def _commit_rows(self, catalog: Catalog, name: str, table: pa.Table) -> None:
        from pyiceberg.exceptions import CommitFailedException
        from pyiceberg.table.refs import MAIN_BRANCH

        for attempt in range(_COMMIT_TRIES):
            stored = catalog.load_table(name)
            rows = conformed(table, arrow_schema(stored), self.location)
            try:
                stored.append(rows, branch=self.branch or MAIN_BRANCH)
            except CommitFailedException:
                if attempt == _COMMIT_TRIES - 1:
                    raise
                time.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311 - spreads writers, guards nothing
            else:
                return

    # ------------------------------------------------------------------------------ finding the table

    def _table(self, context: SourceContext) -> Table:
        if self.table is None:
            return self._static_table(context)
        with self._catalog(context) as (catalog, name):
            return catalog.load_table(name)

    @contextmanager
    def _catalog(self, context: SourceContext) -> Iterator[tuple[Catalog, str]]:
        """The catalog and the table's name in it."""
        if self.table is None:
            raise ConfigError(
                f"source '{self.name}' reads an Iceberg table by path, where nothing can commit",
                hint="use table='catalog.namespace.name' and put the catalog under offline_store.catalogs",
            )
        catalog_name, name = self.table.split(".", 1)
        if catalog_name not in context.catalogs:
            raise ConfigError(
                f"source '{self.name}': no catalog '{catalog_name}' under offline_store.catalogs in feature_store.yaml",
                hint=nearest(catalog_name, context.catalogs)
                if context.catalogs
                else "add it, with pyiceberg's own keys",
            )
        with iceberg_errors(self.location):
            from pyiceberg.catalog import load_catalog

            properties = _catalog_properties(self.settled(context), catalog_name)
            with load_catalog(catalog_name, **properties) as catalog:
                yield catalog, name

    def _static_table(self, context: SourceContext) -> Table:
        from pyiceberg.table import StaticTable

        settled = self.settled(context)
        place = locate(self.path or "", settled)
        metadata = _newest_metadata(place)
        properties = {} if place.is_local else S3Settings.of(settled.storage_options).for_pyiceberg()
        return StaticTable.from_metadata(metadata.text, {**_PY_IO, **properties})


def arrow_schema(table: Table) -> pa.Schema:
    """The table's current columns in Arrow types, required columns as not nullable."""
    from yummy_feast.sources.iceberg_scan import scan_type

    return pa.schema(
        [pa.field(item.name, scan_type(item.field_type), nullable=not item.required) for item in table.schema().fields]
    )


def _catalog_properties(context: SourceContext, name: str) -> dict[str, str]:
    """The catalog's keys, with local paths resolved against the repo and the storage options behind them.

    SourceNotFoundError for a SQLite file that is not there: SQLAlchemy would make an empty one.
    """
    properties = {**_PY_IO, **S3Settings.of(context.storage_options).for_pyiceberg(), **context.catalogs[name]}
    uri = properties.get("uri", "")
    if uri.startswith("sqlite:///"):
        database = locate(uri.removeprefix("sqlite:///"), context)
        if not database.exists():
            raise SourceNotFoundError(f"catalog '{name}': no database {database.path}", hint="is `uri` right?")
        properties["uri"] = f"sqlite:///{database.path}"
    warehouse = properties.get("warehouse", "")
    if warehouse and "://" not in warehouse and properties.get("type", "sql") == "sql":
        properties["warehouse"] = f"file://{locate(warehouse, context).path}"
    return properties


def _newest_metadata(place: Location) -> Location:
    """The metadata file: the given one, the one that version-hint.text names, else the one of the highest number."""
    if re.search(r"\.metadata\.json(\.gz)?$", place.path):
        if not place.exists():
            raise SourceNotFoundError(f"{place.text}: no such file")
        return place
    import pyarrow.fs as pafs

    folder = place.at(f"{place.path}/metadata")
    infos = folder.filesystem.get_file_info(pafs.FileSelector(folder.path, allow_not_found=True))
    hint = next((info for info in infos if info.base_name == "version-hint.text"), None)
    numbered = [(match, info) for info in infos if (match := _METADATA.fullmatch(info.base_name))]
    if not numbered:
        raise SourceNotFoundError(f"{place.text}: no Iceberg table", hint="give the folder that has `metadata` in it")
    if hint is not None:
        with folder.filesystem.open_input_stream(hint.path) as stream:
            named = stream.read().decode().strip()
        for match, info in numbered:
            if named in (info.base_name, info.base_name.partition(".")[0], match[1]):
                return place.at(info.path)
    # Two of one number: the later one, as a commit that lost the race is not written again.
    newest = max(numbered, key=lambda item: (int(item[0][1]), item[1].mtime_ns or 0))
    return place.at(newest[1].path)


@contextmanager
def iceberg_errors(place: str) -> Iterator[None]:
    """Turn pyiceberg's errors into ours, with the table's name."""
    try:
        import pyiceberg.exceptions as exceptions
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError as error:
        raise MissingExtraError.of("iceberg", "IcebergSource") from error
    try:
        yield
    except (exceptions.NoSuchTableError, exceptions.NoSuchNamespaceError, exceptions.NoSuchIdentifierError) as error:
        raise SourceNotFoundError(f"{place}: no such Iceberg table ({first_line(error)})") from error
    except (exceptions.CommitFailedException, exceptions.RESTError, SQLAlchemyError) as error:
        raise SourceReadError(
            f"{place}: {first_line(error)}", hint="is the catalog reachable, and not busy?"
        ) from error
    except exceptions.NotInstalledError as error:
        raise MissingExtraError.of("iceberg", f"{place} ({first_line(error)})") from error
    except FileNotFoundError as error:
        if isinstance(error, SourceNotFoundError):
            raise
        raise SourceReadError(
            f"{place}: the table names a file that is missing: {first_line(error)}", hint="restore it or roll back"
        ) from error
