"""`yummy features serve` as a person starts it: a process with a real repository and a real Redis."""

from __future__ import annotations

import json
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pyarrow as pa
import pytest
from feast import Entity, FeatureService, FeatureView, Field
from feast.types import Float64, Int64
from feast.value_type import ValueType

from tests.feast.repo import in_parquet
from tests.places import Node, node, wait_until
from tests.unit.serving.tiny import Load, Server, answer, request, started
from yummy_feast.cli import main
from yummy_feast.repository import open_feature_store

CONFIGURATION = """
project: lab
provider: yummy_feast.YummyProvider
registry: registry.db
offline_store: {{type: yummy_feast.YummyOfflineStore}}
online_store:
  type: yummy_feast.YummyOnlineStore
  connection_string: "{address}"
  connect_timeout: 500ms
  read_timeout: 500ms
entity_key_serialization_version: 3
"""
ASKED = json.dumps({"feature_service": "all", "entities": {"driver_id": [1, 2]}}).encode()
PACKET = request("/get-online-features", ASKED)
YUMMY = [sys.executable, "-W", "ignore", "-c", "import sys; from yummy_feast.cli import main; sys.exit(main())"]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with node(tmp_path_factory.mktemp("redis")) as running:
        yield running


VIEWS = 25


def rows() -> pd.DataFrame:
    """A row of driver 1 for each view: of features a0, b0, a1..."""
    values = {f"{letter}{each}": [value] for each in range(VIEWS) for letter, value in (("a", 1.5), ("b", 2))}
    return pd.DataFrame({"driver_id": [1], "event_timestamp": [datetime.now(UTC)], **values})


@pytest.fixture(scope="module")
def repo(redis: Node, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25 views of two features, with a row each."""
    folder = tmp_path_factory.mktemp("repo")
    (folder / "feature_store.yaml").write_text(CONFIGURATION.format(address=redis.address))
    store = open_feature_store(str(folder / "feature_store.yaml"))
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    source = in_parquet(folder, "stats", pa.Table.from_pandas(rows()), timestamp_field="event_timestamp")
    views = [
        FeatureView(
            name=f"view_{each}",
            entities=[driver],
            ttl=timedelta(days=9),
            schema=[Field(name=f"a{each}", dtype=Float64), Field(name=f"b{each}", dtype=Int64)],
            source=source,
        )
        for each in range(VIEWS)
    ]
    services = [FeatureService(name=f"s{each}", features=views[: each + 1]) for each in range(20)]
    store.apply([driver, *views, *services, FeatureService(name="all", features=views[:5])])
    fill(folder)
    return folder


def fill(repo: Path) -> None:
    store, frame = open_feature_store(str(repo / "feature_store.yaml")), rows()
    for each in range(VIEWS):
        columns = ["driver_id", "event_timestamp", f"a{each}", f"b{each}"]
        store.write_to_online_store(f"view_{each}", frame[columns])


def serve(folder: Path, *options: str, **environment: str) -> AbstractContextManager[Server]:
    return started([*YUMMY, "features", "serve", "-p", "0", *options], folder, **environment)


def ask(server: Server) -> dict[str, Any]:
    with server.connect() as connection:
        connection.sendall(PACKET)
        status, _, body = answer(connection)
    assert status == 200, body
    found = json.loads(body)
    return dict(zip(found["metadata"]["feature_names"], (each["values"] for each in found["results"]), strict=True))


def test_it_starts_serves_and_ends(repo: Path) -> None:
    with serve(repo) as server:
        assert server.get("/health")[0] == 200
        # Of processor time, which a machine that is busy does not change: in seconds a start takes half of it.
        times = psutil.Process(server.pid).cpu_times()
        assert times.user + times.system < 3, times
        assert ask(server)["a0"] == [1.5, None]
        for path in ("/docs", "/openapi.json", "/metrics"):
            assert server.get(path)[0] == 200
        assert psutil.Process(server.pid).memory_info().rss < 250_000_000
        assert server.end() == 0
    assert [line.split(" ", 2)[2] for line in server.lines] == [f"INFO ready on http://127.0.0.1:{server.port}\n"]


def test_several_workers_count_together_and_lose_nothing_at_the_end(repo: Path) -> None:
    with serve(repo, "--workers", "2") as server:
        load = Load(server.port, PACKET)
        time.sleep(1)
        counted = metric(server, 'yummy_features_requests_total{code="OK"}')
        assert metric(server, 'yummy_features_read_total{status="PRESENT"}') > 0
        assert 0 <= metric(server, 'yummy_features_view_age_seconds{view="view_3"}') < 600
        assert metric(server, "yummy_redis_reconnects_total") == 0
        assert server.end() == 0
        load.join()
    assert load.lost == []
    assert 0 < counted <= load.answered


def metric(server: Server, name: str) -> float:
    lines = server.get("/metrics")[1].decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(name))


def test_redis_may_be_away_at_the_start_and_later(repo: Path, redis: Node) -> None:
    redis.kill()
    try:
        with serve(repo) as server:
            reason = server.wait_for("not ready: (.*)")[1]
            assert redis.address in reason
            assert not any("ready on" in line for line in server.lines)
            redis.start()
            assert server.get("/health")[0] == 200
            with redis.paused():
                assert server.get("/health")[0] == 503
                with server.connect() as connection:
                    connection.sendall(PACKET)
                    status, headers, body = answer(connection)
                assert (status, headers["retry-after"]) == (503, "1")
                assert b"ONLINE_STORE_UNAVAILABLE" in body
            wait_until(lambda: server.get("/health")[0] == 200, 10)
            redis.restart()
            wait_until(lambda: server.get("/health")[0] == 200, 10)
            assert metric(server, "yummy_redis_reconnects_total") >= 1
            # What was in Redis is gone, and that is no error.
            assert ask(server)["a0"] == [None, None]
            assert server.end() == 0
    finally:
        fill(repo)


@pytest.mark.parametrize("way", ["environment", "file"])
def test_a_token_that_no_list_of_processes_shows(repo: Path, tmp_path: Path, way: str) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    options = ("--token-file", str(tmp_path / "token")) if way == "file" else ()
    environment = {"YUMMY_FEATURES_SERVE_TOKEN": "s3cret"} if way == "environment" else {}
    with serve(repo, *options, **environment) as server:
        assert server.get("/health")[0] == 200
        assert server.get("/metrics")[0] == 401
        assert server.get("/metrics", Authorization="Bearer s3cret")[0] == 200


def test_limits_are_options(repo: Path) -> None:
    with serve(repo, "--max-body", "1kB", "--header-timeout", "300ms", "--compat", "feast") as server:
        with server.connect() as connection:
            connection.sendall(request("/get-online-features", b"x" * 2000))
            assert answer(connection)[0] == 413
        with server.connect() as slow:
            slow.sendall(b"POST")
            assert answer(slow)[0] == 408


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["-f", "absent.yaml"], 1, "yummy: absent.yaml: no such file (name the configuration file with -f)"),
        (["--tls-cert", "x"], 1, "yummy: --tls-cert without --tls-key (TLS needs both files)"),
        (["--tls-cert", "feature_store.yaml", "--tls-key", "feature_store.yaml"], 1, "yummy: --tls-cert feature_"),
        (["--token", "x", "--token-file", "y"], 1, "yummy: --token and --token-file (give one of them)"),
        (["--token-file", "y"], 1, "yummy: --token-file: y: No such file or directory"),
        (["--workers", "0"], 1, "yummy: --workers: 0 is not between 1 and 128"),
        (["--request-timeout", "soon"], 2, "yummy: Invalid value for '-"),
        (["--max-body", "lots"], 2, "yummy: Invalid value for '--max-body': 'lots' (write bytes, or a unit: "),
        (["--compat", "gladly"], 2, "yummy: Invalid value for '--compat': 'gladly' is not one of 'none', 'feast'."),
    ],
)
def test_what_is_wrong_is_one_line(
    repo: Path,
    options: list[str],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(repo)
    assert main(["features", "serve", "-p", "0", *options]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(message), err
    assert err.count("\n") == 1, err


def test_a_port_that_is_taken_is_one_line(
    repo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(repo)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["features", "serve", "-p", str(port)]) == 1
    err = capsys.readouterr().err
    assert (
        err
        == f"yummy: port {port} of 127.0.0.1 is in use (stop the server that listens there, or take another --port)\n"
    )


def test_a_repository_that_was_never_applied_is_one_line(
    redis: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "feature_store.yaml").write_text(CONFIGURATION.format(address=redis.address))
    monkeypatch.chdir(tmp_path)
    assert main(["features", "serve", "-p", "0"]) == 1
    assert capsys.readouterr().err == "yummy: the registry knows no project 'lab' (run `feast apply` first)\n"


def test_a_token_beside_an_auth_block_is_one_line(
    repo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (repo / "guarded.yaml").write_text((repo / "feature_store.yaml").read_text() + "auth: {type: kubernetes}\n")
    monkeypatch.chdir(repo)
    assert main(["features", "serve", "-f", "guarded.yaml", "-p", "0", "--token", "x"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("yummy: guarded.yaml: auth.type is 'kubernetes', and --token is given: ")
    assert err.count("\n") == 1


PROGRAM = """
import sys
from yummy_feast import feature_serve

if __name__ == "__main__":
    feature_serve(sys.argv[1], port=0, workers=2, registry_poll=1, access_log=True)
"""


def test_the_same_in_python(repo: Path, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-W", "ignore", str(tmp_path / "program.py"), str(repo / "feature_store.yaml")]
    with started(command, tmp_path) as server:
        assert ask(server)["b0"] == [2, None]
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/health", timeout=20) as reply:
            assert reply.status == 200
        assert server.end() == 0
        logged = [json.loads(line) for line in server.process.stdout or ()]
    assert {(line["path"], line["status"]) for line in logged} == {("/get-online-features", 200), ("/health", 200)}
