"""A fetch from Google Cloud Storage and from Azure, written there, saved there, and fetched again by its lockfile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.contract.format_cases import read
from tests.feast.lockfiles import COUNT, applied, fetch, history, locked, questions, view
from tests.store_servers import StoreServer, store_at
from yummy_feast import CsvSource, DeltaSource, IcebergSource, ParquetSource, SavedDatasetYummyStorage
from yummy_feast.errors import SourceMovedError
from yummy_feast.offline.store import YummyOfflineStore
from yummy_feast.sources.base import SourceContext, YummySource
from yummy_feast.sources.files import locate
from yummy_feast.sources.files_source import FilesSource


@pytest.fixture(params=["gcs", "azure"])
def server(request: pytest.FixtureRequest) -> StoreServer:
    return store_at(request, request.param)


def source_of(kind: str, place: str) -> YummySource:
    common: dict[str, Any] = {"timestamp_field": "event_timestamp", "name": "stats"}
    if kind == "iceberg":
        return IcebergSource(table="local.lake.stats", **common)
    classes = {"parquet": ParquetSource, "csv": CsvSource, "delta": DeltaSource}
    return classes[kind](f"{place}/stats", **common)


@pytest.mark.parametrize("kind", ["parquet", "csv", "delta", "iceberg"])
def test_what_was_fetched_is_fetched_again(server: StoreServer, tmp_path: Path, kind: str) -> None:
    place = server.uri(f"{server.bucket()}/lake")
    (tmp_path / "catalog.db").touch()
    catalogs = {"local": {"type": "sql", "uri": "sqlite:///catalog.db", "warehouse": place}}
    source, context = source_of(kind, place), SourceContext(tmp_path, server.options, catalogs)
    source.append(history(), context, create=True)
    stats = view(source)
    store = applied(tmp_path, stats, storage_options=server.options, catalogs=catalogs)
    job = fetch(store, questions())
    before, lock = job.to_arrow(), locked(job, tmp_path)
    assert before["rate"].null_count < len(before)

    YummyOfflineStore.offline_write_batch(store.config, stats, history(COUNT - 8, 20, scale=100), None)
    after = fetch(store, questions()).to_arrow()
    assert not after.equals(before)
    assert lock.get_historical_features(store, questions()).to_arrow().equals(before)

    saved = SavedDatasetYummyStorage(path=f"{place}/saved", format="delta" if kind == "delta" else "parquet")
    job.persist(saved, allow_overwrite=False)
    kept = read(saved.to_data_source().scan(context))
    assert sorted(map(str, kept["rate"].to_pylist())) == sorted(map(str, before["rate"].to_pylist()))

    if isinstance(source, FilesSource):
        (first, *_) = source.files(context)
        rewrite(source, locate(first.location.uri, context).path, server)
        with pytest.raises(SourceMovedError, match=r"source 'stats' moved: .* (was written anew|bytes instead)"):
            lock.get_historical_features(store, questions()).to_arrow()


def rewrite(source: FilesSource, path: str, server: StoreServer) -> None:
    """Other rows in the place of a file's."""
    sink = pa.BufferOutputStream()
    source.write(history(scale=5), path, sink)
    with server.filesystem().open_output_stream(path) as stream:
        stream.write(sink.getvalue())
