"""A folder of jars: what lies there, whether all of it does, and which folder a session takes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from yummy_feast.errors import ConfigError
from yummy_feast.spark.pins import PACKAGES, USUAL, Package, packages_for

VARIABLE = "YUMMY_SPARK_JARS"
"""Environment variable that names the folder where no configuration does."""
MANIFEST = "yummy-jars.json"
_CHUNK = 1 << 20
_INSTEAD = {"glue": ("iceberg-aws-bundle", "bundle"), "s3": ("bundle",)}
"""Jars of others that have all of a need's classes in them."""


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


def jars_in(folder: Path, wanted: Collection[str] = ()) -> tuple[Path, ...]:
    """All jars of a folder, those of others included. wanted: what of ``PACKAGES`` must be among them.

    Raises:
        ConfigError: no folder, no jars, or not all that was fetched, or fetched for other versions, or without what is
            wanted. Nothing is known of a folder that `yummy spark jars` did not fill.
    """
    mend = fetch_command(folder)
    if not folder.is_dir():
        raise ConfigError(f"spark_jars: there is no folder {folder}", hint=fetch_command(folder, wanted))
    jars = tuple(sorted(folder.glob("*.jar")))
    if not jars:
        raise ConfigError(f"spark_jars: {folder} has no jars", hint=fetch_command(folder, wanted))
    manifest = read_manifest(folder)
    if manifest is not None:
        wrong = faults(folder, manifest, thoroughly=False)
        if wrong:
            raise ConfigError(f"spark_jars: {folder}: {wrong[0]}", hint=mend)
        if not manifest.covers([need for need in manifest.needs if need in PACKAGES]):
            raise ConfigError(f"spark_jars: the jars in {folder} are of other versions", hint=mend)
        lacking = _lacking(folder, manifest, wanted)
        if lacking:
            raise ConfigError(
                f"spark_jars: {folder} has no jars for {', '.join(lacking)}, which the configuration needs",
                hint=fetch_command(folder, lacking),
            )
    return jars


def fetch_command(folder: Path | str, needs: Collection[str] = ()) -> str:
    """What to type so that the jars of ``needs`` lie in ``folder``."""
    more = "".join(f" --with {need}" for need in PACKAGES if need in needs and need not in USUAL)
    return f"yummy spark jars {folder}{more}"


def cache_folder(environment: Mapping[str, str] | None = None) -> Path:
    """Where jars lie for all repositories of this user."""
    environment = os.environ if environment is None else environment
    base = environment.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "yummy-feast" / "spark-jars"


def folder_for(
    configured: Path | None, environment: Mapping[str, str] | None = None, wanted: Collection[str] = ()
) -> Path | None:
    """The folder a session takes its jars from: the configured one, that of the environment, else the cache's if all
    that is ``wanted`` was fetched there. None: they are left to Spark's own package resolution.
    """
    environment = os.environ if environment is None else environment
    if configured is not None:
        return configured
    if environment.get(VARIABLE):
        return Path(environment[VARIABLE]).expanduser()
    cache = cache_folder(environment)
    manifest = read_manifest(cache)
    if manifest is None or not manifest.covers(manifest.needs) or _lacking(cache, manifest, wanted):
        return None
    return None if faults(cache, manifest, thoroughly=False) else cache


def _lacking(folder: Path, manifest: Manifest, wanted: Collection[str]) -> list[str]:
    """What of ``wanted`` was not fetched, and nobody else brought."""
    jars = tuple(folder.glob("*.jar"))
    brought = {
        need
        for need in wanted
        if holds(jars, PACKAGES[need][0])
        or any(jar.name.startswith(f"{name}-") for jar in jars for name in _INSTEAD.get(need, ()))
    }
    return [need for need in PACKAGES if need in wanted and need not in brought and not manifest.covers((need,))]


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
