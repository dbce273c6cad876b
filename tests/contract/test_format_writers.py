"""Four processes that append to one table at the same time: each row is there exactly once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from feast.data_source import DataSource
from feast.protos.feast.core.DataSource_pb2 import DataSource as DataSourceProto

from tests.contract.format_cases import DeltaTable, FormatCase, IcebergTable, ParquetFolder, read, rows
from yummy_feast.sources.base import SourceContext

WRITERS = 4
APPENDS = 5
KINDS: list[type[FormatCase]] = [ParquetFolder, DeltaTable, IcebergTable]


@pytest.fixture(scope="module")
def writers() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(WRITERS, multiprocessing.get_context("spawn")) as pool:
        yield pool


def write(entry: bytes, context: SourceContext, writer: int) -> list[int]:
    """In a process of its own: append a row at a time to the source of a registry entry; the ids it wrote."""
    source = DataSource.from_proto(DataSourceProto.FromString(entry))
    ids = [writer * 100 + number for number in range(APPENDS)]
    for number in ids:
        source.append(rows(number), context, create=True)
    return ids


@pytest.mark.parametrize("made", [False, True], ids=["new table", "table with rows"])
@pytest.mark.parametrize("store", ["local", "s3"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_row_is_there_once(
    request: pytest.FixtureRequest,
    writers: ProcessPoolExecutor,
    tmp_path: Path,
    kind: type[FormatCase],
    store: str,
    *,
    made: bool,
) -> None:
    case = kind(tmp_path, request.getfixturevalue("s3_server") if store == "s3" else None)
    first = [9_000, 9_001] if made else []
    if made:
        case.lay([rows(*first)])
    entry = case.source().to_proto().SerializeToString()
    written = [writers.submit(write, entry, case.context, writer) for writer in range(WRITERS)]
    expected = sorted([*first, *(number for future in written for number in future.result(120))])
    scan = case.source().scan(case.context)
    assert sorted(read(scan)["id"].to_pylist()) == expected
    assert len(expected) == WRITERS * APPENDS + len(first)
