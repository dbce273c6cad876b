"""What is the same on S3, Google Cloud Storage and Azure; that all formats work there is in the contract suites too."""

from __future__ import annotations

import datetime as dt
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.azure_server import KEY
from tests.contract.format_cases import read
from tests.google_server import TOKEN
from tests.s3_server import SECRET
from tests.store_servers import FIXTURES, StoreServer, store_at
from yummy_feast.errors import SourceNotFoundError, SourceReadError
from yummy_feast.sources.base import Prune, SourceContext, YummySource
from yummy_feast.sources.csv import CsvSource
from yummy_feast.sources.delta import DeltaSource
from yummy_feast.sources.files import list_files, locate
from yummy_feast.sources.iceberg import IcebergSource
from yummy_feast.sources.parquet import ParquetSource

UTC = pa.timestamp("us", tz="UTC")
SECRETS = (TOKEN, KEY, SECRET, "PRIVATE KEY")


@pytest.fixture(params=FIXTURES)
def server(request: pytest.FixtureRequest) -> StoreServer:
    return store_at(request, request.param)


@pytest.fixture
def bucket(server: StoreServer) -> str:
    return server.bucket()


@pytest.fixture
def context(server: StoreServer, bucket: str, tmp_path: Path) -> SourceContext:
    catalog = {"type": "sql", "uri": "sqlite:///catalog.db", "warehouse": server.uri(f"{bucket}/lake")}
    (tmp_path / "catalog.db").touch()
    return SourceContext(tmp_path, server.options, {"local": catalog})


def sources(server: StoreServer, bucket: str) -> list[YummySource]:
    return [
        ParquetSource(server.uri(f"{bucket}/file.parquet"), timestamp_field="ts"),
        ParquetSource(server.uri(f"{bucket}/folder"), timestamp_field="ts"),
        ParquetSource(server.uri(f"{bucket}/glob/*.parquet"), timestamp_field="ts"),
        CsvSource(server.uri(f"{bucket}/file.csv"), timestamp_field="ts"),
        DeltaSource(server.uri(f"{bucket}/delta"), timestamp_field="ts"),
        IcebergSource(table="local.ns.t", timestamp_field="ts"),
    ]


def rows(*ids: int) -> pa.Table:
    return pa.table({"id": list(ids), "ts": pa.array([i * 10**6 for i in ids], UTC)})


def put(server: StoreServer, path: str, table: pa.Table) -> None:
    with server.filesystem().open_output_stream(path) as stream:
        pq.write_table(table, stream)


@pytest.mark.parametrize("number", range(6))
def test_write_append_read_replace(
    server: StoreServer, bucket: str, context: SourceContext, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    source = sources(server, bucket)[number]
    with pytest.raises(SourceNotFoundError):
        source.scan(context)
    source.append(rows(1, 2), context, create=True)
    source.append(rows(3), context)
    scan = source.scan(context)
    assert sorted(read(scan)["id"].to_pylist()) == [1, 2, 3]
    assert 3 in read(scan, ["id"], scan.pieces(Prune("ts", 3 * 10**6, None)))["id"].to_pylist()
    if "*" not in source.location:
        source.replace(rows(9), context, allow_overwrite=True)
        assert read(source.scan(context))["id"].to_pylist() == [9]
    if source.format == "iceberg":
        static = IcebergSource(path=f"{context.catalogs['local']['warehouse']}/ns/t", timestamp_field="ts")
        assert read(static.scan(context))["id"].to_pylist() == [9]
    assert not any(secret in caplog.text for secret in SECRETS)


@pytest.mark.parametrize("number", [1, 4, 5])
def test_four_writers_lose_nothing(server: StoreServer, bucket: str, context: SourceContext, number: int) -> None:
    source = sources(server, bucket)[number]
    source.append(rows(0), context, create=True)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: source.append(rows(one), context), range(1, 5)))
    assert sorted(read(source.scan(context))["id"].to_pylist()) == list(range(5))


@pytest.mark.parametrize("kind", [ParquetSource, CsvSource])
def test_an_object_replaced_by_one_of_the_same_size(
    server: StoreServer, bucket: str, context: SourceContext, kind: type[ParquetSource | CsvSource]
) -> None:
    source = kind(server.uri(f"{bucket}/folder"), timestamp_field="ts")
    source.append(rows(1, 2), context, create=True)
    scan = source.scan(context)
    (file,) = source.files(context)
    sink = pa.BufferOutputStream()
    source.write(rows(3, 4), file.location.path, sink)
    with file.location.filesystem.open_output_stream(file.location.path) as stream:
        stream.write(sink.getvalue())
    again = source.scan(context)
    assert source.files(context)[0].size == file.size
    assert again.state != scan.state
    prune = Prune("ts", 0, None, seen=scan.state, seen_start=9 * 10**6)
    assert read(again, ["id"], again.pieces(prune))["id"].to_pylist() == [3, 4]
    # The earlier look does not mix old footers with new rows.
    with pytest.raises(SourceReadError, match="was replaced while it was being read"):
        read(scan)


def test_key_value_folders_are_columns_and_prune(server: StoreServer, bucket: str, context: SourceContext) -> None:
    for day in range(1, 4):
        for country in ("PL", "DE"):
            put(server, f"{bucket}/t/day=2026-11-0{day}/country={country}/x.parquet", rows(day))
    source = ParquetSource(server.uri(f"{bucket}/t"), timestamp_field="day")
    scan = source.scan(context)
    assert {name: scan.schema.field(name).type for name in ("day", "country")} == {
        "day": pa.date32(),
        "country": pa.string(),
    }
    second = (dt.date(2026, 11, 2) - dt.date(1970, 1, 1)).days * 86_400 * 10**6
    wanted = scan.pieces(Prune("day", second, second, {"country": pa.array(["PL"])}))
    assert read(scan, ["country", "id"], wanted).to_pylist() == [{"country": "PL", "id": 2}]
    source.append(pa.table({"day": [dt.date(2026, 11, 9)], "country": ["FR"], **rows(7).to_pydict()}), context)
    assert len(source.files(context)) == 7


def test_a_folder_beside_one_whose_name_begins_alike(server: StoreServer, bucket: str, context: SourceContext) -> None:
    """pyarrow takes the first name that begins so for the answer, and `data-old/` comes before `data/`."""
    put(server, f"{bucket}/data-old/x.parquet", rows(1))
    put(server, f"{bucket}/data/x.parquet", rows(2))
    source = ParquetSource(server.uri(f"{bucket}/data"), timestamp_field="ts")
    assert read(source.scan(context))["id"].to_pylist() == [2]
    source.replace(rows(3), context, allow_overwrite=True)
    assert read(source.scan(context))["id"].to_pylist() == [3]
    missing = locate(server.uri(f"{bucket}/dat"), context)
    assert not missing.exists()
    assert not missing.has_files()


def test_a_bucket_that_is_not_there(server: StoreServer, context: SourceContext) -> None:
    nowhere = server.uri("no-such-bucket/x")
    for source in (
        ParquetSource(nowhere, timestamp_field="ts"),
        CsvSource(nowhere, timestamp_field="ts"),
        DeltaSource(nowhere, timestamp_field="ts"),
    ):
        with pytest.raises(SourceNotFoundError, match="no-such-bucket/x: no such") as caught:
            source.scan(context)
        assert "\n" not in str(caught.value)
        with pytest.raises(SourceNotFoundError, match="no such bucket or container"):
            source.append(rows(1), context, create=True)


@pytest.mark.slow
def test_a_thousand_small_files(server: StoreServer, bucket: str, context: SourceContext, opened: list[str]) -> None:
    filesystem = server.filesystem()
    sink = pa.BufferOutputStream()
    pq.write_table(rows(1), sink)
    whole = sink.getvalue()

    def upload(number: int) -> None:
        with filesystem.open_output_stream(f"{bucket}/many/{number:04}.parquet") as stream:
            stream.write(whole)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(upload, range(1000)))
    place = server.uri(f"{bucket}/many")
    assert len(list_files([locate(place, context)], (".parquet",))) == 1000
    scan = ParquetSource(place, timestamp_field="ts").scan(context)
    assert read(scan, ["id"])["id"].to_pylist() == [1] * 1000
    # A footer and a read each: never a look at every file for every other.
    assert len(opened) <= 2000
