"""Commands of any kind in one round trip: down one connection, or to each node of a cluster its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from redis import Redis

from yummy_feast.online import wire
from yummy_feast.online.cluster import execute_all
from yummy_feast.online.layouts.base import Command

if TYPE_CHECKING:
    from yummy_feast.online.redis import Client


def execute(client: Client, commands: Sequence[Command]) -> list[Any]:
    """One reply per command, in order; each names its key first, or as EVAL does.

    Commands may be sent again whose reply was lost: each must do the same the second time. Raises the first error
    reply, and what redis-py raises once its retries are used up.
    """
    if not isinstance(client, Redis):
        return execute_all(client, [wire.command(*words) for words in commands])
    pipeline: Any = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    replies: list[Any] = pipeline.execute()
    return replies
