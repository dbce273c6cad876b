"""Importing Feast without the type checks that it compiles into itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def unchecked_feast() -> Iterator[None]:
    """Feast, when it is first imported inside, does not check its arguments' types.

    typeguard compiles each of Feast's classes anew with checks of every argument and variable: two thirds of the time
    that importing Feast takes. It leaves that out under `python -O`, "where the checks aren't meant to be run in
    production", and so do we where a server starts and all that it makes of Feast's comes from a registry. Does nothing
    when Feast is there already.
    """
    if "feast" in sys.modules:
        yield
        return
    import typeguard

    checked = typeguard.typechecked
    typeguard.typechecked = _as_it_is
    try:
        yield
    finally:
        typeguard.typechecked = checked


def _as_it_is(target: Callable[..., Any] | None = None, **_: Any) -> Any:
    """typeguard's decorator, with or without arguments, as it is under `python -O`."""
    return _as_it_is if target is None else target
