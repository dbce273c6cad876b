"""The keywords that all sources share, and what old or misspelt ones lead to."""

from __future__ import annotations

import operator
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any, SupportsIndex, TypedDict

from yummy_feast.errors import ConfigError, nearest

if TYPE_CHECKING:
    from feast.credentials import ConnectionRef

PathLike = str | os.PathLike[str]


class SourceKeywords(TypedDict, total=False):
    """What every source takes besides its own keywords; the meaning is Feast's (``feast.data_source.DataSource``)."""

    name: str | None
    """Unique in a project; the path or table if left out."""
    timestamp_field: str
    """Column of the event timestamp. Required: Feast cannot infer it for a plugin's sources."""
    created_timestamp_column: str | None
    field_mapping: dict[str, str] | None
    """Column name in the source -> name in the feature view; join keys and timestamps too."""
    description: str | None
    tags: dict[str, str] | None
    owner: str | None
    connection_ref: ConnectionRef | None
    date_partition_column: str | None
    """Old spelling: a column with the day of the event timestamp; reading skips days outside the wanted range."""
    s3_endpoint_override: str | None
    """Old spelling of ``storage_options: {endpoint: ...}`` in feature_store.yaml."""
    event_timestamp_column: str
    """Old spelling of ``timestamp_field``."""
    range_join: int | None
    """Old spelling; it has no effect."""


_ADVICE = {
    "date_partition_column": "time ranges prune partitions and files by themselves where the timestamps are known",
    "s3_endpoint_override": "put `endpoint` under offline_store.storage_options in feature_store.yaml",
    "event_timestamp_column": "say timestamp_field",
    "range_join": "it has no effect; leave it out",
}


def path_text(path: PathLike | None) -> str:
    """A path as text, empty if there is none."""
    return "" if path is None else os.fspath(path)


def counted(value: SupportsIndex | None, source: str, keyword: str) -> int | None:
    """A keyword that numbers something from zero (numpy's integers too), or None.

    Raises:
        ConfigError: it is something else; the libraries would say so much later and name no source.
    """
    if value is None:
        return None
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = -1
    if number < 0:
        raise ConfigError(f"source '{source}': {keyword} is {value!r}", hint="give a whole number, 0 or more")
    return number


def _users_line() -> int:
    """The ``stacklevel``, for who asks, of the line that made the source: some classes have one ``__init__`` more."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("yummy_feast."):
        level, frame = level + 1, frame.f_back
    return level


def checked_keywords(kind: str, own: tuple[str, ...], given: dict[str, Any]) -> dict[str, Any]:
    """``given`` in today's spelling; warns about old spellings.

    kind: the class, for the message; own: the keywords it takes itself.
    Raises TypeError for a keyword that no source of this kind has, naming the nearest one.
    """
    valid = (*own, *SourceKeywords.__annotations__)
    for keyword in given:
        if keyword not in valid:
            current = [name for name in valid if name not in _ADVICE]
            raise TypeError(f"{kind}() got an unexpected keyword '{keyword}' ({nearest(keyword, current)})")
    for keyword, advice in _ADVICE.items():
        if given.get(keyword) is not None:
            warnings.warn(
                f"{kind}({keyword}=...) is deprecated: {advice}", DeprecationWarning, stacklevel=_users_line()
            )
    keywords = {**given}
    keywords.pop("range_join", None)
    old_timestamp = keywords.pop("event_timestamp_column", None)
    if old_timestamp and not keywords.get("timestamp_field"):
        keywords["timestamp_field"] = old_timestamp
    return keywords
