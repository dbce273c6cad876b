"""Taking rows out of Redis: those of views that are gone, or everything of one project and nothing of any other.

Keys are found with SCAN, page by page, and freed in the background: no call blocks the server.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from yummy_feast.online.keys import progress_key, schemas_key
from yummy_feast.online.layouts.base import Layout
from yummy_feast.online.pipeline import execute

if TYPE_CHECKING:
    from yummy_feast.online.redis import Client

_PAGE = 1000

JoinKeys = Collection[Sequence[str]]
"""The join keys of each view concerned, sorted by name."""


def remove_views(
    client: Client, layout: Layout, project: str, views: Sequence[tuple[bytes, Sequence[str]]], join_keys: JoinKeys
) -> int:
    """Remove the rows of ``views`` (name and features) from every entity key; a hash without rows is gone.

    Returns the number of rows removed. What redis-py raises passes through.
    """
    return sum(
        sum(execute(client, [layout.removal(key, views) for key in keys]))
        for keys in pages(client, layout, project, join_keys)
    )


def remove_project(client: Client, layout: Layout, project: str, join_keys: JoinKeys) -> int:
    """Remove every key of ``project``, schemas last.

    Returns the number of entity keys removed. What redis-py raises passes through.
    """
    removed = sum(
        sum(execute(client, [("UNLINK", key) for key in keys])) for keys in pages(client, layout, project, join_keys)
    )
    client.unlink(progress_key(project))
    if layout.keeps_schemas:
        client.unlink(schemas_key(project))
    return removed


def pages(client: Any, layout: Layout, project: str, join_keys: JoinKeys) -> Iterator[Sequence[bytes]]:
    """The entity keys of ``project``, page by page. One may come twice, and one that is made meanwhile not at all."""
    found = client.scan_iter(match=layout.pattern(project), count=_PAGE)
    keys = (key for key in found if layout.owns(project, key, join_keys))
    while page := list(islice(keys, _PAGE)):
        yield page
