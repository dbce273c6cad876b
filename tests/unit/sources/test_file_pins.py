from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from tests.s3_server import S3Server
from yummy_feast.errors import SourceMovedError
from yummy_feast.sources.azure_store import AzureSettings
from yummy_feast.sources.base import SourceContext
from yummy_feast.sources.file_pins import pin_of_files, pinned_files, with_checksums
from yummy_feast.sources.files import StoredFile, list_files, locate, marked
from yummy_feast.sources.parquet import ParquetSource


def written(folder: Path, **files: str) -> list[StoredFile]:
    (folder / "data").mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / "data" / name).write_text(text)
    return listed(folder)


def listed(folder: Path) -> list[StoredFile]:
    return list_files([locate("data", SourceContext(folder))], ())


def check(folder: Path, pin: dict[str, Any]) -> list[str]:
    found = pinned_files("trips", pin, listed(folder), SourceContext(folder), "do this")
    return [Path(file.text).name for file in found]


def test_a_pin_has_what_tells_a_file_from_others(tmp_path: Path) -> None:
    files = written(tmp_path, a="one", b="two")
    context = SourceContext(tmp_path)
    pin = pin_of_files(files, context)
    stamp = (tmp_path / "data" / "a").stat()
    assert pin["files"][0] == {
        "path": "data/a",
        "size": 3,
        "modified": stamp.st_mtime_ns,
        "mark": f"{stamp.st_ino} {stamp.st_ctime_ns}",
    }
    whole = with_checksums("trips", pin, context, remote=False)
    assert [item["sha256"] for item in whole["files"]] == [hashlib.sha256(t).hexdigest() for t in (b"one", b"two")]
    assert with_checksums("trips", whole, context, remote=False) == whole
    assert pin_of_files(files, SourceContext(tmp_path / "repo"))["files"][0]["path"] == str(tmp_path / "data" / "a")


def test_files_that_came_since_are_left_out(tmp_path: Path) -> None:
    pin = pin_of_files(written(tmp_path, b="two", a="one"), SourceContext(tmp_path))
    written(tmp_path, aa="new")
    assert check(tmp_path, pin) == ["a", "b"]


def test_all_that_moved_is_named_up_to_three(tmp_path: Path) -> None:
    context = SourceContext(tmp_path)
    texts = {name: name for name in "abcde"}
    pin = with_checksums("trips", pin_of_files(written(tmp_path, **texts), context), context, remote=False)
    written(tmp_path, a="longer", b="B", new="x")
    for name in "cde":
        (tmp_path / "data" / name).unlink()
    with pytest.raises(SourceMovedError) as caught:
        check(tmp_path, pin)
    sums = [hashlib.sha256(text).hexdigest() for text in (b"B", b"b")]
    assert str(caught.value) == (
        "source 'trips' moved: data/a has 6 bytes instead of 1; "
        f"data/b has SHA-256 {sums[0]} instead of {sums[1]}; data/c is gone and 2 more files; 1 file is new (do this)"
    )


def test_a_copy_is_the_same_by_its_checksum_only(tmp_path: Path) -> None:
    context = SourceContext(tmp_path)
    pin = pin_of_files(written(tmp_path, a="one"), context)
    whole = with_checksums("trips", pin, context, remote=False)
    written(tmp_path, copy="one")
    (tmp_path / "data" / "copy").replace(tmp_path / "data" / "a")
    assert check(tmp_path, whole) == ["a"]
    with pytest.raises(SourceMovedError, match="data/a was written anew"):
        check(tmp_path, pin)


def test_the_repo_may_be_moved(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    context = SourceContext(tmp_path / "old")
    pin = with_checksums("trips", pin_of_files(written(tmp_path / "old", a="one"), context), context, remote=False)
    (tmp_path / "old").rename(tmp_path / "new")
    assert check(tmp_path / "new", pin) == ["a"]


@pytest.mark.parametrize("change", ["content", "gone"])
def test_a_file_that_changed_has_no_checksum(tmp_path: Path, change: str) -> None:
    context = SourceContext(tmp_path)
    pin = pin_of_files(written(tmp_path, a="one"), context)
    path = tmp_path / "data" / "a"
    stamp = path.stat()
    if change == "gone":
        path.unlink()
    else:
        path.write_text("two")
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    with pytest.raises(SourceMovedError, match="source 'trips' moved: data/a c"):
        with_checksums("trips", pin, context, remote=False)


def test_files_without_a_mark_are_the_same_by_size_and_time(tmp_path: Path) -> None:
    """A file that is written all the time has none; within one fetch, its stamps must do."""
    context = SourceContext(tmp_path)
    pin = pin_of_files(written(tmp_path, a="one"), context)
    pin["files"][0]["mark"] = ""
    assert check(tmp_path, pin) == ["a"]
    assert "sha256" in with_checksums("trips", pin, context, remote=False)["files"][0]
    os.utime(tmp_path / "data" / "a", (1, 1))
    with pytest.raises(SourceMovedError, match="written anew"):
        check(tmp_path, pin)


def test_objects_are_known_by_their_etag(s3_server: S3Server, tmp_path: Path) -> None:
    bucket = s3_server.bucket()
    context = SourceContext(tmp_path, s3_server.options)
    place = bucket.removeprefix("s3://")

    def write(value: int) -> None:
        pq.write_table(pa.table({"v": [value]}), f"{place}/t/a.parquet", filesystem=s3_server.filesystem())

    write(1)
    source = ParquetSource(f"s3://{place}/t", name="trips", timestamp_field="ts")
    pin = source.scan(context).pin(context)
    (facts,) = pin["files"]
    assert facts["path"] == f"s3://{place}/t/a.parquet"
    assert facts["mark"]
    assert with_checksums("trips", pin, context, remote=False) == pin, "nothing is downloaded"
    whole = with_checksums("trips", pin, context, remote=True)
    write(1)
    assert source.scan_at(pin, context).snapshot == "1 file"
    write(2)
    for known in (pin, whole):
        with pytest.raises(SourceMovedError, match="source 'trips' moved: s3://"):
            source.scan_at(known, context)
    (now,) = marked(source.files(context))
    assert now.mark != facts["mark"]


def test_an_azure_account_that_the_path_names_is_found_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    asked: list[str] = []

    def filesystem(settings: AzureSettings) -> pafs.FileSystem:
        asked.append(settings.account)
        return pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem())

    monkeypatch.setattr(AzureSettings, "filesystem", filesystem)
    (tmp_path / "lake" / "t").mkdir(parents=True)
    (tmp_path / "lake" / "t" / "a").write_text("one")
    context = SourceContext(tmp_path, {"sas_token": "hush"})
    files = list_files([locate("abfss://lake@acc.dfs.core.windows.net/t", context)], ())
    assert files[0].text == "abfss://lake/t/a"
    pin = pin_of_files(files, context)
    assert pin["files"][0]["path"] == "abfss://lake@acc.dfs.core.windows.net/t/a"
    whole = with_checksums("trips", pin, context, remote=True)
    assert whole["files"][0]["sha256"] == hashlib.sha256(b"one").hexdigest()
    assert set(asked) == {"acc"}
    # Where there is nothing to compute nobody is asked.
    asked.clear()
    pin["files"][0]["mark"] = "etag"
    assert with_checksums("trips", pin, context, remote=False) == pin
    assert with_checksums("trips", whole, context, remote=True) == whole
    assert asked == []
    # An account of the options stays theirs.
    (named,) = list_files([locate("abfss://lake/t", SourceContext(tmp_path, {"account_name": "me"}))], ())
    assert named.location.uri == "abfss://lake/t/a"
