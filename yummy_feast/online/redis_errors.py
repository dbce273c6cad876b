"""The errors of Redis in our words: the address, what is wrong, and the fix. No password is ever in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from redis import exceptions
from redis.sentinel import MasterNotFoundError

from yummy_feast.errors import OnlineStoreError, ServerUnavailableError
from yummy_feast.online import embedded
from yummy_feast.online.address import RedisSettings
from yummy_feast.online.connection_string import WHERE

# The code of an error reply -> what it means, what mends it.
_REPLIES: Final = {
    "NOAUTH": ("asks for a password", f"add password=... to {WHERE}"),
    "WRONGPASS": ("does not accept the user name or password", f"check username and password in {WHERE}"),
    "NOPERM": ("forbids this", "ACL SETUSER name +@read +@hash +@keyspace +@connection +eval +cluster ~PROJECT*"),
    "MISCONF": ("takes no writes: it cannot save its data", "look at its disk space and log"),
    "OOM": ("is out of memory", "raise its maxmemory, or set online_store.retention so that old keys expire"),
    "READONLY": ("is a replica and takes no writes", f"name the primary in {WHERE}, or use its sentinels or cluster"),
    "MOVED": ("is one node of a cluster", "set online_store.redis_type to redis_cluster"),
    "CLUSTERDOWN": ("is a cluster that does not serve all its slots", "look at CLUSTER INFO and CLUSTER NODES"),
    "LOADING": ("is still loading its data", "try again in a moment"),
}
_CLUSTER_DOWN: Final = _REPLIES["CLUSTERDOWN"]
REDIS_ERRORS: Final = (exceptions.RedisError, exceptions.RedisClusterException)
"""What the Redis client raises, and ``translate`` takes."""
ENDLESS_MOVES: Final = "TTL exhausted."
"""How redis-py's cluster client says it."""
# What redis-py puts in front of an error in a pipeline: a script and half a row are no help.
_IN_A_PIPELINE: Final = re.compile(r"Command # \d+ \(.*?\) of pipeline caused error: ")
_IF_TLS: Final = f"if it speaks TLS, add ssl=true to {WHERE}; else see its log"
# TLS 1.3 refuses a client after the greeting: by then the client writes, and may see no more than the end.
_NO_CERTIFICATE: Final = (
    f"if it asks for a client certificate, add ssl_certfile and ssl_keyfile to {WHERE}; else see its log"
)
# A piece of a connection error -> the same.
_LINKS: Final = (
    ("CERTIFICATE_VERIFY_FAILED", "shows a certificate nobody here trusts", f"add ssl_ca_certs=FILE to {WHERE}"),
    ("WRONG_VERSION_NUMBER", "speaks no TLS", f"remove ssl from {WHERE}, or name its TLS port"),
    ("CERTIFICATE_REQUIRED", "asks for a client certificate", f"add ssl_certfile and ssl_keyfile to {WHERE}"),
    ("Connection closed by server", "closed the connection", _IF_TLS),
    ("Connection reset by peer", "closed the connection", _IF_TLS),
    ("EOF occurred in violation", "closed the connection", _IF_TLS),
    ("Too many connections", "has no connection left for us", f"raise max_connections in {WHERE}"),
    ("max number of clients", "has no connection left for us", "raise its maxclients"),
)


@contextmanager
def translated(settings: RedisSettings) -> Iterator[None]:
    """Errors of the Redis client within this block become errors of ours, which name the address and the fix.

    Raises:
        ServerUnavailableError: it does not answer, refuses the login, or is no server of the configured kind.
        EmbeddedServerError: the embedded server ended for a reason its log tells.
        OnlineStoreError: it answers, and refuses a command.
    """
    try:
        yield
    except REDIS_ERRORS as error:
        raise translate(error, settings) from error


def translate(error: Exception, settings: RedisSettings) -> OnlineStoreError:
    """The error of ours for one of the Redis client's."""
    text = _without_secrets(" ".join(str(error).split()), settings)
    text = _IN_A_PIPELINE.sub("", text, count=1)
    code = getattr(error, "status_code", None) or text.partition(" ")[0]
    if settings.redis_type == "redis_cluster" and (code in {"MOVED", "ASK"} or text == ENDLESS_MOVES):
        return ServerUnavailableError(
            f"{settings.address} answers MOVED for ever: its nodes do not agree which of them serves a slot",
            hint="look at CLUSTER NODES on each of them",
        )
    if code in _REPLIES:
        meaning, hint = _REPLIES[code]
        return ServerUnavailableError(f"{settings.address} {meaning}{_said(text)}", hint=hint)
    if isinstance(error, exceptions.AuthenticationError | exceptions.AuthorizationError):
        meaning, hint = _REPLIES["WRONGPASS"]
        return ServerUnavailableError(f"{settings.address} {meaning}{_said(text)}", hint=hint)
    if isinstance(error, exceptions.SlotNotCoveredError) or "slots are not covered" in text:
        meaning, hint = _CLUSTER_DOWN
        return ServerUnavailableError(f"{settings.address} {meaning}", hint=hint)
    if isinstance(error, exceptions.RedisClusterException | MasterNotFoundError):
        return _no_such_kind(text, settings)
    if isinstance(error, exceptions.TimeoutError):
        waited = f"{settings.connect_timeout:g} s to connect, {settings.read_timeout:g} s to read"
        doubt = "does it speak TLS at this port? " if settings.ssl else ""
        which = _said(text) if len(settings.nodes) > 1 else ""
        return ServerUnavailableError(
            f"{settings.address} does not answer in time ({waited}){which}",
            hint=f"{doubt}is it reachable and not overloaded? else raise online_store.connect_timeout and read_timeout",
        )
    if isinstance(error, exceptions.InvalidResponse):
        return ServerUnavailableError(
            f"{settings.address} does not speak Redis{_said(text)}", hint=f"is the port in {WHERE} the right one?"
        )
    if isinstance(error, exceptions.ConnectionError):
        return _no_connection(text, settings)
    return OnlineStoreError(
        f"{settings.address} refuses a command: {text}", hint="is it a Redis or Valkey 6.2 or newer?"
    )


def _no_such_kind(text: str, settings: RedisSettings) -> OnlineStoreError:
    if settings.redis_type == "redis_sentinel":
        # What follows the colon is the inside of the client, one for each sentinel that did not answer.
        text, is_silent, _ = text.partition(" : <")
        text += ", and not every sentinel answers" if is_silent else ""
        hint = f"is online_store.sentinel_master right, and does {WHERE} name the sentinels?"
    else:
        hint = f"is it a cluster (else set online_store.redis_type: redis), and is {WHERE} right?"
    return ServerUnavailableError(f"{settings.address} cannot be used{_said(text)}", hint=hint)


def _no_connection(text: str, settings: RedisSettings) -> OnlineStoreError:
    if settings.repo_path is not None:
        death = embedded.death(settings.repo_path)
        if death is not None:
            return death
        hint = "yummy store status tells more; yummy store start starts it again"
        return ServerUnavailableError(f"{settings.address} does not answer{_said(text)}", hint=hint)
    for piece, meaning, hint in _LINKS:
        if piece in text:
            if hint is _IF_TLS and settings.ssl:
                hint = _NO_CERTIFICATE
            return ServerUnavailableError(f"{settings.address} {meaning}{_said(text)}", hint=hint)
    return ServerUnavailableError(
        f"{settings.address} does not answer{_said(text)}",
        hint=f"is it running, and is {WHERE} right? '{WHERE.partition('.')[2]}: embedded' needs no server",
    )


def _said(text: str) -> str:
    return f": {text}" if text else ""


def _without_secrets(text: str, settings: RedisSettings) -> str:
    """``text`` without the passwords: no message of Redis should hold one, and one that did would end up in a log."""
    secrets = [
        settings.password,
        dict(settings.sentinel_options).get("password"),
        dict(settings.tls).get("ssl_password"),
    ]
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text
