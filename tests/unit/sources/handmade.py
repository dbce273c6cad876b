"""Tables that the libraries read but cannot write: Delta with deletion vectors or column mapping, Iceberg with deletes.

Written by hand after the Delta transaction log protocol and the Iceberg table spec.
"""

from __future__ import annotations

import json
import struct
import uuid
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

# ------------------------------------------------------------------------------ Delta

_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


def z85(data: bytes) -> str:
    """ZeroMQ's base 85; the length must be a multiple of four."""
    text = ""
    for start in range(0, len(data), 4):
        number, word = int.from_bytes(data[start : start + 4], "big"), ""
        for _ in range(5):
            number, digit = divmod(number, 85)
            word = _Z85[digit] + word
        text += word
    return text


def bitmap(rows: Sequence[int]) -> bytes:
    """A set of row numbers below 2**32 as a Delta deletion vector: a 64-bit roaring bitmap of array containers."""
    containers: dict[int, list[int]] = {}
    for row in sorted(rows):
        containers.setdefault(row >> 16, []).append(row & 0xFFFF)
    sizes, offsets, bodies = b"", b"", b""
    start = 8 + 8 * len(containers)
    for key, values in containers.items():
        sizes += struct.pack("<HH", key, len(values) - 1)
        offsets += struct.pack("<I", start + len(bodies))
        bodies += struct.pack(f"<{len(values)}H", *values)
    roaring = struct.pack("<II", 12346, len(containers)) + sizes + offsets + bodies
    return struct.pack("<iQI", 1681511377, 1, 0) + roaring


def delete_rows(table: Path, deletions: Sequence[Sequence[int]]) -> None:
    """Commit deletion vectors to a Delta table of one version: the n-th file by name loses the rows ``deletions[n]``.

    The first vector is written into the log, the others into files of their own.
    """
    log = table / "_delta_log"
    actions = [json.loads(line) for line in (log / f"{0:020}.json").read_text().splitlines()]
    adds = sorted((action["add"] for action in actions if "add" in action), key=lambda add: str(add["path"]))
    commit: list[dict[str, Any]] = [{"commitInfo": {"timestamp": adds[0]["modificationTime"] + 1}}]
    for number, (add, rows) in enumerate(zip(adds, deletions, strict=True)):
        vector = _inline_vector(rows) if number == 0 else _stored_vector(table, rows)
        removed = {key: add[key] for key in ("path", "partitionValues", "size")}
        commit += [
            {"remove": {**removed, "deletionTimestamp": 1, "dataChange": True, "extendedFileMetadata": True}},
            {"add": {**add, "deletionVector": {**vector, "cardinality": len(rows)}}},
        ]
    (log / f"{1:020}.json").write_text("\n".join(map(json.dumps, commit)))


def _inline_vector(rows: Sequence[int]) -> dict[str, Any]:
    data = bitmap(rows)
    data += b"\0" * (-len(data) % 4)
    return {"storageType": "i", "pathOrInlineDv": z85(data), "sizeInBytes": len(data)}


def _stored_vector(table: Path, rows: Sequence[int]) -> dict[str, Any]:
    name, data = uuid.uuid4(), bitmap(rows)
    content = b"\1" + struct.pack(">i", len(data)) + data + struct.pack(">I", zlib.crc32(data))
    (table / f"deletion_vector_{name}.bin").write_bytes(content)
    return {"storageType": "u", "pathOrInlineDv": z85(name.bytes), "offset": 1, "sizeInBytes": len(data)}


def mapped_table(
    table: Path,
    mode: str,
    columns: dict[str, tuple[str, Any, pa.DataType | None]],
    rows: pa.Table,
    *,
    protocol: dict[str, Any] | None = None,
) -> None:
    """A Delta table with column mapping and one file.

    columns: name -> (physical name, Delta type, Arrow type; None for a partition column, whose value is 7).
    rows: the stored columns under their physical names.
    """
    fields = [
        {
            "name": name,
            "type": kind,
            "nullable": True,
            "metadata": {"delta.columnMapping.id": number, "delta.columnMapping.physicalName": physical},
        }
        for number, (name, (physical, kind, _)) in enumerate(columns.items(), 1)
    ]
    ids = {physical: number for number, (physical, _, _) in enumerate(columns.values(), 1)}
    partitions = {name: physical for name, (physical, _, arrow) in columns.items() if arrow is None}
    schema = pa.schema([column.with_metadata({"PARQUET:field_id": str(ids[column.name])}) for column in rows.schema])
    (table / "_delta_log").mkdir(parents=True)
    pq.write_table(rows.cast(schema), table / "one.parquet")
    metadata = {
        "id": str(uuid.uuid4()),
        "format": {"provider": "parquet", "options": {}},
        "schemaString": json.dumps({"type": "struct", "fields": fields}),
        "partitionColumns": list(partitions),
        "configuration": {"delta.columnMapping.mode": mode, "delta.columnMapping.maxColumnId": str(len(fields))},
        "createdTime": 1,
    }
    add = {
        "path": "one.parquet",
        "partitionValues": dict.fromkeys(partitions.values(), "7"),
        "size": (table / "one.parquet").stat().st_size,
        "modificationTime": 1,
        "dataChange": True,
        "stats": json.dumps({"numRecords": rows.num_rows}),
    }
    actions = [
        {"protocol": protocol or {"minReaderVersion": 2, "minWriterVersion": 5}},
        {"metaData": metadata},
        {"add": add},
    ]
    (table / "_delta_log" / f"{0:020}.json").write_text("\n".join(map(json.dumps, actions)))


# ------------------------------------------------------------------------------ Iceberg


def commit_deletes(table: Any, rows: pa.Table, *, equality_ids: list[int] | None = None, counted: bool = True) -> None:
    """Commit a file of deletes to an unpartitioned Iceberg table: positions, or rows equal in some columns.

    counted: whether the snapshot's summary tells how many there are; the spec leaves that to the writer.
    """
    from pyiceberg.manifest import (
        DataFile,
        DataFileContent,
        FileFormat,
        ManifestContent,
        ManifestEntry,
        ManifestEntryStatus,
        ManifestWriterV2,
        write_manifest_list,
    )
    from pyiceberg.schema import Schema
    from pyiceberg.table.refs import SnapshotRefType
    from pyiceberg.table.snapshots import Operation, Snapshot, Summary
    from pyiceberg.table.update import AddSnapshotUpdate, SetSnapshotRefUpdate
    from pyiceberg.typedef import Record

    class DeleteManifestWriter(ManifestWriterV2):
        def content(self) -> ManifestContent:
            return ManifestContent.DELETES

        @property
        def _meta(self) -> dict[str, str]:
            return {**super()._meta, "content": "deletes"}

        def _with_partition(self, format_version: Any) -> Schema:
            # The spec has ids of columns as int; pyiceberg writes long, which Java's readers do not take.
            text = super()._with_partition(format_version).model_dump_json()
            return Schema.model_validate_json(
                text.replace('"element-id":136,"element":"long"', '"element-id":136,"element":"int"')
            )

    metadata = table.metadata
    folder, mark = f"{table.location()}/metadata", uuid.uuid4().hex
    path = f"{table.location()}/data/{mark}-deletes.parquet"
    with table.io.new_output(path).create() as stream:
        pq.write_table(rows, stream)
    parent, snapshot_id = metadata.current_snapshot(), metadata.new_snapshot_id()
    file = DataFile.from_args(
        content=DataFileContent.POSITION_DELETES if equality_ids is None else DataFileContent.EQUALITY_DELETES,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=Record(),
        record_count=rows.num_rows,
        file_size_in_bytes=len(table.io.new_input(path)),
        equality_ids=equality_ids,
    )
    file.spec_id = metadata.default_spec_id
    output = table.io.new_output(f"{folder}/{mark}-m0.avro")
    with DeleteManifestWriter(metadata.spec(), metadata.schema(), output, snapshot_id, "deflate") as writer:
        writer.add(
            ManifestEntry.from_args(
                status=ManifestEntryStatus.ADDED,
                snapshot_id=snapshot_id,
                sequence_number=None,
                file_sequence_number=None,
                data_file=file,
            )
        )
    manifests = [writer.to_manifest_file(), *parent.manifests(table.io)]
    manifest_list = f"{folder}/snap-{mark}.avro"
    sequence = metadata.next_sequence_number()
    with write_manifest_list(
        2, table.io.new_output(manifest_list), snapshot_id, parent.snapshot_id, sequence, "deflate"
    ) as lists:
        lists.add_manifests(manifests)
    kind = "total-position-deletes" if equality_ids is None else "total-equality-deletes"
    snapshot = Snapshot(
        snapshot_id=snapshot_id,
        parent_snapshot_id=parent.snapshot_id,
        manifest_list=manifest_list,
        sequence_number=sequence,
        summary=Summary(Operation.DELETE, **({kind: str(rows.num_rows)} if counted else {})),
        schema_id=metadata.current_schema_id,
    )
    table.catalog.commit_table(
        table,
        (),
        (
            AddSnapshotUpdate(snapshot=snapshot),
            SetSnapshotRefUpdate(
                snapshot_id=snapshot_id,
                parent_snapshot_id=parent.snapshot_id,
                ref_name="main",
                type=SnapshotRefType.BRANCH,
            ),
        ),
    )
    table.refresh()


def position_deletes(path: str, positions: Sequence[int]) -> pa.Table:
    """Deletes of rows of one data file, with the field ids that the spec reserves."""
    schema = pa.schema(
        [
            pa.field("file_path", pa.string(), nullable=False, metadata={"PARQUET:field_id": "2147483546"}),
            pa.field("pos", pa.int64(), nullable=False, metadata={"PARQUET:field_id": "2147483545"}),
        ]
    )
    return pa.table([[path] * len(positions), list(positions)], schema=schema)
