"""Commands as redis-py packs them, errors as redis-py names them."""

from __future__ import annotations

import ssl

import pytest
from redis import exceptions
from redis.connection import Connection

from yummy_feast.online.wire import Command, command, pack, reason_of, reply_error


def test_commands_are_packed_as_redis_py_packs_them() -> None:
    for words in (("GET", "ü"), ("EVAL", b"\xff\r\n", 1, b"k", "", b"", -7), ("PING",)):
        assert pack(*words) == b"".join(Connection().pack_command(*words))  # type: ignore[no-untyped-call]
    assert command("GET", "ü") == Command("ü".encode(), pack("GET", "ü"))
    assert command("EVAL", b"script", 1, b"key").key == b"key"


@pytest.mark.parametrize(
    ("text", "kind", "code"),
    [
        ("MOVED 7 10.0.0.1:7000", exceptions.MovedError, "MOVED"),
        ("MOVED nowhere", exceptions.ResponseError, None),
        ("OOM command not allowed", exceptions.OutOfMemoryError, "OOM"),
        ("WRONGTYPE no", exceptions.ResponseError, None),
    ],
)
def test_error_replies(text: str, kind: type[Exception], code: str | None) -> None:
    error = reply_error(text)
    assert type(error) is kind
    assert error.status_code == code


def test_reasons() -> None:
    assert reason_of(ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)")) == "Connection refused"
    several = OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1, 0, 0), [Errno 111] ...")
    assert reason_of(several) == "Connection refused"
    assert reason_of(OSError("odd")) == "odd"
    assert "CERTIFICATE" in reason_of(ssl.SSLError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] no"))
