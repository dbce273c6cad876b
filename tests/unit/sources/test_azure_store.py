"""Azure settings in every spelling, for each library."""

from __future__ import annotations

import pytest

from yummy_feast.errors import ConfigError
from yummy_feast.sources.azure_store import AzureSettings

KEY = "aHVzaC1kby1ub3QtbG9nLW1l"


@pytest.mark.parametrize(
    ("account", "key"),
    [
        ("account_name", "account_key"),
        ("azure_storage_account_name", "AZURE_STORAGE_ACCOUNT_KEY"),
        ("adls.account-name", "adls.account-key"),
    ],
)
def test_spellings_mean_the_same(account: str, key: str) -> None:
    settings = AzureSettings.of({account: "acc", key: KEY}, {})
    assert settings == AzureSettings("acc", KEY)
    assert settings.for_deltalake() == {"azure_storage_account_name": "acc", "azure_storage_account_key": KEY}
    assert settings.for_pyiceberg() == {"adls.account-name": "acc", "adls.account-key": KEY}
    assert settings.filesystem() is not None
    assert KEY not in repr(settings)


def test_a_service_principal_and_a_sas_token() -> None:
    principal = {"account_name": "acc", "tenant_id": "t", "client_id": "c", "client_secret": "hush-hush"}
    settings = AzureSettings.of(principal, {})
    assert settings.for_deltalake()["azure_storage_client_secret"] == "hush-hush"
    assert settings.for_pyiceberg()["adls.tenant-id"] == "t"
    assert "hush" not in repr(settings)
    assert AzureSettings.of({"account_name": "acc", "sas_token": "sv=hush"}, {}).for_pyiceberg() == {
        "adls.account-name": "acc",
        "adls.sas-token": "?sv=hush",
    }


def test_the_environment_fills_in() -> None:
    environment = {
        "AZURE_STORAGE_ACCOUNT_NAME": "env",
        "AZURE_STORAGE_ACCOUNT_KEY": KEY,
    }
    assert AzureSettings.of({}, environment) == AzureSettings("env", KEY)
    # Credentials of the options are whole in themselves: nothing of the environment is mixed in.
    assert AzureSettings.of({"sas_token": "sv=1"}, environment) == AzureSettings("env", sas="sv=1")
    assert AzureSettings.of({"account_name": "own"}, environment, account="path") == AzureSettings("path", KEY)


def test_an_emulator() -> None:
    settings = AzureSettings.of({"account_name": "dev", "account_key": KEY, "azure_endpoint": "http://localhost:1"}, {})
    delta = settings.for_deltalake()
    assert (delta["azure_storage_endpoint"], delta["allow_http"]) == ("http://localhost:1/dev", "true")
    iceberg = settings.for_pyiceberg()
    assert iceberg["adls.blob-storage-authority"] == iceberg["adls.dfs-storage-authority"] == "localhost:1"
    assert iceberg["adls.blob-storage-scheme"] == "http"
    assert settings.filesystem() is not None


def test_half_and_double_credentials() -> None:
    for options, match in (
        ({"account_key": KEY}, "no account_name"),
        ({"account_name": "a", "account_key": KEY, "sas_token": "s"}, "account_key and sas_token"),
        ({"account_name": "a", "client_secret": "hush"}, "without tenant_id"),
        ({"account_nmae": "a"}, "'account_nmae'.*'account_name'"),
    ):
        with pytest.raises(ConfigError, match=match) as caught:
            AzureSettings.of(options, {})
        assert KEY not in str(caught.value)
