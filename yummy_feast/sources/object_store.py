"""S3 settings: one reading of ``storage_options`` for the three libraries that open objects.

pyarrow, deltalake and pyiceberg spell the same settings in three ways.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from yummy_feast.errors import ConfigError, nearest

if TYPE_CHECKING:
    import pyarrow.fs as pafs

_SPELLINGS = {
    "endpoint": (
        "endpoint",
        "endpoint_url",
        "endpoint_override",
        "s3_endpoint_override",
        "aws_endpoint",
        "aws_endpoint_url",
        "aws_endpoint_url_s3",
        "s3.endpoint",
    ),
    "key": ("key", "access_key", "access_key_id", "aws_access_key_id", "s3.access-key-id"),
    "secret": ("secret", "secret_key", "secret_access_key", "aws_secret_access_key", "s3.secret-access-key"),
    "token": ("token", "session_token", "aws_session_token", "s3.session-token"),
    "region": ("region", "aws_region", "aws_default_region", "s3.region", "client.region"),
}
# Options that only one of the libraries knows are handed to it as they are.
_FOREIGN_PREFIXES = ("aws_", "s3.", "client.", "py-io-impl")
_FOREIGN = {
    "allow_http",
    "allow_invalid_certificates",
    "connect_timeout",
    "conditional_put",
    "max_retries",
    "proxy_url",
    "request_timeout",
    "retry_timeout",
    "timeout",
    "user_agent",
    "virtual_hosted_style_request",
}


@dataclass(frozen=True, slots=True)
class S3Settings:
    """Where S3 is and who we are there; None leaves the choice to the library (environment, profile, instance role)."""

    endpoint: str | None = None
    region: str | None = None
    key: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    foreign: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Options of one library, as given."""

    @classmethod
    def of(cls, options: Mapping[str, str], environment: Mapping[str, str] | None = None) -> S3Settings:
        """Read ``storage_options`` in any usual spelling; the AWS_* environment fills in what they leave out.

        Raises ConfigError for an option that nobody knows, and for a key without its secret.
        """
        known: dict[str, str] = {}
        foreign: dict[str, str] = {}
        for name, value in options.items():
            ours = _canonical(name)
            if ours is not None:
                known.setdefault(ours, str(value))
            elif name.lower() in _FOREIGN or name.lower().startswith(_FOREIGN_PREFIXES):
                foreign[name] = str(value)
            else:
                raise ConfigError(
                    f"storage_options has no option '{name}'", hint=nearest(name, [*_SPELLINGS, *_FOREIGN])
                )
        if ("key" in known) != ("secret" in known):
            raise ConfigError("storage_options has one of key and secret without the other", hint="give both or none")
        environment = os.environ if environment is None else environment
        for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"):
            if environment.get(name):
                known.setdefault(_canonical(name) or name, environment[name])
        if "key" not in known and environment.get("AWS_ACCESS_KEY_ID") and environment.get("AWS_SECRET_ACCESS_KEY"):
            known.update(key=environment["AWS_ACCESS_KEY_ID"], secret=environment["AWS_SECRET_ACCESS_KEY"])
            if environment.get("AWS_SESSION_TOKEN"):
                known["token"] = environment["AWS_SESSION_TOKEN"]
        return cls(**known, foreign=foreign)

    def filesystem(self) -> pafs.S3FileSystem:
        """A pyarrow file system with these settings."""
        import pyarrow.fs as pafs

        arguments: dict[str, object] = {"connect_timeout": 10, "request_timeout": 60}
        if self.key is not None:
            arguments.update(access_key=self.key, secret_key=self.secret, session_token=self.token)
        if self.endpoint is not None:
            scheme, host = _split_endpoint(self.endpoint)
            arguments.update(scheme=scheme, endpoint_override=host)
        region = self.region or ("us-east-1" if self.endpoint is not None else None)
        if region is not None:
            arguments["region"] = region
        return pafs.S3FileSystem(**arguments)

    def for_deltalake(self) -> dict[str, str]:
        """``storage_options`` as deltalake spells them."""
        return {**self.foreign, **self._named("AWS_ENDPOINT_URL", "AWS_REGION", _DELTA_SECRETS, allow_http=True)}

    def for_pyiceberg(self) -> dict[str, str]:
        """Properties as pyiceberg's file io spells them."""
        return {**self.foreign, **self._named("s3.endpoint", "s3.region", _ICEBERG_SECRETS)}

    def _named(
        self, endpoint: str, region: str, secrets: tuple[str, str, str], *, allow_http: bool = False
    ) -> dict[str, str]:
        pairs = {endpoint: self.endpoint, region: self.region}
        pairs.update(zip(secrets, (self.key, self.secret, self.token), strict=True))
        if self.endpoint is not None:
            scheme, host = _split_endpoint(self.endpoint)
            pairs[endpoint] = f"{scheme}://{host}"
            pairs[region] = self.region or "us-east-1"
            if allow_http and scheme == "http":
                pairs["AWS_ALLOW_HTTP"] = "true"
        return {name: value for name, value in pairs.items() if value is not None}


def overriding(options: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """``options`` with the S3 settings among ``own`` in their place, whatever each spells them."""
    settings = {ours: value for name, value in own.items() if (ours := _canonical(name)) is not None}
    return {**{name: value for name, value in options.items() if _canonical(name) not in settings}, **settings}


_DELTA_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_ICEBERG_SECRETS = ("s3.access-key-id", "s3.secret-access-key", "s3.session-token")


def _canonical(name: str) -> str | None:
    lowered = name.lower()
    return next((ours for ours, spellings in _SPELLINGS.items() if lowered in spellings), None)


def _split_endpoint(endpoint: str) -> tuple[str, str]:
    """Scheme and ``host:port`` of an endpoint given with or without a scheme."""
    parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigError(f"'{endpoint}' is no S3 endpoint", hint="for example http://localhost:9000")
    return parts.scheme, parts.netloc
