"""`yummy spark` as a person and a program meet it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from yummy_feast.cli import main
from yummy_feast.spark import ivy
from yummy_feast.spark.jars import Manifest
from yummy_feast.spark.pins import USUAL


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, tuple[str, ...], Path | None]]:
    """What the command asked for; two jars come the first time."""
    calls: list[tuple[Path, tuple[str, ...], Path | None]] = []

    def fetch(folder: Path, needs: tuple[str, ...], settings: Path | None, progress: object) -> ivy.Fetched:
        calls.append((folder, needs, settings))
        folder.mkdir(exist_ok=True, parents=True)
        (folder / "a-1.jar").write_bytes(bytes(1_500_000))
        (folder / "b-1.jar").write_bytes(bytes(20_000))
        return ivy.Fetched(folder, Manifest.of(needs, folder, ["a-1.jar", "b-1.jar"]), 2 if len(calls) == 1 else 0)

    monkeypatch.setattr(ivy, "fetch_jars", fetch)
    monkeypatch.delenv("YUMMY_SPARK_JARS", raising=False)
    return calls


def test_for_people(asked: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spark", "jars", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "      1.5 MB  a-1.jar",
        "      0.0 MB  b-1.jar",
        f"      1.5 MB  2 jars in {tmp_path}, 2 fetched",
    ]
    assert main(["spark", "jars", str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith(", all of them were there\n")


def test_for_programs(asked: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ivy.xml").touch()
    command = ["spark", "jars", "--json", "--with", "glue", "--ivy-settings", str(tmp_path / "ivy.xml"), str(tmp_path)]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["folder"], found["fetched"], found["bytes"]) == (str(tmp_path), 2, 1_520_000)
    assert [jar["name"] for jar in found["jars"]] == ["a-1.jar", "b-1.jar"]
    assert len(found["jars"][0]["sha256"]) == 64
    assert asked == [(tmp_path, (*USUAL, "glue"), tmp_path / "ivy.xml")]


def test_without_a_folder(
    asked: list[tuple[Path, tuple[str, ...], Path | None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["spark", "jars"]) == 0
    monkeypatch.setenv("YUMMY_SPARK_JARS", str(tmp_path / "mine"))
    assert main(["spark", "jars"]) == 0
    assert [call[0] for call in asked] == [tmp_path / "yummy-feast" / "spark-jars", tmp_path / "mine"]


def test_what_is_wrong_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert main(["spark", "jars", str(tmp_path / "jars")]) == 1
    err = capsys.readouterr().err
    assert err.startswith("yummy: yummy spark jars needs Java 17 or newer: JAVA_HOME is ")
    assert "apt-get install openjdk-17-jre-headless" in err
    assert err.count("\n") == 1
