"""Durations, sizes, variables and the files they stand in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from yummy_feast.errors import ConfigError
from yummy_feast.settings import (
    interpolate,
    interpolate_all,
    is_url,
    load_yaml,
    parse_bool,
    parse_duration,
    parse_size,
    read_text,
    refuse_unfilled,
)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (2, 2.0),
        (0.25, 0.25),
        (0, 0.0),
        ("3", 3.0),
        ("2s", 2.0),
        (" 500 ms ", 0.5),
        ("250us", 0.00025),
        ("1.5m", 90.0),
        ("1.5min", 90.0),
        (".5h", 1800.0),
        ("2D", 172800.0),
    ],
)
def test_durations_are_seconds(value: object, seconds: float) -> None:
    assert parse_duration(value, "x") == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value", ["", "s", "2 parsecs", "-2s", "1e3s", "2ss", "٢s", -1, float("nan"), float("inf"), True, None, [2], b"2s"]
)
def test_what_is_no_duration_is_named(value: object) -> None:
    with pytest.raises(ConfigError, match=r"^online_store\.timeout: .* is not a duration") as caught:
        parse_duration(value, "online_store.timeout")
    assert repr(value) in caught.value.message
    assert "500ms" in caught.value.hint


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (1024, 1024),
        ("1024", 1024),
        ("10b", 10),
        ("4GB", 4_000_000_000),
        ("4G", 4_000_000_000),
        ("4 GiB", 4 * 2**30),
        ("512MiB", 512 * 2**20),
        ("512Mi", 512 * 2**20),
        ("1.5kb", 1500),
        ("2TiB", 2**41),
    ],
)
def test_sizes_are_bytes(value: object, size: int) -> None:
    found = parse_size(value, "x")
    assert found == size
    assert type(found) is int


@pytest.mark.parametrize("value", ["", "4 gigs", "80%", "-1GB", False, None])
def test_what_is_no_size_is_named(value: object) -> None:
    with pytest.raises(ConfigError, match=r"^offline_store\.memory_limit: .* is not a size"):
        parse_size(value, "offline_store.memory_limit")


def test_truth_has_a_few_words() -> None:
    assert all(parse_bool(value, "x") for value in (True, "true", " Yes ", "ON", "1"))
    assert not any(parse_bool(value, "x") for value in (False, "false", "No", "off", "0"))
    for value in ("maybe", "", None, 1):
        with pytest.raises(ConfigError, match=r"^x: .* is neither true nor false"):
            parse_bool(value, "x")


VARIABLES = {"HOST": "redis", "EMPTY": "", "TRICK": "${HOST}"}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("${HOST}:6379", "redis:6379"),
        ("${HOST}${HOST}", "redisredis"),
        ("${NONE:-localhost}", "localhost"),
        ("${NONE:-}", ""),
        ("${NONE:-a:-b c}", "a:-b c"),
        ("${EMPTY}", ""),
        ("${EMPTY:-default}", "default"),
        ("${TRICK}", "${HOST}"),
        ("$${HOST}", "${HOST}"),
        ("$HOST and pa$$word", "$HOST and pa$$word"),
        ("}{$", "}{$"),
    ],
)
def test_variables_are_filled(text: str, filled: str) -> None:
    assert interpolate(text, "x", VARIABLES) == filled


@pytest.mark.parametrize("text", ["${", "${HOST", "${}", "${1A}", "${A-B}", "${A B}", "${:-x}", "${HÖST}"])
def test_a_malformed_reference_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^x: '\$\{.*' is no variable \(write \$\{NAME\}"):
        interpolate(text, "x", VARIABLES)


@given(st.text(), st.dictionaries(st.sampled_from(["A", "B"]), st.text()))
def test_text_without_a_reference_is_left_alone(text: str, variables: dict[str, str]) -> None:
    plain = text.replace("${", "$")
    assert interpolate(plain, "x", variables) == plain
    assert interpolate(plain.replace("$", "") + "${A:-}", "x", variables) == plain.replace("$", "") + variables.get(
        "A", ""
    )


def test_the_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YUMMY_TEST_HOST", "here")
    assert interpolate("${YUMMY_TEST_HOST}", "x") == "here"
    monkeypatch.delenv("YUMMY_TEST_HOST")
    with pytest.raises(ConfigError) as caught:
        interpolate("${YUMMY_TEST_HOST}", "x")
    assert str(caught.value) == (
        "x: the environment variable YUMMY_TEST_HOST is not set"
        " (export YUMMY_TEST_HOST=..., or write ${YUMMY_TEST_HOST:-default})"
    )


def test_what_feast_left_unfilled_is_refused() -> None:
    refuse_unfilled({"path": "data/$x.db", "ttl": 5, "more": [None]}, "registry")
    with pytest.raises(ConfigError, match=r"^registry\.a: '\$\{REG:-x\}' is not filled: .* \(export the variable"):
        refuse_unfilled({"a": ["b", "${REG:-x}"]}, "registry")


def test_nested_values_are_filled_and_named_by_path() -> None:
    value = {"a": ["${HOST}", 1, None], "b": {"c": "${NONE:-x}"}, "d": True}
    assert interpolate_all(value, "store", VARIABLES) == {"a": ["redis", 1, None], "b": {"c": "x"}, "d": True}
    with pytest.raises(ConfigError, match=r"^store\.a\[1\]\.b: the environment variable NONE is not set"):
        interpolate_all({"a": ["x", {"b": "${NONE}"}]}, "store", VARIABLES)


def test_yaml_is_filled_after_it_is_split_into_values() -> None:
    variables = {"PORT": "6379", "YES": "yes", "NASTY": 'a: b # c\n- "d', "NOTHING": ""}
    text = """
    # ${NOT_SET} in a comment harms nobody
    number: ${PORT}
    text: "${PORT}"
    also text: '${PORT}'
    truth: ${YES}
    nasty: ${NASTY}
    nothing: ${NOTHING}
    default: ${NOT_SET:-host:1}
    ${PORT}: key
    list: ["${PORT}", plain]
    block: |
      ${PORT}
    """
    assert load_yaml(text, "f.yaml", variables) == {
        "number": 6379,
        "text": "6379",
        "also text": "6379",
        "truth": True,
        "nasty": 'a: b # c\n- "d',
        "nothing": None,
        "default": "host:1",
        6379: "key",
        "list": ["6379", "plain"],
        "block": "6379\n",
    }
    assert load_yaml("", "f.yaml", variables) is None
    assert load_yaml("a: ${PORT}", "f.yaml", variables, fill=False) == {"a": "${PORT}"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: [1, 2\n", r"^f\.yaml, line 3, column 1: not YAML: expected ',' or '\]'"),
        ("a: b: c", r"^f\.yaml, line 1, column 5: not YAML: mapping values are not allowed here"),
        ("a: 1\nb: ${NONE}", r"^f\.yaml, line 2: the environment variable NONE is not set"),
        ("a: !!python/object:os.system x", r"^f\.yaml, line 1, column 4: not YAML: could not determine a constructor"),
        ("a: \x01", r"^f\.yaml: not YAML: "),
    ],
)
def test_an_error_in_yaml_is_one_line_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_yaml(text, "f.yaml", {})
    assert "\n" not in str(caught.value)


@settings(max_examples=30)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text("abc: '\"#\n-"), st.lists))
def test_yaml_without_variables_is_read_as_ever(value: object) -> None:
    text = yaml.safe_dump(value)
    assert load_yaml(text, "f.yaml", {}) == yaml.safe_load(text)


def test_a_file_is_read_as_text(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("grüße", encoding="utf-8")
    assert read_text(path) == read_text(str(path)) == "grüße"
    path.write_bytes(b"abc\xff")
    with pytest.raises(ConfigError, match=r"f\.yaml: not UTF-8 text \(byte 3\)"):
        read_text(path)
    with pytest.raises(ConfigError, match=r"none\.yaml: no such file \(name the configuration file with -f\)"):
        read_text(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_text(tmp_path)


@pytest.fixture
def web() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/f.yaml" else 404)
            self.end_headers()
            self.wfile.write("grüße".encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_url_is_read_as_well(web: str) -> None:
    assert is_url(web)
    assert not is_url("feature_store.yaml")
    assert not is_url("ftp://host/f.yaml")
    assert read_text(f"{web}/f.yaml") == "grüße"
    with pytest.raises(ConfigError, match=r"/none\.yaml: cannot be read: Not Found"):
        read_text(f"{web}/none.yaml")
    with pytest.raises(ConfigError, match=r"^http://127\.0\.0\.1:1/: cannot be read: .*Connection refused"):
        read_text("http://127.0.0.1:1/")
