"""The command line as a person and a program meet it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.unit.online.servers import ROOT, put_down
from yummy_feast.cli import main, yummy
from yummy_feast.cli import store as store_commands
from yummy_feast.online.connection_string import EMBEDDED

STORE = """
project: flights
provider: yummy_feast.YummyProvider
registry: data/registry.db
online_store:
  type: yummy_feast.YummyOnlineStore
"""


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "repo"
    folder.mkdir()
    (folder / "feature_store.yaml").write_text(STORE + "  connection_string: embedded\n")
    monkeypatch.chdir(folder)
    yield folder
    put_down(folder)


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from commands(child, (*path, name))


EVERY_COMMAND = list(commands(yummy))


def test_start_status_stop(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "status"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "state   stopped"
    assert main(["store", "start"]) == 0
    started = capsys.readouterr().out
    assert re.search(r"^state   ready\nserver  valkey \d[\d.]+, pid \d+\nup      0 s\nsocket  ", started)
    assert f"data    {repo / 'data' / 'valkey'} (" in started
    assert main(["store", "start"]) == 0
    assert re.search(r"pid \d+", capsys.readouterr().out)[0] in started  # type: ignore[index]
    assert main(["store", "stop"]) == 0
    assert main(["store", "stop"]) == 0
    out, err = capsys.readouterr()
    assert out == "stopped\nit was not running\n"
    assert err == ""


def test_json_is_for_programs(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(verb: str) -> dict[str, object]:
        assert main(["store", verb, "--json"]) == 0
        found: dict[str, object] = json.loads(capsys.readouterr().out)
        return found

    stopped = run("status")
    assert (stopped["running"], stopped["state"], stopped["pid"]) == (False, "stopped", None)
    started = run("start")
    assert started["running"] is True
    assert started.keys() == stopped.keys()
    numbers = ("pid", "keys", "memory_bytes", "uptime_seconds", "data_bytes")
    assert {type(started[key]) for key in numbers} == {int}
    assert Path(str(started["socket_path"])).is_socket()
    assert run("stop") == {"stopped": True}
    assert run("stop") == {"stopped": False}


def test_the_configuration_is_named_by_option_or_environment(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = str(repo / "feature_store.yaml")
    assert main(["store", "start", "-f", file]) == 0
    assert main(["store", "status", "--filename", "repo/feature_store.yaml"]) == 0
    for name in ("YUMMY_FILENAME", "YUMMY_STORE_STATUS_FILENAME"):
        with monkeypatch.context() as context:
            context.setenv(name, file)
            context.setenv("YUMMY_STORE_STATUS_JSON", "1")
            capsys.readouterr()
            assert main(["store", "status"]) == 0
            assert json.loads(capsys.readouterr().out)["running"] is True
    assert main(["store", "status"]) == 1
    assert capsys.readouterr().err == (
        "yummy: feature_store.yaml: no such file (name the configuration file with -f)\n"
    )


def test_variables_are_filled_as_feast_does_and_with_defaults(
    repo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KIND", "embedded")
    for text in ("$KIND", "${KIND}", "${KIND:-localhost:6379}", "${NO_KIND:-embedded}", "'${NO_KIND:-embedded}'"):
        (repo / "feature_store.yaml").write_text(f"{STORE}  connection_string: {text}\n")
        assert main(["store", "status"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "feature_store.yaml, line 1, column 5: not YAML: "),
        ("[1]", "feature_store.yaml: is not a mapping of keys to values (is it a feature_store.yaml?)"),
        ("project: x", "feature_store.yaml: online_store.type is None (set it to yummy_feast.YummyOnlineStore)"),
        ("online_store: redis", "feature_store.yaml: online_store.type is 'redis' (set it to "),
        ("online_store: {type: sqlite}", "feature_store.yaml: online_store.type is 'sqlite' (set it to "),
        (
            STORE + "  conection_string: embedded",
            "feature_store.yaml: unknown key online_store.conection_string (did you mean 'connection_string'? known: ",
        ),
        (
            STORE + "  connection_string: embeded",
            "feature_store.yaml: online_store.connection_string: node 1, 'embeded', has no port (",
        ),
        (
            STORE + "  connect_timeout: soon",
            "feature_store.yaml: online_store.connect_timeout: 'soon' is not a duration (",
        ),
        (
            STORE + "  connection_string: redis:6379",
            "feature_store.yaml: online_store.connection_string is not 'embedded', so there is no server to start here"
            " (redis at redis:6379 is run by others; ",
        ),
        (
            STORE + "  connection_string: ${NONE}",
            "feature_store.yaml: online_store.connection_string: the environment variable NONE is not set (",
        ),
        (
            STORE + "  read_timeout: ${NONE}",
            "feature_store.yaml: online_store.read_timeout: the environment variable NONE is not set (",
        ),
        (STORE + "  connection_string: 6379", "feature_store.yaml: online_store.connection_string: 6379 is not text"),
    ],
)
def test_a_wrong_configuration_is_one_line(
    repo: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    (repo / "feature_store.yaml").write_text(text)
    assert main(["store", "start"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"yummy: {message}")
    assert err.count("\n") == 1
    assert not (repo / "data").exists()


def test_the_keys_are_those_of_the_store_itself() -> None:
    from yummy_feast import YummyOnlineStoreConfig

    assert set(store_commands._STORE_KEYS) == set(YummyOnlineStoreConfig.model_fields)
    assert YummyOnlineStoreConfig.model_fields["connection_string"].default == EMBEDDED
    assert YummyOnlineStoreConfig.model_fields["type"].default == store_commands._STORE_TYPES[0]


def test_a_server_that_cannot_start_is_one_line(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repo / "data").write_text("in the way")
    assert main(["store", "start"]) == 1
    assert re.fullmatch(r"yummy: .*data.* should be a folder and is not \(.*\)\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sotre"], "No such command 'sotre'. Did you mean 'store'? (see yummy --help)"),
        (
            ["store", "status", "--jsn"],
            "No such option '--jsn'. Did you mean '--json'? (see yummy store status --help)",
        ),
        (["store", "start", "-f"], "Option '-f' requires an argument. (see yummy --help)"),
        (["store", "start", "more"], "Got unexpected extra argument (more) (see yummy store start --help)"),
    ],
)
def test_a_wrong_command_line_exits_with_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("yummy: ")
    assert message.split(" (see")[1] in err
    assert message.split("'")[0].split(" (")[0] in err
    assert err.count("\n") == 1


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["store"]):
        assert main(arguments) == 2
        assert "Usage: yummy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "command"), EVERY_COMMAND, ids=[" ".join(("yummy", *path)) for path, _ in EVERY_COMMAND]
)
def test_every_help_has_an_example_that_can_be_parsed(
    path: tuple[str, ...], command: click.Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*path, "--help"]) == 0
    text = capsys.readouterr().out
    example = re.search(r"Example:\n +yummy (.+)\n", text)
    assert example is not None
    words = example[1].split()
    found: click.Command = yummy
    while isinstance(found, click.Group):
        found = found.commands[words.pop(0)]
    found.make_context("yummy", words)
    # A group's example is one of its own commands.
    assert example[1].startswith(" ".join(path))
    assert "--debug" in text


def test_only_what_exists_is_listed() -> None:
    assert [path for path, command in EVERY_COMMAND if not isinstance(command, click.Group)] == [
        ("bench", "features"),
        ("bench", "materialize"),
        ("bench", "models"),
        ("bench", "offline"),
        ("bench", "online"),
        ("features", "serve"),
        ("models", "serve"),
        ("spark", "jars"),
        ("store", "start"),
        ("store", "stop"),
        ("store", "status"),
        ("store", "convert"),
        ("verify",),
    ]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"yummy \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


def yummy_process(*arguments: str, **options: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from yummy_feast.cli import main; sys.exit(main())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options}
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment)


def test_a_traceback_is_shown_with_debug_only(repo: Path) -> None:
    (repo / "feature_store.yaml").write_text("a: [")
    plain = yummy_process("store", "start")
    assert plain.returncode == 1
    assert plain.stderr.count("\n") == 1
    for arguments in (("--debug", "store", "start"), ("store", "start", "--debug")):
        debugged = yummy_process(*arguments)
        assert debugged.returncode == 1
        assert "Traceback (most recent call last)" in debugged.stderr
        assert "ConfigError: feature_store.yaml, line 1" in debugged.stderr
    assert "Traceback" in yummy_process("store", "start", YUMMY_DEBUG="1").stderr


BUG = """
import sys
from yummy_feast import cli
from yummy_feast.cli import store
def bug(*_):
    raise KeyError("never foreseen")
store._embedded_repo = bug
sys.exit(cli.main())
"""


def test_a_bug_is_one_line_too() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", BUG, "store", "status", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    plain, debugged = run(), run("--debug")
    assert plain.returncode == debugged.returncode == 1
    assert plain.stderr == "yummy: KeyError: 'never foreseen' (this is a bug in yummy; --debug shows where)\n"
    assert "Traceback" in debugged.stderr


def test_a_reader_that_leaves_early_is_no_error(repo: Path) -> None:
    code = "import sys; from yummy_feast.cli import main; sys.exit(main())"
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, "store", "status"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=environment)
    os.close(writer)
    assert done.stderr == b""
    assert done.returncode == 1


def test_help_and_status_import_nothing_heavy(repo: Path) -> None:
    code = """
import sys
from yummy_feast.cli import main
code = main(sys.argv[1:])
print(sorted({"feast", "pandas", "pyarrow", "duckdb", "redis", "numpy", "yaml"} & set(sys.modules)))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def imported(*arguments: str) -> str:
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment)
        return done.stdout.splitlines()[-1]

    assert imported("--help") == "[]"
    assert imported("store", "status") == "['yaml']"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min 0 s"), (3600, "1 h"), (3725, "1 h 2 min"), (90061, "1 d 1 h")],
)
def test_durations_read_well(seconds: int, text: str) -> None:
    assert store_commands._duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1234, "1.2 kB"), (5_600_000, "5.6 MB"), (10**16, "10000.0 TB")],
)
def test_sizes_read_well(count: int, text: str) -> None:
    assert store_commands._size(count) == text


def test_bench_runs_a_script_of_the_repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from yummy_feast.cli import bench

    (tmp_path / "offline.py").write_text("import sys; sys.exit(len(sys.argv) - 1)")
    monkeypatch.setattr(bench, "_FOLDER", tmp_path)
    assert main(["bench", "offline", "--rows", "10", "--json"]) == 3
    assert main(["bench", "offline", "--", "--help"]) == 1


def test_bench_without_the_repository_says_where_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from yummy_feast.cli import bench

    monkeypatch.setattr(bench, "_FOLDER", tmp_path)
    assert main(["bench", "features"]) == 1
    assert "benchmarks/features.py is not here" in capsys.readouterr().err
