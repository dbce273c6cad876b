"""The engines there are: one row each."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from yummy_feast.errors import ConfigError, nearest
from yummy_feast.offline.engines.base import Engine, EngineSettings

ENGINES = {
    "duckdb": "yummy_feast.offline.engines.duckdb:DuckDBEngine",
    "spark": "yummy_feast.offline.engines.spark:SparkEngine",
}


def engine_of(name: str, settings: EngineSettings) -> Engine:
    """The engine of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in ENGINES:
        raise ConfigError(f"there is no engine '{name}'", hint=nearest(name, ENGINES))
    module, _, attribute = ENGINES[name].partition(":")
    return cast("type[Engine]", getattr(import_module(module), attribute))(settings)
