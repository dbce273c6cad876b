"""The options that every server's command has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from yummy_feast.errors import ConfigError

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])


class Quantity(click.ParamType):  # type: ignore[type-arg]
    """A number with or without a unit."""

    def __init__(self, name: str, parse: Callable[[object, str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Seconds or bytes."""
        try:
            return self._parse(value, self.name)
        except ConfigError as error:
            self.fail(f"{value!r} ({error.hint})", param, ctx)


def _duration(value: object, name: str) -> float:
    from yummy_feast.settings import parse_duration

    return parse_duration(value, name)


def _size(value: object, name: str) -> int:
    from yummy_feast.settings import parse_size

    return parse_size(value, name)


DURATION = Quantity("duration", _duration)
SIZE = Quantity("size", _size)


def serving_options(port: int) -> Callable[[_Decorated], _Decorated]:
    """The options of ``serving.options.RunOptions``, under the names of its fields; read the token with `token_of`.

    Args:
        port: the default one.
    """
    options = (
        click.option("-h", "--host", default="127.0.0.1", show_default=True, help="Address to listen at."),
        click.option("-p", "--port", type=int, default=port, show_default=True, help="0 takes a free one."),
        click.option(
            "-w",
            "--workers",
            type=int,
            default=1,
            show_default=True,
            metavar="N",
            help="Processes that share the port.",
        ),
        click.option(
            "--header-timeout",
            type=DURATION,
            default="10s",
            show_default=True,
            help="For the head of a request, from its first byte or the connection's beginning.",
        ),
        click.option(
            "--body-timeout",
            type=DURATION,
            default="30s",
            show_default=True,
            help="For the body of a request, and for the client to take the answer.",
        ),
        click.option(
            "--keep-alive", type=DURATION, default="75s", show_default=True, help="How long an idle connection is kept."
        ),
        click.option(
            "--drain",
            type=DURATION,
            default="10s",
            show_default=True,
            help="How long requests under way may take after SIGTERM.",
        ),
        click.option(
            "--max-connections",
            type=int,
            default=10_000,
            show_default=True,
            metavar="N",
            help="Of each worker; more are answered with 503.",
        ),
        click.option("--token", default="", help="What clients send as `Authorization: Bearer`; better in a file."),
        click.option(
            "--token-file", type=click.Path(path_type=Path), metavar="FILE", help="A file that holds the token."
        ),
        click.option("--tls-cert", default="", metavar="FILE", help="Certificate chain as PEM; with --tls-key."),
        click.option("--tls-key", default="", metavar="FILE", help="Its private key as PEM."),
        click.option("--access-log", is_flag=True, help="Write a line of JSON per request to stdout."),
        click.option(
            "--log-level",
            type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
            default="info",
            show_default=True,
        ),
    )

    def decorate(command: _Decorated) -> _Decorated:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def token_of(token: str, token_file: Path | None) -> str:
    """The token of either option. ConfigError for both, and for a file without one."""
    if token_file is None:
        return token
    if token:
        raise ConfigError("--token and --token-file", hint="give one of them")
    try:
        found = token_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not text"
        raise ConfigError(f"--token-file: {token_file}: {reason}") from error
    if not found:
        raise ConfigError(f"--token-file: {token_file}: is empty", hint="write the token into it")
    return found
