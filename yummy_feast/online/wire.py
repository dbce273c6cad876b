"""Redis' wire protocol, as far as we speak it ourselves: commands packed, error replies and broken sockets named.

Pure code.
"""

from __future__ import annotations

import os
import re
import ssl
from typing import Any, Final, NamedTuple

import hiredis
from redis import exceptions
from redis._parsers.base import BaseParser

_ERRNO: Final = re.compile(r"\[Errno (\d+)\]")


class Command(NamedTuple):
    """A packed command and the key that says which node of a cluster it goes to."""

    key: bytes
    packed: bytes


def command(*words: Any) -> Command:
    """A command that names its key first, or as EVAL does, packed. Words are bytes, numbers, or text, which is sent as
    UTF-8.
    """
    key = words[3 if words[0] == "EVAL" else 1]
    return Command(key if isinstance(key, bytes) else str(key).encode(), pack(*words))


def pack(*words: bytes | str | int) -> bytes:
    """A command in the wire protocol."""
    # Its stub wants a tuple of exactly one word.
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]
    return packed


def reply_error(text: str) -> exceptions.RedisError:
    """The exception that redis-py raises for the error reply ``text``: a MovedError for `MOVED ...`, and so on."""
    try:
        error: exceptions.RedisError = BaseParser.parse_error(text)  # type: ignore[no-untyped-call]
    except ValueError:
        # A redirection without an address.
        return exceptions.ResponseError(text)
    return error


def reason_of(error: Exception) -> str:
    """What a socket says about its end: `Connection refused`, or what TLS did not like."""
    text = str(error)
    if isinstance(error, ssl.SSLError):
        return text
    # asyncio leaves the number in the text where it tried several addresses.
    found = _ERRNO.search(text)
    number = getattr(error, "errno", None) or (int(found[1]) if found else None)
    return os.strerror(number) if number else text
