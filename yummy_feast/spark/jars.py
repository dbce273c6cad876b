"""A folder of jars: what lies there, whether all of it does, and which folder a session takes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from yummy_feast.errors import ConfigError
from yummy_feast.spark.pins import PACKAGES, Package, packages_for

VARIABLE = "YUMMY_SPARK_JARS"
"""Environment variable that names the folder where no configuration does."""
MANIFEST = "yummy-jars.json"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Jar:
    """One file. bytes: its size."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was fetched into a folder. needs: as in ``PACKAGES``; packages: with their versions."""

    needs: tuple[str, ...]
    packages: tuple[str, ...]
    jars: tuple[Jar, ...]

    @classmethod
    def of(cls, needs: Sequence[str], folder: Path, names: Sequence[str]) -> Manifest:
        """Of files that are there; reads each once."""
        return cls(
            tuple(needs),
            tuple(str(package) for package in packages_for(needs)),
            tuple(_jar(folder / name) for name in sorted(names)),
        )

    def covers(self, needs: Sequence[str]) -> bool:
        """Whether today's versions of all that ``needs`` asks for were fetched."""
        return {str(package) for package in packages_for(needs)} <= set(self.packages)

    def write(self, folder: Path) -> None:
        """Beside the jars; whoever looks sees the old one or the new one."""
        beside = folder / f".{MANIFEST}.{os.getpid()}"
        beside.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        beside.replace(folder / MANIFEST)


def read_manifest(folder: Path) -> Manifest | None:
    """The folder's manifest; None: it has none, or nothing that can be read as one."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        jars = tuple(Jar(str(item["name"]), int(item["bytes"]), str(item["sha256"])) for item in found["jars"])
        return Manifest(tuple(found["needs"]), tuple(found["packages"]), jars)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def faults(folder: Path, manifest: Manifest, *, thoroughly: bool) -> list[str]:
    """What of the manifest's jars is missing or not as it was fetched; thoroughly: by checksum, else by size."""
    found = []
    for jar in manifest.jars:
        path = folder / jar.name
        if not path.is_file():
            found.append(f"{jar.name} is missing")
        elif path.stat().st_size != jar.bytes:
            found.append(f"{jar.name} has {path.stat().st_size:,} bytes instead of {jar.bytes:,}")
        elif thoroughly and sha256(path) != jar.sha256:
            found.append(f"{jar.name} is damaged")
    return found


def jars_in(folder: Path) -> tuple[Path, ...]:
    """All jars of a folder, those of others included.

    Raises:
        ConfigError: no folder, no jars, or not all that was fetched, or fetched for other versions.
    """
    mend = f"yummy spark jars {folder}"
    if not folder.is_dir():
        raise ConfigError(f"spark_jars: there is no folder {folder}", hint=mend)
    jars = tuple(sorted(folder.glob("*.jar")))
    if not jars:
        raise ConfigError(f"spark_jars: {folder} has no jars", hint=mend)
    manifest = read_manifest(folder)
    if manifest is not None:
        wrong = faults(folder, manifest, thoroughly=False)
        if wrong:
            raise ConfigError(f"spark_jars: {folder}: {wrong[0]}", hint=mend)
        if not manifest.covers([need for need in manifest.needs if need in PACKAGES]):
            raise ConfigError(f"spark_jars: the jars in {folder} are of other versions", hint=mend)
    return jars


def cache_folder(environment: Mapping[str, str] | None = None) -> Path:
    """Where jars lie for all repositories of this user."""
    environment = os.environ if environment is None else environment
    base = environment.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "yummy-feast" / "spark-jars"


def folder_for(configured: Path | None, environment: Mapping[str, str] | None = None) -> Path | None:
    """The folder a session takes its jars from: the configured one, that of the environment, else the cache's if jars
    were fetched there. None: they are left to Spark's own package resolution.
    """
    environment = os.environ if environment is None else environment
    if configured is not None:
        return configured
    if environment.get(VARIABLE):
        return Path(environment[VARIABLE]).expanduser()
    cache = cache_folder(environment)
    manifest = read_manifest(cache)
    is_current = manifest is not None and manifest.covers(manifest.needs)
    return cache if manifest is not None and is_current and not faults(cache, manifest, thoroughly=False) else None


def holds(jars: Sequence[Path], package: Package) -> bool:
    """Whether one of the jars is this package, in any version."""
    return any(jar.name.startswith(f"{package.name}-") for jar in jars)


def sha256(path: Path) -> str:
    """Of a file's bytes, as hexadecimal text."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _jar(path: Path) -> Jar:
    return Jar(path.name, path.stat().st_size, sha256(path))
