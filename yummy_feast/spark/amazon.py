"""Catalogs of Amazon's (Glue, DynamoDB) for Spark: where they are, who we are there, and by which client.

Iceberg takes their credentials from no setting, only from a class that looks for them itself. Ours looks at the system
properties of the driver's JVM, where only catalogs are opened; they are set once it runs, so that no command line has
them. There is one set of them for all catalogs.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from yummy_feast.errors import ConfigError
from yummy_feast.sources.iceberg_catalogs import OF_AMAZON, amazon_keys, catalog_kind

_log = logging.getLogger(__name__)
LIGHT_CLIENT = {"http-client.type": "urlconnection"}
"""Iceberg's default needs an HTTP client that is newer than the AWS SDK which Hadoop's S3 is built with."""
LIGHT_CLASS = "software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient"
_PROVIDERS = "software.amazon.awssdk.auth.credentials"
PROVIDER = f"{_PROVIDERS}.SystemPropertyCredentialsProvider"
"""Who looks for the credentials that ``give`` has set."""
_PROPERTIES = {
    "client.access-key-id": "aws.accessKeyId",
    "client.secret-access-key": "aws.secretAccessKey",
    "client.session-token": "aws.sessionToken",
}
_OWN_WAYS = ("client.credentials-provider", "client.factory")
"""With one of these a catalog finds its credentials as its user wants."""
_PROFILE = "profile-name"
# What only Python can make sense of, after the kind or ``client``.
_PYTHON = ("region", "access-key-id", "secret-access-key", "session-token", _PROFILE, "max-retries", "retry-mode")
_PYTHON_CLIENT = ("client.role-arn", "client.session-name")
SEARCH_PAST_PROPERTIES = ",".join(
    [
        *(
            f"{_PROVIDERS}.{name}CredentialsProvider"
            for name in ("EnvironmentVariable", "WebIdentityTokenFile", "Profile")
        ),
        "org.apache.hadoop.fs.s3a.auth.IAMInstanceCredentialsProvider",
    ]
)
"""Where S3 looks for credentials when the system properties hold those of a catalog."""


def amazon_conf(name: str, keys: Mapping[str, str], options: Mapping[str, str]) -> dict[str, str]:
    """Settings of the catalog ``name`` in Iceberg's own keys, without credentials.

    Raises:
        ConfigError: it names a profile, which Iceberg does not take, and AWS_PROFILE does not name it too.
    """
    kind, found = catalog_kind(keys), amazon_keys(keys, options)
    left = {f"{part}.{item}" for part in (kind, "client") for item in _PYTHON} | set(_PYTHON_CLIENT)
    parts = (f"{kind}.", "client.", "http-client.")
    conf = {key: value for key, value in keys.items() if key.startswith(parts) and key not in left}
    conf = {**LIGHT_CLIENT, **conf}
    if "client.region" in found:
        conf["client.region"] = found["client.region"]
    if not _has_own_way(keys):
        if "client.access-key-id" in found:
            conf["client.credentials-provider"] = PROVIDER
        else:
            _check_profile(name, kind, keys)
    return conf


def system_properties(catalogs: Mapping[str, Mapping[str, str]], options: Mapping[str, str]) -> dict[str, str]:
    """Credentials of all catalogs of Amazon's, by the names of the properties that the JVM has for them.

    Raises:
        ConfigError: they are not the same for all.
    """
    found: dict[str, dict[str, str]] = {}
    for name, keys in catalogs.items():
        if catalog_kind(keys) in OF_AMAZON and not _has_own_way(keys):
            given = amazon_keys(keys, options)
            found[name] = {ours: given[theirs] for theirs, ours in _PROPERTIES.items() if theirs in given}
    distinct = {tuple(sorted(item.items())): name for name, item in found.items()}
    if len(distinct) > 1:
        one, other = sorted(distinct.values())[:2]
        raise ConfigError(
            f"catalogs '{one}' and '{other}' have other credentials, and engine: spark holds one set for both",
            hint=f"give them the same, or one of them a {_OWN_WAYS[0]} of its own",
        )
    return next(iter(found.values()), {})


@dataclass(slots=True)
class _Given:
    """What was set by ``give``, and on which JVM: it outlives its sessions, and can have many of them."""

    jvm: Any = None
    held: dict[str, str] = field(default_factory=dict, repr=False)


_given = _Given()


def give(found: Any, properties: Mapping[str, str]) -> bool:
    """Set the properties on the JVM of a session, which is no remote one; those of before go. What others have set
    there stays, and nothing of ours beside it. One thread at a time.

    Returns:
        Whether what the JVM has of ours is another than before.
    """
    if _given.jvm is not found._jvm:
        _given.jvm, _given.held = found._jvm, {}
    system, held, before = found._jvm.java.lang.System, _given.held, dict(_given.held)
    _take_back(system, held, [key for key in held if key not in properties])
    theirs = [key for key in _PROPERTIES.values() if system.getProperty(key) not in (None, held.get(key))]
    if properties and any(system.getProperty(key) != properties.get(key) for key in theirs):
        _log.warning("the JVM of the Spark session has its own %s: catalogs of Amazon's are asked with it", theirs[0])
        _take_back(system, held, list(held))
        return held != before
    for key, value in properties.items():
        if key not in theirs:
            system.setProperty(key, value)
            held[key] = value
    return held != before


def _take_back(system: Any, held: dict[str, str], keys: Sequence[str]) -> None:
    for key in keys:
        if system.getProperty(key) == held.pop(key):
            system.clearProperty(key)


def _has_own_way(keys: Mapping[str, str]) -> bool:
    return any(key in keys for key in _OWN_WAYS)


def _check_profile(name: str, kind: str, keys: Mapping[str, str]) -> None:
    field = next((key for key in (f"{kind}.{_PROFILE}", f"client.{_PROFILE}") if keys.get(key)), None)
    if field is not None and os.environ.get("AWS_PROFILE") != keys[field]:
        raise ConfigError(
            f"catalog '{name}': {field} is '{keys[field]}', and Spark's catalogs take no profile",
            hint=f"set AWS_PROFILE={keys[field]} in the environment, which both engines read",
        )
