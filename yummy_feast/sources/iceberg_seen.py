"""What is new in an Iceberg table since an earlier snapshot, from the manifests that only one of the two has.

Manifests never change, so one that both snapshots list holds the same files in both: the cost follows the change.
A file that was rewritten is new. Deleted rows make no file new; where deletes are gone, rows may have come back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, DataFileContent, ManifestFile
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.types import (
    DateType,
    IcebergType,
    TimestampNanoType,
    TimestampType,
    TimestamptzNanoType,
    TimestamptzType,
)

from yummy_feast.sources.pruning import DAY, Bounds, BoundsOf
from yummy_feast.sources.seen import state_facts, state_text

_TIMES = (DateType, TimestampType, TimestamptzType, TimestampNanoType, TimestamptzNanoType)
_DAYS_BYTES = 4


def iceberg_state(table: Table, at: Snapshot | None) -> str:
    """The state of a scan of this snapshot; None is a table without rows."""
    return state_text({"iceberg": str(table.metadata.table_uuid), "snapshot": None if at is None else at.snapshot_id})


def new_files(state: str, table: Table, at: Snapshot) -> frozenset[str] | None:
    """Paths of the data files that ``at`` has and ``state`` had not, or not with all rows they have now.

    None if all are to be taken as new: the state is of another table, its snapshot has expired, or deletes are gone.
    """
    facts = state_facts(state)
    snapshot_id = facts.get("snapshot")
    if facts.get("iceberg") != str(table.metadata.table_uuid) or type(snapshot_id) is not int:
        return None
    if snapshot_id == at.snapshot_id:
        return frozenset()
    then = table.snapshot_by_id(snapshot_id)
    if then is None:
        return None
    try:
        before, now = set(then.manifests(table.io)), set(at.manifests(table.io))
        old = _live(before - now, table.io)
        new = _live(now - before, table.io)
    except FileNotFoundError:
        return None
    if any(content != DataFileContent.DATA for content, _ in old - new):
        return None
    return frozenset(path for content, path in new - old if content == DataFileContent.DATA)


def data_files(table: Table, at: Snapshot) -> list[str]:
    """Paths of the snapshot's data files, the oldest first."""
    found = [
        entry.data_file.file_path
        for manifest in at.manifests(table.io)
        for entry in manifest.fetch_manifest_entry(table.io)
        if entry.data_file.content == DataFileContent.DATA
    ]
    return found[::-1]


def _live(manifests: Iterable[ManifestFile], io: FileIO) -> Counter[tuple[DataFileContent, str]]:
    return Counter(
        (entry.data_file.content, entry.data_file.file_path)
        for manifest in manifests
        for entry in manifest.fetch_manifest_entry(io)
    )


def time_bounds(file: DataFile, fields: Schema) -> BoundsOf:
    """Bounds of the time columns of ``fields`` in a data file, as its manifest has them."""

    def bounds_of(name: str) -> Bounds | None:
        field = fields.find_field(name)
        low, high = ((edges or {}).get(field.field_id) for edges in (file.lower_bounds, file.upper_bounds))
        if low is None or high is None:
            return None
        edges = _micros(low, field.field_type), _micros(high, field.field_type)
        return None if None in edges else Bounds(*edges)

    return bounds_of


def _micros(raw: bytes, kind: IcebergType) -> int | None:
    if not isinstance(kind, _TIMES):
        return None
    count = int.from_bytes(raw, "little", signed=True)
    if len(raw) == _DAYS_BYTES:
        # Also where a column that is a timestamp today was a date when the file was written.
        return count * DAY
    # Rounded down, as everywhere.
    return count // 1000 if isinstance(kind, TimestampNanoType | TimestamptzNanoType) else count
