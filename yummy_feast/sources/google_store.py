"""Google Cloud Storage settings, for the three libraries that open objects."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from yummy_feast.errors import ConfigError
from yummy_feast.sources.object_store import split_endpoint
from yummy_feast.sources.store_errors import Credentials
from yummy_feast.sources.store_options import read

if TYPE_CHECKING:
    import pyarrow.fs as pafs

SKIP_SIGNATURE = "google_skip_signature"
"""How deltalake spells anonymous access, and we."""
_LIFETIME = timedelta(hours=1)
"""How long Google's access tokens live where nobody says otherwise."""
_YES = ("true", "1", "yes")


@dataclass(frozen=True, slots=True)
class GoogleSettings:
    """Where GCS is and who we are there; by default that is for Google's own search (application default credentials).

    pyarrow takes a service account's key file from GOOGLE_APPLICATION_CREDENTIALS alone, and deltalake no access token.
    """

    endpoint: str | None = None
    access_token: str | None = field(default=None, repr=False)
    expires: datetime | None = None
    project: str | None = None
    anonymous: bool = False
    foreign: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Options of one library, as given."""

    @classmethod
    def of(cls, options: Mapping[str, str], environment: Mapping[str, str] | None = None) -> GoogleSettings:
        """Read ``storage_options`` in any usual spelling.

        Raises ConfigError for an option that nobody knows, and for a service account that the environment does not
        name.
        """
        known, foreign = read("gcs", options)
        environment = os.environ if environment is None else environment
        account = known.get("service_account")
        if account is not None and account != environment.get("GOOGLE_APPLICATION_CREDENTIALS"):
            raise ConfigError(
                "storage_options has a Google service account, which only the environment can give to all readers",
                hint="set GOOGLE_APPLICATION_CREDENTIALS to the path of its key file",
            )
        token = known.get("access_token")
        expires = _moment(known["expires_at"]) if "expires_at" in known else None
        if token is not None and expires is None:
            expires = datetime.now(UTC) + _LIFETIME
        anonymous = known.get("anonymous", "false").lower() in _YES
        if anonymous and token is not None:
            raise ConfigError("storage_options is anonymous on GCS and has an access token", hint="drop one of them")
        return cls(known.get("endpoint"), token, expires, known.get("project"), anonymous, foreign)

    @property
    def credentials(self) -> Credentials:
        """See ``StoreSettings``."""
        if self.access_token is not None:
            return Credentials("google_access_token", "give a new one in storage_options: they live for an hour")
        if self.anonymous:
            return Credentials("anonymous access", f"drop {SKIP_SIGNATURE} from storage_options, and say who you are")
        return Credentials(
            "Google's default credentials",
            "set GOOGLE_APPLICATION_CREDENTIALS to a key file that may do this, or google_access_token",
        )

    def filesystem(self) -> pafs.GcsFileSystem:
        """A pyarrow file system with these settings."""
        import pyarrow.fs as pafs

        arguments: dict[str, object] = {"retry_time_limit": timedelta(seconds=60)}
        if self.anonymous:
            arguments["anonymous"] = True
        if self.access_token is not None:
            arguments.update(access_token=self.access_token, credential_token_expiration=self.expires)
        if self.endpoint is not None:
            scheme, host = split_endpoint(self.endpoint, "GCS")
            arguments.update(scheme=scheme, endpoint_override=host)
        if self.project is not None:
            arguments["project_id"] = self.project
        return pafs.GcsFileSystem(**arguments)

    def for_deltalake(self) -> dict[str, str]:
        """``storage_options`` as deltalake spells them. ConfigError for an access token, which it does not take."""
        if self.access_token is not None:
            raise ConfigError(
                "a Delta table on GCS cannot be opened with an access token",
                hint="set GOOGLE_APPLICATION_CREDENTIALS to the path of a key file",
            )
        out = dict(self.foreign)
        if self.endpoint is not None:
            scheme, host = split_endpoint(self.endpoint, "GCS")
            out["google_base_url"] = f"{scheme}://{host}"
            if scheme == "http":
                out["allow_http"] = "true"
        if self.anonymous:
            out[SKIP_SIGNATURE] = "true"
        return out

    def for_pyiceberg(self) -> dict[str, str]:
        """Properties as pyiceberg's file io spells them; anonymous access is known to ours alone."""
        out = dict(self.foreign)
        if self.endpoint is not None:
            scheme, host = split_endpoint(self.endpoint, "GCS")
            out["gcs.service.host"] = f"{scheme}://{host}"
        if self.access_token is not None and self.expires is not None:
            out["gcs.oauth2.token"] = self.access_token
            out["gcs.oauth2.token-expires-at"] = str(int(self.expires.timestamp() * 1000))
        if self.project is not None:
            out["gcs.project-id"] = self.project
        if self.anonymous:
            out[SKIP_SIGNATURE] = "true"
        return out


def _moment(text: str) -> datetime:
    """Milliseconds since 1970, as pyiceberg has them."""
    try:
        return datetime.fromtimestamp(int(text) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise ConfigError(
            f"storage_options: gcs.oauth2.token-expires-at '{text}' is no time", hint="milliseconds since 1970"
        ) from None
