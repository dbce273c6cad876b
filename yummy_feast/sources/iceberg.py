"""Iceberg tables as a data source."""

from __future__ import annotations

import re
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import pyarrow as pa
from feast.errors import SavedDatasetLocationAlreadyExists

from yummy_feast.errors import ConfigError, SourceMovedError, SourceNotFoundError, nearest
from yummy_feast.sources.base import MOVED, SourceContext, YummySource
from yummy_feast.sources.files import Location, locate
from yummy_feast.sources.iceberg_catalogs import PY_IO, iceberg_errors, opened_catalog, opened_otherwise
from yummy_feast.sources.iceberg_commits import append_rows, create_table
from yummy_feast.sources.keywords import PathLike, SourceKeywords, counted, path_text
from yummy_feast.sources.lake_types import lake_table
from yummy_feast.sources.stores import is_ours_alone, settings_of
from yummy_feast.sources.writing import conformed

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

    from yummy_feast.sources.iceberg_scan import IcebergScan

_OLD_TABLE_PATH = re.compile(r"[\w-]+(\.[\w-]+){2,}")
_METADATA = re.compile(r"v?(\d+)(?:-[0-9a-f-]+)?(?:\.gz)?\.metadata\.json(?:\.gz)?")


class IcebergSource(YummySource):
    """Rows in an Iceberg table.

    table: ``catalog.namespace.name``, the catalog being one of ``offline_store.catalogs`` in feature_store.yaml; or
    path: the table's folder or one of its ``metadata.json`` files, read-only because no catalog can commit there.
    snapshot_id, branch: read an older snapshot, or a branch or tag by its name (one of them).
    Schema and partition changes and position deletes are applied; a table with equality deletes is for
    ``engine: spark`` alone.
    """

    format: ClassVar[str] = "iceberg"
    settings: ClassVar[tuple[str, ...]] = ("table", "path", "snapshot_id", "branch")
    moments: ClassVar[tuple[str, ...]] = ("snapshot_id", "branch")

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
        with iceberg_errors(self.location, self.settled(context).storage_options):
            from yummy_feast.sources.iceberg_scan import IcebergScan

            table = self._table(context)
            scan = IcebergScan(self.location, table, self.snapshot_id, self.branch, self.date_partition_column)
            scan.own_store = self._is_ours_alone(table, context)
        return scan

    def scan_at(self, pin: Mapping[str, Any], context: SourceContext) -> IcebergScan:
        """See ``YummySource.scan_at``: the same snapshot of the same table, in the columns it was read in."""
        where = f"source '{self.name}' moved: {self.location}"
        with iceberg_errors(self.location, self.settled(context).storage_options):
            from yummy_feast.sources.iceberg_scan import IcebergScan

            try:
                table = self._table(context)
                found = str(table.metadata.table_uuid)
                if found != pin["table_uuid"]:
                    raise SourceMovedError(
                        f"{where}: another table is there now, {found} instead of {pin['table_uuid']}", hint=MOVED
                    )
                if pin["schema_id"] not in table.schemas():
                    raise SourceMovedError(f"{where}: its schema {pin['schema_id']} was removed", hint=MOVED)
                scan = IcebergScan(
                    self.location, table, pin["snapshot_id"], None, self.date_partition_column, pin["schema_id"]
                )
                scan.own_store = self._is_ours_alone(table, context)
            except SourceNotFoundError as error:
                raise SourceMovedError(
                    f"{where}: snapshot {pin['snapshot_id']} cannot be read any more: {error.message}", hint=MOVED
                ) from error
        return scan

    def _is_ours_alone(self, table: Table, context: SourceContext) -> bool:
        """See ``Scan.own_store``."""
        return (
            self.has_own_store(context)
            or is_ours_alone(table.location(), context.storage_options)
            or opened_otherwise(table.io.properties, context.storage_options)
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
                create_table(catalog, name, lake_table(table, self.location).schema)
            append_rows(catalog, name, lambda stored: self._fitting(table, stored), self.branch)

    def replace(self, table: pa.Table, context: SourceContext, *, allow_overwrite: bool) -> None:
        """See ``YummySource.replace``. Rows of the same columns are one commit; another schema makes a new table."""
        with self._catalog(context) as (catalog, name):
            rows = lake_table(table, self.location)
            if not catalog.table_exists(name):
                create_table(catalog, name, rows.schema)
                append_rows(catalog, name, lambda stored: self._fitting(rows, stored))
                return
            if not allow_overwrite:
                raise SavedDatasetLocationAlreadyExists(location=self.location)
            stored = catalog.load_table(name)
            if arrow_schema(stored).remove_metadata() == rows.schema:
                stored.overwrite(rows)
                return
            aside = f"{name}_{uuid.uuid4().hex}"
            create_table(catalog, aside, rows.schema)
            append_rows(catalog, aside, lambda stored: self._fitting(rows, stored))
            catalog.drop_table(name)
            catalog.rename_table(aside, name)

    def _fitting(self, table: pa.Table, stored: Table) -> pa.Table:
        return conformed(table, arrow_schema(stored), self.location)

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
        settled = self.settled(context)
        with (
            iceberg_errors(self.location, settled.storage_options),
            opened_catalog(settled, catalog_name, self.location) as catalog,
        ):
            yield catalog, name

    def _static_table(self, context: SourceContext) -> Table:
        from pyiceberg.table import StaticTable

        settled = self.settled(context)
        place = locate(self.path or "", settled)
        metadata = _newest_metadata(place)
        properties = {} if place.is_local else settings_of(self.path or "", settled.storage_options).for_pyiceberg()
        return StaticTable.from_metadata(metadata.text, {**PY_IO, **properties})


def arrow_schema(table: Table) -> pa.Schema:
    """The table's current columns in Arrow types, required columns as not nullable."""
    from yummy_feast.sources.iceberg_scan import scan_type

    return pa.schema(
        [pa.field(item.name, scan_type(item.field_type), nullable=not item.required) for item in table.schema().fields]
    )


def _newest_metadata(place: Location) -> Location:
    """The metadata file: the given one, the one that version-hint.text names, else the one of the highest number."""
    if re.search(r"\.metadata\.json(\.gz)?$", place.path):
        if not place.exists():
            raise SourceNotFoundError(f"{place.text}: no such file")
        return place
    folder = place.at(f"{place.path}/metadata")
    infos = folder.below()
    hint = next((info for info in infos if info.base_name == "version-hint.text"), None)
    # On Azure a file is there before its bytes are.
    numbered = [(match, info) for info in infos if info.size and (match := _METADATA.fullmatch(info.base_name))]
    if not numbered:
        raise SourceNotFoundError(f"{place.text}: no Iceberg table", hint="give the folder that has `metadata` in it")
    if hint is not None:
        with folder.errors(), folder.filesystem.open_input_stream(hint.path) as stream:
            named = stream.read().decode().strip()
        for match, info in numbered:
            if named in (info.base_name, info.base_name.partition(".")[0], match[1]):
                return place.at(info.path)
    # Two of one number: the later one, as a commit that lost the race is not written again.
    newest = max(numbered, key=lambda item: (int(item[0][1]), item[1].mtime_ns or 0))
    return place.at(newest[1].path)
