"""What a scan covers, as a text that a later scan can hold against what it finds: which parts are new since then?

A text is JSON. Files of their own are listed as digests of all that tells one content from another; tables with a log
are named, with the version. Whatever cannot be told for sure is not seen: at worst rows are read once more.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from yummy_feast.sources.files import StoredFile

_MOST_FILES = 10_000
"""A state lists no more files than these, 100 kB of text: whoever keeps it keeps it in a small place."""
_DIGEST_BYTES = 8


def files_state(files: Sequence[StoredFile]) -> str:
    """The state of a scan over ``files``, empty for too many of them. Those whose content has no mark are left out."""
    if len(files) > _MOST_FILES:
        return ""
    digests = sorted(_digest(file) for file in files if file.mark)
    return state_text({"files": base64.b64encode(b"".join(digests)).decode()})


def seen_files(state: str, files: Sequence[StoredFile]) -> list[bool]:
    """For each of ``files``: was it there, with this content, in ``state``?"""
    known = _digests(state_facts(state).get("files"))
    return [bool(file.mark) and _digest(file) in known for file in files]


def paths_digest(paths: Iterable[str]) -> str:
    """A short text that stands for a set of files which never change."""
    return blake2b("\0".join(sorted(paths)).encode(), digest_size=_DIGEST_BYTES).hexdigest()


def state_text(facts: Mapping[str, Any]) -> str:
    """``facts`` as a state."""
    return json.dumps(facts, separators=(",", ":"), sort_keys=True)


def state_facts(state: str) -> dict[str, Any]:
    """What a state says; nothing for a text that is none."""
    try:
        facts = json.loads(state)
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _digest(file: StoredFile) -> bytes:
    identity = json.dumps([file.text, file.size, file.modified, file.mark])
    return blake2b(identity.encode(), digest_size=_DIGEST_BYTES).digest()


def _digests(listed: object) -> frozenset[bytes]:
    if not isinstance(listed, str):
        return frozenset()
    try:
        whole = base64.b64decode(listed, validate=True)
    except ValueError:
        return frozenset()
    return frozenset(whole[start : start + _DIGEST_BYTES] for start in range(0, len(whole), _DIGEST_BYTES))
