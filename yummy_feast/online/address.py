"""Where Redis is and how to talk to it: the connection keys of the `online_store` block, as checked settings.

Pure: no socket is opened here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args

from yummy_feast.errors import ConfigError, nearest
from yummy_feast.online import connection_string as text_form
from yummy_feast.online.connection_string import EMBEDDED, WHERE, Node
from yummy_feast.settings import interpolate

RedisType = Literal["redis", "redis_cluster", "redis_sentinel"]

# What the client for a cluster has no use for.
_NOT_IN_A_CLUSTER: Final = frozenset({"ssl_ciphers", "health_check_interval"})


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """One Redis, cluster or set of sentinels. Exactly one of ``nodes``, ``unix_socket``, ``repo_path`` is given.

    Timeouts are in seconds. ``tls`` and ``options`` hold further keyword arguments of the client, ``sentinel_options``
    those of the sentinels themselves. Two equal settings may share connections. Secrets are not in the repr.
    """

    redis_type: RedisType = "redis"
    nodes: tuple[Node, ...] = ()
    unix_socket: Path | None = None
    repo_path: Path | None = None
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ssl: bool = False
    tls: tuple[tuple[str, Any], ...] = field(default=(), repr=False)
    options: tuple[tuple[str, Any], ...] = ()
    sentinel_master: str = "mymaster"
    sentinel_options: tuple[tuple[str, Any], ...] = field(default=(), repr=False)
    connect_timeout: float = 2.0
    read_timeout: float = 5.0
    retries: int = 2

    @property
    def is_embedded(self) -> bool:
        """Whether this is the server of the repository at ``repo_path``."""
        return self.repo_path is not None

    @property
    def address(self) -> str:
        """For people: ``redis at host:6379``, ``sentinels at ...``, ``the embedded server of /repo``."""
        if self.repo_path is not None:
            return f"the embedded server of {self.repo_path}"
        if self.unix_socket is not None:
            return f"redis at {self.unix_socket}"
        nodes = ", ".join(map(str, self.nodes))
        if self.redis_type == "redis_sentinel":
            return f"redis master '{self.sentinel_master}' of the sentinels at {nodes}"
        return f"redis cluster at {nodes}" if self.redis_type == "redis_cluster" else f"redis at {nodes}"

    @classmethod
    def parse(
        cls,
        connection_string: str,
        *,
        redis_type: str = "redis",
        sentinel_master: str = "mymaster",
        connect_timeout: object = "2s",
        read_timeout: object = "5s",
        retries: object = 2,
        repo_path: Path | None = None,
    ) -> RedisSettings:
        """Read the connection keys as feature_store.yaml has them.

        ``connection_string`` is `embedded`, Feast's form ``host:port,db=0,ssl=true,password=...`` (several nodes for a
        cluster or sentinels), or a URL ``redis://``, ``rediss://``, ``unix://``. An option there, such as
        ``socket_timeout=1``, is stronger than the key beside it. ``repo_path`` is needed by `embedded` alone.

        Raises:
            ConfigError: names the key, and the part of the connection string, that is wrong.
        """
        text = interpolate(connection_string, WHERE).strip()
        if redis_type not in get_args(RedisType):
            raise ConfigError(
                f"online_store.redis_type: unknown type {redis_type!r}", hint=nearest(redis_type, get_args(RedisType))
            )
        if text == EMBEDDED:
            found: dict[str, Any] = {"repo_path": (repo_path or Path.cwd()).resolve()}
        else:
            found = text_form.read(text)
        merged = {
            "redis_type": redis_type,
            "sentinel_master": sentinel_master,
            "connect_timeout": text_form.read_timeout(connect_timeout, "online_store.connect_timeout"),
            "read_timeout": text_form.read_timeout(read_timeout, "online_store.read_timeout"),
            "retries": text_form.read_whole(retries, "online_store.retries", 0, 100),
            **found,
        }
        settings = cls(**merged)
        _check_together(settings)
        return settings


def _check_together(settings: RedisSettings) -> None:
    """What each key allows by itself, and not together."""
    kind = settings.redis_type
    if kind != "redis" and not settings.nodes:
        what = f"'{EMBEDDED}'" if settings.is_embedded else "a unix socket"
        raise ConfigError(f"online_store.redis_type: {kind} cannot be reached through {what}", hint="write host:port")
    if kind == "redis" and len(settings.nodes) > 1:
        raise ConfigError(
            f"{WHERE}: {len(settings.nodes)} nodes for online_store.redis_type: redis",
            hint="leave one, or set redis_type to redis_cluster or redis_sentinel",
        )
    if kind == "redis_cluster" and settings.db:
        raise ConfigError(f"{WHERE}: db={settings.db} in a cluster", hint="a cluster has database 0 alone")
    if kind == "redis_cluster":
        for name in sorted(_NOT_IN_A_CLUSTER & {name for name, _ in (*settings.tls, *settings.options)}):
            raise ConfigError(f"{WHERE}: {name} cannot be set for a cluster", hint="leave it out")
    if settings.tls and not settings.ssl:
        raise ConfigError(f"{WHERE}: {settings.tls[0][0]} without ssl", hint="add ssl=true, or write rediss://")
    if settings.sentinel_options and kind != "redis_sentinel":
        raise ConfigError(f"{WHERE}: options of sentinels need online_store.redis_type: redis_sentinel")
    if "require_full_coverage" in dict(settings.options) and kind != "redis_cluster":
        raise ConfigError(f"{WHERE}: the coverage of slots concerns online_store.redis_type: redis_cluster alone")
