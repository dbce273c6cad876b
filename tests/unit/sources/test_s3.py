"""What is particular to S3; what all stores do is in ``test_each_store``, and in the contract suites."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from feast.credentials import ConnectionRef
from pyiceberg.catalog import load_catalog

from tests.contract.format_cases import read
from tests.s3_server import KEY, SECRET, S3Server
from tests.unit.sources.test_each_store import put, rows
from yummy_feast.errors import SourceReadError
from yummy_feast.sources.base import Prune, SourceContext, YummySource
from yummy_feast.sources.csv import CsvSource
from yummy_feast.sources.delta import DeltaSource
from yummy_feast.sources.iceberg import IcebergSource
from yummy_feast.sources.object_store import S3Settings
from yummy_feast.sources.parquet import ParquetSource

UTC = pa.timestamp("us", tz="UTC")


@pytest.fixture
def bucket(s3_server: S3Server) -> str:
    return s3_server.bucket()


@pytest.fixture
def context(s3_server: S3Server, bucket: str, tmp_path: Path) -> SourceContext:
    catalog = {"type": "sql", "uri": "sqlite:///catalog.db", "warehouse": f"s3://{bucket}/lake"}
    uri = f"sqlite:///{tmp_path}/catalog.db"
    with load_catalog("local", type="sql", uri=uri, warehouse=catalog["warehouse"]):
        pass
    return SourceContext(tmp_path, s3_server.options, {"local": catalog})


def sources(context: SourceContext) -> list[YummySource]:
    place = context.catalogs["local"]["warehouse"].removesuffix("/lake")
    return [
        ParquetSource(f"{place}/file.parquet", timestamp_field="ts"),
        ParquetSource(f"{place}/folder", timestamp_field="ts"),
        ParquetSource(f"{place}/glob/*.parquet", timestamp_field="ts"),
        CsvSource(f"{place}/file.csv", timestamp_field="ts"),
        DeltaSource(f"{place}/delta", timestamp_field="ts"),
        IcebergSource(table="local.ns.t", timestamp_field="ts"),
    ]


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_what_is_new_since_an_earlier_scan(context: SourceContext, number: int) -> None:
    source = sources(context)[number]
    source.append(rows(1, 2), context, create=True)
    scan = source.scan(context)
    assert source.scan(context).state == scan.state
    source.append(rows(1, 3), context)
    again = source.scan(context)
    assert again.state != scan.state
    found = read(again, ["id"], again.pieces(Prune("ts", 0, None, seen=scan.state, seen_start=9 * 10**6)))
    # A single file was written anew.
    assert sorted(found["id"].to_pylist()) == ([1, 1, 2, 3] if number == 3 else [1, 3])


def test_the_environment_is_enough(context: SourceContext, monkeypatch: pytest.MonkeyPatch) -> None:
    written = sources(context)[1]
    written.append(rows(1), context, create=True)
    monkeypatch.setenv("AWS_ENDPOINT_URL", context.storage_options["endpoint"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    assert read(written.scan(SourceContext(context.repo_path)))["id"].to_pylist() == [1]


def test_the_old_endpoint_keyword(context: SourceContext) -> None:
    sources(context)[1].append(rows(1), context, create=True)
    options = {name: value for name, value in context.storage_options.items() if name != "endpoint"}
    keywords: Any = {"s3_endpoint_override": context.storage_options["endpoint"], "timestamp_field": "ts"}
    with pytest.warns(DeprecationWarning, match="storage_options"):
        old = ParquetSource(sources(context)[1].location, **keywords)
    assert read(old.scan(SourceContext(context.repo_path, options)))["id"].to_pylist() == [1]


def test_credentials_of_a_connection_reference(context: SourceContext, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ACCESS_KEY_ID", "other"), ("SECRET_ACCESS_KEY", "from the reference"), ("PROFILE", "unread")):
        monkeypatch.setenv(f"AWS_{name}", value)
    reference = ConnectionRef(provider="env", name="AWS_", params={"region": "north"})
    source = ParquetSource("s3://bucket/x", timestamp_field="ts", connection_ref=reference)
    settings = S3Settings.of(source.settled(context).storage_options, {})
    assert (settings.key, settings.secret, settings.region) == ("other", "from the reference", "north")
    assert settings.endpoint == context.storage_options["endpoint"]


@pytest.mark.parametrize("kind", [ParquetSource, DeltaSource])
def test_readers_of_other_engines_lack_the_settings_of_a_source(
    context: SourceContext, bucket: str, kind: type[ParquetSource | DeltaSource]
) -> None:
    usual = kind(f"s3://{bucket}/x", timestamp_field="ts")
    usual.append(rows(1), context, create=True)
    assert usual.scan(context).native(["id"]) is not None
    reference = ConnectionRef(provider="env", name="NOBODY_", params={"region": "us-east-1"})
    own = kind(f"s3://{bucket}/x", timestamp_field="ts", connection_ref=reference)
    assert own.scan(context).native(["id"]) is None


def test_a_server_that_does_not_answer(tmp_path: Path) -> None:
    options = {"endpoint": "http://127.0.0.1:9", "key": "me", "secret": SECRET}
    for source in (ParquetSource("s3://b/x", timestamp_field="ts"), DeltaSource("s3://b/x", timestamp_field="ts")):
        with pytest.raises(SourceReadError, match="s3://b/x") as caught:
            source.scan(SourceContext(tmp_path, {**options, "max_retries": "0", "retry_timeout": "1s"}))
        assert SECRET not in str(caught.value)
        assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------ folders of many files


def test_key_value_folders_are_columns_and_prune(
    s3_server: S3Server, bucket: str, context: SourceContext, opened: list[str]
) -> None:
    for day in range(1, 5):
        for country in ("PL", "DE"):
            put(s3_server, f"{bucket}/t/day=2026-11-0{day}/country={country}/n={day}/x.parquet", rows(day))
    source = ParquetSource(f"s3://{bucket}/t", timestamp_field="day")
    scan = source.scan(context)
    kinds = {name: scan.schema.field(name).type for name in ("day", "country", "n")}
    assert kinds == {"day": pa.date32(), "country": pa.string(), "n": pa.int64()}
    opened.clear()
    second = (dt.date(2026, 11, 2) - dt.date(1970, 1, 1)).days * 86_400 * 10**6
    wanted = scan.pieces(Prune("day", second, second, {"country": pa.array(["PL"])}))
    found = read(scan, ["day", "country", "n", "id"], wanted).to_pylist()
    assert found == [{"day": dt.date(2026, 11, 2), "country": "PL", "n": 2, "id": 2}]
    assert opened == [f"{bucket}/t/day=2026-11-02/country=PL/n=2/x.parquet"]
    # New rows find their folders.
    source.append(
        pa.table({"day": [dt.date(2026, 11, 9)], "country": ["FR"], "n": [9], **rows(7).to_pydict()}), context
    )
    assert len(source.files(context)) == 9
    again = source.scan(context)
    assert read(again, ["id"], again.pieces(Prune("day", None, None, {"n": pa.array([9])})))["id"].to_pylist() == [7]


def test_files_may_differ(s3_server: S3Server, bucket: str, context: SourceContext) -> None:
    ts = rows(1)["ts"]
    for name, columns in {
        "1": {"id": pa.array([1], pa.int16())},
        "2": {"id": pa.array([2], pa.int64()), "score": pa.array([1], pa.int32())},
        "3": {"score": pa.array([0.5]), "id": pa.array([3], pa.int32()), "name": pa.array(["x"])},
    }.items():
        put(s3_server, f"{bucket}/t/{name}.parquet", pa.table({"ts": ts, **columns}))
    scan = ParquetSource(f"s3://{bucket}/t", timestamp_field="ts").scan(context)
    assert scan.schema.field("id").type == pa.int64()
    assert scan.schema.field("score").type == pa.float64()
    assert read(scan, ["id", "score", "name"]).to_pydict() == {
        "id": [1, 2, 3],
        "score": [None, 1.0, 0.5],
        "name": [None, None, "x"],
    }
