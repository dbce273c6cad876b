"""Google Cloud Storage settings in every spelling, for each library."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from yummy_feast.errors import ConfigError
from yummy_feast.sources.google_store import GoogleSettings

SOON = datetime(2030, 1, 1, tzinfo=UTC)
TOKEN = "ya29.hush"


def test_an_access_token() -> None:
    millis = str(int(SOON.timestamp() * 1000))
    settings = GoogleSettings.of({"gcs.oauth2.token": TOKEN, "gcs.oauth2.token-expires-at": millis}, {})
    assert settings == GoogleSettings(access_token=TOKEN, expires=SOON)
    assert TOKEN not in repr(settings)
    assert settings.for_pyiceberg() == {"gcs.oauth2.token": TOKEN, "gcs.oauth2.token-expires-at": millis}
    assert settings.filesystem() is not None
    with pytest.raises(ConfigError, match="GOOGLE_APPLICATION_CREDENTIALS") as caught:
        settings.for_deltalake()
    assert TOKEN not in str(caught.value)
    without = GoogleSettings.of({"google_access_token": TOKEN}, {})
    assert without.expires is not None
    assert abs(without.expires - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=1)


def test_an_emulator() -> None:
    settings = GoogleSettings.of({"google_endpoint": "http://localhost:4443", "google_skip_signature": "True"}, {})
    assert settings.for_deltalake() == {
        "google_base_url": "http://localhost:4443",
        "google_skip_signature": "true",
        "allow_http": "true",
    }
    assert settings.for_pyiceberg() == {"gcs.service.host": "http://localhost:4443", "google_skip_signature": "true"}
    with pytest.raises(ConfigError, match="'ftp://x' is no GCS endpoint"):
        GoogleSettings.of({"google_endpoint": "ftp://x"}, {}).for_deltalake()


def test_a_service_account_comes_from_the_environment() -> None:
    options = {"google_service_account": "/keys/me.json"}
    with pytest.raises(ConfigError, match="set GOOGLE_APPLICATION_CREDENTIALS") as caught:
        GoogleSettings.of(options, {})
    assert "/keys" not in str(caught.value)
    assert GoogleSettings.of(options, {"GOOGLE_APPLICATION_CREDENTIALS": "/keys/me.json"}) == GoogleSettings()


def test_options_that_contradict_or_make_no_sense() -> None:
    with pytest.raises(ConfigError, match="anonymous"):
        GoogleSettings.of({"google_skip_signature": "true", "google_access_token": TOKEN}, {})
    with pytest.raises(ConfigError, match="'tomorrow' is no time"):
        GoogleSettings.of({"gcs.oauth2.token": TOKEN, "gcs.oauth2.token-expires-at": "tomorrow"}, {})
    with pytest.raises(ConfigError, match="'gogle_project'"):
        GoogleSettings.of({"gogle_project": "x"}, {})


def test_options_of_one_library_pass_through() -> None:
    settings = GoogleSettings.of({"gcs.default-bucket-location": "EU", "google_project": "p"}, {})
    assert settings.for_pyiceberg() == {"gcs.default-bucket-location": "EU", "gcs.project-id": "p"}
