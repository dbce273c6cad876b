"""Where an MLmodel folder may lie: a local path, an object store, or a web address, of a folder or an archive of it."""

from __future__ import annotations

import os
import posixpath
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from yummy_feast.errors import ConfigError, ModelFormatError, ModelNotFoundError, SourceError
from yummy_feast.models.mlmodel import FILE, parse_mlmodel

if TYPE_CHECKING:
    import requests

    from yummy_feast.sources.files import Location
    from yummy_feast.sources.store_errors import Credentials

_ARCHIVES: Final = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_STORES: Final = ("s3", "s3a", "s3n", "gs", "gcs", "abfs", "abfss", "az", "azure")
_MLFLOW: Final = ("models", "runs", "mlflow-artifacts", "dbfs")
_TIMEOUT: Final = (10, 120)
_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model is: as the user wrote it.

    storage_options: object-store settings, as for sources; the environment fills in what they leave out.
    """

    text: str
    storage_options: Mapping[str, str] = field(default_factory=dict)

    @property
    def scheme(self) -> str:
        """``http``, ``s3`` and so on; empty for a local path."""
        scheme, colon, _ = self.text.partition(":")
        # One letter is a drive of Windows.
        return scheme.lower() if colon and len(scheme) > 1 and "/" not in scheme and "\\" not in scheme else ""

    @property
    def is_local(self) -> bool:
        """Whether it is a path of this machine."""
        return self.scheme in ("", "file")

    @contextmanager
    def brought(self) -> Iterator[Path]:
        """A local folder with its MLmodel file, for as long as the context lasts.

        Raises ModelNotFoundError, ModelFormatError for an archive that is none, and ConfigError for an address that
        nobody here can follow.
        """
        if self.is_local and not self._local().is_file():
            yield self._local()
            return
        with TemporaryDirectory(prefix="yummy-model-") as temporary:
            target = Path(temporary)
            if self.is_local:
                yield from _unpacked_or_parent(self._local(), target)
            elif self.scheme in ("http", "https"):
                yield _from_web(self.text, target)
            elif self.scheme in _STORES:
                _from_store(self, target)
                yield _folder_in(target, self.text)
            else:
                raise self._unknown()

    def mark(self) -> str:
        """What tells the present content from another, without reading all of it. Raises as ``brought``."""
        if self.is_local:
            return _local_mark(self._local())
        if self.scheme in ("http", "https"):
            return _web_mark(self.text)
        if self.scheme in _STORES:
            return "\n".join(f"{info.path} {info.size} {info.mtime_ns}" for info in _listed(self)[1])
        raise self._unknown()

    def _local(self) -> Path:
        path = Path(unquote(urlsplit(self.text).path) if self.scheme == "file" else self.text).expanduser()
        return path.parent if path.name == FILE else path

    def _unknown(self) -> ConfigError:
        if self.scheme in _MLFLOW:
            return ConfigError(
                f"'{self.text}' is an address inside of MLflow",
                hint=f"fetch it once: mlflow artifacts download -u {self.text} -d DIR, and serve DIR",
            )
        return ConfigError(
            f"'{self.text}': scheme '{self.scheme}' is not supported",
            hint="a path, s3://, gs://, abfss:// or http(s)://",
        )


def _unpacked_or_parent(file: Path, target: Path) -> Iterator[Path]:
    if not file.name.lower().endswith(_ARCHIVES):
        raise ModelNotFoundError(f"{file} is a file", hint=f"name the folder that has the {FILE} file, or an archive")
    _unpack(file, target, str(file))
    yield _folder_in(target, str(file))


def _unpack(archive: Path, target: Path, name: str) -> None:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                zipped.extractall(target)  # noqa: S202 - zipfile itself keeps inside
        else:
            with tarfile.open(archive) as tar:
                # Neither links nor paths that lead outside.
                tar.extractall(target, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise ModelFormatError(f"{name}: is no archive that can be read: {error}") from None


def _folder_in(target: Path, name: str) -> Path:
    found = sorted(target.rglob(FILE), key=lambda path: len(path.parts))
    if not found:
        raise ModelNotFoundError(f"{name}: there is no {FILE} file in it", hint="name the folder itself, or pack it")
    return found[0].parent


# ------------------------------------------------------------------------------------------------------ the web


def _from_web(url: str, target: Path) -> Path:
    import requests

    with _told(url), requests.Session() as session:
        base, is_archive = _base(url)
        if not is_archive:
            answer = session.get(f"{base}/{FILE}{_query(url)}", timeout=_TIMEOUT)
            if answer.ok and b"flavors" in answer.content:
                return _folder_from_web(session, url, base, answer.content, target)
            if url.split("?")[0].endswith(f"/{FILE}"):
                answer.raise_for_status()
        file = target / "archive"
        _download(session, url, file)
        _unpack(file, target / "unpacked", url)
        return _folder_in(target / "unpacked", url)


def _folder_from_web(session: requests.Session, url: str, base: str, text: bytes, target: Path) -> Path:
    folder = target / "model"
    folder.mkdir()
    (folder / FILE).write_bytes(text)
    model = parse_mlmodel(text.decode("utf-8", errors="replace"), url)
    file = folder / model.data
    file.parent.mkdir(parents=True, exist_ok=True)
    _download(session, f"{base}/{model.data}{_query(url)}", file)
    return folder


def _download(session: requests.Session, url: str, file: Path) -> None:
    with session.get(url, timeout=_TIMEOUT, stream=True) as answer:
        answer.raise_for_status()
        with file.open("wb") as out:
            for piece in answer.iter_content(_PIECE):
                out.write(piece)


def _web_mark(url: str) -> str:
    import requests

    base, is_archive = _base(url)
    with _told(url):
        answer = requests.head(
            url if is_archive else f"{base}/{FILE}{_query(url)}", timeout=_TIMEOUT, allow_redirects=True
        )
    return " ".join(answer.headers.get(name, "") for name in ("ETag", "Last-Modified", "Content-Length"))


def _base(url: str) -> tuple[str, bool]:
    """The address of the folder, without query, and whether it is an archive rather."""
    plain = url.split("?", 1)[0].rstrip("/")
    return plain.removesuffix(f"/{FILE}"), plain.lower().endswith(_ARCHIVES)


def _query(url: str) -> str:
    query = url.partition("?")[2]
    return f"?{query}" if query else ""


@contextmanager
def _told(url: str) -> Iterator[None]:
    import requests

    try:
        yield
    except requests.RequestException as error:
        response = error.response
        reason = f"{response.status_code} {response.reason}" if response is not None else str(error)
        raise ModelNotFoundError(f"{url}: {reason}", hint="is the address right, and open from here?") from None


# ------------------------------------------------------------------------------------------------ object stores


def _from_store(place: Place, target: Path) -> None:
    location, infos = _listed(place)
    for info in infos:
        name = posixpath.relpath(info.path, location.path)
        file = target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as out:
            # What this machine's disk says is not the store's.
            for piece in _pieces(place, location, info.path):
                out.write(piece)


def _pieces(place: Place, location: Location, path: str) -> Iterator[bytes]:
    with _refusals_told(place, location.credentials):
        read = location.filesystem.open_input_stream(path)
    with read:
        piece = b"more"
        while piece:
            with _refusals_told(place, location.credentials):
                piece = read.read(_PIECE)
            yield piece


def _listed(place: Place) -> tuple[Location, list[Any]]:
    """The folder, and the files below it."""
    import pyarrow.fs as pafs

    from yummy_feast.sources.base import SourceContext
    from yummy_feast.sources.files import locate

    text = place.text.rstrip("/").removesuffix(f"/{FILE}")
    with _refusals_told(place, None):
        location = locate(text, SourceContext(repo_path=Path.cwd(), storage_options=place.storage_options))
    with _refusals_told(place, location.credentials):
        infos = location.filesystem.get_file_info(
            pafs.FileSelector(location.path, recursive=True, allow_not_found=True)
        )
    files = sorted((info for info in infos if info.is_file), key=lambda info: str(info.path))
    if not files:
        raise ModelNotFoundError(f"{place.text}: there is no such folder, or nothing in it")
    return location, files


@contextmanager
def _refusals_told(place: Place, credentials: Credentials | None) -> Iterator[None]:
    from yummy_feast.sources.store_errors import FAILURES, store_error

    try:
        yield
    except SourceError as error:
        raise ModelNotFoundError(error.message, hint=error.hint) from None
    except FAILURES as error:
        told = store_error(place.text, error, credentials)
        raise ModelNotFoundError(told.message, hint=told.hint) from None


def _local_mark(path: Path) -> str:
    """Names, sizes, inodes and times of the files in a folder; of an archive its own."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    marks = []
    for file in files:
        try:
            stat = os.stat(file)
        except FileNotFoundError:
            continue
        marks.append(f"{file.name} {stat.st_size} {stat.st_ino} {stat.st_mtime_ns} {stat.st_ctime_ns}")
    return "\n".join(marks)
