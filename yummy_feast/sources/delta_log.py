"""What a Delta table's log says about one version: its columns, its files, their partitions, bounds and deleted rows.

deltalake reads the log; this module turns its answers into what the Parquet pieces need. The rules are those of the
Delta transaction log protocol (column mapping, deletion vectors, reader features).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pt

from yummy_feast.errors import UnsupportedTableError
from yummy_feast.sources.files import Location, StoredFile
from yummy_feast.sources.pruning import Bounds, BoundsOf, comparable, comparable_values, domain_of
from yummy_feast.sources.schemas import plain_schema
from yummy_feast.sources.stores import is_object_uri, split_uri

if TYPE_CHECKING:
    from deltalake import DeltaTable

# Reader features that leave the meaning of rows alone or are carried out here. An unknown one may do neither.
_KNOWN_FEATURES = {
    "appendOnly",
    "columnMapping",
    "deletionVectors",
    "timestampNtz",
    "typeWidening",
    "typeWidening-preview",
    "v2Checkpoint",
    "vacuumProtocolCheck",
    "variantType",
    "variantType-preview",
}
_MILLISECOND = 1_000
"""Statistics of timestamps are cut to milliseconds: the true maximum may be up to a millisecond later."""
_CUT_TEXT = 32
"""Writers cut long text in statistics, so that a maximum of this length may be too small."""


@dataclass(frozen=True, slots=True)
class DeltaColumn:
    """A column's names: ours, and what the files call it. ``field_id`` is set where files go by ids."""

    name: str
    physical: str
    field_id: int | None = None

    def stored_in(self, schema: pa.Schema) -> str | None:
        """The column's name in a file with this schema, None if the file lacks it."""
        if self.field_id is None:
            return self.physical if self.physical in schema.names else None
        wanted = str(self.field_id).encode()
        for column in schema:
            if (column.metadata or {}).get(b"PARQUET:field_id") == wanted:
                return str(column.name)
        return None


@dataclass(frozen=True, slots=True)
class DeltaFile:
    """A data file of the version: its partition values, bounds of its columns, and the rows to keep (None: all)."""

    file: StoredFile
    partition: Mapping[str, pa.Scalar]
    bounds: BoundsOf
    keep: npt.NDArray[np.bool_] | None = None


def columns_of_table(table: DeltaTable) -> tuple[pa.Schema, dict[str, DeltaColumn]]:
    """The schema and how each column is found in the files. Of tables that ``refusal`` is about it need not be true."""
    schema = plain_schema(pa.schema(table.schema().to_arrow()))
    mode = _mapping_mode(table)
    columns = {}
    for declared in json.loads(table.schema().to_json())["fields"]:
        name, notes = declared["name"], declared["metadata"]
        if mode == "none":
            columns[name] = DeltaColumn(name, name)
            continue
        field_id = notes["delta.columnMapping.id"] if mode == "id" else None
        columns[name] = DeltaColumn(name, notes["delta.columnMapping.physicalName"], field_id)
    return schema, columns


def refusal(table: DeltaTable, place: str) -> UnsupportedTableError | None:
    """Why the files cannot be read here: a reader feature that is not known, or structs under column mapping."""
    for feature in table.protocol().reader_features or []:
        if feature not in _KNOWN_FEATURES:
            return UnsupportedTableError(
                f"{place}: the Delta reader feature '{feature}' is not supported", hint="read it with engine: spark"
            )
    if _mapping_mode(table) == "none":
        return None
    for declared in json.loads(table.schema().to_json())["fields"]:
        if "delta.columnMapping.physicalName" in json.dumps(declared["type"]):
            return UnsupportedTableError(
                f"{place}: column '{declared['name']}' is nested, in a table with column mapping",
                hint="read it with engine: spark",
            )
    return None


def _mapping_mode(table: DeltaTable) -> str:
    return str(table.metadata().configuration.get("delta.columnMapping.mode", "none"))


def files_of_table(
    table: DeltaTable, root: Location, schema: pa.Schema, columns: Mapping[str, DeltaColumn]
) -> list[DeltaFile]:
    """The version's data files, the oldest first."""
    actions = pa.table(table.get_add_actions(flatten=False)).combine_chunks()
    paths = [_location(path, root) for path in actions.column("path").to_pylist()]
    deleted = kept_rows(table, paths)
    statistics = _Statistics(actions, schema, columns)
    partitions = _partitions(actions, schema, table.metadata().partition_columns)
    written = actions.column("modification_time").to_pylist()
    files = []
    # deltalake lists files in no fixed order. Rows are to come in the order of the commits, the same every time.
    for row in sorted(range(len(paths)), key=lambda row: (written[row], paths[row].text)):
        stored = StoredFile(paths[row], size=None, modified=None, partition={})
        partition = {name: values[row] for name, values in partitions.items()}
        files.append(DeltaFile(stored, partition, statistics.of(row, partition), deleted.get(stored.text)))
    return files


def locations_of_table(table: DeltaTable, root: Location) -> list[Location]:
    """Where the version's data files are, in no order."""
    actions = pa.table(table.get_add_actions(flatten=False))
    return [_location(path, root) for path in actions.column("path").to_pylist()]


def _location(path: str, root: Location) -> Location:
    """Where an add action's path leads: relative to the table, or absolute (shallow clones); URL-encoded either way."""
    decoded = unquote(path)
    if is_object_uri(decoded):
        return root.at(split_uri(decoded)[1])
    if decoded.startswith("file://"):
        return root.at(decoded.removeprefix("file://"))
    return root.at(decoded if decoded.startswith("/") else f"{root.path}/{decoded}")


def kept_rows(table: DeltaTable, paths: list[Location]) -> dict[str, npt.NDArray[np.bool_]]:
    """For each of the version's files (``paths``) with a deletion vector, by its text: which rows still exist.

    UnsupportedTableError for a vector of none of the files: ignored, it would bring deleted rows back.
    """
    if "deletionVectors" not in (table.protocol().reader_features or []):
        return {}
    kept = {}
    files = {_real(place.text): place.text for place in paths}
    for batch in pa.RecordBatchReader.from_stream(table.deletion_vectors()):
        for uri, mask in zip(batch.column("filepath").to_pylist(), batch.column("selection_vector"), strict=True):
            path = _real(unquote(uri).removeprefix("file://"))
            if path not in files:
                raise UnsupportedTableError(
                    f"{uri} has a deletion vector, but is not in the log", hint="repair the log"
                )
            kept[files[path]] = mask.values.to_numpy(zero_copy_only=False)
    return kept


def _real(path: str) -> str:
    """A local path without links on the way, as deltalake may have followed them."""
    return path if "://" in path else os.path.realpath(path)


def _partitions(actions: pa.Table, schema: pa.Schema, names: list[str]) -> dict[str, pa.Array]:
    if not names:
        return {}
    values = actions.column("partition").combine_chunks()
    return {name: values.field(name).cast(schema.field(name).type) for name in names}


class _Statistics:
    """Bounds of the files' columns as the log has them."""

    def __init__(self, actions: pa.Table, schema: pa.Schema, columns: Mapping[str, DeltaColumn]) -> None:
        self._actions = actions
        self._schema = schema
        self._columns = columns
        self._edges: dict[str, tuple[list[Any], list[Any]] | None] = {}

    def of(self, row: int, partition: Mapping[str, pa.Scalar]) -> BoundsOf:
        """Bounds of the columns of one file."""

        def bounds_of(name: str) -> Bounds | None:
            if name in partition:
                value = comparable(partition[name].as_py(), self._schema.field(name).type)
                return None if value is None else Bounds(value, value)
            if name not in self._edges:
                self._edges[name] = self._read(name)
            edges = self._edges[name]
            return (
                None if edges is None else Bounds(edges[0][row], _widened(edges[1][row], self._schema.field(name).type))
            )

        return bounds_of

    def _read(self, name: str) -> tuple[list[Any], list[Any]] | None:
        column_type = self._schema.field(name).type
        if domain_of(column_type) is None:
            return None
        physical = self._columns[name].physical
        edges = list(self._structs(physical))
        return (edges[0], edges[1]) if len(edges) == 2 else None

    def _structs(self, physical: str) -> Iterator[list[Any]]:
        for side in ("min", "max"):
            if side in self._actions.column_names:
                values = self._actions.column(side).combine_chunks()
                if values.type.get_field_index(physical) >= 0:
                    yield comparable_values(values.field(physical))


def _widened(high: Any, column_type: pa.DataType) -> Any:
    if high is None:
        return None
    if pt.is_timestamp(column_type):
        return high + _MILLISECOND
    return None if isinstance(high, bytes) and len(high) >= _CUT_TEXT else high
