"""A snapshot of an Iceberg table for Iceberg's own reader, which applies what ours does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from yummy_feast.errors import UnsupportedTableError
from yummy_feast.sources.base import NativeTable

if TYPE_CHECKING:
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot
    from pyiceberg.types import IcebergType


def by_metadata(
    location: str, table: Table, at: Snapshot, fields: Schema, columns: Sequence[str], branch: str | None
) -> NativeTable:
    """By the metadata file that was looked at, which never changes. branch: whose newest snapshot ``at`` is.

    Raises:
        UnsupportedTableError: as of ``by_name``.
    """
    is_todays = fields.schema_id == table.schema().schema_id
    if at == table.current_snapshot() and branch is None and is_todays:
        # The columns are those of today, which are not always the snapshot's.
        options = {}
    elif branch is not None:
        options = {"branch": branch}
    else:
        _require_columns(location, table, at, fields, columns)
        options = _of(at)
    return NativeTable("iceberg", table.metadata_location, str(at.snapshot_id), options=options)


def by_name(location: str, table: Table, at: Snapshot, fields: Schema, columns: Sequence[str]) -> NativeTable:
    """By the table's name, where only its catalog knows how to open the files. The table may have moved on when it is
    read, so the snapshot is always named, and has its own columns then.

    Raises:
        UnsupportedTableError: those are not the columns of ``fields``.
    """
    _require_columns(location, table, at, fields, columns)
    return NativeTable("iceberg", location, str(at.snapshot_id), options=_of(at))


def _of(at: Snapshot) -> dict[str, str]:
    return {"versionAsOf": str(at.snapshot_id)}


def _require_columns(location: str, table: Table, at: Snapshot, fields: Schema, columns: Sequence[str]) -> None:
    stored = table.schema() if at.schema_id is None else table.schemas().get(at.schema_id, table.schema())
    then, now = _columns(stored), _columns(fields)
    for name in columns:
        if then.get(name) != now[name]:
            raise UnsupportedTableError(
                f"{location} has equality deletes, and column '{name}' has changed since snapshot {at.snapshot_id}",
                hint="add rows to the table, or compact it with Spark's rewrite_data_files, and look again",
            )


def _columns(fields: Schema) -> dict[str, Any]:
    return {field.name: (field.field_id, _shape(field.field_type)) for field in fields.fields}


def _shape(kind: IcebergType) -> Any:
    """Names, ids and types of a column, as far as its values depend on them."""
    from pyiceberg.types import ListType, MapType, StructType

    if isinstance(kind, StructType):
        return [(field.field_id, field.name, _shape(field.field_type)) for field in kind.fields]
    if isinstance(kind, ListType):
        return kind.element_id, _shape(kind.element_type)
    if isinstance(kind, MapType):
        return kind.key_id, _shape(kind.key_type), kind.value_id, _shape(kind.value_type)
    return str(kind)
