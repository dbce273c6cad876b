"""Both engines answer alike, whatever the format and wherever it lies; Spark reads what the embedded engine refuses.

Slow: needs Java and the jars of Delta, Iceberg and S3 on Spark's class path.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.transforms import DayTransform
from pyiceberg.types import LongType

from tests.contract.engine_kit import rows_of, view
from tests.contract.format_cases import (
    CASES,
    SECOND,
    CsvFolder,
    DeltaTable,
    FormatCase,
    IcebergTable,
    ParquetFile,
    read,
    rows,
    times,
)
from tests.contract.lake_kit import answers, engines, ids_of, parts
from tests.s3_server import S3Server
from tests.unit.sources.handmade import commit_deletes, delete_rows, mapped_table, position_deletes
from yummy_feast.errors import SourceReadError, UnsupportedTableError
from yummy_feast.offline.entity_rows import EntityRows
from yummy_feast.offline.plan import RetrievalPlan
from yummy_feast.sources.base import Prune, SourceContext, YummySource
from yummy_feast.sources.iceberg import IcebergSource
from yummy_feast.sources.object_store import S3Settings
from yummy_feast.spark.failures import spark_errors
from yummy_feast.spark.frames import PLACE, frame_of
from yummy_feast.spark.frames_lake import read_iceberg
from yummy_feast.spark.session import session as session_of
from yummy_feast.spark.settings import SparkSettings

pytestmark = [pytest.mark.slow, pytest.mark.spark]


@pytest.fixture
def session(spark_session: Any) -> Any:
    return spark_session


@pytest.fixture(
    params=[(kind, store) for kind in CASES for store in ("local", "s3")],
    ids=lambda item: "-".join((item[0].name, item[1])),
)
def case(request: pytest.FixtureRequest, session: Any, tmp_path: Path) -> FormatCase:
    kind, store = request.param
    made: FormatCase = kind(tmp_path, request.getfixturevalue("s3_server") if store == "s3" else None)
    # What leads to S3 and to the catalog comes from the same options as for the embedded engine.
    assert session_of(SparkSettings.behind(made.context, 2)) is session
    return made


def test_both_engines_answer_alike(case: FormatCase) -> None:
    case.lay(parts())
    embedded, spark = answers(case.context, case.source(timestamp_field="ts"))
    assert embedded.num_rows == 26
    assert embedded["name"].null_count < 20
    assert spark.equals(embedded)


def scanned(session: Any, case: FormatCase, *columns: str, **keywords: Any) -> list[dict[str, Any]]:
    """All rows by Spark, in the order of the source."""
    scan = case.source(**keywords).scan(case.context)
    source = frame_of(session, scan, columns)
    found = source.frame.orderBy(PLACE).drop(PLACE).collect()
    return [dict(zip(columns, row, strict=True)) for row in found]


def test_a_scan_has_the_rows_and_the_order_of_ours(session: Any, case: FormatCase) -> None:
    case.lay(parts())
    scan = case.source().scan(case.context)
    ours = [row for piece in scan.pieces() for batch in piece.read(["id", "name"]) for row in batch.to_pylist()]
    assert scanned(session, case, "id", "name") == ours
    source = frame_of(session, scan, ["id"])
    assert source.native is not isinstance(case, CsvFolder)
    few = frame_of(session, scan, ["id"], Prune("ts", None, None, {"id": pa.array([999])}))
    assert few.frame.count() == (0 if case.has_statistics else 160)


def test_a_scan_is_of_its_moment(session: Any, case: FormatCase) -> None:
    if isinstance(case, ParquetFile):
        pytest.skip("a single file has no earlier moment")
    case.lay([rows(1), rows(2)])
    scan = case.source().scan(case.context)
    case.source().append(rows(3), case.context)
    assert frame_of(session, scan, ["id"]).frame.count() == 2


# ------------------------------------------------------------------------------ what our own readers do not read


def test_deletion_vectors(session: Any, tmp_path: Path) -> None:
    from deltalake import write_deltalake

    case = DeltaTable(tmp_path)
    table = tmp_path / "table"
    options = {"delta.enableDeletionVectors": "true"}
    write_deltalake(table, rows(*range(50)), configuration=options)
    delete_rows(table, [[0, 7, 49]])
    scan = case.source().scan(case.context)
    ours = [i for piece in scan.pieces() for batch in piece.read(["id"]) for i in batch.column(0).to_pylist()]
    assert [row["id"] for row in scanned(session, case, "id")] == ours
    assert len(ours) == 47
    assert len(scanned(session, case, "id", version=0)) == 50


NESTED = {
    "type": "struct",
    "fields": [
        {
            "name": "a",
            "type": "long",
            "nullable": True,
            "metadata": {"delta.columnMapping.id": 9, "delta.columnMapping.physicalName": "col-9"},
        }
    ],
}


@pytest.mark.parametrize("mode", ["name", "id"])
def test_nested_columns_under_mapping(session: Any, tmp_path: Path, mode: str) -> None:
    case = DeltaTable(tmp_path)
    inner = pa.field("col-9", pa.int64(), metadata={"PARQUET:field_id": "9"})
    kind = pa.struct([inner])
    columns = {
        "id": ("col-1", "long", pa.int64()),
        "ts": ("col-2", "timestamp", times(1).type),
        "deep": ("col-3", NESTED, kind),
    }
    stored = pa.table({"col-1": [1, 2], "col-2": times(60, 120), "col-3": pa.array([{"col-9": 5}, None], kind)})
    mapped_table(tmp_path / "table", mode, columns, stored)
    with pytest.raises(UnsupportedTableError, match="engine: spark"):
        case.source().scan(case.context).pieces()
    found = scanned(session, case, "id", "deep")
    assert [(row["id"], row["deep"] and row["deep"][0]) for row in found] == [(1, 5), (2, None)]
    answers = spark_answers(case, case.source(), "deep")
    assert answers == [{"a": 5}, None, None]


def spark_answers(case: FormatCase, source: YummySource, feature: str) -> list[Any]:
    """The feature of ids 1, 2 and 3 by Spark, with whatever type the scan has."""
    kind = source.scan(case.context).schema.field(feature).type
    *_, spark = engines(case.context)
    one = replace(view(source, {feature: kind}, keys=("id",)), time="ts")
    plan = RetrievalPlan((one,), (feature,), (), (), full_feature_names=False)
    asked = rows_of(id=[1, 2, 3], event_timestamp=[10**12] * 3)
    answer = spark.point_in_time(plan, EntityRows.of_arrow(asked))
    assert answer.explanation().views[0].pieces_read > 0
    found: list[Any] = answer.table()[feature].to_pylist()
    return found


def iceberg(tmp_path: Path, server: S3Server | None = None) -> tuple[IcebergTable, Callable[[], Any]]:
    case = IcebergTable(tmp_path, server)
    case.lay([rows(1, 2), rows(3, 4, 5)])

    def stored() -> Any:
        with case.catalog() as catalog:
            return catalog.load_table("lake.rows")

    return case, stored


def paths_by_size(table: Any) -> list[str]:
    return [task.file.file_path for task in sorted(table.scan().plan_files(), key=lambda task: task.file.record_count)]


def test_position_and_equality_deletes(session: Any, tmp_path: Path) -> None:
    case, stored = iceberg(tmp_path)
    first = stored().current_snapshot().snapshot_id
    commit_deletes(stored(), position_deletes(paths_by_size(stored())[1], [1]))
    assert [row["id"] for row in scanned(session, case, "id")] == [1, 2, 3, 5]
    commit_deletes(stored(), ids_of(2, 5), equality_ids=[2])
    with pytest.raises(UnsupportedTableError, match="engine: spark"):
        case.source().scan(case.context).pieces()
    assert scanned(session, case, "id", "name") == [{"id": 1, "name": "name 1"}, {"id": 3, "name": "name 3"}]
    assert spark_answers(case, case.source(), "name") == ["name 1", None, "name 3"]
    # Older snapshots are as they were, and rows that came after the delete count.
    assert [row["id"] for row in scanned(session, case, "id", snapshot_id=first)] == [1, 2, 3, 4, 5]
    case.source().append(rows(2), case.context)
    assert [row["id"] for row in scanned(session, case, "id")] == [1, 3, 2]


def test_branches_tags_and_columns_that_changed(session: Any, tmp_path: Path) -> None:
    case, stored = iceberg(tmp_path)
    with stored().manage_snapshots() as manage:
        snapshot = stored().current_snapshot().snapshot_id
        manage.create_tag(snapshot, "old").create_branch(snapshot, "trial")
    case.source(branch="trial").append(rows(9), case.context)
    with stored().update_schema() as update:
        update.rename_column("name", "label").add_column("more", LongType())
    commit_deletes(stored(), ids_of(1), equality_ids=[2])
    assert scanned(session, case, "id", "label", "more")[0] == {"id": 2, "label": "name 2", "more": None}
    assert [row["id"] for row in scanned(session, case, "id", branch="trial")] == [1, 2, 3, 4, 5, 9]
    assert scanned(session, case, "id", "name", branch="old")[0] == {"id": 1, "name": "name 1"}
    assert [row["label"] for row in scanned(session, case, "label", branch="trial")][-1] == "name 9"
    # The same of snapshots that only Iceberg's own reader can read.
    with stored().manage_snapshots() as manage:
        snapshot = stored().current_snapshot().snapshot_id
        manage.create_tag(snapshot, "without").create_branch(snapshot, "other")
    with stored().update_schema() as update:
        update.rename_column("label", "title")
    case.source().append(rows(7).rename_columns(["ts", "id", "title"]), case.context)
    for name, column in (("without", "label"), ("other", "title")):
        found = scanned(session, case, "id", column, branch=name)
        assert found == [{"id": number, column: f"name {number}"} for number in (2, 3, 4, 5)]
    assert [row["id"] for row in scanned(session, case, "id", snapshot_id=snapshot)] == [2, 3, 4, 5]


def test_hidden_partitions_are_pruned(session: Any, tmp_path: Path) -> None:
    case = IcebergTable(tmp_path)
    day = 24 * 60
    table = rows(0, 1, day, day + 1, 2 * day)
    case.lay([table.slice(0, 0)])
    with case.catalog() as catalog, catalog.load_table("lake.rows").update_spec() as update:
        update.add_field("ts", DayTransform(), "day")
    case.source().append(table, case.context)
    prune = Prune("ts", day * 60 * SECOND, (2 * day - 1) * 60 * SECOND)
    found = frame_of(session, case.source().scan(case.context), ["id"], prune)
    assert (found.native, found.pieces) == (True, 1)
    assert sorted(row[0] for row in found.frame.select("c0").collect()) == [day, day + 1]


@pytest.mark.parametrize("store", ["local", "s3"])
def test_by_path_without_a_catalog(request: pytest.FixtureRequest, session: Any, tmp_path: Path, store: str) -> None:
    case, stored = iceberg(tmp_path, request.getfixturevalue("s3_server") if store == "s3" else None)
    commit_deletes(stored(), ids_of(4), equality_ids=[2])
    assert session_of(SparkSettings.behind(case.context, 2)) is session
    path = f"{case.place.written('warehouse')}/lake/rows"
    scan = IcebergSource(path=path, timestamp_field="ts").scan(case.context)
    found = frame_of(session, scan, ["id"]).frame.orderBy(PLACE).collect()
    assert [row[0] for row in found] == [1, 2, 3, 5]


def test_the_named_catalog_is_there_for_sql(session: Any, tmp_path: Path, s3_server: Any) -> None:
    for server in (None, s3_server):
        folder = tmp_path / ("s3" if server else "local")
        folder.mkdir()
        case = IcebergTable(folder, server)
        case.lay([rows(1, 2)])
        assert session_of(SparkSettings.behind(case.context, 2)) is session
        assert sorted(row[0] for row in session.sql("SELECT id FROM local.lake.rows").collect()) == [1, 2]
        # What Spark writes through it is there for us.
        session.sql("INSERT INTO local.lake.rows SELECT ts, id + 2, name FROM local.lake.rows")
        assert sorted(read(case.source().scan(case.context))["id"].to_pylist()) == [1, 2, 3, 4]


def test_a_catalog_with_a_store_of_its_own(session: Any, tmp_path: Path, s3_server: S3Server) -> None:
    case, stored = iceberg(tmp_path, s3_server)
    keys = {**case.keys, **S3Settings.of(s3_server.options).for_pyiceberg()}
    case.context = SourceContext(tmp_path, {}, {"local": keys})
    assert session_of(SparkSettings.behind(case.context, 2)) is session
    source = frame_of(session, case.source().scan(case.context), ["id"])
    # Spark knows nothing of the store but by the catalog.
    assert (source.native, source.frame.count()) == (False, 5)
    commit_deletes(stored(), ids_of(4), equality_ids=[2])
    assert [row["id"] for row in scanned(session, case, "id")] == [1, 2, 3, 5]


@pytest.mark.parametrize("branch", [None, "trial"])
def test_a_table_by_its_name_that_moves_on_meanwhile(
    session: Any, tmp_path: Path, s3_server: S3Server, branch: str | None
) -> None:
    case, stored = iceberg(tmp_path, s3_server)
    case.context = SourceContext(
        tmp_path, {}, {"local": {**case.keys, **S3Settings.of(s3_server.options).for_pyiceberg()}}
    )
    assert session_of(SparkSettings.behind(case.context, 2)) is session
    commit_deletes(stored(), ids_of(4), equality_ids=[2])
    with stored().manage_snapshots() as manage:
        manage.create_branch(stored().current_snapshot().snapshot_id, "trial")
    with stored().update_schema() as update:
        update.add_column("more", LongType())
    scan = case.source(branch=branch).scan(case.context)
    native = scan.native(["id"])
    assert native is not None
    name = f"local.lake.rows.branch_{branch}" if branch else "local.lake.rows"
    session.sql(f"INSERT OVERWRITE {name} SELECT ts, id + 10, name, more FROM {name}")
    found = frame_of(session, scan, ["id"]).frame.orderBy(PLACE).collect()
    assert [row[0] for row in found] == [1, 2, 3, 5]
    # Spark's tasks add their files as they end: the new snapshot may hold its rows in any order.
    assert sorted(row["id"] for row in scanned(session, case, "id", branch=branch)) == [11, 12, 13, 15]
    # Whatever else the reader may come to see is no answer.
    moved = replace(native, options={"branch": branch} if branch else {})
    with (
        pytest.raises(SourceReadError, match=f"Spark reads files that are not of {native.snapshot}"),
        spark_errors("x"),
    ):
        read_iceberg(session, moved, [scan.schema.field("id")]).collect()
