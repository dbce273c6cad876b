"""Connection strings: what each form sets, and that an error names the part and never the password."""

from __future__ import annotations

from pathlib import Path

import pytest

from yummy_feast.errors import ConfigError
from yummy_feast.online.connection_string import _OPTIONS, Node, read

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("redis:6379", {"nodes": (Node("redis", 6379),)}),
        ("redis:6379,", {"nodes": (Node("redis", 6379),)}),
        (" redis-1.example.com:7000 , db=3", {"nodes": (Node("redis-1.example.com", 7000),), "db": 3}),
        ("[::1]:6379", {"nodes": (Node("::1", 6379),)}),
        ("a:1,b:2,c:3", {"nodes": (Node("a", 1), Node("b", 2), Node("c", 3))}),
        ("a:1,ssl=true,password=p=q", {"nodes": (Node("a", 1),), "ssl": True, "password": "p=q"}),
        # Feast would make a number of it, and AUTH would fail.
        ("a:1,password=12345", {"nodes": (Node("a", 1),), "password": "12345"}),
        ("a:1,username=me,password=", {"nodes": (Node("a", 1),), "username": "me", "password": None}),
        ("a:1,socket_timeout=1.5,socket_connect_timeout=200ms",
         {"nodes": (Node("a", 1),), "read_timeout": 1.5, "connect_timeout": 0.2}),
        ("redis://a", {"nodes": (Node("a", 6379),), "username": None, "password": None}),
        ("redis://me:p%2C%40%2F@a:7/4",
         {"nodes": (Node("a", 7),), "username": "me", "password": "p,@/", "db": 4}),
        ("redis://:secret@[fe80::1]:7/4",
         {"nodes": (Node("fe80::1", 7),), "username": None, "password": "secret", "db": 4}),
        ("redis://a/1?db=2", {"nodes": (Node("a", 6379),), "username": None, "password": None, "db": 2}),
        ("rediss://a:7", {"nodes": (Node("a", 7),), "username": None, "password": None, "ssl": True}),
        ("unix:///run/my%20redis.sock?db=5",
         {"unix_socket": Path("/run/my redis.sock"), "username": None, "password": None, "db": 5}),
        ("unix://me:pw@/run/redis.sock", {"unix_socket": Path("/run/redis.sock"), "username": "me", "password": "pw"}),
    ],
)  # fmt: skip
def test_a_connection_string_sets_these_fields(text: str, fields: dict[str, object]) -> None:
    empty = {"tls": (), "options": (), "sentinel_options": ()}
    assert read(text) == {**empty, **fields}


def test_tls_and_other_options_are_kept_apart() -> None:
    found = read(
        "a:1,ssl=true,ssl_cert_reqs=none,ssl_check_hostname=false,ssl_ca_certs=/ca.pem,max_connections=5,"
        "client_name=me,skip_full_coverage_check=true,sentinel_password=x,sentinel_ssl=yes"
    )
    assert dict(found["tls"]) == {"ssl_cert_reqs": "none", "ssl_check_hostname": False, "ssl_ca_certs": "/ca.pem"}
    assert dict(found["options"]) == {"max_connections": 5, "client_name": "me", "require_full_coverage": False}
    assert dict(found["sentinel_options"]) == {"password": "x", "ssl": True}


@pytest.mark.parametrize("name", sorted(_OPTIONS))
def test_a_bad_value_of_any_typed_option_is_named(name: str) -> None:
    free_text = {"username", "password", "client_name", "sentinel_username", "sentinel_password"}
    if name in free_text or (name.startswith("ssl_") and name not in {"ssl_cert_reqs", "ssl_check_hostname"}):
        assert read(f"a:1,{name}=anything")
        return
    with pytest.raises(ConfigError, match=rf"^online_store\.connection_string: {name}: 'many words'"):
        read(f"a:1,{name}=many words")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"names no host:port \(write host:port, a redis:// URL, or 'embedded'\)"),
        ("db=1", "names no host:port"),
        ("embeded", r"node 1, 'embeded', has no port \(write embeded:6379, or 'embedded'\)"),
        ("a:1,localhost", r"node 2, 'localhost', has no port \(write localhost:6379\)"),
        ("a:x", "port of node 1: 'x' is not a whole number from 1 to 65535"),
        ("a:0", "port of node 1: '0' is not a whole number from 1 to 65535"),
        ("a:70000", "port of node 1: '70000' is not a whole number from 1 to 65535"),
        ("::1:6379", r"node 1 is not host:port \(an IPv6 address goes in brackets"),
        ("a:1,sssl=true", r"unknown option 'sssl' \(did you mean 'ssl'\? known: "),
        ("a:1,db=-1", "db: '-1' is not a whole number from 0 to"),
        ("a:1,db=1.0", "db: '1.0' is not a whole number"),
        ("a:1,socket_timeout=0", "socket_timeout: '0' leaves no time at all"),
        ("a:1,decode_responses=true", r"'decode_responses' cannot be set \(rows are bytes"),
        ("http://a", r"unknown scheme 'http://' \(known: redis, rediss, unix\)"),
        ("redis:///0", "the URL names no host"),
        ("redis://a:x/0", "the host and port of the URL cannot be read"),
        ("redis://a/zero", "db: 'zero' is not a whole number"),
        ("redis://a?ssl_cert_reqs=never", "ssl_cert_reqs: 'never' is not possible .known: none, optional, required"),
        ("unix://run/redis.sock", "a unix:// URL holds the absolute path of a socket"),
        ("unix://", "a unix:// URL holds the absolute path of a socket"),
    ],
)
def test_an_error_names_the_part_that_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=r"^online_store\.connection_string: .*" + message):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        f"a:1,password=x,{SECRET}",
        f"a:1,password=x,{SECRET}=y",
        f"a:1,password=x,{SECRET}!=y",
        f"me:{SECRET}@a:1",
        f"me:{SECRET}@a",
        f"{SECRET}@a:1",
        f"redis://me:{SECRET}/x@a:1",
        f"redis://me:{SECRET}#x@a:1",
        f"redis://me:{SECRET}@a:port",
        f"http://me:{SECRET}@a:1",
        f"redis://me:{SECRET}@a:1?sssl=true",
        f"unix://me:{SECRET}@run/redis.sock",
    ],
)
def test_no_error_shows_a_password_or_a_part_of_it(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    told: BaseException | None = caught.value
    while told is not None:
        assert SECRET not in str(told)
        told = told.__cause__
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_nodes_print_as_one_would_write_them() -> None:
    assert str(Node("redis", 1)) == "redis:1"
    assert str(Node("::1", 1)) == "[::1]:1"
