"""A folder on Google Cloud Storage and on Azure."""

from __future__ import annotations

import pytest

from tests.azure_server import ACCOUNT, KEY, AzureServer
from tests.google_server import GoogleServer
from tests.store_servers import StoreServer, store_at
from tests.unit.models.saved import SAVED
from yummy_feast.errors import ModelNotFoundError
from yummy_feast.models.fetching import Place
from yummy_feast.models.loading import load_model

FILES = ("MLmodel", "model.lgb")


@pytest.fixture(params=["gcs", "azure"])
def server(request: pytest.FixtureRequest) -> StoreServer:
    return store_at(request, request.param)


@pytest.fixture
def folder(server: StoreServer) -> str:
    """A model, as a user names it."""
    bucket = server.bucket()
    for file in FILES:
        put(server, f"{bucket}/models/late/{file}", (SAVED / "lgb_binary" / file).read_bytes())
    return server.uri(f"{bucket}/models/late")


def put(server: StoreServer, path: str, content: bytes) -> None:
    with server.filesystem().open_output_stream(path) as stream:
        stream.write(content)


@pytest.mark.parametrize("end", ["", "/", "/MLmodel"])
def test_a_folder_is_brought_and_loaded(server: StoreServer, folder: str, end: str) -> None:
    model = load_model(f"{folder}{end}", storage_options=server.options)
    assert model.scorer.output == "binary"
    assert model.arranger.names == ("a", "b", "c", "d")


def test_the_mark_changes_with_the_content(server: StoreServer, folder: str) -> None:
    place = Place(folder, server.options)
    before = place.mark()
    assert place.mark() == before
    bucket = folder.partition("://")[2].partition("/")[0].partition("@")[0]
    put(server, f"{bucket}/models/late/more", b"x")
    assert place.mark() != before


def test_nothing_there_is_told(server: StoreServer, folder: str) -> None:
    with pytest.raises(ModelNotFoundError, match=r"/models/late-2: there is no such folder"):
        load_model(f"{folder}-2", storage_options=server.options)


def test_who_is_not_let_in_is_told(server: StoreServer, folder: str) -> None:
    wrong, named = {
        GoogleServer: ({"google_access_token": "ya29.hush"}, "google_access_token"),
        AzureServer: ({"account_key": "aHVzaA=="}, f"account_key of account '{ACCOUNT}'"),
    }[type(server)]
    with pytest.raises(ModelNotFoundError, match=f"the store refuses {named}") as caught:
        load_model(folder, storage_options={**server.options, **wrong})
    assert not any(secret in str(caught.value) for secret in ("hush", "aHVzaA==", KEY))
    assert "\n" not in str(caught.value)


def test_azure_settings_may_come_from_the_environment(
    azure_server: AzureServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = azure_server.bucket()
    for file in FILES:
        put(azure_server, f"{bucket}/late/{file}", (SAVED / "lgb_binary" / file).read_bytes())
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", KEY)
    options = {"azure_endpoint": azure_server.endpoint}
    assert load_model(f"az://{bucket}/late", storage_options=options).scorer.output == "binary"
