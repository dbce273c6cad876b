"""Which files a scan read, as facts to keep, and whether files of today are those.

A file is the same if its stamps are (size, time of change, inode or ETag). If they differ, its content decides, where a
checksum was kept: a copy on another machine has other stamps.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from yummy_feast.errors import SourceMovedError
from yummy_feast.sources.base import SourceContext
from yummy_feast.sources.files import StoredFile, list_files, locate, marked
from yummy_feast.sources.stores import is_object_uri

_READERS = 4
_CHUNK = 2**20
_NAMED = 3
"""Files that an error names before it counts the rest."""

Facts = Mapping[str, Any]


def pin_of_files(files: Sequence[StoredFile], context: SourceContext) -> dict[str, Any]:
    """What tells these files from others, in their order."""
    return {"files": [_facts(file, context) for file in files]}


def pinned_files(
    name: str, pin: Facts, now: Sequence[StoredFile], context: SourceContext, hint: str
) -> list[StoredFile]:
    """Of the files ``now``, those of ``pin``, in its order; others may have come since.

    Raises:
        SourceMovedError: some of them changed or are gone; it names them and the source ``name``.
    """
    there = {_path(file, context): file for file in now}
    wanted: list[Facts] = pin["files"]
    found = [there.get(facts["path"]) for facts in wanted]
    known = iter(marked([file for file in found if file is not None]))
    pairs = [(facts, None if file is None else next(known)) for facts, file in zip(wanted, found, strict=True)]
    with ThreadPoolExecutor(_READERS) as pool:
        problems = [text for text in pool.map(lambda pair: _difference(*pair), pairs) if text]
    if problems:
        more = f" and {len(problems) - _NAMED} more files" if len(problems) > _NAMED else ""
        added = len(there.keys() - {facts["path"] for facts in wanted})
        came = f"; {added} {'file is' if added == 1 else 'files are'} new" if added else ""
        raise SourceMovedError(f"source '{name}' moved: {'; '.join(problems[:_NAMED])}{more}{came}", hint=hint)
    return [file for _, file in pairs if file is not None]


def with_checksums(name: str, pin: Facts, context: SourceContext, *, remote: bool) -> dict[str, Any]:
    """The pin with checksums of the files that have none: local ones and those without an ETag, or ``remote`` ones too.

    Raises:
        SourceMovedError: a file is no longer the one that was read.
    """

    def completed(facts: Facts) -> Facts:
        is_enough = facts["mark"] and is_object_uri(facts["path"]) and not remote
        if "sha256" in facts or is_enough:
            return facts
        place = locate(facts["path"], context)
        try:
            # The listing waits for the tick of the clock, so that its stamps are those of one content.
            (file,) = marked(list_files([place], ()))
            if _stamps(facts) == _stamps(_facts(file, context)) or (not facts["mark"] and _looks_same(facts, file)):
                checksum = checksum_of(file)
                (after,) = marked(list_files([place], ()))
                if _facts(after, context) == _facts(file, context):
                    return {**facts, "sha256": checksum}
        except OSError as error:
            raise SourceMovedError(
                f"source '{name}' moved: {facts['path']} cannot be read any more", hint="fetch again"
            ) from error
        raise SourceMovedError(f"source '{name}' moved: {facts['path']} changed after the fetch", hint="fetch again")

    with ThreadPoolExecutor(_READERS) as pool:
        return {**pin, "files": list(pool.map(completed, pin["files"]))}


def checksum_of(file: StoredFile) -> str:
    """SHA-256 of the file's bytes, as ``sha256sum`` prints it. Errors as of ``StoredFile.open``."""
    state = hashlib.sha256()
    with file.open() as handle:
        while chunk := handle.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest()


def _difference(facts: Facts, file: StoredFile | None) -> str:
    """What is not as it was; empty: nothing."""
    path = facts["path"]
    if file is None:
        return f"{path} is gone"
    if file.size != facts["size"]:
        return f"{path} has {file.size} bytes instead of {facts['size']}"
    is_same_time = file.location.is_local and file.modified == facts["modified"]
    if file.mark and file.mark == facts["mark"] and (is_same_time or not file.location.is_local):
        return ""
    if "sha256" in facts:
        found = checksum_of(file)
        return "" if found == facts["sha256"] else f"{path} has SHA-256 {found} instead of {facts['sha256']}"
    if not facts["mark"] and _looks_same(facts, file):
        return ""
    return f"{path} was written anew (no checksum was kept that could say whether its content is the same)"


def _looks_same(facts: Facts, file: StoredFile) -> bool:
    return bool(file.size == facts["size"] and file.modified == facts["modified"])


def _facts(file: StoredFile, context: SourceContext) -> dict[str, Any]:
    return {"path": _path(file, context), "size": file.size, "modified": file.modified, "mark": file.mark}


def _stamps(facts: Facts) -> tuple[Any, ...]:
    return facts["size"], facts["modified"], facts["mark"]


def _path(file: StoredFile, context: SourceContext) -> str:
    """As people know it; below the repo relative to it, so that a repo can be moved."""
    if not file.location.is_local:
        return file.location.uri
    root = Path(os.path.abspath(context.repo_path))
    path = Path(file.location.path)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
