"""Folders of jars."""

from __future__ import annotations

from pathlib import Path

import pytest

from yummy_feast.errors import ConfigError
from yummy_feast.spark.jars import MANIFEST, Manifest, cache_folder, faults, folder_for, holds, jars_in, read_manifest
from yummy_feast.spark.pins import PACKAGES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "jars"
    found.mkdir()
    for name in ("b-1.jar", "a-1.jar"):
        (found / name).write_bytes(name.encode())
    Manifest.of(("delta", "s3"), found, ["b-1.jar", "a-1.jar"]).write(found)
    return found


def test_a_manifest_is_read_as_it_was_written(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert manifest is not None
    assert [jar.name for jar in manifest.jars] == ["a-1.jar", "b-1.jar"]
    assert manifest.jars[0].bytes == 7
    assert manifest.covers(("s3",))
    assert not manifest.covers(("delta", "iceberg"))
    assert manifest == Manifest.of(("delta", "s3"), folder, ["b-1.jar", "a-1.jar"])
    assert sorted(path.name for path in folder.iterdir()) == ["a-1.jar", "b-1.jar", MANIFEST]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"jars": [{}]}', '{"needs": [], "packages": [], "jars": [1]}'])
def test_what_is_no_manifest_is_none(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text)
    assert read_manifest(folder) is None


def test_faults(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert manifest is not None
    assert faults(folder, manifest, thoroughly=True) == []
    (folder / "a-1.jar").write_bytes(b"A-1.jar")
    assert faults(folder, manifest, thoroughly=False) == []
    assert faults(folder, manifest, thoroughly=True) == ["a-1.jar is damaged"]
    (folder / "a-1.jar").write_bytes(b"a")
    (folder / "b-1.jar").unlink()
    assert faults(folder, manifest, thoroughly=False) == ["a-1.jar has 1 bytes instead of 7", "b-1.jar is missing"]


def test_the_jars_of_others_count(folder: Path) -> None:
    (folder / "mine.jar").touch()
    assert [path.name for path in jars_in(folder)] == ["a-1.jar", "b-1.jar", "mine.jar"]
    (folder / MANIFEST).unlink()
    assert len(jars_in(folder)) == 3


def test_what_is_not_as_it_should_be_is_said(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"there is no folder .*gone \(yummy spark jars .*gone\)"):
        jars_in(tmp_path / "gone")
    with pytest.raises(ConfigError, match="has no jars"):
        jars_in(tmp_path)
    with monkeypatch.context() as context:
        context.setitem(PACKAGES, "s3", PACKAGES["glue"])
        with pytest.raises(ConfigError, match="are of other versions"):
            jars_in(folder)
    (folder / "b-1.jar").unlink()
    with pytest.raises(ConfigError, match=r"b-1.jar is missing \(yummy spark jars"):
        jars_in(folder)


def test_which_folder(folder: Path, tmp_path: Path) -> None:
    configured, other = tmp_path / "configured", str(tmp_path / "other")
    cache = {"XDG_CACHE_HOME": str(tmp_path)}
    assert folder_for(configured, {"YUMMY_SPARK_JARS": other}) == configured
    assert folder_for(None, {"YUMMY_SPARK_JARS": other, **cache}) == tmp_path / "other"
    assert folder_for(None, cache) is None
    cache_folder(cache).parent.mkdir()
    folder.rename(cache_folder(cache))
    assert folder_for(None, cache) == cache_folder(cache)
    (cache_folder(cache) / "a-1.jar").unlink()
    assert folder_for(None, cache) is None


def test_a_folder_without_what_is_wanted_says_what_to_fetch(folder: Path) -> None:
    assert len(jars_in(folder, {"delta", "s3"})) == 2
    with pytest.raises(ConfigError) as caught:
        jars_in(folder, {"s3", "glue"})
    assert str(caught.value) == (
        f"spark_jars: {folder} has no jars for glue, which the configuration needs "
        f"(yummy spark jars {folder} --with glue)"
    )
    # Jars of others count, and nothing is known of a folder without a list.
    (folder / "iceberg-aws-bundle-1.12.0.jar").touch()
    (folder / "sqlite-jdbc-3.1.jar").touch()
    assert len(jars_in(folder, {"glue", "sqlite"})) == 4
    (folder / MANIFEST).unlink()
    assert len(jars_in(folder, {"azure"})) == 4


def test_a_cache_without_what_is_wanted_is_left_to_resolution(folder: Path, tmp_path: Path) -> None:
    cache = {"XDG_CACHE_HOME": str(tmp_path)}
    cache_folder(cache).parent.mkdir()
    folder.rename(cache_folder(cache))
    assert folder_for(None, cache, {"s3"}) == cache_folder(cache)
    assert folder_for(None, cache, {"s3", "glue"}) is None


def test_packages_among_jars() -> None:
    jars = [Path("/x/delta-spark_4.1_2.13-4.4.0.jar"), Path("/x/delta-storage-4.4.0.jar")]
    assert holds(jars, PACKAGES["delta"][0])
    assert not holds(jars, PACKAGES["iceberg"][0])
    assert not holds(jars[1:], PACKAGES["delta"][0])
