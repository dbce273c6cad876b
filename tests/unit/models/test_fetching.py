"""Folders, archives, addresses of the web and of S3."""

import os
import shutil
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.unit.models.saved import copy_of
from yummy_feast.errors import ConfigError, ModelFormatError, ModelNotFoundError
from yummy_feast.models.fetching import Place
from yummy_feast.models.mlmodel import read_mlmodel


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copy_of("lgb_binary", tmp_path)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def archive(folder: Path, form: str) -> Path:
    return Path(shutil.make_archive(str(folder.parent / "packed"), form, folder.parent, folder.name))


def read(place: str) -> str:
    with Place(place).brought() as found:
        return read_mlmodel(found).data


@pytest.mark.parametrize("spelled", ["{}", "{}/MLmodel", "file://{}"])
def test_a_local_folder_is_used_where_it_is(folder: Path, spelled: str) -> None:
    with Place(spelled.format(folder)).brought() as found:
        assert found == folder


@pytest.mark.parametrize("form", ["zip", "gztar", "tar"])
def test_an_archive_is_unpacked_here_or_from_the_web(folder: Path, web: str, form: str) -> None:
    packed = archive(folder, form)
    assert read(str(packed)) == read(f"{web}/{packed.name}") == "model.lgb"


@pytest.mark.parametrize("end", ["", "/", "/MLmodel", "?x=1"])
def test_a_folder_on_the_web_is_its_file_and_the_one_that_it_names(folder: Path, web: str, end: str) -> None:
    with Place(f"{web}/{folder.name}{end}").brought() as found:
        assert sorted(path.name for path in found.iterdir()) == ["MLmodel", "model.lgb"]
        assert (found / "model.lgb").read_bytes() == (folder / "model.lgb").read_bytes()
    assert not found.exists()


def test_what_the_web_has_not_is_named(folder: Path, web: str) -> None:
    for place in (f"{web}/nothing", f"{web}/nothing/MLmodel", f"{web}/nothing.zip"):
        with pytest.raises(ModelNotFoundError, match="404"):
            read(place)
    (folder / "model.lgb").unlink()
    with pytest.raises(ModelNotFoundError, match="404"):
        read(f"{web}/{folder.name}")
    with pytest.raises(ModelNotFoundError, match="is the address right"):
        read("http://127.0.0.1:1/model")


def test_what_is_no_model(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "odd.zip").write_bytes(b"PK")
    with pytest.raises(ModelFormatError, match="no archive"):
        read(str(tmp_path / "odd.zip"))
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as empty:
        empty.writestr("x", "y")
    with pytest.raises(ModelNotFoundError, match="there is no MLmodel file in it"):
        read(str(tmp_path / "empty.zip"))
    with pytest.raises(ModelNotFoundError, match="is a file"):
        read(str(folder / "model.lgb"))


def test_an_archive_writes_nothing_outside(tmp_path: Path, folder: Path) -> None:
    packed = tmp_path / "evil.tar"
    with tarfile.open(packed, "w") as tar:
        tar.add(folder, "model")
        tar.add(folder / "MLmodel", "../outside")
    with pytest.raises(ModelFormatError, match="outside"):
        read(str(packed))


@pytest.mark.parametrize(
    ("place", "hint"),
    [("models:/late/3", "mlflow artifacts download -u models:/late/3"), ("ftp://x/y", "a path, s3://")],
)
def test_addresses_that_nobody_follows_here(place: str, hint: str) -> None:
    for ask in (lambda: read(place), Place(place).mark):
        with pytest.raises(ConfigError, match=hint):
            ask()


def test_the_mark_changes_with_the_content(folder: Path, web: str) -> None:
    for place in (str(folder), f"{web}/{folder.name}"):
        before = Place(place).mark()
        assert Place(place).mark() == before
        file = folder / "MLmodel"
        file.write_text(file.read_text() + "\n")
        os.utime(file, (1, int(file.stat().st_mtime) + 5))
        assert Place(place).mark() != before
