"""How rows lie in Redis: one module per layout, one line per layout in the table below.

A layout turns rows into commands and replies into rows, and touches no socket: ``trips`` and ``retrieval`` drive it,
whoever holds a connection carries the bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from yummy_feast.errors import ConfigError, nearest
from yummy_feast.online.layouts.base import Layout
from yummy_feast.online.layouts.feast import FeastLayout
from yummy_feast.online.layouts.rows import ROWS

if TYPE_CHECKING:
    from feast import RepoConfig

LAYOUTS: dict[str, Callable[[RepoConfig], Layout]] = {
    "rows": lambda _: ROWS,
    "feast": lambda config: FeastLayout(config.entity_key_serialization_version),
}
"""Name in feature_store.yaml -> the layout that a repository's configuration means by it."""


def layout_of(config: RepoConfig) -> Layout:
    """The layout of a repository's online store. ConfigError for an unknown name."""
    name = getattr(config.online_store, "layout", "rows")
    try:
        return LAYOUTS[name](config)
    except KeyError:
        raise ConfigError(f"online_store.layout: unknown value {name!r}", hint=nearest(name, LAYOUTS)) from None
