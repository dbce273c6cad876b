"""The connection string of an online store, read and checked: Feast's form, or a URL.

Pure text. No message ever shows a password, nor a piece of text that could be a part of one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from yummy_feast.errors import ConfigError, nearest
from yummy_feast.settings import parse_bool, parse_duration

EMBEDDED: Final = "embedded"
# One name for the setting in every message.
WHERE: Final = "online_store.connection_string"

_SCHEMES: Final = ("redis", "rediss", "unix")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_NODE: Final = re.compile(r"(?:\[([0-9A-Fa-f:.%a-z]+)\]|([A-Za-z0-9_.-]+)):([^@\s]*)")
_HOST: Final = re.compile(r"[A-Za-z0-9_.-]+")
_LARGE: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Node:
    """One host and port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read(text: str) -> dict[str, Any]:
    """The fields of RedisSettings that the connection string ``text`` sets, `embedded` excepted.

    Raises:
        ConfigError: names the part that is wrong.
    """
    scheme = _SCHEME.match(text)
    return _from_url(text, scheme[1]) if scheme else _from_feast_form(text)


def _from_feast_form(text: str) -> dict[str, Any]:
    nodes: list[Node] = []
    options: dict[str, str] = {}
    for number, part in enumerate(text.split(","), start=1):
        name, is_option, value = part.strip().partition("=")
        if is_option:
            options[name.strip()] = value
        elif options:
            # Do not show it: most likely it is what follows the comma in a password.
            raise ConfigError(
                f"{WHERE}: part {number} is neither name=value nor a node in front of the options",
                hint="a password with a comma needs the URL form, redis://:PASSWORD@host:port/0, and %2C for the comma",
            )
        elif name:
            nodes.append(_node(name, number))
    if not nodes:
        raise ConfigError(f"{WHERE}: names no host:port", hint=f"write host:port, a redis:// URL, or '{EMBEDDED}'")
    return {"nodes": tuple(nodes), **_read_options(options)}


def _node(text: str, number: int) -> Node:
    match = _NODE.fullmatch(text)
    if match is None and _HOST.fullmatch(text):
        hint = f"write {text}:6379" + (f", or '{EMBEDDED}'" if nearest(text, [EMBEDDED]).startswith("did") else "")
        raise ConfigError(f"{WHERE}: node {number}, '{text}', has no port", hint=hint)
    if match is None:
        # It may hold an @ and a password in front of it, so it is not shown.
        raise ConfigError(
            f"{WHERE}: node {number} is not host:port",
            hint="an IPv6 address goes in brackets: [::1]:6379; with user and password write redis://user:password@host",
        )
    return Node(match[1] or match[2], read_whole(match[3], f"{WHERE}: port of node {number}", 1, 65535))


def _from_url(text: str, scheme: str) -> dict[str, Any]:
    if scheme not in _SCHEMES:
        raise ConfigError(f"{WHERE}: unknown scheme '{scheme}://'", hint=nearest(scheme, _SCHEMES))
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        # The cause quotes the text, and with it half a password that holds an unescaped sign.
        raise ConfigError(
            f"{WHERE}: the host and port of the URL cannot be read",
            hint="the form is redis://user:password@host:port/db; write / # ? @ : in a password as %2F %23 %3F %40 %3A",
        ) from None
    options = dict(parse_qsl(url.query, keep_blank_values=True))
    if url.fragment:
        raise ConfigError(f"{WHERE}: a URL of a Redis has no '#'", hint="in a password, write # as %23")
    found = _socket_of(url) if scheme == "unix" else _host_of(url, port, options)
    if scheme == "rediss":
        options.setdefault("ssl", "true")
    login = {"username": unquote(url.username or "") or None, "password": unquote(url.password or "") or None}
    return {**login, **found, **_read_options(options)}


def _socket_of(url: SplitResult) -> dict[str, Any]:
    host = url.netloc.rpartition("@")[2]
    if host or not url.path.strip("/"):
        raise ConfigError(f"{WHERE}: a unix:// URL holds the absolute path of a socket", hint="unix:///run/redis.sock")
    return {"unix_socket": Path(unquote(url.path))}


def _host_of(url: SplitResult, port: int | None, options: dict[str, str]) -> dict[str, Any]:
    if not url.hostname:
        raise ConfigError(f"{WHERE}: the URL names no host", hint="redis://host:6379/0")
    path = url.path.strip("/")
    if path:
        options.setdefault("db", path)
    return {"nodes": (Node(unquote(url.hostname), 6379 if port is None else port),)}


def _read_options(options: Mapping[str, str]) -> dict[str, Any]:
    """The options of a connection string as fields of RedisSettings, each checked."""
    fields: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {"tls": {}, "options": {}, "sentinel_options": {}}
    for position, (name, text) in enumerate(options.items()):
        if name not in _OPTIONS:
            _refuse(name, may_be_secret="password" in list(options)[:position])
        group, target, read = _OPTIONS[name]
        groups.get(group, fields)[target] = read(text, f"{WHERE}: {name}")
    return fields | {group: tuple(sorted(values.items())) for group, values in groups.items()}


def _refuse(name: str, *, may_be_secret: bool) -> NoReturn:
    if name in {"decode_responses", "encoding", "encoding_errors"}:
        raise ConfigError(f"{WHERE}: '{name}' cannot be set", hint="rows are bytes and stay bytes; leave it out")
    hint = nearest(name, _OPTIONS)
    if may_be_secret and not hint.startswith("did you mean"):
        # Most likely the rest of a password that holds a comma and an equals sign: do not show it.
        raise ConfigError(
            f"{WHERE}: an unknown option follows the password",
            hint="a password with a comma needs the URL form, redis://:PASSWORD@host:port/0, and %2C for the comma",
        )
    raise ConfigError(f"{WHERE}: unknown option '{name}'", hint=hint)


def read_timeout(value: object, where: str) -> float:
    """Seconds, above zero; ConfigError otherwise."""
    seconds = parse_duration(value, where)
    if seconds <= 0:
        raise ConfigError(f"{where}: {value!r} leaves no time at all", hint="write a duration above zero, e.g. 2s")
    return seconds


def read_whole(value: object, where: str, least: int, most: int) -> int:
    """A whole number from ``least`` to ``most``; ConfigError otherwise."""
    if not isinstance(value, bool) and isinstance(value, int | str):
        try:
            number = int(value)
        except ValueError:
            pass
        else:
            if least <= number <= most:
                return number
    raise ConfigError(f"{where}: {value!r} is not a whole number from {least} to {most}")


def _choice(text: str, where: str, valid: tuple[str, ...]) -> str:
    if text in valid:
        return text
    raise ConfigError(f"{where}: {text!r} is not possible", hint=f"known: {', '.join(valid)}")


def _between(least: int, most: int) -> Callable[[str, str], int]:
    return lambda text, where: read_whole(text, where, least, most)


def _one_of(*valid: str) -> Callable[[str, str], str]:
    return lambda text, where: _choice(text, where, valid)


def _text(text: str, _where: str) -> str | None:
    return text or None


# What a connection string may set: the group of fields it goes to ("" is the field itself), its name there, its reader.
_OPTIONS: Final[Mapping[str, tuple[str, str, Callable[[str, str], Any]]]] = {
    "db": ("", "db", _between(0, _LARGE)),
    "username": ("", "username", _text),
    "password": ("", "password", _text),
    "ssl": ("", "ssl", parse_bool),
    "socket_timeout": ("", "read_timeout", read_timeout),
    "socket_connect_timeout": ("", "connect_timeout", read_timeout),
    "ssl_cert_reqs": ("tls", "ssl_cert_reqs", _one_of("none", "optional", "required")),
    "ssl_check_hostname": ("tls", "ssl_check_hostname", parse_bool),
    "ssl_ca_certs": ("tls", "ssl_ca_certs", _text),
    "ssl_ca_path": ("tls", "ssl_ca_path", _text),
    "ssl_certfile": ("tls", "ssl_certfile", _text),
    "ssl_keyfile": ("tls", "ssl_keyfile", _text),
    "ssl_password": ("tls", "ssl_password", _text),
    "ssl_ciphers": ("tls", "ssl_ciphers", _text),
    "client_name": ("options", "client_name", _text),
    "max_connections": ("options", "max_connections", _between(1, _LARGE)),
    "health_check_interval": ("options", "health_check_interval", _between(0, _LARGE)),
    "socket_keepalive": ("options", "socket_keepalive", parse_bool),
    "require_full_coverage": ("options", "require_full_coverage", parse_bool),
    # The older spelling, which Feast's documentation uses.
    "skip_full_coverage_check": ("options", "require_full_coverage", lambda text, where: not parse_bool(text, where)),
    "sentinel_username": ("sentinel_options", "username", _text),
    "sentinel_password": ("sentinel_options", "password", _text),
    "sentinel_ssl": ("sentinel_options", "ssl", parse_bool),
}
