"""Options that cannot be are told by name, before anything listens."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from tests.tls_node import certificate
from yummy_feast.errors import ConfigError
from yummy_feast.serving.options import RunOptions, configure_logging


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"port": 65_536}, "--port: 65536 is no port (0 to 65535; 0 takes a free one)"),
        ({"workers": 0}, "--workers: 0 is not between 1 and 128 (as many as there are cores)"),
        ({"max_connections": 0}, "--max-connections: 0 would serve nobody (at least 1)"),
        ({"header_timeout": -1.0}, "--header-timeout: -1 s is negative"),
        ({"keep_alive": -0.5}, "--keep-alive: -0.5 s is negative"),
        ({"tls_cert": "a"}, "--tls-cert without --tls-key (TLS needs both files)"),
        ({"tls_key": "a"}, "--tls-key without --tls-cert (TLS needs both files)"),
        ({"token": "a b"}, "the token holds what no header can (letters, digits and punctuation, no spaces)"),
        ({"token": "ä"}, "the token holds what no header can (letters, digits and punctuation, no spaces)"),
        ({"log_level": "warn"}, "--log-level: 'warn' (did you mean 'warning'? known: debug, error, info, warning)"),
    ],
)
def test_what_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        RunOptions(**options)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("host", "is_loopback", "url"),
    [
        ("127.0.0.1", True, "http://127.0.0.1:80"),
        ("127.9.9.9", True, "http://127.9.9.9:80"),
        ("::1", True, "http://[::1]:80"),
        ("localhost", True, "http://localhost:80"),
        ("0.0.0.0", False, "http://0.0.0.0:80"),
        ("::", False, "http://[::]:80"),
        ("features.lan", False, "http://features.lan:80"),
    ],
)
def test_where_it_is(host: str, is_loopback: bool, url: str) -> None:
    options = RunOptions(host=host)
    assert (options.is_loopback, options.url(80)) == (is_loopback, url)


def test_tls_files_are_looked_at(tmp_path: Path) -> None:
    pem = certificate(tmp_path)
    absent, other = tmp_path / "absent", tmp_path / "other"
    assert RunOptions(tls_cert=str(pem), tls_key=str(pem)).tls() is not None
    assert RunOptions(tls_cert=str(pem), tls_key=str(pem)).url(1).startswith("https://")
    assert RunOptions().tls() is None
    other.mkdir()
    stranger = certificate(other)
    encrypted = tmp_path / "encrypted.pem"
    key = serialization.load_pem_private_key(pem.read_bytes(), None)
    encrypted.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"pw")
        )
    )
    text = tmp_path / "text"
    text.write_text("hello")
    for cert, secret, message in (
        (absent, pem, f"--tls-cert: {absent}: No such file or directory (give the path of a PEM file)"),
        (pem, absent, f"--tls-key: {absent}: No such file or directory (give the path of a PEM file)"),
        (pem, other, f"--tls-key: {other}: Is a directory (give the path of a PEM file)"),
        (pem, stranger, "KEY_VALUES_MISMATCH"),
        (pem, encrypted, "the private key is encrypted"),
        (text, pem, f"--tls-cert {text}, --tls-key {pem}: "),
    ):
        with pytest.raises(ConfigError) as error:
            RunOptions(tls_cert=str(cert), tls_key=str(secret)).tls()
        assert message in str(error.value)
        assert "\n" not in str(error.value)


def test_uvicorn_speaks_to_those_who_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, uvicorns = logging.getLogger("yummy_feast"), logging.getLogger("uvicorn")
    for logger in (ours, uvicorns):
        monkeypatch.setattr(logger, "level", logger.level)
    configure_logging("info")
    assert (ours.level, uvicorns.level) == (logging.INFO, logging.ERROR)
    configure_logging("debug")
    assert (ours.level, uvicorns.level) == (logging.DEBUG, logging.DEBUG)
