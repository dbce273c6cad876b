"""Errors of Redis in our words, those that are hard to provoke from a real server."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis import exceptions

from yummy_feast.errors import EmbeddedServerError, OnlineStoreError, ServerUnavailableError
from yummy_feast.online.address import RedisSettings
from yummy_feast.online.redis_errors import ENDLESS_MOVES, translate, translated
from yummy_feast.online.valkey_files import Files

SETTINGS = RedisSettings.parse("redis:6379,password=hunter2")


@pytest.mark.parametrize(
    ("error", "meaning", "hint"),
    [
        (exceptions.ResponseError("MISCONF Errors writing to the AOF file"), "takes no writes", "disk space"),
        (exceptions.MovedError("1 10.0.0.1:7000", status_code="MOVED"), "is one node of a cluster", "redis_cluster"),
        (exceptions.SlotNotCoveredError("Slot 5"), "does not serve all its slots", "CLUSTER NODES"),
        (exceptions.BusyLoadingError("is loading", status_code="LOADING"), "still loading", "try again in a moment"),
        (exceptions.AuthorizationError("no"), "does not accept the user name or password", "check username"),
        (exceptions.ConnectionError("[SSL: CERTIFICATE_VERIFY_FAILED]"), "nobody here trusts", "ssl_ca_certs"),
        (exceptions.ConnectionError("[SSL: WRONG_VERSION_NUMBER]"), "speaks no TLS", "remove ssl"),
        (exceptions.MaxConnectionsError("Too many connections"), "no connection left", "max_connections"),
        (exceptions.ConnectionError("max number of clients reached"), "no connection left", "maxclients"),
    ],
)  # fmt: skip
def test_an_error_is_told_with_address_meaning_and_fix(error: Exception, meaning: str, hint: str) -> None:
    told = translate(error, SETTINGS)
    assert type(told) is ServerUnavailableError
    assert isinstance(told, ConnectionError)
    assert told.message.startswith("redis at redis:6379 ")
    assert meaning in told.message
    assert hint in told.hint
    assert "\n" not in str(told)


def test_a_refused_command_is_an_error_of_the_store() -> None:
    told = translate(exceptions.ResponseError("unknown command 'HSETEX'\nwith args"), SETTINGS)
    assert type(told) is OnlineStoreError
    assert told.message == "redis at redis:6379 refuses a command: unknown command 'HSETEX' with args"


def test_what_redis_py_says_of_a_pipeline_is_left_out() -> None:
    error = exceptions.OutOfMemoryError(
        "Command # 3 (EVAL -- a script (of ours) x) of pipeline caused error: command not allowed", status_code="OOM"
    )
    assert translate(error, SETTINGS).message == "redis at redis:6379 is out of memory: command not allowed"


def test_redirections_without_end() -> None:
    settings = RedisSettings.parse("one:1,two:2", redis_type="redis_cluster")
    told = translate(exceptions.ClusterError(ENDLESS_MOVES), settings)
    assert told.message.startswith("redis cluster at one:1, two:2 answers MOVED for ever")
    late = translate(exceptions.TimeoutError("Timeout reading from two:2"), settings)
    assert "does not answer in time" in late.message
    assert "two:2" in late.message.partition("in time")[2]


def test_a_password_in_a_message_is_blanked() -> None:
    told = translate(exceptions.ConnectionError("cannot reach redis://:hunter2@redis:6379"), SETTINGS)
    assert "hunter2" not in str(told)
    assert "***" in told.message


def test_the_cause_is_kept_and_other_errors_pass() -> None:
    with pytest.raises(ServerUnavailableError) as caught, translated(SETTINGS):
        raise exceptions.TimeoutError
    assert isinstance(caught.value.__cause__, exceptions.TimeoutError)
    with pytest.raises(KeyError), translated(SETTINGS):
        raise KeyError


def test_an_embedded_server_on_a_full_disk_says_so(tmp_path: Path) -> None:
    settings = RedisSettings.parse("embedded", repo_path=tmp_path)
    closed = exceptions.ConnectionError("Connection closed by server.")
    files = Files.of(tmp_path)
    files.folder.mkdir(parents=True)
    told = translate(closed, settings)
    assert type(told) is ServerUnavailableError
    assert "yummy store status" in told.hint
    earlier = "1:M # Short write while writing to the AOF file\n"
    start = "1:M * Valkey is starting\n"
    files.log.write_text(start + earlier + start)
    assert type(translate(closed, settings)) is ServerUnavailableError
    files.log.write_text(start + earlier)
    assert type(translate(closed, settings)) is EmbeddedServerError
