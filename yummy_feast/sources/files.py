"""Where files lie: paths, folders, globs and lists, local or in an object store, and ``key=value`` folders between.

``list_files`` turns what a user wrote into files in a fixed order; ``StoredFile.open`` opens one and notices when it
was replaced since it was listed, because a row number found in the old file means nothing in the new one.
"""

from __future__ import annotations

import os
import posixpath
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from yummy_feast.errors import ConfigError, SourceNotFoundError, SourceReadError
from yummy_feast.sources.base import SourceContext
from yummy_feast.sources.store_errors import Credentials, store_errors
from yummy_feast.sources.stores import is_object_uri, opened, settings_of, split_uri

_WILDCARD = re.compile(r"[*?\[]")
_TICK = 10_000_000
"""Nanoseconds: kernels stamp files with a clock that ticks about so often."""
_OPENERS = 8
"""Remote files opened at once."""
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True, slots=True)
class Location:
    """A path on a file system."""

    filesystem: pafs.FileSystem
    path: str
    is_local: bool
    prefix: str = "s3://"
    """How remote paths of this file system begin."""
    account: str = ""
    """The account of Azure, where the path named it."""
    credentials: Credentials | None = None
    """What the store is shown."""

    @property
    def text(self) -> str:
        """The path as people know it, with ``s3://`` or the like."""
        return self.path if self.is_local else f"{self.prefix}{self.path}"

    @property
    def uri(self) -> str:
        """The path with all that ``locate`` needs to find it again; on Azure the account."""
        if not self.account:
            return self.text
        container, slash, rest = self.path.partition("/")
        return f"{self.prefix}{container}@{self.account}.dfs.core.windows.net{slash}{rest}"

    @property
    def is_glob(self) -> bool:
        """Whether the path has wildcards."""
        return _WILDCARD.search(self.path) is not None

    def at(self, path: str) -> Location:
        """Another path on the same file system."""
        return replace(self, path=path)

    @property
    def is_on_azure(self) -> bool:
        """Whether an object may be seen empty while it is written, and a folder be overlooked beside another."""
        return self.prefix == "abfss://" and not self.is_local

    def info(self) -> pafs.FileInfo:
        """What is there. SourceReadError if the file system does not answer, or refuses."""
        with self.errors():
            info = self.filesystem.get_file_info(self.path)
            # pyarrow looks at the first name that begins so, and takes `data-old/x` for the whole of `data`.
            if info.type == pafs.FileType.NotFound and self.is_on_azure and self.below():
                return pafs.FileInfo(self.path, pafs.FileType.Directory)
        return info

    def below(self, *, deep: bool = False) -> list[pafs.FileInfo]:
        """What is in this folder, or in folders inside of it as well; nothing if it is not there."""
        with self.errors():
            selector = pafs.FileSelector(self.path, recursive=deep, allow_not_found=True)
            return list(self.filesystem.get_file_info(selector))

    def delete(self) -> None:
        """Remove this file."""
        with self.errors():
            self.filesystem.delete_file(self.path)

    def errors(self, hint: str = "") -> AbstractContextManager[None]:
        """Turns errors of the file system into ours."""
        return store_errors(self.text, self.credentials, hint)

    def has_files(self) -> bool:
        """Whether a file is there, or a folder that is not empty."""
        info = self.info()
        if info.type != pafs.FileType.Directory:
            return bool(info.type == pafs.FileType.File)
        return bool(self.below())

    def exists(self) -> bool:
        """Whether a file or folder is there."""
        return bool(self.info().type != pafs.FileType.NotFound)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file as it was when it was listed. ``partition`` has the ``key=value`` folders above it, None for a null."""

    location: Location
    size: int | None
    """None: not known, and not checked when the file is opened, because files of a table's log never change."""
    modified: int | None
    """Nanoseconds; None likewise."""
    partition: Mapping[str, str | None]
    mark: str = ""
    """What tells this content from another of the same size and time: the inode and the time of its last change, which
    nobody can set back, or the ETag. Empty: not known."""

    @property
    def text(self) -> str:
        """The path as people know it."""
        return self.location.text

    def marked(self, handle: pa.NativeFile) -> StoredFile:
        """The file with the mark that ``handle``, which is open on it, knows; the same for a file of a table's log."""
        if self.mark or self.size is None or self.location.is_local:
            return self
        return replace(self, mark=_etag(handle))

    def open(self) -> pa.NativeFile:
        """The file for random reads. SourceReadError if it is gone or was replaced since it was listed."""
        with self.location.errors("was it removed while reading?"):
            handle = self.location.filesystem.open_input_file(self.location.path)
        if self._was_replaced(handle):
            handle.close()
            raise SourceReadError(f"{self.text} was replaced while it was being read", hint="run again")
        return handle

    def _was_replaced(self, handle: pa.NativeFile) -> bool:
        if self.size is None:
            return False
        if not self.location.is_local:
            return bool(handle.size() != self.size or (self.mark and _etag(handle) != self.mark))
        now = os.stat(self.location.path)
        return (now.st_size, now.st_mtime_ns) != (self.size, self.modified)


def _etag(handle: pa.NativeFile) -> str:
    """On Google the generation, which stays the same where only notes about an object change."""
    notes = handle.metadata() or {}
    return bytes(notes.get("ETag") or notes.get("generation") or b"").decode()


def marked(files: Sequence[StoredFile]) -> list[StoredFile]:
    """``files`` with marks: remote ones without are opened. Errors as of ``StoredFile.open``."""

    def ask(file: StoredFile) -> StoredFile:
        if file.mark or file.location.is_local:
            return file
        with file.open() as handle:
            return file.marked(handle)

    with ThreadPoolExecutor(_OPENERS) as pool:
        return list(pool.map(ask, files))


def locate(path: str, context: SourceContext) -> Location:
    """Resolve a path: relative to the repo, ``~`` expanded, ``s3://`` and its like with the settings of the context.

    Raises ConfigError for a scheme that is neither ``file`` nor an object store's, SourceReadError for a store that
    does not let us in.
    """
    if is_object_uri(path):
        prefix, inner, account = split_uri(path)
        settings = settings_of(path, context.storage_options)
        with store_errors(f"{prefix}{inner}", settings.credentials):
            filesystem = opened(path, settings)
        return Location(filesystem, inner, False, prefix, account, settings.credentials)
    scheme = urlsplit(path).scheme if "://" in path else ""
    if scheme == "file":
        path = unquote(urlsplit(path).path)
    elif scheme:
        raise ConfigError(
            f"'{path}': scheme '{scheme}' is not supported", hint="a local path, file://, s3://, gs:// or abfss://"
        )
    local = context.repo_path / Path(path).expanduser()
    return Location(pafs.LocalFileSystem(), os.path.abspath(local), is_local=True)


def list_files(paths: Sequence[Location], extensions: Sequence[str]) -> list[StoredFile]:
    """The data files under ``paths``: a file as it is, a folder with all below it, a glob with all that match.

    Names that begin with ``_`` or ``.`` are skipped below a folder or glob, and other extensions where some file has
    one of ``extensions``. Order: as the paths are given, then by name; a file named twice counts once.
    Raises SourceNotFoundError if a path leads to no file.
    """
    root = _common_root(paths)
    found: dict[str, StoredFile] = {}
    for place in paths:
        infos = _infos(place, extensions)
        if not infos:
            raise SourceNotFoundError(
                f"{place.text}: no such file" + (", or an empty folder" if not place.is_glob else ""),
                hint="relative paths start at the repo",
            )
        for info in infos:
            if info.path not in found:
                partition = dict(_partition(info.path[len(root) :]))
                found[info.path] = StoredFile(place.at(info.path), info.size, info.mtime_ns, partition)
    return list(_as_they_are(found.values()))


def _as_they_are(files: Iterable[StoredFile]) -> Iterator[StoredFile]:
    """The files with size, time and mark of one moment.

    A file that changed within the tick of the clock before may change once more and keep its time: a tick is waited
    for, and who changes all the time gets no mark.
    """
    waited = False
    for file in files:
        if not file.location.is_local:
            yield file
            continue
        try:
            now, stamp = time.time_ns(), os.stat(file.location.path)
            if stamp.st_ctime_ns > now - _TICK and not waited:
                waited = True
                time.sleep(_TICK / 1e9)
                now, stamp = time.time_ns(), os.stat(file.location.path)
        except FileNotFoundError:
            # Whoever opens it will say so.
            yield file
            continue
        settled = stamp.st_ctime_ns <= now - _TICK
        mark = f"{stamp.st_ino} {stamp.st_ctime_ns}" if settled else ""
        yield replace(file, size=stamp.st_size, modified=stamp.st_mtime_ns, mark=mark)


def _infos(place: Location, extensions: Sequence[str]) -> list[pafs.FileInfo]:
    if place.is_glob:
        pattern = glob_pattern(place.path)
        root = glob_root(place.path)
        deep = "/" in place.path[len(root) :].lstrip("/") or "**" in place.path
        return [info for info in _below(place.at(root), deep=deep) if pattern.fullmatch(info.path)]
    info = place.info()
    if info.type == pafs.FileType.File:
        if place.is_on_azure and not info.size:
            raise SourceReadError(
                f"{place.text} is empty: it is being written, or its writer died",
                hint=f"run again; the rows of a dead writer are beside it, in {spare_name(place.path, '*')}",
            )
        return [info]
    infos = _below(place, deep=True)
    fitting = [item for item in infos if item.path.lower().endswith(tuple(extensions))]
    return fitting or infos


def _below(place: Location, *, deep: bool) -> list[pafs.FileInfo]:
    visible = (
        item
        for item in place.below(deep=deep)
        if item.type == pafs.FileType.File
        and not is_hidden(item.path[len(place.path) :])
        # On Azure an object is there before its bytes are.
        and (item.size or not place.is_on_azure)
    )
    return sorted(visible, key=lambda item: str(item.path))


def spare_name(path: str, tag: str) -> str:
    """The name, in the same folder and hidden, of a file that is to take the place of ``path``."""
    return f".{posixpath.basename(path)}.{tag}.tmp"


def is_hidden(relative: str) -> bool:
    """Whether a path below a root has a part that readers skip: ``_SUCCESS`` and ``.tmp``, but not ``_key=value``."""
    return any(part.startswith(("_", ".")) and "=" not in part for part in relative.split("/"))


def glob_root(pattern: str) -> str:
    """The folder above the first wildcard."""
    match = _WILDCARD.search(pattern)
    return posixpath.dirname(pattern[: match.start()]) if match else posixpath.dirname(pattern)


def glob_pattern(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression: ``**`` is any folders, ``*`` and ``?`` stay in a name, ``[ab]`` is a letter."""
    out, position = "", 0
    while position < len(pattern):
        if pattern.startswith("**/", position):
            out, position = out + "(?:[^/]+/)*", position + 3
        elif pattern.startswith("**", position):
            out, position = out + ".*", position + 2
        elif pattern[position] == "[" and "]" in pattern[position + 2 :]:
            end = pattern.index("]", position + 2)
            letters = pattern[position + 1 : end].replace("\\", "\\\\")
            out, position = out + "[" + ("^" + letters[1:] if letters[0] == "!" else letters) + "]", end + 1
        else:
            out += {"*": "[^/]*", "?": "[^/]"}.get(pattern[position], re.escape(pattern[position]))
            position += 1
    return re.compile(out)


def _common_root(paths: Iterable[Location]) -> str:
    """The folder below which ``key=value`` folders are partitions: what all of the paths have in common."""
    roots = [glob_root(place.path) if place.is_glob else _folder_of(place) for place in paths]
    return posixpath.commonpath(roots) if len(roots) > 1 else roots[0]


def _folder_of(place: Location) -> str:
    return posixpath.dirname(place.path) if place.info().type == pafs.FileType.File else place.path


def _partition(relative: str) -> Iterator[tuple[str, str | None]]:
    for part in relative.split("/")[:-1]:
        key, equals, value = part.partition("=")
        if equals and key:
            yield unquote(key), None if value == _NULL_PARTITION else unquote(value)
