"""The Java that Spark will run on: found as Spark finds it, and looked at before Spark fails on it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from yummy_feast.errors import MissingExtraError
from yummy_feast.spark.pins import JAVA

_VERSION = re.compile(r'version "(?P<major>\d+)(?:\.(?P<minor>\d+))?[^"]*"')
_INSTALL = (
    f"install it: apt-get install openjdk-{JAVA}-jre-headless (Debian, Ubuntu), dnf install "
    f"java-{JAVA}-openjdk-headless (Fedora, RHEL), brew install openjdk@{JAVA} (macOS); or point JAVA_HOME at one"
)


@dataclass(frozen=True, slots=True)
class Java:
    """A Java program. version: 17 for 17.0.15, 8 for 1.8."""

    program: Path
    version: int


def find_java(purpose: str, environment: Mapping[str, str] | None = None) -> Java:
    """The Java of ``JAVA_HOME``, else the first on the PATH, as Spark's own scripts choose it.

    purpose: what needs it, for people ("engine: spark").

    Raises:
        MissingExtraError: there is none, it does not run, or it is too old. The hint says what to install.
    """
    environment = os.environ if environment is None else environment
    home = environment.get("JAVA_HOME", "")
    if home:
        program, where = Path(home) / "bin" / "java", f"JAVA_HOME is {home}"
        if not os.access(program, os.X_OK):
            raise _missing(purpose, f"{where}, and there is no program bin/java")
    else:
        found = shutil.which("java", path=environment.get("PATH", ""))
        if found is None:
            raise _missing(purpose, "JAVA_HOME is not set, and the PATH has no java")
        program, where = Path(found), f"the PATH has {found}"
    version = _version_of(program, environment)
    if version is None:
        raise _missing(purpose, f"{where}, which does not tell its version")
    if version < JAVA:
        raise _missing(purpose, f"{where}, which is Java {version}")
    return Java(program, version)


def _version_of(program: Path, environment: Mapping[str, str]) -> int | None:
    try:
        done = subprocess.run(  # noqa: S603 - the program that Spark would run
            [program, "-version"], capture_output=True, text=True, timeout=60, check=False, env=dict(environment)
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_version(done.stderr + done.stdout)


def parse_version(text: str) -> int | None:
    """The version in what ``java -version`` prints; None if it is not there."""
    found = _VERSION.search(text)
    if found is None:
        return None
    major = int(found["major"])
    return int(found["minor"]) if major == 1 and found["minor"] else major


def _missing(purpose: str, what: str) -> MissingExtraError:
    return MissingExtraError(f"{purpose} needs Java {JAVA} or newer: {what}", hint=_INSTALL)
