"""The keywords that all sources share, and what old or misspelt ones lead to."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any, TypedDict

from yummy_feast.errors import nearest

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
            # 4 = the line that called the class: it -> __init__ -> YummySource.__init__ -> here.
            warnings.warn(f"{kind}({keyword}=...) is deprecated: {advice}", DeprecationWarning, stacklevel=4)
    keywords = {**given}
    keywords.pop("range_join", None)
    old_timestamp = keywords.pop("event_timestamp_column", None)
    if old_timestamp and not keywords.get("timestamp_field"):
        keywords["timestamp_field"] = old_timestamp
    return keywords
