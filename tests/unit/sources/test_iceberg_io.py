"""Which file system pyiceberg gets for which path."""

from __future__ import annotations

import pickle

import pyarrow.fs as pafs
import pytest

from yummy_feast.sources.google_store import GoogleSettings
from yummy_feast.sources.iceberg_io import StoreFileIO

AZURE = {"adls.account-name": "acc", "adls.account-key": "YXp1cmUta2V5"}


@pytest.mark.parametrize(
    ("location", "parts"),
    [
        ("abfss://c@acc.dfs.core.windows.net/a/b", ("abfss", "c@acc.dfs.core.windows.net", "c/a/b")),
        ("abfs://c/a/b", ("abfs", "c", "c/a/b")),
        ("gs://b/a", ("gs", "b", "b/a")),
        ("s3://b/a@b", ("s3", "b", "b/a@b")),
        ("file:///a/b", ("file", "", "/a/b")),
    ],
)
def test_paths(location: str, parts: tuple[str, str, str]) -> None:
    assert StoreFileIO.parse_location(location) == parts


def test_each_account_has_a_file_system_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    io = StoreFileIO(AZURE)
    named = [io.fs_by_scheme("abfss", f"c@{account}.dfs.core.windows.net") for account in ("one", "two", "one")]
    assert all(isinstance(found, pafs.AzureFileSystem) for found in named)
    assert named[0] is named[2]
    assert named[0] != named[1]
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acc")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", AZURE["adls.account-key"])
    assert StoreFileIO({}).fs_by_scheme("abfss", "c") == io.fs_by_scheme("abfss", "c")


def test_other_clouds_and_stores_are_pyicebergs_own() -> None:
    china = {**AZURE, "adls.blob-storage-authority": ".blob.core.chinacloudapi.cn"}
    assert isinstance(StoreFileIO(china).fs_by_scheme("abfss", "c"), pafs.AzureFileSystem)
    assert isinstance(StoreFileIO({"s3.region": "north"}).fs_by_scheme("s3", "b"), pafs.S3FileSystem)


def test_google_may_be_anonymous_and_travels_to_other_processes() -> None:
    io = pickle.loads(pickle.dumps(StoreFileIO({"google_skip_signature": "true"})))
    anonymous, usual = (GoogleSettings.of(options).filesystem() for options in ({"google_skip_signature": "true"}, {}))
    assert io.fs_by_scheme("gs", "b") == anonymous != usual
