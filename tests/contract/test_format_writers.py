"""Four processes that append to one table at the same time: each row is there exactly once.

Slow: four processes that each import all of it. Threads that do the same are among the quick tests.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from feast import FeatureView, Field
from feast.data_source import DataSource
from feast.protos.feast.core.DataSource_pb2 import DataSource as DataSourceProto
from feast.types import String

from tests.contract.format_cases import DeltaTable, FormatCase, IcebergTable, ParquetFolder, read, rows
from tests.feast.repo import feature_store
from tests.store_servers import FIXTURES, server_at
from yummy_feast.offline.store import YummyOfflineStore
from yummy_feast.sources.base import SourceContext

pytestmark = pytest.mark.slow

WRITERS = 4
APPENDS = 5
KINDS: list[type[FormatCase]] = [ParquetFolder, DeltaTable, IcebergTable]


@pytest.fixture(scope="module")
def writers() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(WRITERS, multiprocessing.get_context("spawn")) as pool:
        yield pool


def write(entry: bytes, context: SourceContext, environment: Mapping[str, str], writer: int, made: bool) -> list[int]:
    """In a process of its own: append a row at a time to the source of a registry entry; the ids it wrote. To a table
    that is there, by the offline store.
    """
    os.environ.update(environment)
    source = DataSource.from_proto(DataSourceProto.FromString(entry))
    settings = {"storage_options": context.storage_options, "catalogs": context.catalogs}
    config = feature_store(context.repo_path, **settings).config
    view = FeatureView(name="names", entities=[], schema=[Field(name="name", dtype=String)], source=source)
    ids = [writer * 100 + number for number in range(APPENDS)]
    for number in ids:
        if made:
            YummyOfflineStore.offline_write_batch(config, view, rows(number), None)
        else:
            source.append(rows(number), context, create=True)
    return ids


@pytest.mark.parametrize("made", [False, True], ids=["new table", "table with rows"])
@pytest.mark.parametrize("store", ["local", *FIXTURES])
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
    case = kind(tmp_path, server_at(request, store))
    first = [9_000, 9_001] if made else []
    if made:
        case.lay([rows(*first)])
    entry = case.source().to_proto().SerializeToString()
    environment = case.place.server.environment if case.place.server else {}
    written = [writers.submit(write, entry, case.context, environment, writer, made) for writer in range(WRITERS)]
    expected = sorted([*first, *(number for future in written for number in future.result(120))])
    scan = case.source().scan(case.context)
    assert sorted(read(scan)["id"].to_pylist()) == expected
    assert len(expected) == WRITERS * APPENDS + len(first)
