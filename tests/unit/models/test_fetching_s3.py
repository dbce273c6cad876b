"""A folder on an S3 server, which runs in this process."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator

import pytest

from tests.unit.models.saved import SAVED
from yummy_feast.errors import ModelNotFoundError
from yummy_feast.models.fetching import Place
from yummy_feast.models.loading import load_model


@pytest.fixture(scope="module")
def options() -> Iterator[dict[str, str]]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    put(f"{url}/bucket", b"")
    for file in ("MLmodel", "model.lgb"):
        put(f"{url}/bucket/models/late/{file}", (SAVED / "lgb_binary" / file).read_bytes())
    yield {"endpoint": url, "key": "me", "secret": "secret", "region": "us-east-1"}
    server.stop()


def put(url: str, content: bytes) -> None:
    headers = {"content-type": "application/octet-stream"}
    with urllib.request.urlopen(urllib.request.Request(url, content, headers, method="PUT")):
        pass


@pytest.mark.parametrize("end", ["", "/", "/MLmodel"])
def test_a_folder_is_brought_and_loaded(options: dict[str, str], end: str) -> None:
    model = load_model(f"s3://bucket/models/late{end}", storage_options=options)
    assert model.scorer.output == "binary"
    assert model.about.model_id


def test_settings_may_come_from_the_environment(options: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"endpoint": "AWS_ENDPOINT_URL", "key": "AWS_ACCESS_KEY_ID", "secret": "AWS_SECRET_ACCESS_KEY"}
    for name, variable in names.items():
        monkeypatch.setenv(variable, options[name])
    assert load_model("s3://bucket/models/late").arranger.names == ("a", "b", "c", "d")


def test_the_mark_changes_with_the_content(options: dict[str, str]) -> None:
    place = Place("s3://bucket/models/late", options)
    before = place.mark()
    assert place.mark() == before
    put(f"{options['endpoint']}/bucket/models/late/more", b"x")
    assert place.mark() != before


def test_nothing_there_is_told(options: dict[str, str]) -> None:
    with pytest.raises(ModelNotFoundError, match=r"s3://bucket/models/nothing: there is no such folder"):
        load_model("s3://bucket/models/nothing", storage_options=options)
