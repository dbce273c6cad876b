"""Taking rows out of Redis: those of views that are gone, or everything of one project and nothing of any other.

Keys are found with SCAN, page by page, and freed in the background: no call blocks the server.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from yummy_feast.online.keys import match_pattern, schemas_key

if TYPE_CHECKING:
    from yummy_feast.online.redis import Client

_PAGE = 1000


def remove_views(client: Client, project: str, views: Sequence[bytes]) -> int:
    """Remove the rows of ``views`` (hash fields) from every entity key; a hash without fields is gone.

    Returns the number of rows removed. What redis-py raises passes through.
    """
    removed = 0
    for keys in _pages(client, project):
        pipeline: Any = client.pipeline(transaction=False)
        for key in keys:
            pipeline.hdel(key, *views)
        removed += sum(pipeline.execute())
    return removed


def remove_project(client: Client, project: str) -> int:
    """Remove every key of ``project``, schemas last.

    Returns the number of entity keys removed. What redis-py raises passes through.
    """
    removed = 0
    for keys in _pages(client, project):
        pipeline: Any = client.pipeline(transaction=False)
        for key in keys:
            pipeline.unlink(key)
        removed += sum(pipeline.execute())
    client.unlink(schemas_key(project))
    return removed


def _pages(client: Any, project: str) -> Iterator[Sequence[bytes]]:
    schemas = schemas_key(project)
    keys = (key for key in client.scan_iter(match=match_pattern(project), count=_PAGE) if key != schemas)
    while page := list(islice(keys, _PAGE)):
        yield page
