"""Which store a URI is on, and one dictionary of options for all of them."""

from __future__ import annotations

from pathlib import Path

import pyarrow.fs as pafs
import pytest

from yummy_feast.errors import ConfigError
from yummy_feast.sources.azure_store import AzureSettings
from yummy_feast.sources.base import SourceContext
from yummy_feast.sources.files import locate
from yummy_feast.sources.google_store import GoogleSettings
from yummy_feast.sources.object_store import S3Settings
from yummy_feast.sources.parquet import ParquetSource
from yummy_feast.sources.stores import is_object_uri, is_ours_alone, pyiceberg_properties, settings_of, split_uri

EVERYTHING = {
    "endpoint": "http://minio:9000",
    "key": "s3-key",
    "secret": "s3-secret",
    "google_endpoint": "http://gcs:4443",
    "google_skip_signature": "true",
    "account_name": "acc",
    "account_key": "YXp1cmUta2V5",
    "timeout": "5s",
}


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("s3://bucket/a/b/", ("s3://", "bucket/a/b", "")),
        ("s3a://bucket/a", ("s3://", "bucket/a", "")),
        ("gs://bucket/a", ("gs://", "bucket/a", "")),
        ("gcs://bucket", ("gs://", "bucket", "")),
        ("az://container/a", ("abfss://", "container/a", "")),
        ("abfs://container/a@b", ("abfss://", "container/a@b", "")),
        ("abfss://container@acc.dfs.core.windows.net/a/b", ("abfss://", "container/a/b", "acc")),
        ("abfss://container@acc.dfs.core.windows.net", ("abfss://", "container", "acc")),
    ],
)
def test_uris(uri: str, parts: tuple[str, str, str]) -> None:
    assert is_object_uri(uri)
    assert split_uri(uri) == parts


def test_what_is_no_object() -> None:
    assert not any(map(is_object_uri, ["data", "/data", "file:///data", "ftp://x/y", "s3", "http://x"]))
    with pytest.raises(ConfigError, match=r"'ftp'.*gs://"):
        locate("ftp://x/y", SourceContext(Path("/")))


def test_each_store_reads_its_own_of_one_dictionary() -> None:
    assert isinstance(settings_of("s3://b/x", EVERYTHING), S3Settings)
    assert isinstance(settings_of("gs://b/x", EVERYTHING), GoogleSettings)
    azure = settings_of("abfss://c@other.dfs.core.windows.net/x", EVERYTHING)
    assert isinstance(azure, AzureSettings)
    assert azure.account == "other"
    for uri in ("s3://b/x", "gs://b/x", "az://c/x"):
        settings = settings_of(uri, EVERYTHING)
        assert "timeout" in settings.for_deltalake()
        assert not any(secret in repr(settings) for secret in ("s3-secret", "YXp1cmUta2V5"))
        with pytest.raises(ConfigError, match="'endpiont'"):
            settings_of(uri, {**EVERYTHING, "endpiont": "x"})


def test_pyiceberg_gets_what_there_is_of_all() -> None:
    found = pyiceberg_properties(EVERYTHING)
    assert found["s3.endpoint"] == "http://minio:9000"
    assert found["gcs.service.host"] == "http://gcs:4443"
    assert found["adls.account-name"] == "acc"
    assert not any(name.startswith(("adls.", "gcs.")) for name in pyiceberg_properties({"key": "k", "secret": "s"}))


def test_locations_keep_their_scheme() -> None:
    context = SourceContext(Path("/"), EVERYTHING)
    for uri, kind, text in (
        ("s3a://b/x/", pafs.S3FileSystem, "s3://b/x"),
        ("gcs://b/x", pafs.GcsFileSystem, "gs://b/x"),
        ("az://c/x", pafs.AzureFileSystem, "abfss://c/x"),
    ):
        place = locate(uri, context)
        assert isinstance(place.filesystem, kind)
        assert place.text == text
        assert place.at("c/y").text == f"{place.prefix}c/y"


@pytest.mark.parametrize(
    ("path", "alone"),
    [
        ("data", False),
        ("s3://bucket/x", False),
        ("gs://bucket/x", False),
        ("az://container/x", True),
        ("abfss://container@acc.dfs.core.windows.net/x", True),
    ],
)
def test_only_we_find_paths_that_lack_their_account(tmp_path: Path, path: str, *, alone: bool) -> None:
    assert is_ours_alone(path, EVERYTHING) is alone
    with_token = {**EVERYTHING, "google_access_token": "ya29.hush"}
    assert is_ours_alone(path, with_token) is (alone or path.startswith("gs://"))
    source = ParquetSource(path, timestamp_field="ts")
    assert source.has_own_store(SourceContext(tmp_path, EVERYTHING)) is alone
