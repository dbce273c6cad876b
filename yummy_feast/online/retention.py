"""How long rows are kept in Redis, counted from their last write, so that memory is returned.

A view's ttl says when a row is too old to be served; retention, when Redis may forget it. It is the longer one, unless
``key_ttl_seconds`` says otherwise: a stale row must still be there to be told apart from an absent one.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from yummy_feast.online.wire import command

if TYPE_CHECKING:
    from yummy_feast.online.loops import AnyMux
    from yummy_feast.online.redis import Client

_FOR_EVER: Final = 0
# More than a lifetime, and less than what Redis can count in milliseconds for a field.
_LONGEST: Final = 2**31


def retention(key_ttl_seconds: int | None, at_least: float | None, ttl: timedelta | None) -> int:
    """Seconds that a view's rows are kept after their last write; 0 for ever.

    ``key_ttl_seconds`` is Feast's word and means exactly that. ``at_least`` (seconds) is ours: so long, and never less
    than twice the view's ttl. Without either, for ever.
    """
    if key_ttl_seconds:
        return key_ttl_seconds
    if at_least is None:
        return _FOR_EVER
    seconds = math.ceil(max(at_least, 2 * (ttl or timedelta(0)).total_seconds()))
    return seconds if seconds <= _LONGEST else _FOR_EVER


PROBE: Final = b"""
local reply = redis.pcall('HEXPIRE', KEYS[1], 1, 'FIELDS', 1, 'field')
return type(reply) == 'table' and reply.err or 'yes'
"""
"""Whether a script of this user may let single fields expire. KEYS: one that does not exist, so nothing happens.

Asked of the command and not of the version: Valkey calls itself Redis 7.2, administrators rename commands, and users
have rights.
"""


def probe(project: str) -> tuple[Any, ...]:
    """The command whose reply ``can_expire_fields`` understands."""
    return ("EVAL", PROBE, 1, project.encode() + b"\0probe")


def can_expire_fields(reply: bytes) -> bool:
    """What the reply to ``probe`` means: anything but 'yes' is why not."""
    return reply == b"yes"


_known: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def expires_fields(client: Client, project: str) -> bool:
    """Whether the server lets single fields of a hash expire, asked once per client. What redis-py raises passes."""
    known = _known.get(client)
    if known is None:
        reply: Any = client.execute_command(*probe(project))  # type: ignore[no-untyped-call]
        known = _known[client] = can_expire_fields(reply)
    return known


async def expires_fields_async(mux: AnyMux, project: str) -> bool:
    """The same from an event loop, asked once per connection of a loop."""
    known = _known.get(mux)
    if known is None:
        [reply] = await mux.execute([command(*probe(project))])
        if isinstance(reply, Exception):
            raise reply
        known = _known[mux] = can_expire_fields(reply)
    return known
