"""Rows into Redis from an event loop, over its own connection: the trips of ``trips``, one under way at a time.

One, because rows must arrive in the order they were given also where a connection breaks and a trip is sent again. The
next one is made while the server works on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from yummy_feast.online.link import Replies
from yummy_feast.online.mux import Mux
from yummy_feast.online.trips import Trip, Written, proto_trips
from yummy_feast.online.wire import Command, command

if TYPE_CHECKING:
    from feast.protos.feast.types.Value_pb2 import Value

    from yummy_feast.online.layouts.base import Target
    from yummy_feast.online.loops import AnyMux
    from yummy_feast.online.schemas import SchemaBook

# Rows that are packed before anybody notices; more would keep the loop from its other tasks for milliseconds.
_FEW_ROWS: Final = 128


async def write_protos_async(
    mux: AnyMux,
    book: SchemaBook,
    target: Target,
    keys: Sequence[bytes | None],
    data: Sequence[tuple[Mapping[str, Value], datetime, datetime | None]],
    progress: Callable[[int], Any] | None = None,
) -> Written:
    """As ``writer.write_protos``: same trips, same count, ``progress`` called with what Redis has acknowledged.

    Many rows are packed in a thread, a push is not. Raises what ``mux`` and the trips raise, and error replies.
    """
    if target.layout.keeps_schemas and not book.is_complete(target.view):
        [stored] = await _all_well(mux, [command("HGETALL", book.key)])
        book.learn(target.view, dict(zip(stored[::2], stored[1::2], strict=True)))
    total = Written()
    under_way: asyncio.Task[Written] | None = None
    trips = proto_trips(target, keys, data)

    async def land() -> None:
        nonlocal total
        if under_way is not None:
            part = await under_way
            total += part
            if progress is not None and part.rows:
                progress(part.rows)

    try:
        while (trip := await _next(trips, len(data))) is not None:
            await land()
            under_way = asyncio.create_task(_send(mux, trip))
        await land()
    finally:
        if under_way is not None:
            under_way.cancel()
    return total


async def _next(trips: Iterator[Trip], rows: int) -> Trip | None:
    if rows <= _FEW_ROWS:
        return next(trips, None)
    return await asyncio.to_thread(next, trips, None)


async def _send(mux: AnyMux, trip: Trip) -> Written:
    if not trip.commands:
        return trip.settled
    commands = [command(*words) for words in trip.commands]
    if trip.first is not None and isinstance(mux, Mux):
        return trip.outcome((await _all_well(mux, [command(*trip.first), *commands]))[1:])
    if trip.first is not None:
        # Nodes of a cluster answer independently.
        await _all_well(mux, [command(*trip.first)])
    return trip.outcome(await _all_well(mux, commands))


async def _all_well(mux: AnyMux, commands: Sequence[Command]) -> Replies:
    replies = await mux.execute(commands)
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies
