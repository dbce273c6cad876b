"""``storage_options`` as Hadoop's file systems spell them, so that Spark opens what the embedded engine opens.

Keys come without the ``spark.hadoop.`` in front: they are set on a running session, never on a command line, where
everybody on the machine could read them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from yummy_feast.sources.azure_store import AzureSettings
from yummy_feast.sources.google_store import GoogleSettings
from yummy_feast.sources.object_store import S3Settings, split_endpoint
from yummy_feast.sources.store_options import canonical

_YES = ("true", "1", "yes")
PROVIDER = "fs.s3a.aws.credentials.provider"
"""Who looks for S3 credentials, and where."""
_HADOOP = "org.apache.hadoop.fs.s3a"
_AZURE = "org.apache.hadoop.fs.azurebfs.oauth2"
SEARCH = "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider"
"""As pyarrow's and boto3's own search: environment, profiles, web identity, container, instance."""
S3_SPELLINGS = {"fs.s3.impl": f"{_HADOOP}.S3AFileSystem", "fs.s3n.impl": f"{_HADOOP}.S3AFileSystem"}
"""What opens ``s3://`` and ``s3n://``, which Hadoop itself no longer knows."""
PATIENCE = {"fs.s3a.attempts.maximum": "4", "fs.s3a.retry.limit": "4", "fs.s3a.connection.establish.timeout": "15s"}
"""Nobody waits for a quarter of an hour to hear that an endpoint is wrong."""

_WHO = (
    PROVIDER,
    "fs.s3a.access.key",
    "fs.s3a.secret.key",
    "fs.s3a.session.token",
    "fs.s3a.security.credential.provider.path",
    "hadoop.security.credential.provider.path",
)
_WHERE = ("fs.s3a.endpoint", "fs.s3a.endpoint.region", "fs.s3a.connection.ssl.enabled", "fs.s3a.path.style.access")
_OF_AN_ACCOUNT = ("account.auth.type", "account.key", "sas.fixed.token", "account.oauth.provider.type")


@dataclass(frozen=True, slots=True)
class Unit:
    """Settings that mean something only together. heads: whoever set one of these set all of it."""

    heads: tuple[str, ...]
    members: tuple[str, ...]


def s3_options(settings: S3Settings) -> dict[str, str]:
    """Of Hadoop's s3a, for S3 paths in any of their spellings."""
    foreign = {name.lower(): value.lower() for name, value in settings.foreign.items()}
    options = {**S3_SPELLINGS, **PATIENCE}
    if settings.endpoint is not None:
        scheme, host = split_endpoint(settings.endpoint)
        options["fs.s3a.endpoint"] = f"{scheme}://{host}"
        options["fs.s3a.connection.ssl.enabled"] = str(scheme == "https").lower()
        is_virtual = foreign.get("virtual_hosted_style_request", foreign.get("aws_virtual_hosted_style_request"))
        options["fs.s3a.path.style.access"] = str(is_virtual not in _YES).lower()
    region = settings.region or ("us-east-1" if settings.endpoint is not None else None)
    if region is not None:
        options["fs.s3a.endpoint.region"] = region
    if foreign.get("aws_skip_signature") in _YES or foreign.get("s3.anonymous") in _YES:
        options[PROVIDER] = f"{_HADOOP}.AnonymousAWSCredentialsProvider"
    elif settings.key is None:
        options[PROVIDER] = SEARCH
    else:
        options["fs.s3a.access.key"] = settings.key
        options["fs.s3a.secret.key"] = settings.secret or ""
        options[PROVIDER] = f"{_HADOOP}.SimpleAWSCredentialsProvider"
        if settings.token is not None:
            options["fs.s3a.session.token"] = settings.token
            options[PROVIDER] = f"{_HADOOP}.TemporaryAWSCredentialsProvider"
    return options


def google_options(settings: GoogleSettings, environment: Mapping[str, str]) -> dict[str, str]:
    """Of Google's connector, which is no part of Hadoop. It takes no access token."""
    options = {
        "fs.gs.impl": "com.google.cloud.hadoop.fs.gcs.GoogleHadoopFileSystem",
        "fs.AbstractFileSystem.gs.impl": "com.google.cloud.hadoop.fs.gcs.GoogleHadoopFS",
    }
    account = environment.get("GOOGLE_APPLICATION_CREDENTIALS")
    options["fs.gs.auth.type"] = "APPLICATION_DEFAULT"
    if settings.anonymous:
        options["fs.gs.auth.type"] = "UNAUTHENTICATED"
    elif account:
        options["fs.gs.auth.type"] = "SERVICE_ACCOUNT_JSON_KEYFILE"
        options["fs.gs.auth.service.account.json.keyfile"] = account
    if settings.endpoint is not None:
        scheme, host = split_endpoint(settings.endpoint, "GCS")
        options["fs.gs.storage.root.url"] = f"{scheme}://{host}/"
    if settings.project is not None:
        options["fs.gs.project.id"] = settings.project
    return options


def azure_options(settings: AzureSettings) -> dict[str, str]:
    """Of Hadoop's abfss, for the one account that the options are of."""
    host = f"{settings.account}.dfs.core.windows.net"
    if settings.key is not None:
        return {f"fs.azure.account.auth.type.{host}": "SharedKey", f"fs.azure.account.key.{host}": settings.key}
    if settings.sas is not None:
        return {
            f"fs.azure.account.auth.type.{host}": "SAS",
            f"fs.azure.sas.fixed.token.{host}": settings.sas,
        }
    kind = f"fs.azure.account.oauth.provider.type.{host}"
    options = {f"fs.azure.account.auth.type.{host}": "OAuth", kind: f"{_AZURE}.MsiTokenProvider"}
    if settings.client_secret is not None:
        options[kind] = f"{_AZURE}.ClientCredsTokenProvider"
        options[f"fs.azure.account.oauth2.client.id.{host}"] = settings.client or ""
        options[f"fs.azure.account.oauth2.client.secret.{host}"] = settings.client_secret
        options[f"fs.azure.account.oauth2.client.endpoint.{host}"] = (
            f"https://login.microsoftonline.com/{settings.tenant}/oauth2/token"
        )
    return options


def speaks_of(store: str, options: Mapping[str, str]) -> bool:
    """Whether one of the options is one of that store alone (``s3``, ``gcs`` or ``azure``)."""
    return any(canonical(store, name) is not None for name in options)


def units_of(keys: Iterable[str]) -> list[Unit]:
    """Of Hadoop's settings: who we are at S3 and where that is, and how each account of Azure and Google is entered."""
    keys = tuple(keys)
    google = tuple(key for key in keys if key.startswith("fs.gs.auth."))
    units = [Unit(_WHO, _WHO), Unit(_WHERE[:1], _WHERE), Unit(("fs.gs.auth.type", *google), google)]
    kind = "fs.azure.account.auth.type."
    for host in [key.removeprefix(kind) for key in keys if key.startswith(kind)]:
        heads = tuple(f"fs.azure.{name}.{host}" for name in _OF_AN_ACCOUNT)
        units.append(Unit(heads, tuple(key for key in keys if key.startswith("fs.azure.") and key.endswith(host))))
    return units


def names_s3(options: Mapping[str, str], environment: Mapping[str, str] | None = None) -> bool:
    """Whether the options or the environment say where S3 is or who we are there. If they do not, there may still be a
    profile, or a role of the machine.
    """
    settings = S3Settings.of(options, environment)
    return bool(settings.endpoint or settings.region or settings.key or settings.foreign)


def hadoop_options(options: Mapping[str, str], own: Iterable[str] = ()) -> dict[str, str]:
    """Of all stores that ``storage_options`` speaks of, and of S3, which the environment may speak of.

    An Azure account that only paths name is none: Spark's own readers do not open such paths. own: what users say
    themselves; with credentials among them, Hadoop's usual search, which finds them, stays.

    Raises:
        ConfigError: an option that nobody knows, or half of a pair.
    """
    found = s3_options(S3Settings.of(options))
    if found[PROVIDER] == SEARCH and any(key in _WHO for key in own):
        del found[PROVIDER]
    if speaks_of("gcs", options) or os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        found.update(google_options(GoogleSettings.of(options), os.environ))
    if speaks_of("azure", options) and _has_account(options):
        found.update(azure_options(AzureSettings.of(options)))
    return found


def _has_account(options: Mapping[str, str]) -> bool:
    named = any(canonical("azure", name) == "account" for name in options)
    return named or bool(os.environ.get("AZURE_STORAGE_ACCOUNT_NAME"))
