"""S3 settings: one reading of ``storage_options`` for the three libraries that open objects."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from yummy_feast.errors import ConfigError
from yummy_feast.sources.store_errors import Credentials
from yummy_feast.sources.store_options import canonical, read

if TYPE_CHECKING:
    import pyarrow.fs as pafs


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
        known, foreign = read("s3", options)
        if ("key" in known) != ("secret" in known):
            raise ConfigError("storage_options has one of key and secret without the other", hint="give both or none")
        environment = os.environ if environment is None else environment
        for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"):
            if environment.get(name):
                known.setdefault(canonical("s3", name) or name, environment[name])
        if "key" not in known and environment.get("AWS_ACCESS_KEY_ID") and environment.get("AWS_SECRET_ACCESS_KEY"):
            known.update(key=environment["AWS_ACCESS_KEY_ID"], secret=environment["AWS_SECRET_ACCESS_KEY"])
            if environment.get("AWS_SESSION_TOKEN"):
                known["token"] = environment["AWS_SESSION_TOKEN"]
        return cls(**known, foreign=foreign)

    @property
    def credentials(self) -> Credentials:
        """See ``StoreSettings``."""
        if self.key is None:
            return Credentials(
                "us: no key and secret in storage_options or the environment, or none that may do this",
                "set them, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role",
            )
        shown = "key and secret" if self.token is None else "key, secret and token"
        return Credentials(
            shown, "mend them in storage_options or AWS_ACCESS_KEY_ID and its like, or have them let into the bucket"
        )

    def filesystem(self) -> pafs.S3FileSystem:
        """A pyarrow file system with these settings."""
        import pyarrow.fs as pafs

        arguments: dict[str, object] = {"connect_timeout": 10, "request_timeout": 60}
        if self.key is not None:
            arguments.update(access_key=self.key, secret_key=self.secret, session_token=self.token)
        if self.endpoint is not None:
            scheme, host = split_endpoint(self.endpoint)
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
            scheme, host = split_endpoint(self.endpoint)
            pairs[endpoint] = f"{scheme}://{host}"
            pairs[region] = self.region or "us-east-1"
            if allow_http and scheme == "http":
                pairs["AWS_ALLOW_HTTP"] = "true"
        return {name: value for name, value in pairs.items() if value is not None}


def overriding(options: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """``options`` with the S3 settings among ``own`` in their place, whatever each spells them."""
    settings = {ours: value for name, value in own.items() if (ours := canonical("s3", name)) is not None}
    return {**{name: value for name, value in options.items() if canonical("s3", name) not in settings}, **settings}


_DELTA_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_ICEBERG_SECRETS = ("s3.access-key-id", "s3.secret-access-key", "s3.session-token")


def split_endpoint(endpoint: str, store: str = "S3") -> tuple[str, str]:
    """Scheme and ``host:port`` of an endpoint given with or without a scheme. ConfigError for another scheme."""
    parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigError(f"'{endpoint}' is no {store} endpoint", hint="for example http://localhost:9000")
    return parts.scheme, parts.netloc
