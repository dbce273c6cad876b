"""Jars fetched ahead, by the Ivy that pyspark carries: the resolution that Spark does itself, without a session."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from xml.sax.saxutils import quoteattr

from yummy_feast.errors import ConfigError, MissingExtraError, SourceReadError
from yummy_feast.spark.jars import Manifest, faults, read_manifest
from yummy_feast.spark.java import find_java
from yummy_feast.spark.pins import CARRIED, Package, packages_for

_SETTINGS = """<ivysettings>
  <settings defaultResolver="central"/>
  <resolvers><ibiblio name="central" m2compatible="true" usepoms="true"/></resolvers>
</ivysettings>
"""
_JAR_NAME = re.compile(r"(?P<name>.+?)-\d[^-]*(-[^-]+)*\.jar")
_PURPOSE = "yummy spark jars"
_TIMEOUT = 1800
"""Seconds for all of them, over a slow line."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What lies in the folder afterwards. fetched: how many of the jars are new; 0: all were there."""

    folder: Path
    manifest: Manifest
    fetched: int


def write_central_only(folder: Path) -> Path:
    """Settings that make Ivy look at Maven Central alone, in a file in ``folder``: by default Spark asks a second place
    too, and waits where a firewall swallows the question.
    """
    path = folder / "ivysettings.xml"
    path.write_text(_SETTINGS, encoding="utf-8")
    return path


def fetch_jars(
    folder: Path,
    needs: Sequence[str],
    ivy_settings: Path | None = None,
    progress: Callable[[], object] = lambda: None,
) -> Fetched:
    """Bring the jars of ``needs`` into ``folder``, beside what is there; nothing happens if they all are, undamaged.

    ivy_settings: Ivy's own file, where jars come from a mirror. progress: called for each jar that arrives.

    Raises:
        MissingExtraError: no pyspark, or no Java. ConfigError: the folder cannot be written.
        SourceReadError: a jar could not be fetched.
    """
    manifest = read_manifest(folder)
    if manifest is not None and manifest.covers(needs) and not faults(folder, manifest, thoroughly=True):
        return Fetched(folder, manifest, 0)
    if manifest is not None:
        needs = tuple(dict.fromkeys([*needs, *manifest.needs]))
    carried = carried_jars()
    java = find_java(_PURPOSE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
            settings = ivy_settings or write_central_only(Path(scratch))
            command = _command(java.program, Path(scratch), packages_for(needs), settings)
            _run(command, progress)
            found = sorted((Path(scratch) / "jars").glob("*.jar"))
            wanted = [path for path in found if artifact(path.name) not in carried]
            made = Manifest.of(needs, Path(scratch) / "jars", [path.name for path in wanted])
            for path in wanted:
                path.replace(folder / path.name)
            _drop_older(folder, manifest, made)
            made.write(folder)
    except OSError as error:
        if isinstance(error, SourceReadError):
            raise
        raise ConfigError(f"{folder}: {error.strerror or error}", hint="name a folder that can be written") from error
    return Fetched(folder, made, len(made.jars))


def carried_jars() -> frozenset[str]:
    """Names, without versions, of the jars that pyspark brings."""
    return frozenset(artifact(path.name) for path in _pyspark_jars().glob("*.jar"))


def artifact(jar: str) -> str:
    """``hadoop-aws`` of ``hadoop-aws-3.4.2.jar``."""
    found = _JAR_NAME.fullmatch(jar)
    return found["name"] if found else jar.removesuffix(".jar")


def ivy_module(packages: Sequence[Package]) -> str:
    """The file that tells Ivy what to fetch."""
    excludes = "".join(
        f"      <exclude org={quoteattr(group)} module={quoteattr(name)} matcher='glob'/>\n"
        for group, name in (pattern.split(":") for pattern in CARRIED)
    )
    lines = []
    for package in packages:
        about = f"org={quoteattr(package.group)} name={quoteattr(package.name)} rev={quoteattr(package.version)}"
        inner = "" if package.alone else excludes
        if package.classifier:
            chosen = f"m:classifier={quoteattr(package.classifier)}"
            inner += f"      <artifact name={quoteattr(package.name)} type='jar' ext='jar' {chosen}/>\n"
        lines.append(
            f"    <dependency {about} conf='default-&gt;{'master' if package.alone else 'runtime,master'}'"
            + (f">\n{inner}    </dependency>" if inner else "/>")
        )
    return (
        "<ivy-module version='2.0' xmlns:m='http://ant.apache.org/ivy/extra'>\n"
        "  <info organisation='yummy-feast' module='jars'/>\n"
        "  <configurations><conf name='default'/></configurations>\n"
        "  <dependencies>\n" + "\n".join(lines) + "\n  </dependencies>\n</ivy-module>\n"
    )


def _command(java: Path, scratch: Path, packages: Sequence[Package], settings: Path) -> list[str]:
    """Ivy's command line, which brings the jars into ``scratch/jars``."""
    module = scratch / "ivy.xml"
    module.write_text(ivy_module(packages), encoding="utf-8")
    pattern = scratch / "jars" / "[artifact]-[revision](-[classifier]).[ext]"
    return [
        *(str(java), "-cp", _ivy(), "org.apache.ivy.Main", "-cache", str(scratch / "cache")),
        *("-settings", str(settings), "-ivy", str(module), "-confs", "default", "-types", "jar", "bundle"),
        *("-retrieve", str(pattern)),
    ]


def _run(command: Sequence[str], progress: Callable[[], object]) -> None:
    """Wait for Ivy and tell of each jar it has."""
    said = []
    with subprocess.Popen(  # noqa: S603 - the Java that was found, on files of our own
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        patience = threading.Timer(_TIMEOUT, process.kill)
        patience.start()
        try:
            for line in process.stdout or ():
                said.append(line)
                if "[SUCCESSFUL" in line and ".jar" in line:
                    progress()
        finally:
            patience.cancel()
    if process.returncode < 0:
        raise SourceReadError(f"the jars did not arrive within {_TIMEOUT // 60} minutes", hint=_OFFLINE)
    if process.returncode != 0:
        raise SourceReadError(_complaint("".join(said)), hint=_OFFLINE)


_OFFLINE = "is Maven Central reachable? where it is not, name a mirror with --ivy-settings, or copy a folder of jars"


def _complaint(text: str) -> str:
    """Which jars Ivy did not find, in a line."""
    missing = list(dict.fromkeys(re.findall(r":: ([^:\s]+#[^:\s]+;[^:\s]+): not found", text)))
    if missing:
        named = [name.replace("#", ":").replace(";", ":") for name in missing]
        more = f" and {len(named) - 3} more" if len(named) > 3 else ""
        return f"could not fetch {', '.join(named[:3])}{more}"
    lines = [line.strip() for line in text.splitlines() if re.search(r"error|exception|failed", line, re.IGNORECASE)]
    return f"Ivy could not fetch the jars: {lines[0] if lines else 'it gave no reason'}"


def _drop_older(folder: Path, before: Manifest | None, now: Manifest) -> None:
    """Jars that we fetched for other versions."""
    for jar in before.jars if before else ():
        if jar.name not in {item.name for item in now.jars}:
            (folder / jar.name).unlink(missing_ok=True)


def _ivy() -> str:
    """A class path: Ivy, and the library that it matches file names with."""
    found = [path for name in ("ivy", "oro") for path in sorted(_pyspark_jars().glob(f"{name}-*.jar"))[-1:]]
    if len(found) < 2:
        raise MissingExtraError("pyspark has no Ivy among its jars", hint="pip install --force-reinstall pyspark")
    return os.pathsep.join(map(str, found))


def _pyspark_jars() -> Path:
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise MissingExtraError.of("spark", _PURPOSE)
    return Path(spec.origin).parent / "jars"
