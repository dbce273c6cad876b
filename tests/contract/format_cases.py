"""One case per format: how to lay an Arrow table down in it, and what it makes of Arrow's types."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pyarrow.types as pt

from tests.contract.format_places import Place
from tests.store_servers import StoreServer
from yummy_feast.sources.base import Scan, SourceContext, YummySource
from yummy_feast.sources.csv import CsvSource
from yummy_feast.sources.delta import DeltaSource
from yummy_feast.sources.iceberg import IcebergSource
from yummy_feast.sources.iceberg_catalogs import PY_IO
from yummy_feast.sources.lake_types import lake_type
from yummy_feast.sources.parquet import ParquetSource
from yummy_feast.sources.schemas import plain_type
from yummy_feast.sources.stores import settings_of


class FormatCase(ABC):
    """A format under test, at a place of its own: in ``folder``, or on ``server`` with a repo in ``folder``."""

    name: str
    has_statistics = True
    one_file_for_all = False
    """Whether an append writes anew what is there."""

    def __init__(self, folder: Path, server: StoreServer | None = None) -> None:
        self.folder = folder
        self.place = Place(folder, server)
        self.context = SourceContext(folder, self.place.options)

    def another(self, folder: Path) -> FormatCase:
        """The same format on the same kind of store, elsewhere."""
        return type(self)(folder, self.place.server)

    @property
    def root(self) -> str:
        """What every error about a data file has in it."""
        return self.place.root

    @abstractmethod
    def source(self, **keywords: Any) -> YummySource:
        """The source at this case's place; ``timestamp_field`` is ``ts`` unless given."""

    @abstractmethod
    def lay(self, tables: Sequence[pa.Table]) -> None:
        """Write the tables, one file each where the format has several."""

    @classmethod
    def kept_type(cls, kind: pa.DataType) -> pa.DataType | None:
        """The type a column of ``kind`` is read back as; None if the format cannot hold it."""
        return plain_type(kind)

    def damage(self) -> None:
        """Take a data file away."""
        self.place.filesystem.delete_file(self.place.data_files()[0])


class ParquetFile(FormatCase):
    name = "parquet-file"
    one_file_for_all = True

    def source(self, **keywords: Any) -> YummySource:
        return ParquetSource(path=self.place.written("data.parquet"), **{"timestamp_field": "ts", **keywords})

    def lay(self, tables: Sequence[pa.Table]) -> None:
        whole = pa.concat_tables(tables)
        self.place.write("data.parquet", lambda sink: pq.write_table(whole, sink, row_group_size=10))


class ParquetFolder(FormatCase):
    name = "parquet-folder"

    def source(self, **keywords: Any) -> YummySource:
        return ParquetSource(path=self.place.written("data"), **{"timestamp_field": "ts", **keywords})

    def lay(self, tables: Sequence[pa.Table]) -> None:
        for number, table in enumerate(tables):
            self.place.write(f"data/{number:03}.parquet", partial(pq.write_table, table))


class CsvFolder(FormatCase):
    name = "csv"
    has_statistics = False

    def source(self, **keywords: Any) -> YummySource:
        return CsvSource(path=self.place.written("data"), **{"timestamp_field": "ts", **keywords})

    def lay(self, tables: Sequence[pa.Table]) -> None:
        for number, table in enumerate(tables):
            self.place.write(f"data/{number:03}.csv", partial(pacsv.write_csv, table))

    @classmethod
    def kept_type(cls, kind: pa.DataType) -> pa.DataType | None:
        plain = plain_type(kind)
        if pt.is_nested(plain) or pt.is_binary(plain) or pt.is_fixed_size_binary(plain) or pt.is_time(plain):
            return None
        if pt.is_integer(plain):
            return pa.int64()
        if pt.is_floating(plain) or pt.is_decimal(plain):
            return pa.float64()
        if pt.is_timestamp(plain):
            return pa.timestamp("ns" if plain.unit == "ns" else "us", tz=None if plain.tz is None else "UTC")
        if pt.is_date(plain):
            return pa.date32()
        return pa.bool_() if pt.is_boolean(plain) else pa.string()


class DeltaTable(FormatCase):
    name = "delta"

    def source(self, **keywords: Any) -> YummySource:
        return DeltaSource(path=self.place.written("table"), **{"timestamp_field": "ts", **keywords})

    def lay(self, tables: Sequence[pa.Table]) -> None:
        from deltalake import write_deltalake

        uri = self.place.uri("table")
        options = settings_of(uri, self.place.options).for_deltalake() if self.place.server else None
        for table in tables:
            write_deltalake(uri, _in_lake_types(table), mode="append", storage_options=options)

    @classmethod
    def kept_type(cls, kind: pa.DataType) -> pa.DataType | None:
        return lake_type(plain_type(kind))


class IcebergTable(FormatCase):
    name = "iceberg"

    def __init__(self, folder: Path, server: StoreServer | None = None) -> None:
        super().__init__(folder, server)
        self.keys = {"type": "sql", "uri": "sqlite:///catalog.db", "warehouse": self.place.written("warehouse")}
        self.context = SourceContext(folder, self.place.options, catalogs={"local": self.keys})
        with self.catalog():
            pass

    def catalog(self) -> Any:
        from pyiceberg.catalog import load_catalog

        uri = self.place.uri("warehouse")
        return load_catalog(
            "local",
            type="sql",
            uri=f"sqlite:///{self.folder}/catalog.db",
            warehouse=uri if self.place.server else f"file://{uri}",
            **PY_IO,
            **(settings_of(uri, self.place.options).for_pyiceberg() if self.place.server else {}),
        )

    def source(self, **keywords: Any) -> YummySource:
        return IcebergSource(table="local.lake.rows", **{"timestamp_field": "ts", **keywords})

    def lay(self, tables: Sequence[pa.Table]) -> None:
        with self.catalog() as catalog:
            catalog.create_namespace_if_not_exists("lake")
            lake = [_in_lake_types(table) for table in tables]
            stored = catalog.create_table("lake.rows", schema=lake[0].schema)
            for table in lake:
                stored.append(table)

    @classmethod
    def kept_type(cls, kind: pa.DataType) -> pa.DataType | None:
        kept = lake_type(plain_type(kind))
        return pa.int32() if kept in (pa.int8(), pa.int16()) else kept


def _in_lake_types(table: pa.Table) -> pa.Table:
    return table.cast(pa.schema([(column.name, lake_type(plain_type(column.type))) for column in table.schema]))


CASES: list[type[FormatCase]] = [ParquetFile, ParquetFolder, CsvFolder, DeltaTable, IcebergTable]


def read(scan: Scan, columns: Sequence[str] | None = None, pieces: Sequence[Any] | None = None) -> pa.Table:
    """All rows of a scan, or of some of its pieces."""
    names = scan.schema.names if columns is None else list(columns)
    schema = pa.schema([scan.schema.field(name) for name in names])
    batches = [batch for piece in (scan.pieces() if pieces is None else pieces) for batch in piece.read(names)]
    for batch in batches:
        assert batch.schema == schema
    return pa.Table.from_batches(batches, schema)


UTC_MICROS = pa.timestamp("us", tz="UTC")
SECOND = 1_000_000


def times(*seconds: int | None, kind: pa.DataType = UTC_MICROS) -> pa.Array:
    """Seconds since 1970 in a timestamp type."""
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
    return pa.array([None if item is None else item * per_second for item in seconds], pa.int64()).cast(kind)


def rows(*ids: int) -> pa.Table:
    """One row per id, a minute apart."""
    return pa.table({"ts": times(*(i * 60 for i in ids)), "id": list(ids), "name": [f"name {i}" for i in ids]})
