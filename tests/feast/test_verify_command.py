"""`yummy verify` as a person and a program meet it."""

from __future__ import annotations

import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from feast import FeatureStore

from tests.feast.test_verify import key_of, materialized, store
from tests.online_server import address, client, server
from yummy_feast.cli import main

__all__ = ["address", "client", "materialized", "server", "store"]

CONFIGURATION = """
project: lab
provider: yummy_feast.YummyProvider
registry: registry.db
offline_store: {{type: yummy_feast.YummyOfflineStore}}
online_store: {{type: yummy_feast.YummyOnlineStore, connection_string: "{address}"}}
entity_key_serialization_version: 3
"""


@pytest.fixture
def repo(materialized: FeatureStore, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "feature_store.yaml").write_text(CONFIGURATION.format(address=address))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command(repo: Path, client: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[1].split() == (["stats", "2026-01-01", "13:00:00", "20", "20", *["0"] * 7, "0.00%"])
    assert err == ""
    client.delete(key_of(client, 3))
    assert main(["verify"]) == 1
    out, err = capsys.readouterr()
    assert "5.00%" in out.splitlines()[1]
    assert "missing: driver_id=3: " in out
    assert "to mend missing: materialize the window again" in out
    assert out.splitlines()[-1] == "skewed beyond the tolerance of 0.00%: stats"
    assert err == ""
    assert main(["verify", "--tolerance", "0.05"]) == 0
    assert main(["verify", "--tolerance", "0.049"]) == 1


def test_the_command_for_programs(
    repo: Path, client: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client.delete(key_of(client, 3))
    monkeypatch.setenv("YUMMY_VERIFY_SAMPLE", "500")
    monkeypatch.chdir("/")
    assert main(["verify", "-f", str(repo / "feature_store.yaml"), "--json", "-V", "stats", "--seed", "4"]) == 1
    found = json.loads(capsys.readouterr().out)
    (view,) = found.pop("views")
    assert found == {"sample": 500, "seed": 4, "tolerance": 0.0, "over": ["stats"]}
    (example,) = view.pop("examples")
    assert example == {
        "cause": "missing", "keys": {"driver_id": 3}, "feature": None,
        "offline": "2026-01-01 13:00:00+00:00", "online": "no row",
    }  # fmt: skip
    assert view == {
        "view": "stats", "as_of": "2026-01-01T13:00:00+00:00", "skipped": None, "entities": 20, "equal": 19,
        "missing": 1, "stale": 0, "value": 0, "type": 0, "uncovered": 0, "ahead": 0, "expired": 0,
        "skewed": 1, "share": 0.05, "features": {},
    }  # fmt: skip


def test_the_configuration_may_be_a_url(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The current folder is the repository then."""
    served = repo / "served"
    served.mkdir()
    (repo / "feature_store.yaml").rename(served / "feature_store.yaml")
    handler = partial(QuietHandler, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        try:
            assert main(["verify", "-f", f"http://127.0.0.1:{web.server_port}/feature_store.yaml"]) == 0
        finally:
            web.shutdown()
            thread.join()
    assert "stats" in capsys.readouterr().out


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...  # type: ignore[override]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-V", "stat"], 1, "yummy: project 'lab' has no feature view 'stat' (did you mean 'stats'? known: stats)"),
        (["-f", "absent.yaml"], 1, "yummy: absent.yaml: no such file (name the configuration file with -f)"),
        (
            ["--sample", "0"],
            2,
            "yummy: Invalid value for '--sample': 0 is not in the range x>=1. (see yummy verify --help)",
        ),
        (["--tolerance", "2"], 2, "yummy: Invalid value for '--tolerance': 2.0 is not in the range 0<=x<=1. (see "),
    ],
)
def test_what_is_wrong_is_one_line(
    repo: Path, arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", *arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(message)
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("entity_key_serialization_version: soon", "yummy: feature_store.yaml: entity_key_serialization_version: "),
        ("online_store: sqlite", "yummy: online_store is SqliteOnlineStore"),
        ("online_store: {type: yummy_feast.YummyOnlineStore, spede: 1}", "yummy: feature_store.yaml: online_store"),
        ("offline_store: {type: yummy_feast.YummyOfflineStore, engin: x}", "yummy: feature_store.yaml: offline_store"),
        ("provider: yummy_feast.NoProvider", "yummy: feature_store.yaml: "),
        ("[", "yummy: feature_store.yaml, line "),
    ],
)
def test_a_wrong_configuration_is_one_line(
    repo: Path, line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = repo / "feature_store.yaml"
    name = line.partition(":")[0]
    kept = [given for given in file.read_text().splitlines() if not given.startswith(f"{name}:")]
    file.write_text("\n".join([*kept, line]))
    assert main(["verify"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(message), err
    assert err.count("\n") == 1, err


def test_a_server_that_is_away_is_one_line(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = repo / "feature_store.yaml"
    file.write_text(CONFIGURATION.format(address=f"unix://{repo}/nobody"))
    assert main(["verify"]) == 1
    err = capsys.readouterr().err
    assert "nobody" in err
    assert err.count("\n") == 1, err
