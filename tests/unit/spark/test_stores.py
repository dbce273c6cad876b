"""storage_options as Hadoop's file systems spell them."""

from __future__ import annotations

import pytest

from yummy_feast.errors import ConfigError
from yummy_feast.sources.azure_store import AzureSettings
from yummy_feast.sources.google_store import GoogleSettings
from yummy_feast.sources.object_store import S3Settings
from yummy_feast.spark.stores import azure_options, google_options, hadoop_options, names_s3, s3_options, units_of

PROVIDER = "fs.s3a.aws.credentials.provider"
OF_AWS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION")


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        *OF_AWS,
        "AZURE_STORAGE_ACCOUNT_NAME",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "GOOGLE_APPLICATION_CREDENTIALS",
    ):
        monkeypatch.delenv(name, raising=False)


def test_a_server_of_ones_own() -> None:
    found = hadoop_options({"endpoint": "http://localhost:9000", "key": "who", "secret": "hush"})
    assert found["fs.s3a.endpoint"] == "http://localhost:9000"
    assert found["fs.s3a.connection.ssl.enabled"] == "false"
    assert found["fs.s3a.path.style.access"] == "true"
    assert found["fs.s3a.endpoint.region"] == "us-east-1"
    assert (found["fs.s3a.access.key"], found["fs.s3a.secret.key"]) == ("who", "hush")
    assert found[PROVIDER].endswith(".SimpleAWSCredentialsProvider")
    assert found["fs.s3.impl"] == "org.apache.hadoop.fs.s3a.S3AFileSystem"


@pytest.mark.parametrize(
    "options",
    [
        {"AWS_ACCESS_KEY_ID": "who", "AWS_SECRET_ACCESS_KEY": "hush", "AWS_SESSION_TOKEN": "t", "AWS_REGION": "eu"},
        {"s3.access-key-id": "who", "s3.secret-access-key": "hush", "s3.session-token": "t", "s3.region": "eu"},
        {"key": "who", "secret": "hush", "token": "t", "region": "eu"},
    ],
)
def test_every_spelling_means_the_same(options: dict[str, str]) -> None:
    found = hadoop_options(options)
    assert found[PROVIDER].endswith(".TemporaryAWSCredentialsProvider")
    assert found["fs.s3a.session.token"] == "t"
    assert found["fs.s3a.endpoint.region"] == "eu"
    assert "fs.s3a.endpoint" not in found
    assert "fs.s3a.path.style.access" not in found


def test_the_environment_fills_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "who")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    found = hadoop_options({})
    assert found["fs.s3a.access.key"] == "who"
    assert found["fs.s3a.endpoint.region"] == "eu-west-1"


def test_without_keys_the_search_is_that_of_the_other_libraries() -> None:
    assert hadoop_options({})[PROVIDER] == "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider"
    assert s3_options(S3Settings.of({"aws_skip_signature": "true"}, {}))[PROVIDER].endswith(
        "AnonymousAWSCredentialsProvider"
    )


def test_buckets_as_parts_of_the_host() -> None:
    found = hadoop_options({"endpoint": "https://host", "virtual_hosted_style_request": "true"})
    assert found["fs.s3a.path.style.access"] == "false"
    assert found["fs.s3a.connection.ssl.enabled"] == "true"


def test_an_unknown_option_is_an_error_here_too() -> None:
    with pytest.raises(ConfigError, match="no option 'endpont'"):
        hadoop_options({"endpont": "x"})


def test_google(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    options = {"google_endpoint": "http://localhost:4443", "google_project": "p", "google_skip_signature": "true"}
    found = google_options(GoogleSettings.of(options, {}), {})
    assert found["fs.gs.auth.type"] == "UNAUTHENTICATED"
    assert found["fs.gs.storage.root.url"] == "http://localhost:4443/"
    assert found["fs.gs.project.id"] == "p"
    assert google_options(GoogleSettings(), {})["fs.gs.auth.type"] == "APPLICATION_DEFAULT"
    file = google_options(GoogleSettings.of({}, {}), {"GOOGLE_APPLICATION_CREDENTIALS": "/key.json"})
    assert file["fs.gs.auth.service.account.json.keyfile"] == "/key.json"
    assert "fs.gs.impl" not in hadoop_options({})
    assert "fs.gs.impl" in hadoop_options({"google_project": "p"})
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/key.json")
    assert hadoop_options({})["fs.gs.auth.type"] == "SERVICE_ACCOUNT_JSON_KEYFILE"


@pytest.mark.parametrize(
    ("options", "kind", "more"),
    [
        ({"account_key": "hush"}, "SharedKey", {"fs.azure.account.key": "hush"}),
        ({"sas_token": "?hush"}, "SAS", {"fs.azure.sas.fixed.token": "hush"}),
        (
            {"tenant_id": "t", "client_id": "c", "client_secret": "hush"},
            "OAuth",
            {
                "fs.azure.account.oauth2.client.secret": "hush",
                "fs.azure.account.oauth2.client.endpoint": "https://login.microsoftonline.com/t/oauth2/token",
            },
        ),
        (
            {},
            "OAuth",
            {"fs.azure.account.oauth.provider.type": "org.apache.hadoop.fs.azurebfs.oauth2.MsiTokenProvider"},
        ),
    ],
)
def test_azure(options: dict[str, str], kind: str, more: dict[str, str]) -> None:
    host = "me.dfs.core.windows.net"
    found = azure_options(AzureSettings.of({"account_name": "me", **options}, {}))
    assert found[f"fs.azure.account.auth.type.{host}"] == kind
    assert {name: found[f"{name}.{host}"] for name in more} == more


def test_an_azure_account_that_only_paths_name_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any("azure" in key for key in hadoop_options({"sas_token": "hush"}))
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "me")
    assert hadoop_options({"sas_token": "hush"})["fs.azure.sas.fixed.token.me.dfs.core.windows.net"] == "hush"


def test_credentials_of_spark_conf_are_found_by_hadoop_itself() -> None:
    assert PROVIDER not in hadoop_options({}, ["fs.s3a.access.key", "fs.s3a.secret.key"])
    assert PROVIDER in hadoop_options({}, ["fs.s3a.endpoint"])
    assert PROVIDER in hadoop_options({"key": "who", "secret": "hush"}, ["fs.s3a.session.token"])


def test_whether_anything_names_s3() -> None:
    assert not names_s3({}, {})
    assert not names_s3({"account_name": "me"}, {"AWS_PROFILE": "me"})
    assert names_s3({"aws_skip_signature": "true"}, {})
    assert names_s3({}, {"AWS_REGION": "eu"})


def test_what_means_something_only_together() -> None:
    azure = azure_options(AzureSettings.of({"account_name": "me", "sas_token": "hush"}, {}))
    google = google_options(GoogleSettings.of({"google_skip_signature": "true"}, {}), {})
    units = units_of({**s3_options(S3Settings.of({"endpoint": "http://x"}, {})), **azure, **google})
    whole = {head: unit.members for unit in units for head in unit.heads}
    assert set(whole["fs.azure.account.key.me.dfs.core.windows.net"]) == set(azure)
    assert whole["fs.gs.auth.type"] == ("fs.gs.auth.type",)
    assert "fs.s3a.path.style.access" in whole["fs.s3a.endpoint"]
    assert PROVIDER in whole["fs.s3a.access.key"]
    assert "fs.s3a.path.style.access" not in whole
