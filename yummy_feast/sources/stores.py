"""Which object store a URI belongs to: a new one is a settings class and a row here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from yummy_feast.sources.azure_store import AzureSettings
from yummy_feast.sources.google_store import GoogleSettings
from yummy_feast.sources.object_store import S3Settings
from yummy_feast.sources.store_errors import Credentials
from yummy_feast.sources.store_options import canonical

if TYPE_CHECKING:
    import pyarrow.fs as pafs


class StoreSettings(Protocol):
    """Where a store is and who we are there, for each of the libraries that open objects."""

    @property
    def credentials(self) -> Credentials:
        """What the store is shown, for errors."""

    def filesystem(self) -> pafs.FileSystem:
        """A pyarrow file system with these settings."""

    def for_deltalake(self) -> dict[str, str]:
        """``storage_options`` as deltalake spells them."""

    def for_pyiceberg(self) -> dict[str, str]:
        """Properties as pyiceberg's file io spells them."""


# Every scheme of a store, and the one that all libraries know it by.
_SCHEMES = {
    "s3": "s3",
    "s3a": "s3",
    "s3n": "s3",
    "gs": "gs",
    "gcs": "gs",
    "abfs": "abfss",
    "abfss": "abfss",
    "az": "abfss",
    "azure": "abfss",
}
_SETTINGS: Mapping[str, Callable[[Mapping[str, str]], StoreSettings]] = {"s3": S3Settings.of, "gs": GoogleSettings.of}
_ACCOUNT = re.compile(r"(?P<container>[^@/]+)@(?P<account>[^./]+)\.[^/]+(?P<rest>/.*)?")


def is_object_uri(uri: str) -> bool:
    """Whether it begins with a scheme of a store we know."""
    return "://" in uri and uri.partition("://")[0].lower() in _SCHEMES


def split_uri(uri: str) -> tuple[str, str, str]:
    """Prefix (``s3://``), path below it (``bucket/key``) and, on Azure, the account that the URI names (else empty)."""
    scheme, _, path = uri.partition("://")
    prefix = f"{_SCHEMES[scheme.lower()]}://"
    named = _ACCOUNT.fullmatch(path) if prefix == "abfss://" else None
    if named is None:
        return prefix, path.rstrip("/"), ""
    return prefix, f"{named['container']}{named['rest'] or ''}".rstrip("/"), named["account"]


def has_access_token(options: Mapping[str, str]) -> bool:
    """Whether one of them is Google's access token, which only Python's libraries take."""
    return any(canonical("gcs", name) == "access_token" for name in options)


def is_ours_alone(uri: str, options: Mapping[str, str]) -> bool:
    """Whether readers that are not ours do not find it, or are not let in: what ``split_uri`` makes of a path on Azure
    lacks the account, and an access token of Google is for Python's libraries.
    """
    store = split_uri(uri)[0] if is_object_uri(uri) else ""
    return store == "abfss://" or (store == "gs://" and has_access_token(options))


def settings_of(uri: str, options: Mapping[str, str]) -> StoreSettings:
    """The settings of the store that ``uri`` is on. ConfigError for an option that nobody knows, or half of a pair."""
    prefix, _, account = split_uri(uri)
    if prefix == "abfss://":
        return AzureSettings.of(options, account=account)
    return _SETTINGS[prefix.removesuffix("://")](options)


def opened(uri: str, settings: StoreSettings) -> pafs.FileSystem:
    """The file system of the store that ``uri`` is on, with its settings. On Azure it is asked something if tokens have
    to be got: where that fails, pyarrow raises here, and ends the whole process over any other question.
    """
    if isinstance(settings, AzureSettings) and settings.needs_tokens:
        who = (settings.account, settings.tenant, settings.client, settings.client_secret, settings.endpoint)
        return _let_in(split_uri(uri)[1].partition("/")[0], *who)
    return settings.filesystem()


@lru_cache(maxsize=64)
def _let_in(container: str, account: str, *who: str | None) -> pafs.FileSystem:
    """Once per container: each new file system would get a token of its own."""
    tenant, client, client_secret, endpoint = who
    filesystem = AzureSettings(
        account, tenant=tenant, client=client, client_secret=client_secret, endpoint=endpoint
    ).filesystem()
    filesystem.get_file_info(f"{container}/-")
    return filesystem


def pyiceberg_properties(options: Mapping[str, str]) -> dict[str, str]:
    """What pyiceberg needs for tables on any of the stores; a catalog does not say in advance where its tables are."""
    out: dict[str, str] = {}
    if _has("gcs", options):
        out.update(GoogleSettings.of(options).for_pyiceberg())
    if _has("azure", options):
        out.update(AzureSettings.of(options, any_account=True).for_pyiceberg())
    return {**out, **S3Settings.of(options).for_pyiceberg()}


def _has(store: str, options: Mapping[str, str]) -> bool:
    return any(canonical(store, name) is not None for name in options)
