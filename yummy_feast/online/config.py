"""The ``online_store`` block of feature_store.yaml."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from feast.repo_config import FeastConfigBaseModel
from pydantic import Field

from yummy_feast.errors import ConfigError, nearest
from yummy_feast.online.address import RedisSettings
from yummy_feast.online.retention import retention
from yummy_feast.settings import interpolate_all, parse_duration, reading_feature_store_yaml

_LAYOUTS = ("rows", "feast")
_ON_STALE = ("serve", "hide")
_MAX_TTL = 2**31


class YummyOnlineStoreConfig(FeastConfigBaseModel):
    """Where the rows are, and how they are kept. Raises ConfigError for a key or value that is wrong.

    Takes every key of Feast's own Redis store.
    """

    type: str = "yummy_feast.YummyOnlineStore"
    """Class path of the store, as Feast wants it."""

    connection_string: str = "embedded"
    """``embedded``, ``host:port,db=0,ssl=true,password=...`` (Feast's form), or a redis:// rediss:// unix:// URL."""

    redis_type: str = "redis"
    """``redis``, ``redis_cluster`` or ``redis_sentinel``."""

    client: Literal["redis"] = "redis"
    """Feast's choice of a client library."""

    sentinel_master: str = "mymaster"
    """Name of the master the sentinels watch."""

    layout: Literal["rows", "feast"] = "rows"
    """How rows lie in Redis: packed, or as Feast's own Redis store has them."""

    retention: str | float | None = None
    """How long rows are kept after their last write, at least; never less than twice their view's ttl. None = for ever.
    """

    key_ttl_seconds: int | None = Field(default=None, ge=0, lt=_MAX_TTL)
    """Seconds that an entity's hash lives after its last write; None or 0 = for ever."""

    on_stale: Literal["serve", "hide"] = "serve"
    """Whether a row older than its view's ttl is served (its status tells its age) or withheld."""

    full_scan_for_deletion: bool | None = True
    """Whether `feast apply` looks through all keys to delete the rows of a view that is gone."""

    skip_dedup: bool = False
    """Overwrite without comparing timestamps: faster for first loads, and then older rows may win."""

    connect_timeout: str | float = "2s"
    """Longest wait for a connection."""

    read_timeout: str | float = "5s"
    """Longest wait for a reply."""

    retries: int = 2
    """Attempts after the first one when a connection breaks."""

    def __init__(self, **values: Any) -> None:
        with reading_feature_store_yaml("online_store"):
            super().__init__(**_checked(values, frozenset(type(self).model_fields)))
            self.redis_settings(None)
            if self.retention is not None and self.key_ttl_seconds:
                raise ConfigError("online_store.retention and key_ttl_seconds are both set", hint="leave one of them")
            self.kept_for(None)

    def kept_for(self, ttl: timedelta | None) -> int:
        """Seconds that rows of a view with this ttl are kept after their last write; 0 for ever."""
        at_least = None if self.retention is None else parse_duration(self.retention, "online_store.retention")
        return retention(self.key_ttl_seconds, at_least, ttl)

    def redis_settings(self, repo_path: Path | None) -> RedisSettings:
        """The connection keys, checked: ConfigError if wrong. An embedded server keeps its data under ``repo_path``."""
        return RedisSettings.parse(
            self.connection_string,
            redis_type=self.redis_type,
            sentinel_master=self.sentinel_master,
            connect_timeout=self.connect_timeout,
            read_timeout=self.read_timeout,
            retries=self.retries,
            repo_path=repo_path,
        )


# Feast looks for the store in the module that its config class names (online_store helpers).
YummyOnlineStoreConfig.__module__ = "yummy_feast.online.store"


def _checked(values: dict[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """What pydantic would refuse in several lines that do not say what to do."""
    for key in values:
        if key not in known:
            raise ConfigError(f"online_store has no setting {key!r}", hint=nearest(key, known))
    # The connection string fills its own variables, where it is parsed, as Feast does.
    connection = {key: values[key] for key in ("connection_string",) if key in values}
    filled: dict[str, Any] = interpolate_all({k: v for k, v in values.items() if k not in connection}, "online_store")
    client = filled.get("client", "redis")
    if getattr(client, "value", client) == "glide":
        raise ConfigError(
            "online_store.client: glide is not used by this store",
            hint="leave it out: all views of an entity are read in one command, and all entities in one round trip",
        )
    for key, choices in (("client", ("redis",)), ("layout", _LAYOUTS), ("on_stale", _ON_STALE)):
        value = filled.get(key, choices[0])
        if getattr(value, "value", value) not in choices:
            raise ConfigError(f"online_store.{key}: unknown value {value!r}", hint=nearest(str(value), choices))
    return {**filled, **connection}
