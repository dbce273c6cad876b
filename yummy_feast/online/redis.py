"""From settings to a live client: one way to connect, one retry policy, and the errors of Redis in our words."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from redis import Redis, exceptions
from redis.backoff import ExponentialWithJitterBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import ConnectionPool, UnixDomainSocketConnection
from redis.retry import Retry
from redis.sentinel import Sentinel

from yummy_feast.online import embedded
from yummy_feast.online.address import RedisSettings
from yummy_feast.online.redis_errors import translated

__all__ = ["Client", "RedisSettings", "client_for", "connect", "ping", "translated"]

Client = Redis | RedisCluster
_T = TypeVar("_T")

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 0.5
# An idle connection may have been dropped by something on the way: PING it first after so many seconds.
HEALTH_CHECK_INTERVAL: Final = 30

# Connections belong to a process: a fork finds no client under its own id and makes one.
_clients: dict[tuple[int, RedisSettings], Client] = {}


def client_for(settings: RedisSettings) -> Client:
    """The client of this process for ``settings``, made on first use. Safe in threads and after a fork.

    Raises:
        OnlineStoreError: as ``connect``.
    """
    key = (os.getpid(), settings)
    client = _clients.get(key)
    # Of two threads that come first at once, one's client is kept and the other's never used.
    return client if client is not None else _clients.setdefault(key, connect(settings))


def connect(settings: RedisSettings) -> Client:
    """A new client: replies as bytes, RESP2 parsed by hiredis, every wait bounded, connection errors retried.

    The embedded server is started here if need be, and again by any later command that finds it gone. A single Redis
    is not contacted before the first command (``ping`` asks); a cluster is, to learn its slots.

    Raises:
        ServerUnavailableError: a cluster that does not answer.
        EmbeddedServerError: the embedded server cannot be started.
    """
    if settings.repo_path is not None:
        embedded.ensure(settings.repo_path)
        return Redis.from_pool(
            ConnectionPool(connection_class=_EmbeddedConnection, repo_path=settings.repo_path, **_common(settings))
        )
    if settings.unix_socket is not None:
        return Redis.from_pool(
            ConnectionPool(connection_class=_UnixConnection, path=str(settings.unix_socket), **_common(settings))
        )
    with translated(settings):
        if settings.redis_type == "redis_cluster":
            return _connect_cluster(settings)
        if settings.redis_type == "redis_sentinel":
            return _connect_sentinel(settings)
        node = settings.nodes[0]
        return Redis(host=node.host, port=node.port, ssl=settings.ssl, **_common(settings), **_tcp(settings))


def ping(settings: RedisSettings) -> None:
    """One round trip through this process's client.

    Raises:
        OnlineStoreError: why it cannot be used, and what to do.
    """
    with translated(settings):
        client_for(settings).ping()


def _common(settings: RedisSettings) -> dict[str, Any]:
    options = dict(settings.options)
    options.pop("socket_keepalive", None)
    return {
        "db": settings.db,
        "username": settings.username,
        "password": settings.password,
        "socket_timeout": settings.read_timeout,
        "socket_connect_timeout": settings.connect_timeout,
        "health_check_interval": HEALTH_CHECK_INTERVAL,
        "retry": _retry(settings),
        "decode_responses": False,
        "protocol": 2,
        # Two round trips on every new connection, to say which library this is.
        "driver_info": None,
        **options,
    }


def _tcp(settings: RedisSettings) -> dict[str, Any]:
    keepalive = dict(settings.options).get("socket_keepalive", True)
    return {"socket_keepalive": keepalive, **dict(settings.tls)}


def _connect_cluster(settings: RedisSettings) -> RedisCluster:
    common = _common(settings)
    for unwelcome in ("db", "retry"):
        common.pop(unwelcome)
    return RedisCluster(
        startup_nodes=[
            ClusterNode(node.host, node.port)  # type: ignore[no-untyped-call]
            for node in settings.nodes
        ],
        retry=_retry(settings),
        ssl=settings.ssl,
        **common,
        **_tcp(settings),
    )


def _sentinels(settings: RedisSettings) -> Sentinel:
    return Sentinel(  # type: ignore[no-untyped-call]
        [(node.host, node.port) for node in settings.nodes],
        sentinel_kwargs={
            "socket_timeout": settings.read_timeout,
            "socket_connect_timeout": settings.connect_timeout,
            # Another sentinel is asked instead.
            "retry": _Policy(backoff(), 0),
            "driver_info": None,
            **dict(settings.sentinel_options),
        },
    )


def find_master(settings: RedisSettings) -> tuple[str, int]:
    """Host and port of the master that the sentinels know. Raises redis-py's MasterNotFoundError."""
    sentinels = _sentinels(settings)
    try:
        host, port = sentinels.discover_master(settings.sentinel_master)  # type: ignore[no-untyped-call]
    finally:
        for sentinel in sentinels.sentinels:
            sentinel.close()
    return host, port


def _connect_sentinel(settings: RedisSettings) -> Redis:
    sentinels = _sentinels(settings)
    tcp = _tcp(settings) if settings.ssl else {"socket_keepalive": _tcp(settings)["socket_keepalive"]}
    options = {**_common(settings), **tcp, "ssl": settings.ssl}
    master: Redis = sentinels.master_for(settings.sentinel_master, **options)  # type: ignore[no-untyped-call]
    return master


class _Policy(Retry):
    """Retries of connection errors and timeouts, counted once.

    redis-py retries a command, and within each attempt retries the connecting: three retries become twelve attempts.
    Here what runs inside an attempt is not retried by itself. A refused login is a connection error to redis-py, and
    no better the second time.
    """

    _inside = threading.local()

    def call_with_retry(
        self,
        do: Callable[[], _T],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> _T:
        if getattr(self._inside, "attempt", False):
            return do()
        self._inside.attempt = True
        try:
            return super().call_with_retry(
                do,
                fail,
                lambda error: not isinstance(error, HOPELESS) and (is_retryable is None or is_retryable(error)),
                with_failure_count,
            )
        finally:
            self._inside.attempt = False


HOPELESS: Final = (
    exceptions.AuthenticationError,
    exceptions.AuthorizationError,
    exceptions.MaxConnectionsError,
)
"""Connection errors that no second attempt mends."""


def backoff() -> ExponentialWithJitterBackoff:
    """The pauses between attempts, of every path to Redis."""
    return ExponentialWithJitterBackoff(base=_FIRST_PAUSE, cap=_LONGEST_PAUSE)


def _retry(settings: RedisSettings) -> Retry:
    return _Policy(backoff(), settings.retries)


class _UnixConnection(UnixDomainSocketConnection):
    """redis-py reads host and port to tell of a timeout, and has none for a unix socket."""

    host = "localhost"
    port = 0


class _EmbeddedConnection(_UnixConnection):
    """Finds the repository's server, or starts it, whenever a connection is made."""

    def __init__(self, repo_path: Path, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._repo_path = repo_path

    def _connect(self) -> Any:
        self.path = str(embedded.ensure(self._repo_path).socket_path)
        return super()._connect()  # type: ignore[no-untyped-call]
