"""S3 settings in every spelling, and no secret in any text."""

import pytest

from yummy_feast.errors import ConfigError
from yummy_feast.sources.object_store import S3Settings


@pytest.mark.parametrize(
    "endpoint", ["endpoint", "endpoint_url", "s3_endpoint_override", "AWS_ENDPOINT_URL", "s3.endpoint"]
)
@pytest.mark.parametrize("key", [("key", "secret"), ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")])
def test_spellings_mean_the_same(endpoint: str, key: tuple[str, str]) -> None:
    options = {endpoint: "http://localhost:9000", key[0]: "me", key[1]: "hush", "region": "north"}
    settings = S3Settings.of(options, {})
    assert settings == S3Settings("http://localhost:9000", "north", "me", "hush")
    assert settings.for_deltalake() == {
        "AWS_ENDPOINT_URL": "http://localhost:9000",
        "AWS_REGION": "north",
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": "hush",
        "AWS_ALLOW_HTTP": "true",
    }
    assert settings.for_pyiceberg() == {
        "s3.endpoint": "http://localhost:9000",
        "s3.region": "north",
        "s3.access-key-id": "me",
        "s3.secret-access-key": "hush",
    }
    assert "hush" not in repr(settings)


def test_the_environment_fills_in() -> None:
    environment = {
        "AWS_ACCESS_KEY_ID": "e",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_SESSION_TOKEN": "t",
        "AWS_DEFAULT_REGION": "r",
        "AWS_ENDPOINT_URL": "https://e",
    }
    assert S3Settings.of({}, environment) == S3Settings("https://e", "r", "e", "s", "t")
    given = S3Settings.of({"key": "k", "secret": "x", "endpoint": "o"}, environment)
    assert (given.key, given.secret, given.token, given.endpoint) == ("k", "x", None, "o")


def test_unknown_and_half_options() -> None:
    with pytest.raises(ConfigError, match=r"'endpiont'.*'endpoint'"):
        S3Settings.of({"endpiont": "x"}, {})
    with pytest.raises(ConfigError, match="key and secret"):
        S3Settings.of({"key": "x"}, {})
    with pytest.raises(ConfigError, match="'ftp://x'"):
        S3Settings.of({"endpoint": "ftp://x"}, {}).for_deltalake()


def test_options_of_one_library_pass_through() -> None:
    settings = S3Settings.of({"aws_s3_allow_unsafe_rename": "true", "timeout": "5s", "s3.proxy-uri": "p"}, {})
    assert settings.for_deltalake() == {"aws_s3_allow_unsafe_rename": "true", "timeout": "5s", "s3.proxy-uri": "p"}
    assert settings.filesystem() is not None


def test_an_endpoint_without_scheme_is_https() -> None:
    options = S3Settings.of({"endpoint": "minio:9000"}, {}).for_deltalake()
    assert options == {"AWS_ENDPOINT_URL": "https://minio:9000", "AWS_REGION": "us-east-1"}


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"key": "me", "secret": "hush"}, "key and secret"),
        ({"key": "me", "secret": "hush", "token": "hush"}, "key, secret and token"),
        ({}, "us: no key and secret"),
    ],
)
def test_what_a_refusal_names(options: dict[str, str], shown: str) -> None:
    credentials = S3Settings.of(options, {}).credentials
    assert credentials.shown.startswith(shown)
    assert "AWS_ACCESS_KEY_ID" in credentials.mend
    assert "hush" not in str(credentials)
