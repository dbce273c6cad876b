"""Commits whose answer is lost, databases that are locked, and rivals: each row is there once, or the error says so."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException, ServiceUnavailableError
from pyiceberg.table import Table
from sqlalchemy.exc import OperationalError

from tests.contract.format_cases import IcebergTable, read, rows
from tests.rest_catalog import RestCatalog, rest_catalog
from yummy_feast.errors import SourceReadError
from yummy_feast.sources import iceberg_commits
from yummy_feast.sources.base import SourceContext
from yummy_feast.sources.iceberg import IcebergSource
from yummy_feast.sources.iceberg_commits import MARK

LOCKED = OperationalError("UPDATE iceberg_tables", {}, sqlite3.OperationalError("database is locked"))
LOST = CommitStateUnknownException("the backend is gone")
GATEWAY = ServiceUnavailableError("upstream reset before headers")


@pytest.fixture
def rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RestCatalog]:
    monkeypatch.setattr(iceberg_commits, "_wait", lambda _: None)
    with rest_catalog(tmp_path, f"file://{tmp_path}/warehouse") as served:
        yield served


def of_rest(rest: RestCatalog, folder: Path) -> tuple[IcebergSource, SourceContext]:
    context = SourceContext(folder, {}, {"lake": rest.keys})
    table = IcebergSource(table="lake.ns.rows", timestamp_field="ts")
    table.append(rows(1), context, create=True)
    return table, context


def ids(table: Any, context: SourceContext) -> list[int]:
    return sorted(read(table.scan(context))["id"].to_pylist())


def test_a_lost_answer_is_looked_up(rest: RestCatalog, tmp_path: Path) -> None:
    table, context = of_rest(rest, tmp_path)
    rest.lost_answers = 1
    table.append(rows(2), context)
    table.append(rows(3), context)
    assert ids(table, context) == [1, 2, 3]


def test_a_commit_that_nobody_knows_of_is_not_made_twice(
    rest: RestCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, context = of_rest(rest, tmp_path)

    def gone(*_: object) -> None:
        raise ConnectionAbortedError("the backend is gone")

    monkeypatch.setattr(rest, "_commit", gone)
    with pytest.raises(SourceReadError, match=rf"ns\.rows: nobody knows .*{MARK} = [0-9a-f]{{32}}"):
        table.append(rows(2), context)
    assert ids(table, context) == [1]


@pytest.mark.parametrize("looks", [0, 2])
def test_a_catalog_that_starts_again_is_asked_once_more(
    rest: RestCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    """It takes the commit and is gone before it answers; it is there again in time, or nobody knows."""
    table, context = of_rest(rest, tmp_path)
    rest.lost_answers, rest.down_for = 1, looks or 1000
    if looks:
        table.append(rows(2), context)
    else:
        with pytest.raises(SourceReadError, match=rf"ns\.rows: nobody knows .*{MARK} = [0-9a-f]{{32}}"):
            table.append(rows(2), context)
        rest.down_for = 0
    assert ids(table, context) == [1, 2]


@pytest.mark.parametrize("kind", [LOST, LOCKED, GATEWAY], ids=lambda error: type(error).__name__)
def test_nobody_knows_where_no_look_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Exception
) -> None:
    """Also of a database, and where the files of the table are in a store that is gone."""
    monkeypatch.setattr(iceberg_commits, "_wait", lambda _: None)
    case = IcebergTable(tmp_path)
    case.lay([rows(1)])
    failing = Failing(kind, 1, after=True)
    gone: list[Exception] = [OSError("no route to the store"), LOCKED]

    def append(*given: Any, **how: Any) -> None:
        try:
            failing(*given, **how)
        finally:
            monkeypatch.setattr(SqlCatalog, "load_table", refusing)

    def refusing(*_: object) -> Table:
        gone.append(gone.pop(0))
        raise gone[-1]

    monkeypatch.setattr(Table, "append", append)
    with pytest.raises(SourceReadError, match=rf"nobody knows .*{MARK} = [0-9a-f]{{32}}"):
        case.source().append(rows(2), case.context)
    monkeypatch.undo()
    assert ids(case.source(), case.context) == [1, 2]
    assert failing.calls == 1


class Failing:
    """``Table.append`` that fails a few times, before or after its commit."""

    def __init__(self, error: Exception, times: int, *, after: bool) -> None:
        self.error, self.times, self.after = error, times, after
        self.append = Table.append
        self.calls = 0

    def __call__(self, table: Table, df: pa.Table, **how: Any) -> None:
        self.calls += 1
        failing = self.calls <= self.times
        if self.after or not failing:
            self.append(table, df, **how)
        if failing:
            raise self.error


@pytest.mark.parametrize("after", [False, True], ids=["before the commit", "after it"])
def test_a_locked_database_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, after: bool) -> None:
    monkeypatch.setattr(iceberg_commits, "_wait", lambda _: None)
    case = IcebergTable(tmp_path)
    case.lay([rows(1)])
    failing = Failing(LOCKED, 3, after=after)
    monkeypatch.setattr(Table, "append", lambda *given, **how: failing(*given, **how))
    case.source().append(rows(2), case.context)
    assert ids(case.source(), case.context) == [1, 2]
    assert failing.calls == (1 if after else 4)


@pytest.mark.parametrize("error", [LOCKED, CommitFailedException("overtaken")], ids=lambda error: type(error).__name__)
def test_patience_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(iceberg_commits, "_wait", lambda _: None)
    case = IcebergTable(tmp_path)
    case.lay([rows(1)])
    failing = Failing(error, 1000, after=False)
    monkeypatch.setattr(Table, "append", lambda *given, **how: failing(*given, **how))
    with pytest.raises(SourceReadError, match=r"local\.lake\.rows: .*(locked|overtaken).*not busy"):
        case.source().append(rows(2), case.context)
    assert failing.calls == 8
    assert ids(case.source(), case.context) == [1]


@pytest.mark.parametrize("code", ["AccessDeniedException", "InternalServiceException", "Odd"])
@pytest.mark.parametrize("status", [400, 500, None])
def test_amazon_refuses_or_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, status: int | None
) -> None:
    """Codes that the service says it has are raised as classes of their own. A server that fails says nothing of
    what it did.
    """
    monkeypatch.setattr(iceberg_commits, "_wait", lambda _: None)
    client = botocore.session.get_session().create_client("glue", region_name="north")
    answer = {"Error": {"Code": code}, "ResponseMetadata": {} if status is None else {"HTTPStatusCode": status}}
    error = client.exceptions.from_code(code)(answer, "UpdateTable")
    case = IcebergTable(tmp_path)
    case.lay([rows(1)])
    failing = Failing(error, 1, after=False)
    monkeypatch.setattr(Table, "append", lambda *given, **how: failing(*given, **how))
    with pytest.raises(SourceReadError) as caught:
        case.source().append(rows(2), case.context)
    assert ("nobody knows" in str(caught.value)) is (status != 400)


def test_a_branch_is_appended_to(tmp_path: Path) -> None:
    case = IcebergTable(tmp_path)
    case.lay([rows(1)])
    with case.catalog() as catalog:
        stored = catalog.load_table("lake.rows")
        snapshot = stored.current_snapshot()
        assert snapshot is not None
        stored.manage_snapshots().create_branch(snapshot.snapshot_id, "audit").commit()
        stored.manage_snapshots().create_tag(snapshot.snapshot_id, "v1").commit()
    case.source(branch="audit").append(rows(2), case.context)
    assert ids(case.source(branch="audit"), case.context) == [1, 2]
    assert ids(case.source(branch="v1"), case.context) == [1]
    assert ids(case.source(), case.context) == [1]
