"""``storage_options`` as Hadoop's file systems spell them, so that Spark opens what the embedded engine opens.

Keys come without the ``spark.hadoop.`` in front: they are set on a running session, never on a command line, where
everybody on the machine could read them.
"""

from __future__ import annotations

from collections.abc import Mapping

from yummy_feast.sources.object_store import S3Settings, split_endpoint

_YES = ("true", "1", "yes")
_PROVIDER = "fs.s3a.aws.credentials.provider"
_HADOOP = "org.apache.hadoop.fs.s3a"
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


def hadoop_options(options: Mapping[str, str]) -> dict[str, str]:
    """Of all stores that ``storage_options`` speaks of.

    Raises:
        ConfigError: an option that nobody knows, or half of a pair.
    """
    return s3_options(S3Settings.of(options))


def bucket_options(bucket: str, options: Mapping[str, str]) -> dict[str, str]:
    """The same for one bucket of S3 alone, where a source has options of its own."""
    prefix = "fs.s3a."
    found = s3_options(S3Settings.of(options))
    return {
        f"{prefix}bucket.{bucket}.{name.removeprefix(prefix)}": value
        for name, value in found.items()
        if name.startswith(prefix)
    }
