"""Who may come in: what each store is shown, what is told where it refuses, and that no secret is in any text."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.azure_server import ACCOUNT, KEY, AzureServer
from tests.contract.format_cases import read
from tests.google_server import TOKEN, GoogleServer
from tests.store_servers import StoreServer
from tests.unit.sources.test_each_store import sources
from tests.unit.sources.test_s3 import rows
from yummy_feast.errors import ConfigError, SourceReadError
from yummy_feast.sources.base import SourceContext, YummySource

WRONG_KEY = "aHVzaC1odXNoLWh1c2g="


@dataclass
class World:
    """A row in each format, written by who may, and what leads there."""

    server: StoreServer
    repo: Path
    bucket: str
    catalogs: dict[str, Any]

    @classmethod
    def on(cls, server: StoreServer, repo: Path, monkeypatch: pytest.MonkeyPatch, bucket: str = "") -> World:
        bucket = bucket or server.bucket()
        (repo / "catalog.db").touch()
        warehouse = server.uri(f"{bucket}/lake")
        catalogs = {"local": {"type": "sql", "uri": "sqlite:///catalog.db", "warehouse": warehouse}}
        made = cls(server, repo, bucket, catalogs)
        with monkeypatch.context() as patched:
            for name, value in server.environment.items():
                patched.setenv(name, value)
            for source in made.sources():
                source.append(rows(1), made.context(server.options), create=True)
        return made

    def sources(self) -> list[YummySource]:
        """Parquet in a folder, CSV, Delta, Iceberg."""
        found = sources(self.server, self.bucket)
        return [found[1], *found[3:]]

    def context(self, options: dict[str, str]) -> SourceContext:
        return SourceContext(self.repo, options, self.catalogs)

    def found(self, options: dict[str, str]) -> list[str]:
        """Per format the rows, or the error."""
        answers = []
        for source in self.sources():
            try:
                answers.append(str(read(source.scan(self.context(options)))["id"].to_pylist()))
            except (ConfigError, SourceReadError) as error:
                answers.append(str(error))
        return answers


@pytest.fixture
def google(google_server: GoogleServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World.on(google_server, tmp_path, monkeypatch)


@pytest.fixture
def azure(azure_server: AzureServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World.on(azure_server, tmp_path, monkeypatch)


def test_google_takes_a_key_file_of_the_environment(google: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in google.server.environment.items():
        monkeypatch.setenv(name, value)
    assert google.found(google.server.options) == ["[1]"] * 4


def test_google_takes_an_access_token_but_for_delta(google: World) -> None:
    parquet, csv, delta, iceberg = google.found({**google.server.options, "google_access_token": TOKEN})
    assert [parquet, csv, iceberg] == ["[1]"] * 3
    assert "cannot be opened with an access token" in delta
    assert TOKEN not in delta


def test_google_without_credentials(
    google_server: GoogleServer, google: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anonymous = {**google_server.options, "google_skip_signature": "true"}
    (tmp_path / "open").mkdir()
    everybodys = World.on(google_server, tmp_path / "open", monkeypatch, google_server.open_bucket())
    assert everybodys.found(anonymous) == ["[1]"] * 4
    for told in google.found(anonymous):
        assert "the store refuses anonymous access (drop google_skip_signature" in told


def test_a_google_token_that_is_not_taken(google: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told = google.found({**google.server.options, "google_access_token": "ya29.hush"})
    for text in (told[0], told[1], told[3]):
        assert "the store refuses google_access_token (give a new one in storage_options" in text
    assert "hush" not in caplog.text + "".join(told)
    assert not any("\n" in text for text in told)


def test_azure_takes_what_the_environment_says(azure: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", KEY)
    endpoint = {"azure_endpoint": azure.server.options["azure_endpoint"]}
    assert azure.found(endpoint) == ["[1]"] * 4


def test_azure_finds_the_account_in_the_path(azure: World) -> None:
    options = {name: value for name, value in azure.server.options.items() if name != "account_name"}
    assert azure.found(options) == ["[1]"] * 4


@pytest.mark.parametrize("mark", ["", "?"])
def test_azure_takes_a_sas_token(azure_server: AzureServer, azure: World, mark: str) -> None:
    options = {name: value for name, value in azure_server.options.items() if name != "account_key"}
    assert azure.found({**options, "sas_token": mark + azure_server.sas_token()}) == ["[1]"] * 4


@pytest.mark.parametrize(
    ("field", "value", "hint"),
    [
        ("account_key", WRONG_KEY, "AZURE_STORAGE_ACCOUNT_KEY"),
        ("sas_token", "sv=2021-08-06&ss=b&srt=sco&sp=rl&se=2099-01-01&sig=hush", "AZURE_STORAGE_SAS_TOKEN"),
        ("sas_token", "?sv=2021-08-06&ss=b&srt=sco&sp=rl&se=2099-01-01&sig=hush", "AZURE_STORAGE_SAS_TOKEN"),
    ],
)
def test_what_azure_does_not_take(
    azure: World, field: str, value: str, hint: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    options = {name: item for name, item in azure.server.options.items() if name != "account_key"}
    told = azure.found({**options, field: value})
    for text in told:
        assert f"the store refuses {field} of account '{ACCOUNT}' (mend it in storage_options or {hint})" in text
        assert "\n" not in text
    assert not any(secret in caplog.text + "".join(told) for secret in ("hush", WRONG_KEY))


def test_a_key_that_is_no_base64_ends_no_process(azure: World) -> None:
    for told in azure.found({**azure.server.options, "account_key": "hush, not base64"}):
        assert told == f"account_key of account '{ACCOUNT}' is no base64 (copy it whole, with the = at its end)"


def test_azure_without_credentials(azure: World) -> None:
    options = {name: value for name, value in azure.server.options.items() if name != "account_key"}
    for told in azure.found(options):
        assert f"the store refuses us of account '{ACCOUNT}': no credentials were given" in told
        assert "set account_key, sas_token or client_secret in storage_options" in told
        assert "\n" not in told


def test_writing_is_refused_in_the_same_words(azure: World) -> None:
    with pytest.raises(SourceReadError, match=f"the store refuses account_key of account '{ACCOUNT}'"):
        azure.sources()[0].append(rows(2), azure.context({**azure.server.options, "account_key": WRONG_KEY}))
