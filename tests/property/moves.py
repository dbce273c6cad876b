"""Ways in which the table behind a source moves on: what its writers do, and what its keepers do to its past."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from tests.feast.lockfiles import history
from tests.feast.repo import FORMATS, iceberg_keys

TIME = "event_timestamp"


@dataclass(frozen=True, slots=True)
class Move:
    """One of them. do: with the folder of the repo, the name of the source and some rows. breaks: whether what was read
    before may not be there any more; late: whether it may not be known any more, without a lockfile that knows it.
    """

    kind: str
    name: str
    do: Callable[[Path, str, pa.Table], Any]
    breaks: bool = False
    late: bool = False

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"


# ------------------------------------------------------------------------------------------------ files


def _file(folder: Path, name: str, rows: pa.Table) -> None:
    # Its name may come before those of the others.
    pq.write_table(rows, folder / name / f"{uuid.uuid4().hex}.parquet")


def _touch(path: Path) -> None:
    """The same bytes, as a copy has them."""
    beside = path.with_name(f".{path.name}")
    beside.write_bytes(path.read_bytes())
    beside.replace(path)


def _touch_all(folder: Path, name: str, rows: pa.Table) -> None:
    for path in (folder / name).glob("*.parquet"):
        _touch(path)


PARQUET = [
    Move("parquet", "append", _file),
    Move("parquet", "another column", lambda at, name, rows: _file(at, name, rows.append_column("more", rows["rate"]))),
    Move("parquet", "another type", lambda at, name, rows: _file(at, name, _with_rate(rows, pa.string()))),
    Move("parquet", "copied", _touch_all, late=True),
    Move("parquet", "overwrite", lambda at, name, rows: pq.write_table(rows, at / name / "0.parquet"), breaks=True),
    Move("parquet", "remove", lambda at, name, rows: (at / name / "1.parquet").unlink(missing_ok=True), breaks=True),
]


def _lines(folder: Path, name: str, rows: pa.Table) -> None:
    path = folder / f"{name}.csv"
    pacsv.write_csv(pa.concat_tables([history(), rows]), path)


CSV = [
    Move("csv", "append", _lines, breaks=True),
    Move("csv", "overwrite", lambda at, name, rows: pacsv.write_csv(rows, at / f"{name}.csv"), breaks=True),
    Move("csv", "copied", lambda at, name, rows: _touch(at / f"{name}.csv"), late=True),
]

# ------------------------------------------------------------------------------------------------ tables


def _delta(folder: Path, name: str, rows: pa.Table, **how: Any) -> None:
    import deltalake

    deltalake.write_deltalake(folder / name, rows, **how)


def _delta_table(folder: Path, name: str) -> Any:
    import deltalake

    return deltalake.DeltaTable(folder / name)


def _delta_anew(folder: Path, name: str, rows: pa.Table) -> None:
    shutil.rmtree(folder / name)
    FORMATS["delta"](folder, name, pa.concat_tables([history(), rows]), timestamp_field=TIME)


def _vacuum(folder: Path, name: str, rows: pa.Table) -> None:
    _delta(folder, name, rows, mode="overwrite", schema_mode="overwrite")
    _delta_table(folder, name).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)


DELTA = [
    Move("delta", "append", lambda at, name, rows: _delta(at, name, rows, mode="append", schema_mode="merge")),
    Move(
        "delta", "overwrite", lambda at, name, rows: _delta(at, name, rows, mode="overwrite", schema_mode="overwrite")
    ),
    Move(
        "delta",
        "another schema",
        lambda at, name, rows: _delta(
            at,
            name,
            rows.drop_columns(["rate"]).append_column("more", rows["rate"]),
            mode="overwrite",
            schema_mode="overwrite",
        ),
    ),
    Move("delta", "delete", lambda at, name, rows: _delta_table(at, name).delete("driver_id < 3")),
    Move("delta", "compact", lambda at, name, rows: _delta_table(at, name).optimize.compact()),
    Move("delta", "checkpoint", lambda at, name, rows: _delta_table(at, name).create_checkpoint()),
    Move("delta", "vacuum", _vacuum, breaks=True),
    Move("delta", "made anew", _delta_anew, breaks=True),
]


def _iceberg(change: Callable[[Any, pa.Table], object]) -> Callable[[Path, str, pa.Table], None]:
    def do(folder: Path, name: str, rows: pa.Table) -> None:
        from pyiceberg.catalog import load_catalog

        catalog: Any = load_catalog("local", **iceberg_keys(folder))
        try:
            table = catalog.load_table(f"lake.{name}")
            rate = next(field.name for field in table.schema().fields if field.field_id == 3)
            change(table, rows.rename_columns(["driver_id", TIME, rate]))
        finally:
            catalog.engine.dispose()

    return do


def _rename(table: Any, rows: pa.Table) -> None:
    with table.update_schema() as update:
        update.rename_column(rows.column_names[2], f"rate_{uuid.uuid4().hex}").add_column(
            f"more_{uuid.uuid4().hex}", LONG
        )


def _partition(table: Any, rows: pa.Table) -> None:
    from pyiceberg.transforms import BucketTransform

    with table.update_spec() as update:
        update.add_field("driver_id", BucketTransform(2 + len(table.specs())), f"part_{uuid.uuid4().hex}")


def _expire(table: Any, rows: pa.Table) -> None:
    table.append(rows)
    newest = table.current_snapshot().snapshot_id
    ids = [snapshot.snapshot_id for snapshot in table.snapshots() if snapshot.snapshot_id != newest]
    table.maintenance.expire_snapshots().by_ids(ids).commit()


def _iceberg_anew(table: Any, rows: pa.Table) -> None:
    catalog, name = table.catalog, table.name()
    catalog.drop_table(name)
    catalog.create_table(name, schema=history().schema).append(history())


def _long() -> Any:
    from pyiceberg.types import LongType

    return LongType()


LONG = _long()
ICEBERG = [
    Move("iceberg", "append", _iceberg(lambda table, rows: table.append(rows))),
    Move("iceberg", "overwrite", _iceberg(lambda table, rows: table.overwrite(rows))),
    Move("iceberg", "another schema", _iceberg(_rename)),
    Move("iceberg", "another partitioning", _iceberg(_partition)),
    Move("iceberg", "delete", _iceberg(lambda table, rows: table.delete("driver_id < 3"))),
    Move("iceberg", "expire", _iceberg(_expire), breaks=True),
    Move("iceberg", "made anew", _iceberg(_iceberg_anew), breaks=True),
]
MOVES = {"parquet": PARQUET, "csv": CSV, "delta": DELTA, "iceberg": ICEBERG}


def _with_rate(rows: pa.Table, kind: pa.DataType) -> pa.Table:
    return rows.set_column(2, "rate", rows["rate"].cast(kind))
