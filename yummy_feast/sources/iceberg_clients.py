"""Clients of Iceberg catalogs: what they raise, which of it is silence or refusal, and how long they wait."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from yummy_feast.errors import SourceReadError, first_line

_CONNECT, _ANSWER = 5, 60
"""Seconds for one try."""
# Beside pyiceberg's own errors, by the module that has been imported if they can be raised.
_ERRORS = {
    "botocore.exceptions": ("BotoCoreError", "ClientError"),
    "requests": ("RequestException",),
    "sqlalchemy.exc": ("SQLAlchemyError",),
    "thrift.Thrift": ("TException",),
}
_SILENCES = {
    "botocore.exceptions": ("ConnectionError", "HTTPClientError"),
    "requests": ("ConnectionError", "Timeout"),
    "thrift.transport.TTransport": ("TTransportException",),
}
_UNSAID = ("NoCredentialsError", "PartialCredentialsError", "NoRegionError")
_DENIED = ("UnrecognizedClient", "InvalidSignature", "InvalidClientToken", "ExpiredToken", "AccessDenied")
ZONED = "timestamp with local time zone"
"""A type of columns since Hive 3."""
_ADDRESSES = ("uri", "glue.endpoint", "dynamodb.endpoint", "glue.region", "client.region")
"""Keys that say where a catalog is, the one that counts first."""
_TAIL = re.compile("[?#;]")


def client_errors() -> tuple[type[Exception], ...]:
    """What the catalogs' clients raise, of those that were imported: no other can have been used."""
    return _loaded(_ERRORS)


def why(error: Exception, what: str, kind: str, keys: Mapping[str, str]) -> SourceReadError | None:
    """One of the ``client_errors`` as ours, if it is one that a setting of the catalog mends: silence, no access, a
    table that the server cannot hold. what: the catalog, for people; keys: of the catalog.
    """
    reason, name = first_line(error), type(error).__name__
    if isinstance(error, _loaded(_SILENCES)):
        hint = "is it right, and does it run there?"
        return SourceReadError(f"{what}: {address_of(kind, keys)} does not answer: {reason}", hint=hint)
    if ZONED in str(error):
        hint = "a metastore of Hive 2 knows no times with a zone: leave out hive.hive2-compatible, and drop the table"
        return SourceReadError(f"{what}: {address_of(kind, keys)} takes no such table: {reason}", hint=hint)
    code = str((answer_of_amazon(error) or {}).get("Error", {}).get("Code", ""))
    if name in _UNSAID or code.startswith(_DENIED):
        hint = f"give {kind}.region, {kind}.access-key-id and {kind}.secret-access-key, or the AWS_* environment"
        return SourceReadError(f"{what}: {address_of(kind, keys)} does not let us in: {reason}", hint=hint)
    return None


def answer_of_amazon(error: Exception) -> Mapping[str, Any] | None:
    """What a service of Amazon's answered, where the error says that. Some codes have a class of their own."""
    is_one = any(kind.__name__ == "ClientError" for kind in type(error).__mro__)
    return getattr(error, "response", {}) if is_one else None


def patient_session() -> dict[str, Any]:
    """A session for pyiceberg's clients of Amazon that does not wait for a minute to reach a server; empty without
    their library. What Amazon's services are is read once for all sessions: it takes longer than most questions.
    """
    try:
        from botocore.config import Config
        from botocore.session import get_session
    except ImportError:
        return {}
    session = get_session()
    session.register_component("data_loader", _services(session.get_config_variable("data_path")))
    session.set_default_client_config(Config(connect_timeout=_CONNECT, read_timeout=_ANSWER))
    return {"botocore_session": session}


@lru_cache
def _services(path: str | None) -> Any:
    from botocore.loaders import create_loader

    return create_loader(path)


def _loaded(named: Mapping[str, tuple[str, ...]]) -> tuple[type[Exception], ...]:
    return tuple(
        getattr(sys.modules[module], name) for module, names in named.items() if module in sys.modules for name in names
    )


def address_of(kind: str, keys: Mapping[str, str]) -> str:
    """Where a catalog is, by the key that says so: ``uri 'thrift://meta:9083'``; without one, its kind. What may hold
    a password is left out: users, queries, and of a database all but its host, or the file that it is.
    """
    return next((f"{name} '{_shown(keys[name], kind)}'" for name in _ADDRESSES if keys.get(name)), kind)


def _shown(address: str, kind: str) -> str:
    # By hand: a password need not be one that a URL can have, and urlsplit raises for some.
    scheme, sep, rest = address.partition("://") if "://" in address else ("", "", address)
    before, _, place = rest.rpartition("@")
    if _TAIL.search(before):
        # Nobody can say whether the @ is one of the query.
        return f"{scheme}{sep}..."
    place = _TAIL.split(place, maxsplit=1)[0]
    if kind == "sql" and not scheme.startswith("sqlite"):
        place = place.partition("/")[0]
    return f"{scheme}{sep}{place}"
