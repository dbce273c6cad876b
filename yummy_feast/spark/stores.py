"""``storage_options`` as Hadoop's file systems spell them, so that Spark opens what the embedded engine opens.

Keys come without the ``spark.hadoop.`` in front: they are set on a running session, never on a command line, where
everybody on the machine could read them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from yummy_feast.sources.azure_store import AzureSettings
from yummy_feast.sources.google_store import GoogleSettings
from yummy_feast.sources.object_store import S3Settings, split_endpoint
from yummy_feast.sources.store_options import canonical

_YES = ("true", "1", "yes")
_PROVIDER = "fs.s3a.aws.credentials.provider"
_HADOOP = "org.apache.hadoop.fs.s3a"
_AZURE = "org.apache.hadoop.fs.azurebfs.oauth2"
# As pyarrow's and boto3's own search: environment, profiles, web identity, container, instance.
_SEARCH = "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider"
_S3 = {
    "fs.s3.impl": f"{_HADOOP}.S3AFileSystem",
    "fs.s3n.impl": f"{_HADOOP}.S3AFileSystem",
    # Nobody waits for a quarter of an hour to hear that an endpoint is wrong.
    "fs.s3a.attempts.maximum": "4",
    "fs.s3a.retry.limit": "4",
    "fs.s3a.connection.establish.timeout": "10s",
}


def s3_options(settings: S3Settings) -> dict[str, str]:
    """Of Hadoop's s3a, for S3 paths in any of their spellings."""
    foreign = {name.lower(): value.lower() for name, value in settings.foreign.items()}
    options = dict(_S3)
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
        options[_PROVIDER] = f"{_HADOOP}.AnonymousAWSCredentialsProvider"
    elif settings.key is None:
        options[_PROVIDER] = _SEARCH
    else:
        options["fs.s3a.access.key"] = settings.key
        options["fs.s3a.secret.key"] = settings.secret or ""
        options[_PROVIDER] = f"{_HADOOP}.SimpleAWSCredentialsProvider"
        if settings.token is not None:
            options["fs.s3a.session.token"] = settings.token
            options[_PROVIDER] = f"{_HADOOP}.TemporaryAWSCredentialsProvider"
    return options


def google_options(settings: GoogleSettings, environment: Mapping[str, str]) -> dict[str, str]:
    """Of Google's connector, which is no part of Hadoop: users bring its jar."""
    options = {
        "fs.gs.impl": "com.google.cloud.hadoop.fs.gcs.GoogleHadoopFileSystem",
        "fs.AbstractFileSystem.gs.impl": "com.google.cloud.hadoop.fs.gcs.GoogleHadoopFS",
    }
    account = environment.get("GOOGLE_APPLICATION_CREDENTIALS")
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
            f"fs.azure.sas.fixed.token.{host}": settings.sas.removeprefix("?"),
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


def hadoop_options(options: Mapping[str, str]) -> dict[str, str]:
    """Of all stores that ``storage_options`` speaks of, and of S3, which the environment may speak of.

    Raises:
        ConfigError: an option that nobody knows, or half of a pair.
    """
    found = s3_options(S3Settings.of(options))
    if speaks_of("gcs", options):
        found.update(google_options(GoogleSettings.of(options), os.environ))
    if speaks_of("azure", options):
        found.update(azure_options(AzureSettings.of(options)))
    return found


def bucket_options(bucket: str, options: Mapping[str, str]) -> dict[str, str]:
    """The same for one bucket of S3 alone, where a source has options of its own."""
    prefix = "fs.s3a."
    found = s3_options(S3Settings.of(options))
    return {
        f"{prefix}bucket.{bucket}.{name.removeprefix(prefix)}": value
        for name, value in found.items()
        if name.startswith(prefix)
    }
