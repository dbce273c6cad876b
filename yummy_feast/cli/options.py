"""The options that commands share, and what concerns an invocation as a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])


@dataclass(slots=True)
class Invocation:
    """What concerns an invocation as a whole, whichever command it is of."""

    debug: bool = False


def _remember_debug(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    invocation = context.find_object(Invocation)
    if value and invocation is not None:
        invocation.debug = True


def debug_option(command: _Decorated) -> _Decorated:
    """`--debug`, which is understood before and after the name of a command."""
    return click.option(
        "--debug",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_remember_debug,
        help="On an error, show where in the code it happened.",
    )(command)


def filename_option(command: _Decorated) -> _Decorated:
    """`-f`: a configuration file, local or on the web."""
    return click.option(
        "-f",
        "--filename",
        default="feature_store.yaml",
        envvar="YUMMY_FILENAME",
        show_default=True,
        show_envvar=True,
        metavar="FILE",
        help="Path or http(s) URL of the configuration; a path's folder is the repository.",
    )(command)


def json_option(command: _Decorated) -> _Decorated:
    """`--json`: print one JSON object instead of text for people."""
    return click.option("--json", is_flag=True, help="Print JSON, for programs.")(command)
