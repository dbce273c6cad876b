"""The Java that Spark would find."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from yummy_feast.errors import MissingExtraError
from yummy_feast.spark.java import find_java, parse_version

TOLD = {
    17: 'openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime Environment (build 17.0.15+6)',
    8: 'java version "1.8.0_402"\nJava(TM) SE Runtime Environment',
    11: 'openjdk version "11.0.2" 2019-01-15',
    21: 'openjdk version "21" 2023-09-19',
    25: 'openjdk version "25-ea" 2025-09-16',
}


def java(folder: Path, text: str, code: int = 0) -> Path:
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\ncat >&2 <<'E'\n{text}\nE\nexit {code}\n")
    program.chmod(0o755)
    return program


def environment(path: Path | None = None, home: Path | None = None) -> dict[str, str]:
    found = {"PATH": f"{path / 'bin'}:/bin:/usr/bin" if path else "/bin:/usr/bin" if home else ""}
    return found if home is None else {**found, "JAVA_HOME": str(home)}


@pytest.mark.parametrize("version", TOLD)
def test_versions(version: int) -> None:
    assert parse_version(TOLD[version]) == version


def test_no_version() -> None:
    assert parse_version("Unable to locate a Java Runtime.") is None


def test_the_home_goes_before_the_path(tmp_path: Path) -> None:
    first, second = java(tmp_path / "home", TOLD[21]), java(tmp_path / "path", TOLD[17])
    found = find_java("engine: spark", environment(tmp_path / "path", tmp_path / "home"))
    assert (found.program, found.version) == (first, 21)
    found = find_java("engine: spark", environment(tmp_path / "path"))
    assert (found.program, found.version) == (second, 17)


def test_what_is_wrong_is_said_with_what_to_install(tmp_path: Path) -> None:
    java(tmp_path / "old", TOLD[11])
    java(tmp_path / "stub", "Unable to locate a Java Runtime.", 1)
    for given, complaint in (
        (environment(), "engine: spark needs Java 17 or newer: JAVA_HOME is not set, and the PATH has no java"),
        (environment(tmp_path / "old"), "the PATH has .*old/bin/java, which is Java 11"),
        (environment(None, tmp_path / "old"), "JAVA_HOME is .*old, which is Java 11"),
        (environment(None, tmp_path / "gone"), "JAVA_HOME is .*gone, and there is no program bin/java"),
        (environment(tmp_path / "stub"), "which does not tell its version"),
    ):
        with pytest.raises(MissingExtraError, match=complaint) as caught:
            find_java("engine: spark", given)
        assert "apt-get install openjdk-17-jre-headless" in caught.value.hint
        assert "\n" not in str(caught.value)


def test_what_is_no_program_is_no_java(tmp_path: Path) -> None:
    program = java(tmp_path, TOLD[17])
    os.truncate(program, 0)
    with pytest.raises(MissingExtraError, match="does not tell its version"):
        find_java("engine: spark", environment(tmp_path))
